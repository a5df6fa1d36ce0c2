//! What protects the files of a task: the export's settings with the keys that auth.env and the state-key give.

use super::engine::AppEngine;
use crate::base::error::{Classify, ErrorClass};
use crate::config::settings::{Export, FileEncryption, Format, Stream};
use crate::formats::{KeysError, ParquetKeys};
use crate::seal::{self, Recipients, SealError, Sealing};
use crate::transfer::protect::{Protection, keeps_sealed};
use saas_export_manifest::{SignatureError, SigningKey};
use std::sync::Arc;

/// A key that cannot be used; no text holds a part of one.
#[derive(Debug, thiserror::Error)]
pub enum ProtectError {
    /// The state-key, or a recipient.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// A key of Parquet's encryption.
    #[error(transparent)]
    Parquet(#[from] KeysError),
    /// auth.env lacks the key that signs.
    #[error("fill daemon.signing_key: {0}")]
    Unknown(String),
    /// The key that signs is none.
    #[error("use daemon.signing_key (`openssl genpkey -algorithm ed25519` makes one)")]
    Signing(#[source] SignatureError),
}

impl Classify for ProtectError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Seal(error) => error.class(),
            Self::Parquet(error) => error.class(),
            Self::Unknown(_) | Self::Signing(_) => ErrorClass::Config,
        }
    }
}

/// What protects the files of an export's task. Makes a state-key where one is needed and there is none. Blocks.
pub fn of_task<'a>(
    engine: &AppEngine,
    export: &Export,
    streams: impl Iterator<Item = &'a Stream>,
) -> Result<Protection, ProtectError> {
    let (config, secrets) = engine.in_force();
    let sealing = match &export.encryption {
        None => Sealing::None,
        Some(FileEncryption::Age(age)) => Sealing::Age(Recipients::parse(&age.recipients)?),
    };
    let parquet = match &export.format {
        Format::Parquet(format) => format.encryption.as_ref(),
        _ => None,
    };
    let parquet = parquet.map(|settings| ParquetKeys::resolve(settings, &*secrets)).transpose()?;
    let own = match keeps_sealed(export, streams) {
        true => Some(Arc::new(seal::load(&config.daemon.state_dir, engine.state_key())?)),
        false => None,
    };
    Ok(Protection { sealing, parquet, own, signer: signing_key(engine)?.map(Arc::new) })
}

/// The key that manifests are signed with now, if there is one.
pub fn signing_key(engine: &AppEngine) -> Result<Option<SigningKey>, ProtectError> {
    let (config, secrets) = engine.in_force();
    let Some(text) = &config.daemon.signing_key else { return Ok(None) };
    let pem = secrets.resolve_text(&text.0).map_err(ProtectError::Unknown)?;
    SigningKey::from_pem(pem.expose()).map(Some).map_err(ProtectError::Signing)
}
