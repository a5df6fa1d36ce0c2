//! Retention: which chains lie at which destinations, and which of them are being removed or are gone.

use super::Ledger;
use super::audit::Entry;
use super::codec::{At, all, count, json, one, run, time};
use super::error::LedgerError;
use super::writer::Tx;
use crate::base::ids::TaskId;
use jiff::Timestamp;
use rusqlite::types::FromSqlError;
use rusqlite::{Connection, Row};
use std::collections::BTreeMap;

/// A chain of a stream at a destination, as far as it is published there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainAt {
    /// Name of the export.
    pub export: String,
    /// Name of the stream.
    pub stream: String,
    /// Name of the destination.
    pub destination: String,
    /// Id of the task that began it.
    pub chain: String,
    /// Its place among all chains: that of the task that began it.
    pub seq: i64,
    /// What it is a version of: empty for what `latest.json` follows; else the parameters and the format of its task, because
    /// other ones give other data.
    pub data_set: String,
    /// The parameters of its task.
    pub params: BTreeMap<String, String>,
    /// Its manifests there, by position; at least one.
    pub links: Vec<LinkAt>,
    /// How many links the chain has, here or not.
    pub linked: u64,
    /// An open task of the chain, or one of which something is still to be delivered somewhere.
    pub held_by: Option<String>,
}

/// A manifest of a chain at a destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkAt {
    /// Its task.
    pub task: TaskId,
    /// Place in the chain.
    pub position: u64,
    /// When it was published there.
    pub published_at: Timestamp,
    /// Files that it lists.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// What was noted about a removal when it began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Begun {
    /// The chain.
    pub chain: ChainAt,
    /// Who.
    pub by: String,
    /// Why.
    pub why: String,
}

impl ChainAt {
    /// Whether all of it is there.
    pub fn whole(&self) -> bool {
        self.links.len() as u64 == self.linked
    }

    /// When its newest manifest was published there.
    pub fn published_at(&self) -> Timestamp {
        self.links.iter().map(|link| link.published_at).max().unwrap_or(Timestamp::MAX)
    }

    /// Files in it.
    pub fn files(&self) -> u64 {
        self.links.iter().map(|link| link.files).sum()
    }

    /// Bytes of its files.
    pub fn bytes(&self) -> u64 {
        self.links.iter().map(|link| link.bytes).sum()
    }

    fn same(&self, other: &Self) -> bool {
        let key = |chain: &Self| (chain.export.clone(), chain.stream.clone(), chain.destination.clone());
        key(self) == key(other) && self.chain == other.chain
    }
}

/// Manifests `m` at destinations, their places `l`, and the tasks `c` that began their chains. The order of the joins is that
/// of the text: what is published and not gone are few rows, all links ever are many.
const THERE: &str = "SELECT l.export, m.stream, m.destination, l.chain, c.seq, c.chained, c.params, c.format, m.task,
        l.position, m.published_at, s.segments, s.bytes, m.pruned_by, m.pruned_why
    FROM manifests m
    CROSS JOIN chain_links l ON l.task = m.task AND l.stream = m.stream
    CROSS JOIN tasks c ON c.id = l.chain
    CROSS JOIN task_streams s ON s.task = m.task AND s.stream = m.stream
    WHERE m.published_at IS NOT NULL AND m.gone_at IS NULL AND (?1 IS NULL OR l.export = ?1)";

/// The order in which the rows of a chain follow one another.
const ORDER: &str = "ORDER BY l.export, m.stream, m.destination, c.seq, l.position";

/// What still has to be delivered somewhere, or is being worked on: chain, stream, task.
const HELD: &str = "SELECT l.chain, l.stream, t.id
    FROM tasks t CROSS JOIN chain_links l ON l.task = t.id WHERE t.state IN ('pending', 'processing', 'paused')
    UNION
    SELECT l.chain, l.stream, d.task
    FROM deliveries d JOIN segments g USING (task, stream, lane, n, revision)
    CROSS JOIN chain_links l ON l.task = d.task AND l.stream = d.stream
    WHERE d.verified_at IS NULL AND NOT g.superseded
    UNION
    SELECT l.chain, l.stream, b.task FROM back_fills b CROSS JOIN chain_links l ON l.task = b.task";

fn begun(row: &Row<'_>) -> rusqlite::Result<Begun> {
    let text = |column| row.get::<_, String>(column);
    let data_set = match row.get("chained")? {
        true => String::new(),
        false => format!("{} {}", text("params")?, text("format")?),
    };
    let link = LinkAt {
        task: TaskId::known(text("task")?),
        position: count(row, "position")?,
        published_at: time(row, "published_at")?.ok_or(FromSqlError::InvalidType)?,
        files: count(row, "segments")?,
        bytes: count(row, "bytes")?,
    };
    let chain = ChainAt {
        export: text("export")?,
        stream: text("stream")?,
        destination: text("destination")?,
        chain: text("chain")?,
        seq: row.get("seq")?,
        data_set,
        params: json(row, "params")?,
        links: vec![link],
        linked: 0,
        held_by: None,
    };
    let given = |column| row.get::<_, Option<String>>(column).map(Option::unwrap_or_default);
    Ok(Begun { chain, by: given("pruned_by")?, why: given("pruned_why")? })
}

/// The chains at destinations of one export or of all: those that are offered, or those that are being removed.
fn chains(sql: &Connection, export: Option<&str>, removed: bool) -> Result<Vec<Begun>, LedgerError> {
    let which = if removed { "m.pruned_at IS NOT NULL" } else { "m.pruned_at IS NULL" };
    let mut chains: Vec<Begun> = Vec::new();
    for row in all(sql, &format!("{THERE} AND {which} {ORDER}"), [export], begun)? {
        match chains.last_mut().filter(|last| last.chain.same(&row.chain)) {
            Some(last) => last.chain.links.extend(row.chain.links),
            None => chains.push(row),
        }
    }
    let held: BTreeMap<(String, String), String> =
        all(sql, HELD, [], |row| Ok(((row.get(0)?, row.get(1)?), row.get(2)?)))?.into_iter().collect();
    let text = "SELECT count(*) FROM chain_links WHERE chain = ?1 AND stream = ?2";
    for Begun { chain, .. } in &mut chains {
        let linked: i64 = one(sql, text, (&chain.chain, &chain.stream), |row| row.get(0))?.unwrap_or_default();
        chain.linked = u64::try_from(linked).unwrap_or_default();
        chain.held_by = held.get(&(chain.chain.clone(), chain.stream.clone())).cloned();
    }
    Ok(chains)
}

/// Notes that a chain is removed, if nothing has changed since it was looked at; whatever decided that it goes, the newest of
/// its data set never does.
fn begin(tx: &Tx<'_>, chain: &ChainAt, by: &str, why: &str) -> Result<bool, LedgerError> {
    let there = chains(tx, Some(&chain.export), false)?;
    let found = there.iter().map(|begun| &begun.chain).find(|found| found.same(chain));
    let unchanged = found.is_some_and(|found| found == chain && found.held_by.is_none());
    let newer = |other: &&Begun| {
        let other = &other.chain;
        let place = (&other.stream, &other.destination, &other.data_set);
        place == (&chain.stream, &chain.destination, &chain.data_set) && other.seq > chain.seq && other.whole()
    };
    if !unchanged || !there.iter().any(|other| newer(&other)) {
        return Ok(false);
    }
    let text = "UPDATE manifests SET pruned_at = ?4, pruned_by = ?5, pruned_why = ?6
                WHERE task = ?1 AND stream = ?2 AND destination = ?3";
    for link in &chain.links {
        run(tx, text, (link.task.as_str(), &chain.stream, &chain.destination, At(tx.at), by, why))?;
    }
    Ok(true)
}

/// Notes that a removed chain is gone.
fn finish(tx: &Tx<'_>, Begun { chain, by, why }: &Begun) -> Result<(), LedgerError> {
    let text = "UPDATE manifests SET gone_at = ?4
                WHERE task = ?1 AND stream = ?2 AND destination = ?3 AND pruned_at IS NOT NULL AND gone_at IS NULL";
    let mut changed = 0;
    for link in &chain.links {
        changed += run(tx, text, (link.task.as_str(), &chain.stream, &chain.destination, At(tx.at)))?;
    }
    if changed == 0 {
        return Ok(());
    }
    let tasks: Vec<&str> = chain.links.iter().map(|link| link.task.as_str()).collect();
    let detail = serde_json::json!({
        "stream": chain.stream, "destination": chain.destination, "chain": chain.chain, "tasks": tasks,
        "files": chain.files(), "bytes": chain.bytes(),
    });
    tx.audit(Entry {
        task: Some(&TaskId::known(&chain.chain)),
        export: Some(&chain.export),
        actor: by,
        action: "pruned",
        reason: why,
        detail: Some(detail.to_string()),
        ..Entry::default()
    })
}

/// The tasks of a chain that have nothing else anywhere, and will not have.
fn last_of(sql: &Connection, chain: &ChainAt) -> Result<Vec<TaskId>, LedgerError> {
    let text = "SELECT 1 FROM manifests WHERE task = ?1 AND gone_at IS NULL AND NOT (stream = ?2 AND destination = ?3)
                UNION ALL SELECT 1 FROM tasks WHERE id = ?1 AND state <> 'succeeded' LIMIT 1";
    let mut last = Vec::new();
    for link in &chain.links {
        let key = (link.task.as_str(), &chain.stream, &chain.destination);
        if one(sql, text, key, |_| Ok(()))?.is_none() {
            last.push(link.task.clone());
        }
    }
    Ok(last)
}

impl Ledger {
    /// The chains that are offered at destinations, of one export or of all: by export, stream, destination, and age.
    pub async fn chains_there(&self, export: Option<&str>) -> Result<Vec<ChainAt>, LedgerError> {
        let export = export.map(str::to_owned);
        let found = self.read(move |sql| chains(sql, export.as_deref(), false)).await?;
        Ok(found.into_iter().map(|begun| begun.chain).collect())
    }

    /// The chains whose removal was begun and has not come to its end.
    pub async fn unfinished_prunes(&self) -> Result<Vec<Begun>, LedgerError> {
        self.read(|sql| chains(sql, None, true)).await
    }

    /// Notes that a chain is removed from a destination, before its first object goes; from now on nothing offers it. False,
    /// and nothing is noted, where it is not what it was, is needed, or is the newest whole one.
    pub async fn begin_prune(&self, chain: &ChainAt, by: &str, why: &str) -> Result<bool, LedgerError> {
        let (chain, by, why) = (chain.clone(), by.to_owned(), why.to_owned());
        self.write(move |tx| begin(tx, &chain, &by, &why)).await
    }

    /// Notes that the objects of a removed chain are gone, in one line of the audit. Saying it twice changes nothing.
    pub async fn finish_prune(&self, begun: &Begun) -> Result<(), LedgerError> {
        let begun = begun.clone();
        self.write(move |tx| finish(tx, &begun)).await
    }

    /// The succeeded tasks of a chain of which nothing is left at any destination but what this chain has at this one.
    pub async fn last_of(&self, chain: &ChainAt) -> Result<Vec<TaskId>, LedgerError> {
        let chain = chain.clone();
        self.read(move |sql| last_of(sql, &chain)).await
    }

    /// When something was last published anywhere.
    pub async fn last_publication(&self) -> Result<Option<Timestamp>, LedgerError> {
        self.read(|sql| {
            let text = "SELECT max(published_at) AS at FROM manifests WHERE published_at IS NOT NULL";
            one(sql, text, [], |row| time(row, "at")).map(Option::flatten)
        })
        .await
    }
}
