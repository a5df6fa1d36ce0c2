//! What changed from one configuration to the next, in lines for people.

use super::path::KeyPath;
use super::settings::Config;
use super::texts;
use super::units::shown;
use serde_json::Value;

/// Lines told of each kind; a reload that changes more is told as a number.
const MAX_LINES: usize = 100;
/// Settings of the daemon that are read once, at its start.
const READ_ONCE: [&str; 4] = ["state_dir", "socket", "threads", "metrics"];

/// The changes between two configurations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// What is in force from now on (for tasks that begin; a running task keeps its own), a line each.
    pub applied: Vec<String>,
    /// What takes effect only after a restart, a line each.
    pub needs_restart: Vec<String>,
}

impl Changes {
    /// Everything, a line each.
    pub fn lines(&self) -> Vec<String> {
        let restart = self.needs_restart.iter().map(|line| format!("{line} (after a restart)"));
        self.applied.iter().cloned().chain(restart).collect()
    }
}

/// Compares two configurations, defaults included. Values of secret fields are not shown.
pub fn diff(old: &Config, new: &Config) -> Changes {
    let mut lines = Vec::new();
    if let (Ok(old), Ok(new)) = (serde_json::to_value(old), serde_json::to_value(new)) {
        compare(&KeyPath::top(), Some(&old), Some(&new), &mut lines);
    }
    let mut changes = Changes::default();
    for (path, line) in lines {
        let restart = path.key_at(0) == Some("daemon") && path.key_at(1).is_some_and(|key| READ_ONCE.contains(&key));
        if restart { changes.needs_restart.push(line) } else { changes.applied.push(line) }
    }
    for lines in [&mut changes.applied, &mut changes.needs_restart] {
        if lines.len() > MAX_LINES {
            let more = lines.len() - MAX_LINES;
            lines.truncate(MAX_LINES);
            lines.push(format!("and {more} more"));
        }
    }
    changes
}

fn compare(path: &KeyPath, old: Option<&Value>, new: Option<&Value>, lines: &mut Vec<(KeyPath, String)>) {
    match (old, new) {
        (Some(old), Some(new)) if old == new => {}
        (Some(Value::Object(old)), Some(Value::Object(new))) => {
            for key in old.keys().chain(new.keys().filter(|key| !old.contains_key(*key))) {
                compare(&path.key(key), old.get(key), new.get(key), lines);
            }
        }
        (Some(old), Some(new)) => match (short(path, old), short(path, new)) {
            (Some(old), Some(new)) => lines.push((path.clone(), format!("{path}: {old} → {new}"))),
            _ => lines.push((path.clone(), format!("{path} changed"))),
        },
        (None, Some(new)) => {
            let value = short(path, new).map(|value| format!(": {value}")).unwrap_or_default();
            lines.push((path.clone(), format!("{path} added{value}")));
        }
        (Some(old), None) => {
            let value = short(path, old).map(|value| format!(", it was {value}")).unwrap_or_default();
            lines.push((path.clone(), format!("{path} removed{value}")));
        }
        (None, None) => {}
    }
}

/// A value that fits into a line and is no secret.
fn short(path: &KeyPath, value: &Value) -> Option<String> {
    match value {
        Value::String(_) if texts::is_secret(path) => None,
        Value::String(text) => Some(shown(text)),
        // As an operator writes it: 9, not 9.0.
        Value::Number(number) if number.as_f64().is_some_and(|number| number.fract() == 0.0) => {
            Some(number.to_string().trim_end_matches(".0").to_owned())
        }
        Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
        Value::Array(items) => {
            let words: Option<Vec<String>> =
                items.iter().enumerate().map(|(index, item)| short(&path.item(index), item)).collect();
            words.map(|words| format!("[{}]", words.join(", "))).filter(|text| text.len() <= 100)
        }
        Value::Null | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;
    use std::collections::BTreeSet;

    const OLD: &str = "
version: 1
daemon: { parallel: 2 }
sources: { s: { rest: { base_url: https://a.example, headers: { X-Key: old-value }, streams: { x: { path: /x } } } } }
destinations: { d: { local: { root: /srv/d } } }
exports: { e: { source: s, to: [d] } }
";

    #[test]
    fn changes_are_told_without_secrets() {
        let new = OLD.replace("parallel: 2", "parallel: 4, state_dir: /other").replace("old-value", "new-value");
        let new =
            new.replace("{ x: { path: /x } }", "{ y: { path: /y } }").replace("to: [d]", "to: [d], chunk_size: 9MB");
        let changes = diff(&parse(OLD, "f").unwrap(), &parse(&new, "f").unwrap());
        assert_eq!(
            changes.applied,
            [
                "daemon.parallel: 2 → 4",
                "sources.s.rest.headers.X-Key changed",
                "sources.s.rest.streams.x removed",
                "sources.s.rest.streams.y added",
                "exports.e.chunk_size: \"50MB\" → \"9MB\"",
            ]
        );
        assert_eq!(changes.needs_restart, ["daemon.state_dir: \"/var/lib/saas-export\" → \"/other\""]);
        assert!(changes.lines().last().unwrap().ends_with("(after a restart)"));
    }

    #[test]
    fn what_comes_and_goes_is_told_with_its_value_unless_that_is_a_secret() {
        let rate = OLD.replace("headers: { X-Key: old-value }", "rate: { per_second: 9 }");
        let (old, new) = (parse(OLD, "f").unwrap(), parse(&rate, "f").unwrap());
        let there = ["sources.s.rest.headers removed", "sources.s.rest.rate.per_second added: 9"];
        assert_eq!(diff(&old, &new).applied, there);
        let back = ["sources.s.rest.rate.per_second removed, it was 9", "sources.s.rest.headers added"];
        assert_eq!(BTreeSet::from_iter(diff(&new, &old).applied), BTreeSet::from(back.map(str::to_owned)));
    }

    #[test]
    fn nothing_changed() {
        assert_eq!(diff(&parse(OLD, "f").unwrap(), &parse(OLD, "f").unwrap()), Changes::default());
    }
}
