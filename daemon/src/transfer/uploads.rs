//! Keeps how far an upload is in the ledger, so that a restart sends only what is missing.

use crate::base::crash;
use crate::base::ids::TaskId;
use crate::destinations::upload::{LogError, UploadLog};
use crate::ledger::rows::UploadRow;
use crate::ledger::{Ledger, LedgerError};
use crate::model::upload::{Part, Upload};
use futures_util::future::BoxFuture;
use std::sync::Arc;

/// The log of one object's upload.
pub struct LedgerLog<'a> {
    /// Where it is kept.
    pub ledger: &'a Ledger,
    /// Whose object it is.
    pub task: &'a TaskId,
    /// Where it goes.
    pub destination: &'a str,
    /// Its key.
    pub key: &'a str,
}

fn failed(error: LedgerError) -> LogError {
    LogError(Arc::new(error))
}

impl UploadLog for LedgerLog<'_> {
    fn load(&self) -> BoxFuture<'_, Result<Option<Upload>, LogError>> {
        Box::pin(async { self.ledger.upload(self.task, self.destination, self.key).await.map_err(failed) })
    }

    fn begin(&self, id: &str, part_size: u64) -> BoxFuture<'_, Result<(), LogError>> {
        let row = UploadRow { destination: self.destination.to_owned(), key: self.key.to_owned(), id: id.to_owned() };
        Box::pin(async move {
            crash::point("upload.before_begin");
            self.ledger.begin_upload(self.task, row, part_size).await.map_err(failed)?;
            crash::point("upload.begun");
            Ok(())
        })
    }

    fn part(&self, part: Part) -> BoxFuture<'_, Result<(), LogError>> {
        Box::pin(async move {
            crash::point("upload.part_sent");
            self.ledger.add_part(self.task, self.destination, self.key, part).await.map_err(failed)?;
            crash::point("upload.part_noted");
            Ok(())
        })
    }

    fn forget(&self) -> BoxFuture<'_, Result<(), LogError>> {
        Box::pin(async {
            crash::point("upload.completed");
            self.ledger.forget_upload(self.task, self.destination, self.key).await.map_err(failed)
        })
    }
}
