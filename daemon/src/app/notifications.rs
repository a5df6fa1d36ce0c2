//! Notifications: who is told, and what sends it.

use super::engine::AppEngine;
use crate::base::ids::Name;
use crate::config::problem::did_you_mean;
use crate::config::settings::Config;
use crate::ledger::Ledger;
use crate::ledger::rows::TaskRow;
use crate::model::notice::Rule;
use crate::notify::Notifier;
use crate::queue::handle::Refusal;
use std::sync::Arc;

/// Recipients that one request may name.
const MOST_NAMED: usize = 10;

/// What sends notifications, with the configuration and secrets in force at each.
pub fn notifier(engine: &Arc<AppEngine>, ledger: &Ledger) -> Arc<Notifier> {
    let of = engine.clone();
    Arc::new(Notifier::new(ledger.clone(), engine.destinations(), Arc::new(move || of.in_force())))
}

/// The rules of a task's export: those in force, or those that it stored where the export is gone.
pub fn rules(config: &Config, row: &TaskRow) -> Vec<Rule> {
    let of = |config: &Config| {
        let export = config.exports.get(row.export.as_str())?;
        Some(export.notify.iter().map(|rule| rule.rule()).collect())
    };
    let stored = || of(&Config::from_effective(&serde_json::from_str(&row.config).ok()?).ok()?);
    of(config).or_else(stored).unwrap_or_default()
}

/// Refuses recipients that are not configured.
pub fn check(config: &Config, named: &[String]) -> Result<(), Refusal> {
    if named.len() > MOST_NAMED {
        return Err(Refusal::Invalid(format!("more than {MOST_NAMED} recipients of notifications")));
    }
    match named.iter().find(|name| !config.notify.contains_key(name.as_str())) {
        None => Ok(()),
        Some(name) => Err(Refusal::Invalid(unknown(config, name))),
    }
}

/// What to say of a recipient that is not configured.
pub fn unknown(config: &Config, name: &str) -> String {
    let names: Vec<&str> = config.notify.keys().map(Name::as_str).collect();
    let hint = match did_you_mean(name, names.iter().copied()) {
        Some(meant) => format!("did you mean {meant:?}?"),
        None if names.is_empty() => "the configuration has none (notify:)".to_owned(),
        None => format!("there are: {}", names.join(", ")),
    };
    format!("there is no recipient {name:?} of notifications: {hint}")
}
