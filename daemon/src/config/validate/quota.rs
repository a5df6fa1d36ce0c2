//! The quota of the spools: two segments for each lane of a stream, or its export could never be read.

use super::Check;
use crate::config::path::KeyPath;
use crate::config::problem::Mistake;
use crate::config::settings::{Export, Source};
use crate::config::units::Size;

/// Segments that a lane needs: the one that it writes, and one that is on its way.
const SEGMENTS: u64 = 2;

impl Check<'_> {
    pub(super) fn quota(&mut self) {
        let Some(quota) = self.config.daemon.spool_quota else { return };
        let path = KeyPath::of(&["daemon", "spool_quota"]);
        for (name, export) in &self.config.exports {
            let lanes = self.most_lanes(export);
            let needed = SEGMENTS.saturating_mul(lanes).saturating_mul(export.chunk_size.0);
            if quota.0 < needed {
                let message = format!(
                    "is less than export {name:?} needs: {SEGMENTS} segments of {} for each of {lanes} lanes, {}",
                    export.chunk_size,
                    Size(needed),
                    name = name.as_str(),
                );
                let mistake = Mistake::value(&path, message).about(KeyPath::of(&["exports", name.as_str()]));
                self.wrong(mistake.hint("raise it, or lower chunk_size or lanes"));
            }
        }
    }

    fn most_lanes(&self, export: &Export) -> u64 {
        let Some(Source::Rest(rest)) = self.config.sources.get(&export.source) else { return 1 };
        let read = rest.streams.iter().filter(|(name, _)| export.streams.is_empty() || export.streams.contains(name));
        read.map(|(_, stream)| u64::from(stream.lanes)).max().unwrap_or(1)
    }
}
