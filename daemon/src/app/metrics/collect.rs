//! Brings together what monitoring wants to know: counters of this process, facts of the ledger, figures of the kernel.

use crate::app::engine::AppEngine;
use crate::app::freshness::{self, Freshness};
use crate::base::clock;
use crate::config::settings::Config;
use crate::host::process;
use crate::ledger::{Ledger, LedgerError};
use crate::metrics::METERS;
use crate::metrics::families as f;
use crate::metrics::text::Exposition;
use crate::model::mark::CursorValue;
use bytes::Bytes;
use jiff::Timestamp;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

/// Who asks more often gets the text of a moment ago, so that asking costs the ledger nothing more.
const KEPT: Duration = Duration::from_secs(1);

/// Collects metrics.
pub struct Collector {
    engine: Arc<AppEngine>,
    ledger: Ledger,
    started: Timestamp,
    last: Mutex<Option<(Instant, Bytes)>>,
}

impl Collector {
    /// A collector of a daemon that starts now.
    pub fn new(engine: Arc<AppEngine>, ledger: Ledger) -> Self {
        Self { engine, ledger, started: clock::now(), last: Mutex::default() }
    }

    /// The streams that are older than they may be.
    pub async fn stale(&self) -> Result<Vec<Freshness>, LedgerError> {
        let config = self.engine.config().borrow().clone();
        freshness::stale(&self.ledger, &config, self.started).await
    }

    /// The text in the format of OpenMetrics. Facts that the ledger does not give are left out: counters still tell that the
    /// daemon lives.
    pub async fn text(&self) -> Bytes {
        let mut last = self.last.lock().await;
        if let Some((_, text)) = last.as_ref().filter(|(at, _)| clock::since(*at) < KEPT) {
            return text.clone();
        }
        let mut out = Exposition::default();
        self.daemon(&mut out);
        streams(&mut out);
        requests(&mut out);
        self.sources(&mut out);
        destinations(&mut out);
        if let Err(error) = self.facts(&mut out).await {
            tracing::debug!("failed to ask the ledger for metrics: {error}");
        }
        let text = Bytes::from(out.text());
        *last = Some((clock::monotonic(), text.clone()));
        text
    }

    fn daemon(&self, out: &mut Exposition) {
        out.add(&f::BUILD, &[("version", env!("CARGO_PKG_VERSION"))], 1.0);
        out.add(&f::STARTED, &[], seconds(self.started));
        out.add(&f::CONVERSIONS, &[], METERS.conversions.get() as f64);
        out.add(&f::CONVERTING, &[], METERS.converting.seconds());
        out.add(&f::CONVERTERS, &[], self.engine.threads() as f64);
        let usage = process::usage();
        for (family, value) in [
            (&f::CPU, usage.cpu.map(|time| time.as_secs_f64())),
            (&f::MEMORY, usage.resident.map(|bytes| bytes as f64)),
            (&f::FILES, usage.files.map(|files| files as f64)),
            (&f::MOST_FILES, usage.most_files.map(|files| files as f64)),
        ] {
            if let Some(value) = value {
                out.add(family, &[], value);
            }
        }
        // The sizes of the files say what the ledger costs; the log is merged into its file now and then.
        let size = |path: PathBuf| std::fs::metadata(path).map_or(0, |meta| meta.len()) as f64;
        let path = self.ledger.path();
        out.add(&f::LEDGER_SIZE, &[], size(path.to_owned()));
        let mut wal = path.as_os_str().to_owned();
        wal.push("-wal");
        out.add(&f::LEDGER_WAL, &[], size(wal.into()));
    }

    fn sources(&self, out: &mut Exposition) {
        let limiters = self.engine.limiters();
        let limiters = limiters.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, limiter) in limiters.iter() {
            let (labels, standing) = ([("source", name.as_str())], limiter.standing());
            out.add(&f::RATE, &labels, standing.rate);
            out.add(&f::REFUSED, &labels, standing.refused as f64);
            if let Some((limit, _)) = standing.limit {
                out.add(&f::RATE_LIMIT, &labels, limit);
            }
        }
    }

    async fn facts(&self, out: &mut Exposition) -> Result<(), LedgerError> {
        let config = self.engine.config().borrow().clone();
        let open = self.ledger.open_facts().await?;
        for (state, count) in [("processing", open.processing), ("paused", open.paused), ("pending", open.pending)] {
            out.add(&f::TASKS, &[("state", state)], count as f64);
        }
        out.add(&f::SLOTS, &[], f64::from(config.daemon.parallel));
        let age = open.oldest.map_or(0.0, |at| (seconds(clock::now()) - seconds(at)).max(0.0));
        out.add(&f::QUEUE_OLDEST, &[], age);
        for export in config.exports.keys() {
            out.add(&f::WAITING, &[("export", export.as_str())], 0.0);
        }
        for (export, count) in &open.waiting {
            out.add(&f::WAITING, &[("export", export)], *count as f64);
        }
        for name in config.destinations.keys() {
            out.add(&f::PENDING, &[("destination", name.as_str())], 0.0);
            out.add(&f::PENDING_BYTES, &[("destination", name.as_str())], 0.0);
        }
        for (name, files, bytes) in &open.pending_at {
            out.add(&f::PENDING, &[("destination", name)], *files as f64);
            out.add(&f::PENDING_BYTES, &[("destination", name)], *bytes as f64);
        }
        let room = self.engine.room();
        let spooled = self.ledger.spooled().await?.bytes + room.booked_bytes();
        out.add(&f::SPOOL_USED, &[], spooled as f64);
        if let Some(quota) = room.quota() {
            out.add(&f::SPOOL_QUOTA, &[], quota as f64);
        }
        if let Some(newest) = self.ledger.snapshots().await?.first() {
            out.add(&f::LEDGER_SNAPSHOT, &[], seconds(newest.taken_at));
        }
        self.last(&config, out).await
    }

    /// What outlives a restart: last ends, last successes, marks.
    async fn last(&self, config: &Config, out: &mut Exposition) -> Result<(), LedgerError> {
        let exports: Vec<String> = config.exports.keys().map(ToString::to_string).collect();
        for (export, end) in self.ledger.last_ends(exports).await? {
            out.add(&f::LAST_FAILED, &[("export", &export)], flag(end.failed));
            if let Some(class) = end.class.filter(|_| end.failed) {
                out.add(&f::LAST_CLASS, &[("export", &export), ("class", &class)], 1.0);
            }
        }
        let streams = freshness::look(&self.ledger, config, self.started).await?;
        let known: BTreeSet<(&str, &str)> = streams.iter().map(|s| (s.export.as_str(), s.stream.as_str())).collect();
        for stream in &streams {
            let labels = [("export", stream.export.as_str()), ("stream", stream.stream.as_str())];
            if let Some(at) = stream.last_success {
                out.add(&f::LAST_SUCCESS, &labels, seconds(at));
            }
            if let Some(limit) = stream.limit {
                out.add(&f::FRESHNESS, &labels, limit.as_secs_f64());
                out.add(&f::STALE, &labels, flag(stream.stale()));
            }
        }
        for (export, row) in self.ledger.all_marks().await? {
            if let CursorValue::Instant(at) = row.mark
                && known.contains(&(export.as_str(), row.stream.as_str()))
            {
                out.add(&f::MARK, &[("export", &export), ("stream", &row.stream)], seconds(at));
            }
        }
        Ok(())
    }
}

fn streams(out: &mut Exposition) {
    for ((export, stream), meter) in METERS.streams.all() {
        let labels = [("export", export.as_str()), ("stream", stream.as_str())];
        for (family, count) in [
            (&f::READ, &meter.read),
            (&f::WRITTEN, &meter.written),
            (&f::REJECTED, &meter.rejected),
            (&f::DUPLICATE, &meter.duplicate),
            (&f::FILTERED, &meter.filtered),
            (&f::OVER_LIMIT, &meter.over_limit),
            (&f::PAGES, &meter.pages),
            (&f::SOURCE_BYTES, &meter.source_bytes),
            (&f::SEGMENTS, &meter.segments),
            (&f::FILE_BYTES, &meter.bytes),
        ] {
            out.add(family, &labels, count.get() as f64);
        }
    }
    for ((export, state), count) in METERS.ended.all() {
        out.add(&f::ENDED, &[("export", &export), ("state", state)], count.get() as f64);
    }
}

fn requests(out: &mut Exposition) {
    for ((source, export), meter) in METERS.requests.all() {
        let labels = [("source", source.as_str()), ("export", export.as_str())];
        for (code, count) in meter.answers() {
            out.add(&f::REQUESTS, &[labels[0], labels[1], ("code", code)], count as f64);
        }
        out.add(&f::RETRIES, &labels, meter.retries.get() as f64);
        out.add(&f::THROTTLED, &labels, meter.throttled.seconds());
    }
}

fn destinations(out: &mut Exposition) {
    for (name, meter) in METERS.destinations.all() {
        let labels = [("destination", name.as_str())];
        out.add(&f::DELIVERED, &labels, meter.segments.get() as f64);
        out.add(&f::DELIVERED_BYTES, &labels, meter.bytes.get() as f64);
        out.add(&f::DELIVERY_FAILURES, &labels, meter.failures.get() as f64);
        if let Some(at) = meter.failed_at() {
            out.add(&f::DELIVERY_FAILED_AT, &labels, at);
        }
        if let Some(reachable) = meter.reachable() {
            out.add(&f::REACHABLE, &labels, flag(reachable));
        }
    }
}

fn seconds(at: Timestamp) -> f64 {
    at.as_microsecond() as f64 / 1e6
}

fn flag(on: bool) -> f64 {
    f64::from(u8::from(on))
}
