//! How an export of the product is made, so that a crash point lies on the way of its run.

use super::Run;
use saas_export_tests::harness::config;
use saas_export_tests::sample::table::{Change, Table};
use serde_json::{Value, json};
use std::ops::RangeInclusive;

/// Rows that a limit leaves out.
const OVER: u64 = 40;
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

/// A version of a row: its id, and the second of its change.
pub type Version = (u64, u64);

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

    /// Whether such a run passes the point on this way. A schedule makes new tasks alone, a back-fill never fails, behind what a
    /// limit ended none goes on, and lines of JSON take any field; what goes on was submitted before, and what failed knew its parts.
    pub fn knows(self, format: &str, run: Run, point: &str) -> bool {
        let new = matches!(run, Run::First | Run::Incremental);
        match self {
            Self::Scheduled => new,
            Self::Filled => run != Run::Retried,
            Self::Limited => run != Run::Incremental,
            Self::Restarted => !matches!(format, "json" | "ndjson"),
            _ => new || point != "task.submitted" && (run == Run::Resumed || point != "partitions.stored"),
        }
    }

    /// Rows of the first run, on pages of ten. Where something has to happen behind the sample of the schema: more pages than its 50.
    fn rows(self, run: Run) -> u64 {
        match (self, run) {
            (Self::InParts("s3" | "azure"), Run::Resumed | Run::Retried) => 1600,
            (_, Run::Resumed | Run::Retried) => 800,
            (Self::Restarted | Self::Shifted, _) => 560,
            _ => 240,
        }
    }

    /// Pages of a run that is interrupted behind a segment: the first one is closed with the sample, or at the size of its file.
    pub fn pages_of_first_segment(self) -> u64 {
        if matches!(self, Self::InParts("s3" | "azure")) { 75 } else { 53 }
    }

    /// Those that a second run moves: some that changed and some that are new.
    fn changed(self) -> RangeInclusive<u64> {
        match self {
            Self::Restarted | Self::Shifted => 401..=960,
            Self::InParts("s3" | "azure") => 221..=260,
            _ => 201..=440,
        }
    }

    /// Words in the text of each row: of the first rows, or those of the second run.
    fn words(self, run: Run, second: bool) -> usize {
        match (self, run) {
            (Self::InParts("s3" | "azure"), Run::Resumed | Run::Retried) => 1_800,
            (Self::InParts("s3" | "azure"), _) => {
                if second {
                    36_000
                } else {
                    6_000
                }
            }
            _ => 220,
        }
    }

    /// The first rows, or those of the second run.
    pub fn put(self, run: Run, table: &mut Table, second: bool) {
        let (ids, later) = if second { (self.changed(), 1000) } else { (1..=self.rows(run), 0) };
        table.change(ids.map(|id| put(id, later + id, self.words(run, second))));
        if self == Self::Restarted {
            let (from, name) = self.wider(second);
            table.widen(from, name);
        }
    }

    /// Behind the sample of a run rows have one more field, which holds their id: from which row on, and its name.
    pub fn wider(self, second: bool) -> (u64, &'static str) {
        if second { (950, "later") } else { (545, "late") }
    }

    /// What happens to the rows while the run that is killed reads them: behind its sample, if it begins with one.
    pub fn meanwhile(self, run: Run, table: &mut Table) {
        if self == Self::Shifted {
            let request = if matches!(run, Run::First | Run::Incremental) { 53 } else { 3 };
            table.plan(request, vec![put(INTRUDER, 3000, self.words(run, false))]);
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
    pub fn shape(self, run: Run, export: &mut Value) {
        match self {
            Self::Limited => export["limits"] = json!({ "max_rows": self.rows(run) - OVER }),
            Self::Single => export["layout"] = "single".into(),
            Self::Filled => export["to"] = json!(["lake"]),
            Self::Pruned => export["keep"] = json!({ "chains": 1 }),
            Self::Restarted => export["schema"] = json!({ "on_misfit": "restart" }),
            // Two files or one; each of them is more than a part.
            Self::InParts("s3" | "azure") => export["chunk_size"] = "6MB".into(),
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

    /// The rows of each data set that readers find at the end, in the order of their ids.
    pub fn expected(self, run: Run) -> Vec<Vec<Version>> {
        let first = || (1..=self.rows(run)).map(|id| (id, id));
        let changed = || self.changed().map(|id| (id, 1000 + id));
        match (self, run) {
            (Self::Pruned, Run::Incremental) => {
                vec![first().take_while(|row| row.0 < *self.changed().start()).chain(changed()).collect()]
            }
            (Self::Limited, _) => vec![first().take_while(|row| row.0 <= self.rows(run) - OVER).collect()],
            (Self::Pruned, _) => vec![first().collect()],
            (_, Run::Incremental) => vec![first().collect(), changed().collect()],
            _ => vec![first().collect()],
        }
    }

    /// Which version of a row a text is of, and whether it is all of it.
    pub fn version(self, run: Run, text: &str) -> Option<Version> {
        let mut words = text.split(' ');
        let (id, at) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        (text == self::text(id, at, self.words(run, at > 1000 && at < 3000))).then_some((id, at))
    }

    /// Whether it is a row that may be there or not.
    pub fn comes_between(self, row: Version) -> bool {
        self == Self::Shifted && row.0 == INTRUDER
    }
}

fn text(id: u64, at: u64, words: usize) -> String {
    format!("{id} {at} {}", "text ".repeat(words))
}

/// A row that was changed in second `at` of 2024.
fn put(id: u64, at: u64, words: usize) -> Change {
    let time = format!("2024-01-01T{:02}:{:02}:{:02}Z", at / 3600, at / 60 % 60, at % 60);
    Change::Put(id, time, text(id, at, words))
}
