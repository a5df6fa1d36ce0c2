//! The checksum that an API gives with an answer in a way of its own.

use super::spec::At;
use crate::config::settings::{Checksum, ChecksumAlgorithm};
use crate::net::digest::Algorithm;
use crate::net::fetch::{Answer, Unreadable};
use crate::record::locate::{Located, text_of};
use http::HeaderName;

/// Where a checksum stands, and what it is about.
#[derive(Clone, Debug)]
pub struct Sum {
    place: Place,
    algorithm: Algorithm,
}

#[derive(Clone, Debug)]
enum Place {
    /// In a header; about the body.
    Header(HeaderName),
    /// Slots of the locator: the checksum, and the value that it is about.
    Field(usize, usize),
}

impl Sum {
    /// Compiles the settings; paths in the body are added to `paths`. `None` where nothing of its own is to be compared.
    pub fn compile(settings: &Checksum, paths: &mut Vec<String>) -> Result<Option<Self>, At> {
        let algorithm = match settings.algorithm {
            ChecksumAlgorithm::Sha256 => Algorithm::Sha256,
            ChecksumAlgorithm::Sha512 => Algorithm::Sha512,
            ChecksumAlgorithm::Md5 => Algorithm::Md5,
            ChecksumAlgorithm::Crc32c => Algorithm::Crc32c,
        };
        let place = match (&settings.header, &settings.field, &settings.of) {
            (Some(header), ..) => {
                let name = header.parse().map_err(|_| At::new("checksum.header", "is not the name of a header"))?;
                Place::Header(name)
            }
            (None, Some(field), Some(of)) => {
                paths.extend([field.clone(), of.clone()]);
                Place::Field(paths.len() - 2, paths.len() - 1)
            }
            _ => return Ok(None),
        };
        Ok(Some(Self { place, algorithm }))
    }

    /// Whether the body must come without compression.
    pub fn of_body(&self) -> bool {
        matches!(self.place, Place::Header(_))
    }

    /// Compares. An answer without its checksum is refused, too, and both are asked for again.
    pub fn check(&self, answer: &Answer, located: &Located) -> Result<(), Unreadable> {
        let name = self.algorithm.name();
        let slice = |slot: usize| {
            let range = located.values.get(slot).cloned().flatten()?;
            answer.body.get(range.start as usize..range.end as usize)
        };
        let (told, same, what) = match &self.place {
            Place::Header(header) => {
                let text = answer.headers.get(header).and_then(|value| value.to_str().ok());
                (text.is_some(), text.is_some_and(|text| self.algorithm.matches(text, &answer.body)), header.as_str())
            }
            Place::Field(field, of) => {
                let text = slice(*field).and_then(text_of);
                let same = text.as_ref().zip(slice(*of)).is_some_and(|(text, of)| self.algorithm.matches(text, of));
                (text.is_some(), same, "checksum.field")
            }
        };
        let reason = match (told, same) {
            (true, true) => return Ok(()),
            (true, false) => format!("its {name} is not what {what} says"),
            (false, _) => format!("it has no checksum: {what} is missing"),
        };
        Err(Unreadable { reason, cut: true })
    }
}
