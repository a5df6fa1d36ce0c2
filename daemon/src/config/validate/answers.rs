//! Response rules: what they look at, and what they must not be told to overlook.

use super::Check;
use crate::config::path::KeyPath;
use crate::config::problem::Mistake;
use crate::config::settings::{AnswerRule, Then, statuses};

/// Rules of one source or stream; each is tried on every answer that it concerns.
const MAX_RULES: usize = 100;

/// Statuses that say something else than "no records": credentials, time-outs, too many requests.
const NEVER_EMPTY: [u16; 5] = [401, 407, 408, 425, 429];

impl Check<'_> {
    pub(super) fn answers(&mut self, path: &KeyPath, rules: &[AnswerRule]) {
        if rules.len() > MAX_RULES {
            let message = format!("has {} rules; at most {MAX_RULES} are supported", rules.len());
            self.wrong(Mistake::value(path, message));
        }
        for (index, rule) in rules.iter().enumerate() {
            self.answer(&path.item(index), rule);
        }
    }

    fn answer(&mut self, path: &KeyPath, rule: &AnswerRule) {
        for (index, item) in rule.status.iter().enumerate() {
            let here = path.key("status").item(index);
            match statuses(item) {
                None => {
                    let mistake = Mistake::value(&here, "is no status between 100 and 599, class or range");
                    self.wrong(mistake.hint("write e.g. 404, 4xx or 500-599"));
                }
                Some(range)
                    if (300..400).contains(range.start()) && range.start() == range.end() && *range.start() != 304 =>
                {
                    self.wrong(Mistake::value(&here, "is a redirect, which is followed or refused before any rule"));
                }
                Some(range) if rule.then == Then::Page && !(200..300).contains(range.start()) => {
                    let mistake = Mistake::value(&here, "is no status of a page");
                    self.wrong(
                        mistake.hint("only a 2xx can be one, e.g. 201; a failure can be then: empty or then: skip"),
                    );
                }
                Some(range) => self.overlooked(&here, rule, range.start() == range.end(), *range.start()),
            }
        }
        if let Some(json) = &rule.json {
            self.json_path(&path.key("json"), json);
        }
        if let Some(wait) = &rule.wait {
            self.json_path(&path.key("wait").key("from"), &wait.from);
            if rule.then != Then::Retry {
                let mistake = Mistake::key(&path.key("wait"), "is of use only with then: retry");
                self.wrong(mistake.hint("remove it"));
            }
        }
        if rule.status.is_empty() && rule.json.is_none() && rule.contains.is_none() {
            let mistake = Mistake::key(path, "matches every answer");
            self.wrong(mistake.hint("add status, json or contains"));
        }
        if rule.equals.is_some() && rule.json.is_none() {
            let mistake = Mistake::key(&path.key("equals"), "stands without json");
            self.wrong(mistake.hint("write e.g. json: $.error.code, or contains: for a text in the body"));
        }
        if rule.equals.as_ref().is_some_and(|value| value.is_array() || value.is_object()) {
            self.wrong(Mistake::value(&path.key("equals"), "must be a text, a number, true, false or null"));
        }
        if rule.equals.is_some() && rule.contains.is_some() {
            self.wrong(Mistake::key(&path.key("contains"), "stands beside equals").hint("remove one of them"));
        }
        if rule.contains.as_deref() == Some("") {
            self.wrong(Mistake::value(&path.key("contains"), "is empty, and so in every answer"));
        }
        if rule.message.is_some() && !matches!(rule.then, Then::Retry | Then::Fail) {
            let mistake = Mistake::key(&path.key("message"), "is said only with then: fail and then: retry");
            self.wrong(mistake.hint("remove it"));
        }
    }

    /// Taken for the end by its status alone, an answer about credentials or haste would lose records without a word.
    fn overlooked(&mut self, path: &KeyPath, rule: &AnswerRule, single: bool, status: u16) {
        let blind = rule.json.is_none() && rule.contains.is_none();
        if single && blind && matches!(rule.then, Then::Empty | Then::Skip) && NEVER_EMPTY.contains(&status) {
            let message = format!("{status} speaks of credentials or haste, never of records");
            self.wrong(Mistake::value(path, message).hint("add json or contains, or leave it out"));
        }
    }
}
