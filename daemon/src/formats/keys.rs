//! The keys of Parquet's own encryption, from auth.env, and which leaves of a schema they encrypt.

use crate::base::error::{Classify, ErrorClass};
use crate::base::secret::Resolve;
use crate::config::keys::parquet_key;
use crate::config::settings::ParquetEncryption;
use crate::config::units::SecretText;
use crate::model::schema::RESCUED;
use parquet::encryption::encrypt::FileEncryptionProperties;
use parquet::schema::types::SchemaDescriptor;
use std::fmt;
use std::sync::Arc;

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
    parquet_key(filled.expose().trim()).ok_or_else(|| KeysError::NoKey { of: of.to_owned() })
}
