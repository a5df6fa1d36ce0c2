//! The limits of an export: what is left of them, where they cut a page, and how they end a task.

use super::TaskRun;
use super::error::TransferError;
use crate::base::error::ErrorClass;
use crate::config::settings::Limits;
use crate::ledger::rows::StreamRow;
use crate::record::convert::Converted;

/// What is left of an export's limits, at a place in the order of its records; nothing of it depends on time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Left {
    /// Rows that may still be written.
    pub rows: Option<u64>,
    /// JSON bytes of records that may still be read.
    pub bytes: Option<u64>,
}

impl Left {
    /// What is left behind all that is committed.
    pub fn after(limits: &Limits, rows: &[StreamRow]) -> Self {
        let written: u64 = rows.iter().map(|row| row.counts.written).sum();
        let read: u64 = rows.iter().map(|row| row.source_bytes).sum();
        Self {
            rows: limits.max_rows.map(|most| most.saturating_sub(written)),
            bytes: limits.max_bytes.map(|most| most.0.saturating_sub(read)),
        }
    }

    /// The limit that is reached; its key in the settings.
    pub fn reached(&self) -> Option<&'static str> {
        match self {
            Self { rows: Some(0), .. } => Some("max_rows"),
            Self { bytes: Some(0), .. } => Some("max_bytes"),
            _ => None,
        }
    }

    /// Takes a page off, and cuts it where it has more rows than are left.
    pub fn take(&mut self, page: &mut Converted) {
        if let Some(rows) = &mut self.rows {
            page.keep(*rows);
            *rows -= page.counts.written;
        }
        if let Some(bytes) = &mut self.bytes {
            *bytes = bytes.saturating_sub(page.source_bytes);
        }
    }
}

/// The sentence of the report.
pub fn note(limits: &Limits, reached: &str) -> String {
    let most = match reached {
        "max_rows" => limits.max_rows.unwrap_or_default().to_string(),
        _ => limits.max_bytes.map(|most| most.to_string()).unwrap_or_default(),
    };
    format!("limits.{reached} ({most}) ended this stream: the source may have more")
}

/// Does the reading, but no longer than the export allows. What the clock cuts is never published: the attempt fails.
pub async fn within_time(
    task: &TaskRun,
    work: impl Future<Output = Result<(), TransferError>>,
) -> Result<(), TransferError> {
    let Some(most) = task.export.limits.max_duration else { return work.await };
    let mut work = std::pin::pin!(work);
    tokio::select! {
        done = &mut work => return done,
        () = tokio::time::sleep(most.0) => {}
    }
    task.stop.cancel();
    match work.await {
        Err(TransferError::Stopped) => Err(TransferError::Broken {
            message: format!(
                "read everything within limits.max_duration ({most}): raise it, or let `exportctl retry {}` go on from \
                 here for as long again",
                task.row.id
            ),
            class: ErrorClass::Config,
        }),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::schema::{Field, Schema, Type};
    use crate::record::convert::{Data, Layout, Plan};
    use crate::record::page::Page;
    use proptest::prelude::*;

    fn rows(data: &Data) -> u64 {
        match data {
            Data::Batch(batch) => batch.num_rows() as u64,
            Data::Lines(lines) => lines.iter().filter(|byte| **byte == b'\n').count() as u64,
        }
    }

    proptest! {
        /// Whatever the pages: the counts balance, exactly the first rows are kept, and the cut depends on counts alone.
        #[test]
        fn counts_balance_and_the_first_rows_are_kept(
            pages in prop::collection::vec(prop::collection::vec(any::<bool>(), 0..8), 1..6),
            most in 0u64..30,
            columns: bool,
        ) {
            let schema = Schema { fields: vec![Field { name: "id".into(), kind: Type::Integer }] };
            let plan = Plan::new(&schema, if columns { Layout::Columns } else { Layout::Lines });
            let mut left = Left { rows: Some(most), bytes: None };
            let (mut id, mut written, mut good) = (0, 0, 0);
            for kinds in pages {
                let records: Vec<String> = kinds.iter().map(|fits| {
                    id += 1;
                    if *fits { format!("{{\"id\":{id}}}") } else { "7".to_owned() }
                }).collect();
                let mut converted = plan.convert(&Page::of(&records), None);
                good += converted.counts.written;
                left.take(&mut converted);
                prop_assert!(converted.counts.balanced(), "{:?}", converted.counts);
                prop_assert_eq!(rows(&converted.data), converted.counts.written);
                written += converted.counts.written;
                prop_assert_eq!(written, good.min(most));
                prop_assert_eq!(left.reached().is_some(), good >= most);
                if left.reached().is_some() {
                    break;
                }
            }
        }
    }

    #[test]
    fn what_is_left_counts_what_is_committed() {
        let limits = Limits { max_rows: Some(10), max_bytes: "1kB".to_owned().try_into().ok(), max_duration: None };
        let row = |written, source_bytes| {
            let counts = crate::model::segment::Counts { read: written, written, ..Default::default() };
            StreamRow { counts, source_bytes, ..StreamRow::default() }
        };
        assert_eq!(Left::after(&limits, &[]), Left { rows: Some(10), bytes: Some(1000) });
        let left = Left::after(&limits, &[row(4, 300), row(6, 100)]);
        assert_eq!((left.bytes, left.reached()), (Some(600), Some("max_rows")));
        assert_eq!(Left::after(&limits, &[row(1, 5000)]).reached(), Some("max_bytes"));
        assert_eq!(Left::after(&Limits::default(), &[row(1, 5000)]).reached(), None);
        assert!(note(&limits, "max_rows").contains("limits.max_rows (10)"));
        assert!(note(&limits, "max_bytes").contains("limits.max_bytes (1kB)"));
    }
}
