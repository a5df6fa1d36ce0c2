//! Rules that say what an answer means where its status alone does not.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::ops::RangeInclusive;
use std::time::Duration;

/// A rule for answers. It matches where everything that it names does; the first rule that matches counts, those of the
/// stream before those of the source. Without rules, 2xx is a page (204 one without records), but 201 Created and 202 Accepted
/// fail; 408, 425, 429 and 5xx are tried again, others fail.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AnswerRule {
    /// Statuses: numbers (`404`), classes (`4xx`) and ranges (`500-599`); any status by default, 200 included.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub status: Vec<Value>,
    /// JSONPath (RFC 9535) into the body; alone it matches where the path leads to anything but null.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub json: Option<String>,
    /// What the value at `json` must be: a text, a number, true, false or null.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub equals: Option<Value>,
    /// A text that the value at `json` must contain; without `json`, that the body must contain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contains: Option<String>,
    /// What happens then.
    pub then: Then,
    /// With `retry`: where the body says how long to wait. Where it does not say it, Retry-After counts, as without this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait: Option<AnswerWait>,
    /// What the error says, with `retry` and `fail`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// Where an answer says how long to wait before the request is sent again. All requests of the source wait as long.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AnswerWait {
    /// JSONPath (RFC 9535) to a number, or a text that is one, e.g. `$.retry_after_ms`. More than a day counts as a day.
    pub from: String,
    /// What it counts.
    #[serde(default)]
    pub unit: WaitUnit,
}

/// What a number counts that says how long to wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum WaitUnit {
    /// Seconds.
    #[default]
    #[serde(rename = "s")]
    Seconds,
    /// Milliseconds.
    #[serde(rename = "ms")]
    Milliseconds,
}

impl WaitUnit {
    /// How long one is.
    pub fn length(self) -> Duration {
        match self {
            Self::Seconds => Duration::from_secs(1),
            Self::Milliseconds => Duration::from_millis(1),
        }
    }
}

/// What happens with an answer that a rule matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Then {
    /// The request is sent again, as `retry` says, or when the answer says (`wait`, Retry-After).
    Retry,
    /// The page is left out, and the task's report says so. `page` and `offset` go on behind it; with other paginators nothing
    /// says where the next page is, and the partition ends there.
    Skip,
    /// The task fails.
    Fail,
    /// It is a page without records, and the end of its partition.
    Empty,
    /// The credential is renewed once, and the request sent again.
    RefreshToken,
    /// It is a page like any other, with a 2xx: for an API that answers a search with 201 Created, which fails otherwise, because
    /// every page of a request that makes something would make one more.
    Page,
}

/// The statuses that an item of `status` names; none where it is no status, class or range.
pub fn statuses(item: &Value) -> Option<RangeInclusive<u16>> {
    let inside = |range: RangeInclusive<u16>| {
        let known = 100..=599;
        (known.contains(range.start()) && known.contains(range.end()) && range.start() <= range.end()).then_some(range)
    };
    let text = match item {
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.trim().to_owned(),
        _ => return None,
    };
    if let Some(class) = text.strip_suffix("xx").or_else(|| text.strip_suffix("XX")) {
        let class = class.parse::<u16>().ok().filter(|class| *class < 10)?;
        return inside(class * 100..=class * 100 + 99);
    }
    let (first, last) = text.split_once('-').unwrap_or((&text, &text));
    inside(first.trim().parse().ok()?..=last.trim().parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn statuses_classes_and_ranges() {
        for (item, range) in [
            (json!(404), Some(404..=404)),
            (json!("404"), Some(404..=404)),
            (json!("4xx"), Some(400..=499)),
            (json!("5XX"), Some(500..=599)),
            (json!("500-504"), Some(500..=504)),
            (json!("504-500"), None),
            (json!("99"), None),
            (json!(600), None),
            (json!("9xx"), None),
            (json!("-1"), None),
            (json!(4.5), None),
            (json!(null), None),
        ] {
            assert_eq!(statuses(&item), range, "{item}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in "[0-9xX -]{0,12}|.{0,12}") {
            if let Some(range) = statuses(&json!(text)) {
                prop_assert!(*range.start() >= 100 && *range.end() <= 599);
            }
        }
    }
}
