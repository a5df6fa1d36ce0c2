//! Checksums of answers: either a header, or a field and what it is about.

use super::Check;
use crate::config::path::KeyPath;
use crate::config::problem::Mistake;
use crate::config::settings::Checksum;

impl Check<'_> {
    pub(super) fn checksum(&mut self, path: &KeyPath, checksum: &Checksum) {
        if let Some(header) = &checksum.header {
            self.header_name(&path.key("header"), header);
        }
        for (key, place) in [("field", &checksum.field), ("of", &checksum.of)] {
            if let Some(place) = place {
                self.json_path(&path.key(key), place);
            }
        }
        let mistake = match (&checksum.header, &checksum.field, &checksum.of) {
            (Some(_), None, None) | (None, Some(_), Some(_)) => return,
            (None, None, None) if checksum.ignore_standard => return,
            (Some(_), ..) => {
                Mistake::key(path, "header stands beside field or of").hint("an answer has one checksum: keep one")
            }
            (None, None, None) => Mistake::key(path, "one of the keys header and field is missing")
                .hint("write e.g. header: X-Checksum, or field: $.checksum with of: $.data"),
            (None, Some(_), None) => Mistake::key(path, "field stands without of").hint("write e.g. of: $.data"),
            (None, None, Some(_)) => Mistake::key(path, "of stands without field").hint("write e.g. field: $.checksum"),
        };
        self.wrong(mistake);
    }
}
