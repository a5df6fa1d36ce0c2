//! Looks at the whole ledger without changing it: the file, its references, the audit, and promises that SQL can tell.

use super::codec::all;
use super::error::LedgerError;
use super::{Ledger, audit, open};
use crate::base::clock;
use rusqlite::Connection;
use saas_export_manifest::Digests;
use std::path::Path;
use std::sync::PoisonError;
use std::time::Duration;

/// The most problems that a step tells.
const MOST: usize = 20;

/// What a step found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckStep {
    /// Its name, which stays.
    pub name: &'static str,
    /// What must hold.
    pub looked_at: &'static str,
    /// Where it does not hold; at most 20.
    pub problems: Vec<String>,
    /// What to do about problems.
    pub remedy: &'static str,
}

/// Something to look at.
struct Look {
    name: &'static str,
    looked_at: &'static str,
    remedy: &'static str,
    /// The first version of the ledger that can be asked.
    since: i64,
    problems: Finder,
}

/// Finds problems; more than are told may come back.
enum Finder {
    /// A query whose rows are texts, each a problem.
    Sql(&'static str),
    /// Anything else.
    Code(fn(&Connection) -> Result<Vec<String>, LedgerError>),
}

const DAMAGED: &str = "stop the daemon, put a snapshot in its place with `saas-export-daemon ledger restore`, and look for \
                       errors of the disk (`dmesg`)";
const INCONSISTENT: &str = "please report it with the output of this check; `exportctl verify TASK` tells whether what is published is \
                            as its manifest says, and `saas-export-daemon ledger restore` goes back to a snapshot without the mistake";

const LOOKS: &[Look] = &[
    Look {
        name: "file",
        looked_at: "every page of the database, its indexes and constraints",
        remedy: DAMAGED,
        since: 1,
        problems: Finder::Code(integrity),
    },
    Look {
        name: "references",
        looked_at: "what one row says of another",
        remedy: DAMAGED,
        since: 1,
        problems: Finder::Code(references),
    },
    Look {
        name: "audit",
        looked_at: "the chain of hashes over the audit",
        remedy: "somebody, or a failing disk, changed the audit behind the daemon's back: compare it with that of a snapshot \
                 (exportctl ledger snapshots) to see what was changed",
        since: 1,
        problems: Finder::Code(chain_of_hashes),
    },
    Look {
        name: "sums",
        looked_at: "that every record read is accounted for, and the segments of a stream hold what its sums say",
        remedy: INCONSISTENT,
        since: 9,
        problems: Finder::Sql(
            "SELECT s.task || ' ' || s.stream || ': ' || s.written || ' records written and ' || s.rejected || ' rejected of '
                 || s.read || ' read, but its segments hold ' || coalesce(sum(g.written), 0) || ' and '
                 || coalesce(sum(g.rejected), 0)
             FROM task_streams s LEFT JOIN segments g
                 ON g.task = s.task AND g.stream = s.stream AND NOT g.superseded
                 AND (g.role <> 'single' OR NOT EXISTS (SELECT 1 FROM segments p WHERE p.task = g.task
                     AND p.stream = g.stream AND p.role = 'part' AND NOT p.superseded))
             WHERE s.task NOT IN (SELECT id FROM tasks WHERE forgotten_at IS NOT NULL)
             GROUP BY s.task, s.stream
             HAVING coalesce(sum(g.written), 0) <> s.written OR coalesce(sum(g.rejected), 0) <> s.rejected
                 OR s.read <> s.written + s.rejected + s.duplicate + s.filtered + s.over_limit",
        ),
    },
    Look {
        name: "published",
        looked_at: "that all segments of what is published were verified where it is",
        remedy: INCONSISTENT,
        since: 8,
        problems: Finder::Sql(
            "SELECT m.task || ' ' || m.stream || ' is published at ' || m.destination || ', but ' || g.name
                 || ' was not verified there'
             FROM manifests m
             JOIN segments g ON g.task = m.task AND g.stream = m.stream AND NOT g.superseded AND g.role <> 'part'
             LEFT JOIN deliveries d ON d.task = g.task AND d.stream = g.stream AND d.lane = g.lane AND d.n = g.n
                 AND d.revision = g.revision AND d.destination = m.destination
             WHERE m.published_at IS NOT NULL AND m.pruned_at IS NULL AND d.verified_at IS NULL",
        ),
    },
    Look {
        name: "manifests",
        looked_at: "that the manifests are the bytes that were composed, and list the segments that the ledger has",
        remedy: DAMAGED,
        since: 8,
        problems: Finder::Code(manifests),
    },
    Look {
        name: "chains",
        looked_at: "that what is published has its place in a chain whose start is known",
        remedy: INCONSISTENT,
        since: 8,
        problems: Finder::Sql(
            "SELECT m.task || ' ' || m.stream || ' at ' || m.destination || ': '
                 || CASE WHEN l.chain IS NULL THEN 'it is in no chain' ELSE 'its chain ' || l.chain || ' is not known' END
             FROM manifests m
             LEFT JOIN chain_links l ON l.task = m.task AND l.stream = m.stream
             LEFT JOIN tasks c ON c.id = l.chain
             WHERE m.published_at IS NOT NULL AND m.gone_at IS NULL AND c.id IS NULL",
        ),
    },
    Look {
        name: "marks",
        looked_at: "that each mark was set by a task of its export that read its stream",
        remedy: "`exportctl offsets reset EXPORT --stream STREAM --yes`: the next task reads the stream as a whole",
        since: 8,
        problems: Finder::Sql(
            "SELECT m.export || ' ' || m.stream || ': its mark is of the task ' || m.task
             FROM marks m LEFT JOIN tasks t ON t.id = m.task AND t.export = m.export
             LEFT JOIN task_streams s ON s.task = m.task AND s.stream = m.stream
             WHERE t.id IS NULL OR s.stream IS NULL OR NOT json_valid(m.mark)",
        ),
    },
    Look {
        name: "tasks",
        looked_at: "that each task is in a state that there is, and that one that runs has an owner",
        remedy: INCONSISTENT,
        since: 8,
        problems: Finder::Sql(
            "SELECT id || ' is ' || state FROM tasks
             WHERE state NOT IN ('pending', 'processing', 'paused', 'succeeded', 'failed', 'cancelled')
                 OR (state = 'processing' AND instance IS NULL)
                 OR (state IN ('succeeded', 'failed', 'cancelled') AND ended_at IS NULL)",
        ),
    },
];

fn integrity(sql: &Connection) -> Result<Vec<String>, LedgerError> {
    let found = all(sql, &format!("PRAGMA integrity_check({MOST})"), [], |row| row.get::<_, String>(0))?;
    Ok(found.into_iter().filter(|line| line != "ok").map(|line| line.replace('\n', ", ")).collect())
}

fn references(sql: &Connection) -> Result<Vec<String>, LedgerError> {
    all(sql, "SELECT \"table\", \"parent\", count(*) FROM pragma_foreign_key_check GROUP BY 1, 2", [], |row| {
        let (table, parent): (String, String) = (row.get(0)?, row.get(1)?);
        Ok(format!("{} rows of {table} name a row of {parent} that is not there", row.get::<_, i64>(2)?))
    })
}

fn chain_of_hashes(sql: &Connection) -> Result<Vec<String>, LedgerError> {
    let found = audit::broken(sql)?;
    Ok(found.map(|seq| format!("row {seq} does not follow from the rows before it")).into_iter().collect())
}

fn manifests(sql: &Connection) -> Result<Vec<String>, LedgerError> {
    let mut statement = sql.prepare("SELECT task, stream, destination, sha256, bytes FROM manifests")?;
    let mut rows = statement.query([])?;
    let mut problems = Vec::new();
    while let Some(row) = rows.next()? {
        let bytes = row.get_ref("bytes")?.as_blob().map_err(rusqlite::Error::from)?;
        if Digests::of(bytes).sha256 != row.get::<_, String>("sha256")? {
            let part = |column| row.get::<_, String>(column);
            problems.push(format!("{} {} for {} was changed", part("task")?, part("stream")?, part("destination")?));
        }
    }
    let text = "SELECT m.task || ' ' || m.stream || ' for ' || m.destination || ' lists ' || (j.value ->> 'name')
             || ', which is not as the ledger has it'
         FROM (SELECT *, CAST(bytes AS TEXT) AS document FROM manifests WHERE pruned_at IS NULL) m
         JOIN json_each(CASE WHEN json_valid(m.document) THEN m.document ELSE '{}' END, '$.segments') j
         LEFT JOIN segments g ON g.task = m.task AND g.stream = m.stream AND g.name = j.value ->> 'name'
             AND g.sha256 = j.value ->> 'sha256' AND g.bytes = j.value ->> 'bytes'
         WHERE g.name IS NULL LIMIT ?1";
    problems.extend(all(sql, text, [MOST as i64], |row| row.get::<_, String>(0))?);
    Ok(problems)
}

/// Looks at everything. What is damaged so much that it cannot be asked is a problem like others.
fn steps(sql: &Connection) -> Result<Vec<CheckStep>, LedgerError> {
    let version: i64 = sql.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let mut steps = Vec::new();
    for look in LOOKS.iter().filter(|look| look.since <= version) {
        let found = match look.problems {
            Finder::Sql(text) => all(sql, &format!("{text} LIMIT {}", MOST + 1), [], |row| row.get(0)),
            Finder::Code(find) => find(sql),
        };
        let mut problems = match found {
            Ok(problems) => problems,
            Err(LedgerError::Sqlite(error)) if !interrupted(&error) => vec![format!("it cannot be read: {error}")],
            Err(error) => return Err(error),
        };
        if problems.len() > MOST {
            problems.truncate(MOST);
            problems.push("and more".into());
        }
        let Look { name, looked_at, remedy, .. } = *look;
        steps.push(CheckStep { name, looked_at, problems, remedy });
    }
    Ok(steps)
}

fn interrupted(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(rusqlite::ErrorCode::OperationInterrupted)
}

/// Looks at a ledger that no daemon need have open, without writing a byte. A snapshot of an older version is asked what it can
/// tell.
///
/// # Errors
/// `Corrupt` and `Newer` for what is no ledger that is known here.
pub fn check_file(path: &Path) -> Result<Vec<CheckStep>, LedgerError> {
    let sql = open::untouched(path)?;
    let snapshot = sql.unchecked_transaction()?;
    let steps = steps(&snapshot).map_err(|error| error.located(path))?;
    snapshot.finish()?;
    Ok(steps)
}

impl Ledger {
    /// Looks at the whole ledger as it is now, on a connection of its own: nothing waits for it. Also says how long it took.
    pub async fn check(&self) -> Result<(Vec<CheckStep>, Duration), LedgerError> {
        let turn = self.shared.care.clone().lock_owned().await;
        let shared = self.shared.clone();
        let checked = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            let begun = clock::monotonic();
            let sql = open::reader(&shared.path)?;
            let slot = || shared.interrupt.lock().unwrap_or_else(PoisonError::into_inner);
            *slot() = Some(sql.get_interrupt_handle());
            let snapshot = sql.unchecked_transaction()?;
            let steps = if shared.readers.closed() { Err(LedgerError::Closed) } else { steps(&snapshot) };
            *slot() = None;
            snapshot.finish()?;
            Ok((steps?, clock::since(begun)))
        });
        checked.await.map_err(|_| LedgerError::Closed)?
    }
}
