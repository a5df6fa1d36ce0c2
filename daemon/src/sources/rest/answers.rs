//! The response rules of a stream, compiled: by status, by a value in the body, by its text.

use super::spec::At;
use crate::config::settings::{AnswerRule, Then, statuses};
use crate::net::judge::{Judge, Ruling, Verdict};
use crate::net::retry::wait_of;
use crate::record::locate::{Locator, text_of};
use http::StatusCode;
use memchr::memmem;
use serde_json::Value;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

/// The rules of a stream, its own before those of its source.
#[derive(Debug)]
pub struct Rules {
    rules: Vec<Rule>,
    /// Finds the values of all rules at once.
    values: Locator,
}

#[derive(Debug)]
struct Rule {
    /// Empty for any.
    statuses: Vec<RangeInclusive<u16>>,
    /// Slot of the locator.
    slot: Option<usize>,
    equals: Option<Value>,
    contains: Option<String>,
    /// Slot of the locator for the wait, and its unit.
    wait: Option<(usize, Duration)>,
    ruling: Ruling,
}

impl Rules {
    /// Compiles rules, each under its key; none where there are none.
    pub fn compile(own: &[AnswerRule], shared: &[AnswerRule]) -> Result<Option<Arc<dyn Judge>>, At> {
        let mut paths = Vec::new();
        let mut rules = Vec::new();
        let keyed = own.iter().enumerate().chain(shared.iter().enumerate());
        for (index, rule) in keyed {
            let at = |key: &str, reason: &str| At::new(&format!("answers[{index}].{key}"), reason);
            let known = rule.status.iter().map(statuses).collect::<Option<Vec<_>>>();
            let statuses =
                known.ok_or_else(|| at("status", "each is a status, a class like 4xx or a range like 500-599"))?;
            if let Some(path) = &rule.json {
                Locator::new(path, &[]).map_err(|error| at("json", &error.to_string()))?;
                paths.push(path.as_str());
            }
            let slot = rule.json.as_ref().map(|_| paths.len() - 1);
            let mut wait = None;
            if let Some(told) = &rule.wait {
                Locator::new(&told.from, &[]).map_err(|error| at("wait.from", &error.to_string()))?;
                wait = Some((paths.len(), told.unit.length()));
                paths.push(told.from.as_str());
            }
            let ruling = Ruling { verdict: verdict(rule.then), wait: None, message: rule.message.clone() };
            let (equals, contains) = (rule.equals.clone(), rule.contains.clone());
            rules.push(Rule { statuses, slot, equals, contains, wait, ruling });
        }
        if rules.is_empty() {
            return Ok(None);
        }
        let values = Locator::new("$", &paths).map_err(|error| At::new("answers", &error.to_string()))?;
        Ok(Some(Arc::new(Self { rules, values })))
    }
}

fn verdict(then: Then) -> Verdict {
    match then {
        Then::Retry => Verdict::Retry,
        Then::Skip => Verdict::Skip,
        Then::Fail => Verdict::Fail,
        Then::Empty => Verdict::Empty,
        Then::RefreshToken => Verdict::RefreshToken,
        Then::Page => Verdict::Page,
    }
}

impl Judge for Rules {
    fn looks_at(&self, status: StatusCode) -> bool {
        self.rules.iter().any(|rule| rule.concerns(status))
    }

    fn judge(&self, status: StatusCode, body: &[u8]) -> Option<Ruling> {
        let mut found = None;
        let mut value = |slot: usize| {
            // A body that is no JSON has no values.
            let located = found.get_or_insert_with(|| self.values.locate(body).ok());
            let range = located.as_ref().and_then(|located| located.values.get(slot).cloned().flatten());
            range.and_then(|range| body.get(range.start as usize..range.end as usize))
        };
        let concerned = self.rules.iter().filter(|rule| rule.concerns(status));
        for rule in concerned {
            let matches = match rule.slot {
                None => rule.contains.as_ref().is_none_or(|text| contains(body, text.as_bytes())),
                Some(slot) => value(slot).is_some_and(|raw| rule.fits(raw)),
            };
            if matches {
                let wait = rule.wait.and_then(|(slot, unit)| wait_of(&text_of(value(slot)?)?, unit));
                return Some(Ruling { wait, ..rule.ruling.clone() });
            }
        }
        None
    }
}

impl Rule {
    fn concerns(&self, status: StatusCode) -> bool {
        self.statuses.is_empty() || self.statuses.iter().any(|range| range.contains(&status.as_u16()))
    }

    /// Whether the value at `json` is what the rule asks for.
    fn fits(&self, raw: &[u8]) -> bool {
        let Ok(value) = serde_json::from_slice::<Value>(raw) else { return false };
        if let Some(wanted) = &self.equals {
            let number = |value: &Value| value.as_f64();
            let same = *wanted == value || number(wanted).is_some_and(|wanted| number(&value) == Some(wanted));
            if !same {
                return false;
            }
        }
        match (&self.contains, &value) {
            (Some(text), Value::String(value)) => value.contains(text.as_str()),
            (Some(text), _) => contains(raw, text.as_bytes()),
            (None, Value::Null) => self.equals.is_some(),
            (None, _) => true,
        }
    }
}

fn contains(body: &[u8], text: &[u8]) -> bool {
    memmem::find(body, text).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn rules(rules: Value) -> Arc<dyn Judge> {
        let rules: Vec<AnswerRule> = serde_json::from_value(rules).unwrap();
        Rules::compile(&rules, &[]).unwrap().unwrap()
    }

    fn verdict_of(judge: &Arc<dyn Judge>, status: u16, body: &str) -> Option<Verdict> {
        let status = StatusCode::from_u16(status).unwrap();
        let ruling = judge.judge(status, body.as_bytes());
        assert!(ruling.is_none() || judge.looks_at(status));
        ruling.map(|ruling| ruling.verdict)
    }

    #[test]
    fn everything_that_a_rule_names_must_match_and_the_first_rule_counts() {
        let judge = rules(json!([
            { "status": [404], "json": "$.error.code", "equals": "not_found", "then": "empty" },
            { "status": ["4xx", "500-502"], "contains": "come back", "then": "retry" },
            { "json": "$.ok", "equals": false, "then": "fail", "message": "not ok" },
            { "json": "$.errors[?@.code == 7]", "then": "skip" },
            { "json": "$.count", "equals": 2, "then": "refresh_token" },
            { "json": "$.why", "contains": "quota", "then": "retry" },
            { "status": [204], "then": "empty" },
        ]));
        let of = |status, body| verdict_of(&judge, status, body);
        assert_eq!(of(404, r#"{"error": {"code": "not_found"}}"#), Some(Verdict::Empty));
        assert_eq!(of(404, r#"{"error": {"code": "other"}}"#), None);
        assert_eq!(of(404, "come back later"), Some(Verdict::Retry));
        assert_eq!(of(502, "come back later"), Some(Verdict::Retry));
        assert_eq!(of(503, "come back later"), None);
        assert_eq!(of(200, r#"{"ok": false}"#), Some(Verdict::Fail));
        assert_eq!(of(200, r#"{"ok": true, "data": []}"#), None);
        assert_eq!(of(200, r#"{"ok": 0}"#), None);
        assert_eq!(of(200, r#"{"errors": [{"code": 1}, {"code": 7}]}"#), Some(Verdict::Skip));
        assert_eq!(of(200, r#"{"errors": [{"code": 1}]}"#), None);
        assert_eq!(of(200, r#"{"count": 2.0}"#), Some(Verdict::RefreshToken));
        assert_eq!(of(200, r#"{"why": "the q\u0075ota is gone"}"#), Some(Verdict::Retry));
        assert_eq!(of(200, r#"{"why": ["quota"]}"#), Some(Verdict::Retry), "the JSON of anything but a text");
        assert_eq!(of(200, r#"{"why": null, "ok": null}"#), None);
        assert_eq!(of(204, ""), Some(Verdict::Empty));
        assert_eq!(of(200, "no JSON"), None);
    }

    #[test]
    fn a_body_may_say_how_long_to_wait() {
        let judge = rules(json!([
            { "status": [429], "then": "retry", "wait": { "from": "$.retry_after_ms", "unit": "ms" } },
            { "json": "$.error", "equals": "ratelimited", "then": "retry", "wait": { "from": "$.retry_after" } },
        ]));
        let wait = |status, body: &str| {
            let ruling = judge.judge(StatusCode::from_u16(status).unwrap(), body.as_bytes()).unwrap();
            assert_eq!(ruling.verdict, Verdict::Retry);
            ruling.wait.map(|wait| wait.as_millis())
        };
        assert_eq!(wait(429, r#"{"errcode": "M_LIMIT_EXCEEDED", "retry_after_ms": 1337}"#), Some(1337));
        assert_eq!(wait(200, r#"{"ok": false, "error": "ratelimited", "retry_after": 0.5}"#), Some(500));
        assert_eq!(wait(200, r#"{"error": "ratelimited", "retry_after": "2"}"#), Some(2000));
        assert_eq!(wait(429, r#"{"retry_after_ms": 1e300}"#), Some(86_400_000));
        let none = [
            "",
            "too fast",
            "{}",
            r#"{"retry_after_ms": null}"#,
            r#"{"retry_after_ms": -1}"#,
            r#"{"retry_after_ms": []}"#,
        ];
        for body in none {
            assert_eq!(wait(429, body), None, "{body}");
        }
    }

    #[test]
    fn a_stream_comes_before_its_source() {
        let rule = |then: &str| serde_json::from_value(json!({ "status": [404], "then": then })).unwrap();
        let judge = Rules::compile(&[rule("skip")], &[rule("fail")]).unwrap().unwrap();
        assert_eq!(verdict_of(&judge, 404, ""), Some(Verdict::Skip));
        assert!(!judge.looks_at(StatusCode::OK), "a page that no rule concerns costs nothing");
        assert!(Rules::compile(&[], &[]).unwrap().is_none());
    }

    proptest! {
        #[test]
        fn any_body_is_survived(status in 100..600_u16, body in "(.{0,60})|(\\{\"why\": .{0,30}\\})") {
            let judge = rules(json!([
                { "json": "$.why", "contains": "x", "then": "retry" },
                { "json": "$..why", "then": "skip" },
            ]));
            let found = verdict_of(&judge, status, &body);
            let value = serde_json::from_str::<Value>(&body);
            prop_assert!(found.is_none() || value.is_ok());
        }
    }
}
