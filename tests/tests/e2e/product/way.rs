//! How an export of the product is made, so that a crash point lies on the way of its run.

use super::Run;
use saas_export_tests::harness::config;
use saas_export_tests::sample::table::{Change, Table};
use serde_json::{Value, json};
use std::ops::RangeInclusive;

/// Rows that a limit leaves of a first run.
const MOST: u64 = 200;
/// A row that comes while the pages are read: whether it is seen is up to the moment.
const INTRUDER: u64 = 1_000_000;

/// How an export is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// A token that is renewed, an incremental stream, signed manifests, somebody who is told of the end.
    Plain,
    /// The same, run by its schedule.
    Scheduled,
    /// The same, while a snapshot of the ledger is taken.
    Snapshot,
    /// The same, whose ledger is lost afterwards, and restored from a snapshot of the middle.
    Restored,
    /// Its stream has a parent.
    Children,
    /// It ends at so many rows.
    Limited,
    /// One file a stream.
    Single,
    /// All destinations but one join later.
    Filled,
    /// Only its newest chain is kept.
    Pruned,
    /// Its pages shift under it.
    Shifted,
    /// It meets a field that its sample did not have, and reads everything again.
    Restarted,
    /// Its files are large enough for this destination to get them in parts.
    InParts(&'static str),
}

impl Way {
    /// The ways that pass a point.
    pub fn past(point: &str) -> Vec<Self> {
        let (family, rest) = point.split_once('.').expect("a point has two parts");
        match (family, rest) {
            ("slot", _) => vec![Self::Scheduled],
            ("snapshot", _) => vec![Self::Snapshot],
            ("restore", _) => vec![Self::Restored],
            ("parent", _) => vec![Self::Children],
            ("limit", _) => vec![Self::Limited],
            ("single", _) => vec![Self::Single],
            ("delivery", "fetched") => vec![Self::Filled],
            ("prune", _) => vec![Self::Pruned],
            ("shift", _) => vec![Self::Shifted],
            ("restart", _) => vec![Self::Restarted],
            // An SFTP server gets every file in parts.
            ("upload", _) => vec![Self::InParts("sftp"), Self::InParts("s3"), Self::InParts("azure")],
            _ => vec![Self::Plain],
        }
    }

    /// Whether there is such a run on this way: a schedule makes new tasks alone, a back-fill never fails, behind what a limit
    /// ended none goes on, and lines of JSON take any field.
    pub fn knows(self, format: &str, run: Run) -> bool {
        match self {
            Self::Scheduled => matches!(run, Run::First | Run::Incremental),
            Self::Filled => run != Run::Retried,
            Self::Limited => run != Run::Incremental,
            Self::Restarted => !matches!(format, "json" | "ndjson"),
            _ => true,
        }
    }

    /// Rows of the first run.
    pub fn rows(self) -> u64 {
        // More pages than a sample has.
        if self == Self::Restarted { 560 } else { 240 }
    }

    /// Those that a second run moves: some that changed and some that are new.
    pub fn changed(self) -> RangeInclusive<u64> {
        if self == Self::Restarted { 521..=1080 } else { 221..=260 }
    }

    /// The first rows, or those of the second run.
    pub fn put(self, table: &mut Table, second: bool) {
        let (ids, later, words) = match (second, self) {
            (false, Self::Restarted) => (1..=self.rows(), 0, 60),
            (false, Self::InParts("s3" | "azure")) => (1..=self.rows(), 0, 6_000),
            (false, _) => (1..=self.rows(), 0, 220),
            (true, Self::Restarted) => (self.changed(), 1000, 60),
            (true, Self::InParts("s3" | "azure")) => (self.changed(), 1000, 36_000),
            (true, _) => (self.changed(), 1000, 220),
        };
        table.change(ids.map(|id| put(id, later + id, words)));
        if self == Self::Restarted {
            table.widen(if second { 1060 } else { 545 }, if second { "later" } else { "late" });
        }
    }

    /// What happens to the rows while the run that is killed reads them.
    pub fn meanwhile(self, table: &mut Table) {
        if self == Self::Shifted {
            table.plan(3, vec![put(INTRUDER, 3000, 220)]);
        }
    }

    /// The stream `items`, over the rows.
    pub fn stream(self) -> Value {
        let pager = if self == Self::Shifted { "offset" } else { "cursor" };
        let mut stream = json!({
            "path": format!("/table/{pager}/items"), "records": "$.data[*]", "primary_key": ["id"],
            "paginate": config::table_pager(pager),
            "incremental": { "cursor_field": "updated_at", "param": "updated_since", "start": "2024-01-01T00:00:00Z" },
        });
        match self {
            Self::Shifted => stream["query"] = json!({ "order": "newest" }),
            Self::Children => {
                stream["partition"] = json!({ "parent": { "stream": "parents", "values": { "id": "id" } } });
                stream["query"] = json!({ "part": "{{ parent.id }}", "parts": "3" });
            }
            _ => {}
        }
        stream
    }

    /// Adds to an export what makes it this one.
    pub fn shape(self, export: &mut Value) {
        match self {
            Self::Limited => export["limits"] = json!({ "max_rows": MOST }),
            Self::Single => export["layout"] = "single".into(),
            Self::Filled => export["to"] = json!(["lake"]),
            Self::Pruned => export["keep"] = json!({ "chains": 1 }),
            Self::Restarted => export["schema"] = json!({ "on_misfit": "restart" }),
            Self::InParts("s3" | "azure") => export["chunk_size"] = "20MB".into(),
            _ => {}
        }
    }

    /// The body of a request for a run.
    pub fn body(self) -> &'static str {
        if self == Self::Pruned { r#"{"full":true}"# } else { "" }
    }

    /// Tasks that there are when the run that is killed is known.
    pub fn tasks(self, run: Run) -> usize {
        1 + usize::from(run == Run::Incremental) + usize::from(self == Self::Pruned)
    }

    /// The ids of each data set that readers find at the end.
    pub fn expected(self, run: Run) -> Vec<Vec<u64>> {
        let (first, changed) = (1..=self.rows(), self.changed());
        match (self, run) {
            (Self::Pruned, Run::Incremental) => vec![(1..=*changed.end()).collect()],
            (Self::Pruned, _) => vec![first.collect()],
            (Self::Limited, _) => vec![(1..=MOST).collect()],
            (_, Run::Incremental) => vec![first.collect(), changed.collect()],
            _ => vec![first.collect()],
        }
    }

    /// Whether a row's id counts.
    pub fn counts(id: &u64) -> bool {
        *id != INTRUDER
    }
}

/// A row that was changed in second `at` of 2024.
fn put(id: u64, at: u64, words: usize) -> Change {
    let text = format!("{id} {}", "text ".repeat(words));
    Change::Put(id, format!("2024-01-01T{:02}:{:02}:{:02}Z", at / 3600, at / 60 % 60, at % 60), text)
}
