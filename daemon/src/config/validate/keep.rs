//! How long files are kept: the destinations that have a rule of their own.

use super::Check;
use crate::base::ids::Name;
use crate::config::path::KeyPath;
use crate::config::problem::{Mistake, did_you_mean};
use crate::config::settings::Export;

impl Check<'_> {
    pub(super) fn keep(&mut self, path: &KeyPath, export: &Export) {
        let path = path.key("destinations");
        for name in export.keep.destinations.keys().filter(|name| !export.to.contains(name)) {
            let mistake = Mistake::key(&path.key(name.as_str()), "the export does not deliver there");
            let names: Vec<&str> = export.to.iter().map(Name::as_str).collect();
            self.wrong(match did_you_mean(name.as_str(), names.iter().copied()) {
                Some(meant) => mistake.hint(format!("did you mean {meant:?}?")),
                None => mistake.hint(format!("to: {}", names.join(", "))),
            });
        }
    }
}
