//! Facts for monitoring: counts and ages, each found along an index, so that they may be asked for every few seconds.

use super::Ledger;
use super::codec::{all, count, one, time};
use super::error::LedgerError;
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _};

/// What is open now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenFacts {
    /// Open tasks: processing, paused, pending.
    pub processing: u64,
    /// Paused ones.
    pub paused: u64,
    /// Those in the queue.
    pub pending: u64,
    /// When the oldest task of the queue was made.
    pub oldest: Option<Timestamp>,
    /// Running tasks that wait, by export.
    pub waiting: Vec<(String, u64)>,
    /// Destinations that files of open tasks, or of back-fills, wait for: name, files, bytes.
    pub pending_at: Vec<(String, u64, u64)>,
}

/// How the newest task of an export that ended did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastEnd {
    /// Whether it failed.
    pub failed: bool,
    /// The class of the error that it failed with.
    pub class: Option<String>,
}

/// What is known of a stream of an export.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreamFacts {
    /// When a task last exported it with success.
    pub last_success: Option<Timestamp>,
    /// When the export's first task was made.
    pub first_task: Option<Timestamp>,
}

fn open(sql: &Connection) -> Result<OpenFacts, LedgerError> {
    let of = |state: &str| {
        one(sql, "SELECT count(*) AS n FROM tasks WHERE state = ?1", [state], |row| count(row, "n"))
            .map(Option::unwrap_or_default)
    };
    let oldest = "SELECT min(created_at) AS at FROM tasks WHERE state = 'pending'";
    let waiting = "SELECT export, count(*) AS n FROM tasks WHERE state = 'processing' AND waiting_reason IS NOT NULL
                   GROUP BY export ORDER BY export";
    let pending = "SELECT d.destination, count(*) AS files, sum(g.bytes) AS bytes
         FROM deliveries d JOIN segments g USING (task, stream, lane, n, revision) JOIN tasks t ON t.id = d.task
         WHERE d.verified_at IS NULL AND NOT g.superseded AND (t.state IN ('pending', 'processing', 'paused')
             OR EXISTS (SELECT 1 FROM back_fills b WHERE b.task = d.task AND b.destination = d.destination))
         GROUP BY d.destination ORDER BY d.destination";
    Ok(OpenFacts {
        processing: of("processing")?,
        paused: of("paused")?,
        pending: of("pending")?,
        oldest: one(sql, oldest, [], |row| time(row, "at"))?.flatten(),
        waiting: all(sql, waiting, [], |row| Ok((row.get("export")?, count(row, "n")?)))?,
        pending_at: all(sql, pending, [], |row| {
            Ok((row.get("destination")?, count(row, "files")?, count(row, "bytes")?))
        })?,
    })
}

/// Of the newest task in each of both states the later one; its index is by state.
fn last_end(sql: &Connection, export: &str) -> Result<Option<LastEnd>, LedgerError> {
    let newest = |state: &str| {
        let text = "SELECT seq, error_class FROM tasks WHERE export = ?1 AND state = ?2 ORDER BY seq DESC LIMIT 1";
        let found = sql.prepare_cached(text)?.query_row((export, state), |row| {
            Ok((row.get::<_, i64>("seq")?, row.get::<_, Option<String>>("error_class")?))
        });
        found.optional().map_err(LedgerError::from)
    };
    let (good, bad) = (newest("succeeded")?, newest("failed")?);
    Ok(match (good, bad) {
        (None, None) => None,
        (good, Some((seq, class))) if good.as_ref().is_none_or(|(before, _)| *before < seq) => {
            Some(LastEnd { failed: true, class })
        }
        _ => Some(LastEnd { failed: false, class: None }),
    })
}

fn stream(sql: &Connection, export: &str, stream: &str) -> Result<StreamFacts, LedgerError> {
    // A task that failed may have published the rest of its streams (`on_stream_error`).
    let text = "SELECT max(at) AS at FROM (
         SELECT * FROM (SELECT t.ended_at AS at FROM tasks t JOIN task_streams s ON s.task = t.id AND s.stream = ?2
             WHERE t.export = ?1 AND t.state = 'succeeded' AND s.error IS NULL ORDER BY t.seq DESC LIMIT 1)
         UNION ALL SELECT * FROM (SELECT t.ended_at FROM tasks t JOIN manifests m ON m.task = t.id AND m.stream = ?2
             WHERE t.export = ?1 AND t.state = 'failed' AND m.published_at IS NOT NULL ORDER BY t.seq DESC LIMIT 1))";
    let first = "SELECT created_at AS at FROM tasks WHERE export = ?1 ORDER BY seq LIMIT 1";
    Ok(StreamFacts {
        last_success: one(sql, text, (export, stream), |row| time(row, "at"))?.flatten(),
        first_task: one(sql, first, [export], |row| time(row, "at"))?.flatten(),
    })
}

impl Ledger {
    /// What is open now.
    pub async fn open_facts(&self) -> Result<OpenFacts, LedgerError> {
        self.read(open).await
    }

    /// How the newest ended tasks of these exports did; none for one of which no task has succeeded or failed.
    pub async fn last_ends(&self, exports: Vec<String>) -> Result<Vec<(String, LastEnd)>, LedgerError> {
        self.read(move |sql| {
            let mut ends = Vec::new();
            for export in exports {
                if let Some(end) = last_end(sql, &export)? {
                    ends.push((export, end));
                }
            }
            Ok(ends)
        })
        .await
    }

    /// What is known of these streams, each with the name of its export; in the same order.
    pub async fn stream_facts(&self, streams: Vec<(String, String)>) -> Result<Vec<StreamFacts>, LedgerError> {
        self.read(move |sql| streams.iter().map(|(export, name)| stream(sql, export, name)).collect()).await
    }
}
