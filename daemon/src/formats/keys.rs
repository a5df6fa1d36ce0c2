//! The keys of Parquet's own encryption, from auth.env, and which leaves of a schema they encrypt.

use crate::base::error::{Classify, ErrorClass};
use crate::base::secret::Resolve;
use crate::config::settings::ParquetEncryption;
use crate::config::units::SecretText;
use crate::model::schema::RESCUED;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use parquet::encryption::encrypt::FileEncryptionProperties;
use parquet::schema::types::SchemaDescriptor;
use std::fmt;
use std::sync::Arc;

/// Lengths of keys in bytes: AES-128 and AES-256. The library has no AES-192.
const LENGTHS: [usize; 2] = [16, 32];

/// The keys of an export's Parquet files.
#[derive(Clone)]
pub struct ParquetKeys {
    footer: Vec<u8>,
    columns: Vec<(String, Vec<u8>)>,
    plaintext_footer: bool,
    aad_prefix: Option<String>,
}

impl fmt::Debug for ParquetKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ParquetKeys({} columns)", self.columns.len())
    }
}

/// Why keys cannot be used; no text holds a part of one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeysError {
    /// auth.env does not have it.
    #[error("fill {of} of format.parquet.encryption: {why}")]
    Unknown {
        /// Which key.
        of: String,
        /// Which name is missing.
        why: String,
    },
    /// Neither hex nor base64, or of another length.
    #[error(
        "use {of} of format.parquet.encryption: it is not 16 or 32 bytes in hex or base64 (`openssl rand -hex 32` makes one)"
    )]
    NoKey {
        /// Which key.
        of: String,
    },
    /// The schema of the stream lacks a column.
    #[error(
        "encrypt column {column:?}: the stream has no such column. Streams that differ in it need exports of their own"
    )]
    NoColumn {
        /// Its name.
        column: String,
    },
    /// The library refused them.
    #[error("prepare Parquet's encryption")]
    Refused,
}

impl Classify for KeysError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Unknown { .. } | Self::NoKey { .. } | Self::NoColumn { .. } => ErrorClass::Config,
            Self::Refused => ErrorClass::Bug,
        }
    }
}

impl ParquetKeys {
    /// Fills the keys of the settings.
    pub fn resolve(settings: &ParquetEncryption, secrets: &dyn Resolve) -> Result<Self, KeysError> {
        let columns = settings.columns.iter().map(|(name, text)| {
            let key = key(&format!("columns.{name}"), text, secrets)?;
            Ok((name.clone(), key))
        });
        Ok(Self {
            footer: key("footer_key", &settings.footer_key, secrets)?,
            columns: columns.collect::<Result<_, _>>()?,
            plaintext_footer: settings.plaintext_footer,
            aad_prefix: settings.aad_prefix.clone(),
        })
    }

    /// Names of the columns that have keys of their own.
    pub fn columns(&self) -> Vec<String> {
        self.columns.iter().map(|(name, _)| name.clone()).collect()
    }

    /// What the library needs to encrypt a file of this schema. A column stands for all leaves that are nested in it.
    pub(super) fn properties(&self, schema: &SchemaDescriptor) -> Result<Arc<FileEncryptionProperties>, KeysError> {
        let mut builder = FileEncryptionProperties::builder(self.footer.clone());
        let leaves: Vec<(Option<&str>, String)> = schema
            .columns()
            .iter()
            .map(|leaf| (leaf.path().parts().first().map(String::as_str), leaf.path().string()))
            .collect();
        for (column, key) in &self.columns {
            let nested = format!("{column}.");
            let of_column =
                |top: Option<&str>, path: &str| top == Some(column) || path == column || path.starts_with(&nested);
            let mut found = false;
            for (_, path) in leaves.iter().filter(|(top, path)| of_column(*top, path)) {
                builder = builder.with_column_key(path, key.clone());
                found = true;
            }
            if !found {
                return Err(KeysError::NoColumn { column: column.clone() });
            }
        }
        // What did not fit its column is kept there, whichever column it was.
        if !self.columns.is_empty() && self.columns.iter().all(|(name, _)| name != RESCUED) {
            for (_, path) in leaves.iter().filter(|(top, _)| *top == Some(RESCUED)) {
                builder = builder.with_column_key(path, self.footer.clone());
            }
        }
        if let Some(prefix) = &self.aad_prefix {
            builder = builder.with_aad_prefix(prefix.clone().into_bytes()).with_aad_prefix_storage(false);
        }
        builder.with_plaintext_footer(self.plaintext_footer).build().map_err(|_| KeysError::Refused)
    }
}

fn key(of: &str, text: &SecretText, secrets: &dyn Resolve) -> Result<Vec<u8>, KeysError> {
    let filled = secrets.resolve(&text.0).map_err(|why| KeysError::Unknown { of: of.to_owned(), why })?;
    bytes_of(filled.expose().trim()).ok_or_else(|| KeysError::NoKey { of: of.to_owned() })
}

/// The bytes of a key in hex, else in base64. No length of one is a length of the other.
fn bytes_of(text: &str) -> Option<Vec<u8>> {
    let hex = || -> Option<Vec<u8>> {
        let digits = text.bytes().map(|byte| char::from(byte).to_digit(16)).collect::<Option<Vec<_>>>()?;
        let pairs = digits.chunks_exact(2);
        pairs.map(|pair| if let [high, low] = pair { u8::try_from(high * 16 + low).ok() } else { None }).collect()
    };
    let fits = |key: &Vec<u8>| LENGTHS.contains(&key.len());
    let base64 = || STANDARD.decode(text).or_else(|_| STANDARD_NO_PAD.decode(text)).ok();
    hex().filter(|key| text.len() == 2 * key.len() && fits(key)).or_else(|| base64().filter(fits))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn hex_and_base64_are_told_apart(bytes in prop::collection::vec(any::<u8>(), 0..70)) {
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            let wanted = LENGTHS.contains(&bytes.len()).then(|| bytes.clone());
            prop_assert_eq!(bytes_of(&STANDARD.encode(&bytes)).filter(|key| *key == bytes), wanted.clone());
            prop_assert_eq!(bytes_of(&STANDARD_NO_PAD.encode(&bytes)).filter(|key| *key == bytes), wanted.clone());
            prop_assert_eq!(bytes_of(&hex).filter(|key| *key == bytes), wanted.clone());
            prop_assert_eq!(bytes_of(&hex.to_uppercase()).filter(|key| *key == bytes), wanted);
        }

        #[test]
        fn other_text_never_panics(text in "\\PC{0,80}") {
            prop_assert!(bytes_of(&text).is_none_or(|key| LENGTHS.contains(&key.len())));
        }
    }
}
