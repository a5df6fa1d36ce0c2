//! Before a run: removes what an earlier one left in the spool and the ledger does not know.

use super::TaskRun;
use super::error::TransferError;
use crate::base::blocking::aside;
use crate::base::fsio;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Removes half-written segments and files that no delivery and no single file waits for. Journals are the lanes' own business.
pub async fn clean(task: &TaskRun) -> Result<(), TransferError> {
    let mut wanted = BTreeSet::new();
    for row in task.ledger.undelivered(&task.row.id).await? {
        wanted.insert(task.spool.segment(&row.id.stream, &row.name));
    }
    for stream in &task.streams {
        aside(|| clean_dir(&task.spool.stream(stream.name.as_str()), &wanted))?;
    }
    Ok(())
}

fn clean_dir(dir: &Path, wanted: &BTreeSet<std::path::PathBuf>) -> Result<(), TransferError> {
    if !dir.is_dir() {
        return Ok(());
    }
    for entry in fs::read_dir(dir).map_err(TransferError::spool("list", dir))? {
        let path = entry.map_err(TransferError::spool("list", dir))?.path();
        let journal = path.extension().is_some_and(|ending| ending == "journal");
        if !journal && !wanted.contains(&path) {
            fsio::remove(&path).map_err(TransferError::spool("remove", &path))?;
        }
    }
    Ok(())
}
