//! Looks whether an object is what it must be: by what the store itself computed, or else by reading it back.

use super::S3;
use super::api;
use crate::destinations::{DestinationError, Expected};
use saas_export_manifest::Digester;

/// What is at a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Look {
    /// Nothing.
    Missing,
    /// What must be there.
    Same,
    /// Something else; how it differs.
    Other(String),
}

impl S3 {
    /// What is at a whole key. `composite` is the checksum that its parts make together, where it was made of parts that
    /// the store compared with their checksums.
    pub(super) async fn compare(
        &self,
        key: &str,
        expected: &Expected,
        composite: Option<&str>,
    ) -> Result<Look, DestinationError> {
        let Some(found) = self.client.look(key).await? else { return Ok(Look::Missing) };
        if found.bytes != expected.bytes {
            return Ok(Look::Other(format!("it has {} bytes instead of {}", found.bytes, expected.bytes)));
        }
        if self.abilities().await?.checks {
            if let Some(sha256) = &found.sha256 {
                return Ok(same(*sha256 == expected.sha256, || format!("its SHA-256 is {sha256}")));
            }
            if found.crc32c.is_some_and(|crc32c| crc32c != expected.crc32c) {
                return Ok(Look::Other("its CRC-32C is another one".to_owned()));
            }
            // The checksum says that what was sent arrived, the metadata what was sent.
            let arrived = found.crc32c.is_some() || (composite.is_some() && found.composite.as_deref() == composite);
            if arrived && found.made_of.as_deref() == Some(expected.sha256.as_str()) {
                return Ok(Look::Same);
            }
        }
        self.read_back(key, expected).await
    }

    async fn read_back(&self, key: &str, expected: &Expected) -> Result<Look, DestinationError> {
        let Some(mut answer) = self.client.get(key).await? else { return Ok(Look::Missing) };
        let mut digester = Digester::default();
        while let Some(piece) = self.client.next(&api::get(key), &mut answer).await? {
            digester.update(&piece);
        }
        let found = digester.finish();
        Ok(same(found == *expected, || format!("{} bytes, SHA-256 {}", found.bytes, found.sha256)))
    }
}

fn same(same: bool, how: impl FnOnce() -> String) -> Look {
    if same { Look::Same } else { Look::Other(how()) }
}
