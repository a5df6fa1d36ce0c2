//! Finds every mistake in the meaning of a configuration at once; pure, without I/O.

mod answers;
mod auth;
mod checksums;
mod encryption;
mod exports;
mod formats;
mod incremental;
mod keep;
mod metrics;
mod notify;
mod partitions;
mod places;
mod quota;
mod requests;
mod schedules;
mod schemas;
mod servers;
mod sources;
mod stores;
mod streams;
mod templates;
mod texts;
mod transforms;
mod windows;

pub use exports::fits;

use super::path::KeyPath;
use super::problem::Mistake;
use super::settings::Config;

/// All mistakes in the meaning of a configuration.
pub fn validate(config: &Config) -> Vec<Mistake> {
    let mut check = Check { config, mistakes: Vec::new() };
    check.places();
    check.stores();
    check.signing_key();
    check.servers();
    check.sources();
    check.exports();
    check.notifications();
    check.quota();
    check.metrics();
    check.texts();
    check.templates();
    check.mistakes
}

/// The configuration under examination and what was found in it.
struct Check<'a> {
    config: &'a Config,
    mistakes: Vec<Mistake>,
}

impl Check<'_> {
    fn wrong(&mut self, mistake: Mistake) {
        self.mistakes.push(mistake);
    }

    /// Notes a repeated value of a list.
    fn repeated<'b>(&mut self, path: &KeyPath, words: impl Iterator<Item = &'b str>) {
        let mut seen = std::collections::BTreeSet::new();
        for (index, word) in words.enumerate() {
            if !seen.insert(word) {
                let shown = super::units::shown(word);
                self.wrong(Mistake::value(&path.item(index), format!("{shown} is already in the list")));
            }
        }
    }
}
