//! What protects the files of a task: recipients of those that are published, the state-key for those that stay here.

use super::error::TransferError;
use crate::base::error::ErrorClass;
use crate::config::settings::{Export, Stream, TransformStep};
use crate::formats::ParquetKeys;
use crate::seal::{Seal, Sealing};
use saas_export_manifest::SigningKey;
use std::path::Path;
use std::sync::Arc;

/// Names of quarantine files that are sealed end in it.
pub const SEALED: &str = ".sealed";

/// What protects the files of a task; nothing by default.
#[derive(Clone, Debug, Default)]
pub struct Protection {
    /// Encrypts whole segments.
    pub sealing: Sealing,
    /// Keys of Parquet's own encryption.
    pub parquet: Option<ParquetKeys>,
    /// Seals journals and quarantine.
    pub own: Option<Arc<Seal>>,
    /// Signs manifests.
    pub signer: Option<Arc<SigningKey>>,
}

/// Whether what an export keeps on this machine is sealed: it encrypts what it publishes, or hides values of a stream.
pub fn keeps_sealed<'a>(export: &Export, mut streams: impl Iterator<Item = &'a Stream>) -> bool {
    let hides = |step: &TransformStep| matches!(step, TransformStep::Mask(_) | TransformStep::Hash(_));
    export.encrypts() || streams.any(|stream| stream.transform.iter().any(hides))
}

/// What a file of a task is bound to where it is sealed: what it is, and the last three parts of its path (task, stream,
/// name), wherever the directories above them are moved to.
pub fn about(what: &str, path: &Path) -> String {
    let mut parts: Vec<_> = path.components().rev().take(3).map(|part| part.as_os_str().to_string_lossy()).collect();
    parts.reverse();
    format!("{what} {}", parts.join("/"))
}

/// The bytes of a quarantine file: sealed, where the task has a state-key.
pub fn quarantined(own: Option<&Seal>, path: &Path, rejected: Vec<u8>) -> Result<Vec<u8>, TransferError> {
    let Some(own) = own else { return Ok(rejected) };
    own.seal(&about("quarantine", path), &rejected).map_err(|error| TransferError::Broken {
        message: format!("write {}: failed to {error}", path.display()),
        class: ErrorClass::Bug,
    })
}
