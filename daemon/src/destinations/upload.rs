//! The seam through which a destination keeps how far an upload is.

use crate::base::error::Classify;
use crate::model::upload::{Part, Upload};
use futures_util::future::BoxFuture;
use std::sync::Arc;

/// Why the log could not be read or written.
#[derive(Clone, Debug, thiserror::Error)]
#[error(transparent)]
pub struct LogError(pub Arc<dyn Classify + Send + Sync>);

/// Keeps the state of one object's upload durably. An id is stored before the first part is sent, a part after it arrived.
pub trait UploadLog: Send + Sync {
    /// What was begun earlier.
    fn load(&self) -> BoxFuture<'_, Result<Option<Upload>, LogError>>;

    /// Notes a new upload; whatever stood there before is replaced.
    fn begin(&self, id: &str, part_size: u64) -> BoxFuture<'_, Result<(), LogError>>;

    /// Notes a part that arrived.
    fn part(&self, part: Part) -> BoxFuture<'_, Result<(), LogError>>;

    /// Forgets the upload: it is completed, or the destination no longer knows it.
    fn forget(&self) -> BoxFuture<'_, Result<(), LogError>>;
}

/// A log in memory, for uploads that nothing needs to survive.
#[derive(Debug, Default)]
pub struct InMemory(std::sync::Mutex<Option<Upload>>);

impl InMemory {
    fn change<T>(&self, change: impl FnOnce(&mut Option<Upload>) -> T) -> BoxFuture<'_, Result<T, LogError>>
    where
        T: Send + 'static,
    {
        let changed = change(&mut self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
        Box::pin(std::future::ready(Ok(changed)))
    }
}

impl UploadLog for InMemory {
    fn load(&self) -> BoxFuture<'_, Result<Option<Upload>, LogError>> {
        self.change(|upload| upload.clone())
    }

    fn begin(&self, id: &str, part_size: u64) -> BoxFuture<'_, Result<(), LogError>> {
        self.change(|upload| *upload = Some(Upload { id: id.to_owned(), part_size, parts: Vec::new() }))
    }

    fn part(&self, part: Part) -> BoxFuture<'_, Result<(), LogError>> {
        self.change(|upload| {
            if let Some(upload) = upload {
                upload.parts.retain(|known| known.number != part.number);
                upload.parts.push(part);
                upload.parts.sort_by_key(|part| part.number);
            }
        })
    }

    fn forget(&self) -> BoxFuture<'_, Result<(), LogError>> {
        self.change(|upload| *upload = None)
    }
}
