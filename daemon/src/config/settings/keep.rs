//! How long files are kept: published ones by whole chains, unpublished ones by their age.

use super::Destination;
use crate::base::ids::Name;
use crate::config::units::Span;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// How long files are kept. Published ones are counted and deleted by whole chains (a full task and the incremental ones after
/// it), for each stream and destination on its own; the newest chain is never touched. Without `chains` and `days` every
/// published file is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Keep {
    /// How many chains of a stream are kept, newest first. A chain counts once it is published as a whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100000))]
    pub chains: Option<u32>,
    /// For how many days a chain is kept after its newest manifest was published. Beside `chains`, a chain is kept while
    /// either of the two says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 36500))]
    pub days: Option<u32>,
    /// Files of a failed or cancelled task that were never published; until then `exportctl retry` goes on with them.
    #[schemars(extend("x-minimum" = "1h", "x-maximum" = "3650d"))]
    pub unpublished: Span,
    /// What counts instead of `chains` and `days` at single destinations of the export, by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub destinations: BTreeMap<Name, KeepAt>,
}

/// How long published files are kept at one destination; `{}` keeps them for ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct KeepAt {
    /// How many chains of a stream are kept, newest first.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100000))]
    pub chains: Option<u32>,
    /// For how many days a chain is kept after its newest manifest was published.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 36500))]
    pub days: Option<u32>,
}

impl Keep {
    /// What counts at a destination.
    pub fn at(&self, destination: &str) -> KeepAt {
        let usual = KeepAt { chains: self.chains, days: self.days };
        self.destinations.get(destination).copied().unwrap_or(usual)
    }
}

impl KeepAt {
    /// Whether it ever lets anything go.
    pub fn limits(&self) -> bool {
        self.chains.is_some() || self.days.is_some()
    }
}

impl Default for Keep {
    fn default() -> Self {
        let unpublished = Span(Duration::from_secs(7 * 24 * 3600));
        Self { chains: None, days: None, unpublished, destinations: BTreeMap::new() }
    }
}

/// The settings by which objects are reached that were stored with the settings `stored`: those of now, if they still mean
/// the same place (credentials and limits may be others), else the stored ones.
pub fn reached<'a>(stored: &'a Destination, now: Option<&'a Destination>) -> &'a Destination {
    now.filter(|now| now.place() == stored.place()).unwrap_or(stored)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_destination_of_its_own_replaces_both_settings() {
        let keep: Keep = serde_json::from_value(
            json!({ "chains": 2, "days": 30, "destinations": { "offsite": { "days": 400 }, "vault": {} } }),
        )
        .unwrap();
        assert_eq!(keep.at("lake"), KeepAt { chains: Some(2), days: Some(30) });
        assert_eq!(keep.at("offsite"), KeepAt { chains: None, days: Some(400) });
        assert!(!keep.at("vault").limits() && !Keep::default().at("lake").limits());
    }

    #[test]
    fn a_place_that_moved_is_reached_as_it_was() {
        let local = |root: &str, mode: &str| -> Destination {
            serde_json::from_value(json!({ "local": { "root": root, "mode": mode } })).unwrap()
        };
        let stored = local("/srv/a", "0640");
        let (same, moved) = (local("/srv/a", "0600"), local("/srv/b", "0640"));
        assert_eq!(reached(&stored, Some(&same)), &same);
        assert_eq!(reached(&stored, Some(&moved)), &stored);
        assert_eq!(reached(&stored, None), &stored);
        let store = |endpoint: &str, credentials: &str| -> Destination {
            let credentials = json!({ "static": { "access_key_id": credentials, "secret_access_key": credentials } });
            serde_json::from_value(json!({ "s3": { "bucket": "b", "endpoint": endpoint, "credentials": credentials } }))
                .unwrap()
        };
        let stored = store("https://one.example", "${ONE}");
        let (same, moved) = (store("https://one.example/", "${TWO}"), store("https://two.example", "${ONE}"));
        assert_eq!(reached(&stored, Some(&same)), &same);
        assert_eq!(reached(&stored, Some(&moved)), &stored, "a bucket of the same name in another store");
    }
}
