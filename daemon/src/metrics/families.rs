//! The metrics that there are: name, kind, unit and meaning. Names and labels stay as they are from release to release.

/// What kind of number it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It goes up and down.
    Gauge,
    /// It only grows, from zero at the daemon's start; its sample is called `NAME_total`.
    Counter,
    /// Always 1; its labels say something. Its sample is called `NAME_info`.
    Info,
}

/// A metric.
#[derive(Clone, Copy, Debug)]
pub struct Family {
    /// Its name, without the ending of its kind.
    pub name: &'static str,
    /// What kind of number it is.
    pub kind: Kind,
    /// Its unit, with which the name ends then; may be empty.
    pub unit: &'static str,
    /// What it says.
    pub help: &'static str,
}

impl Family {
    /// The name of its samples, as a query has it.
    pub fn sample(&self) -> String {
        let end = match self.kind {
            Kind::Gauge => "",
            Kind::Counter => "_total",
            Kind::Info => "_info",
        };
        format!("{}{end}", self.name)
    }
}

macro_rules! families {
    ($($id:ident = $kind:ident $name:literal $unit:literal $help:literal;)+) => {
        $(#[doc = $help] pub const $id: Family = Family { name: $name, kind: Kind::$kind, unit: $unit, help: $help };)+

        /// All of them, in the order in which they are told.
        pub const ALL: &[Family] = &[$($id,)+];
    };
}

families! {
    BUILD = Info "saas_export_build" "" "Version of the daemon.";
    STARTED = Gauge "saas_export_start_time_seconds" "seconds" "When the daemon started, in seconds since 1970.";
    TASKS = Gauge "saas_export_tasks" "" "Open tasks by state: processing, paused, pending.";
    SLOTS = Gauge "saas_export_slots" "" "Tasks that may extract at the same time.";
    QUEUE_OLDEST = Gauge "saas_export_queue_oldest_seconds" "seconds" "Age of the oldest task that waits for its start.";
    WAITING = Gauge "saas_export_tasks_waiting" "" "Running tasks that cannot go on now, by export.";
    ENDED = Counter "saas_export_tasks_ended" "" "Ends of tasks by export and state: succeeded, failed, cancelled.";
    LAST_FAILED = Gauge "saas_export_last_task_failed" "" "1 where the newest task of the export that ended failed, else 0.";
    LAST_CLASS = Gauge "saas_export_last_task_error_class" "" "1 for the class of error that the newest ended task failed with.";
    LAST_SUCCESS = Gauge "saas_export_stream_last_success_timestamp_seconds" "seconds" "When a task last exported the stream with success, in seconds since 1970; by the ledger.";
    MARK = Gauge "saas_export_stream_mark_timestamp_seconds" "seconds" "How far an incremental stream whose cursor is a time has come, in seconds since 1970; by the ledger.";
    FRESHNESS = Gauge "saas_export_stream_freshness_limit_seconds" "seconds" "The configured freshness of the export.";
    STALE = Gauge "saas_export_stream_stale" "" "1 where the last success is older than the configured freshness, else 0.";
    READ = Counter "saas_export_records_read" "" "Records read, of committed files.";
    WRITTEN = Counter "saas_export_records_written" "" "Records written to files.";
    REJECTED = Counter "saas_export_records_rejected" "" "Records put into the quarantine.";
    DUPLICATE = Counter "saas_export_records_duplicate" "" "Records dropped as exact repetitions.";
    FILTERED = Counter "saas_export_records_filtered" "" "Records dropped by a filter or outside of the bounds.";
    OVER_LIMIT = Counter "saas_export_records_over_limit" "" "Records beyond a limit of the export.";
    PAGES = Counter "saas_export_pages" "" "Pages read, of committed files.";
    SOURCE_BYTES = Counter "saas_export_source_bytes" "bytes" "Bytes of JSON read, of committed files.";
    SEGMENTS = Counter "saas_export_segments" "" "Files committed.";
    FILE_BYTES = Counter "saas_export_file_bytes" "bytes" "Bytes of files committed.";
    REQUESTS = Counter "saas_export_requests" "" "Requests to the source by class of status; none: no answer came.";
    RETRIES = Counter "saas_export_request_retries" "" "Requests that were sent again after a failure.";
    THROTTLED = Counter "saas_export_throttled_seconds" "seconds" "Time that requests waited because of rate limits, summed over requests.";
    RATE = Gauge "saas_export_source_rate" "" "Requests a second to the source over the last seconds.";
    RATE_LIMIT = Gauge "saas_export_source_rate_limit" "" "The lowest limit in force, in requests a second: configured, of the server or learnt.";
    REFUSED = Counter "saas_export_source_refused" "" "Requests that the source refused because there were too many (429).";
    DELIVERED = Counter "saas_export_delivered_segments" "" "Files verified at the destination.";
    DELIVERED_BYTES = Counter "saas_export_delivered_bytes" "bytes" "Bytes of files verified at the destination.";
    DELIVERY_FAILURES = Counter "saas_export_delivery_failures" "" "Tries at the destination that failed.";
    DELIVERY_FAILED_AT = Gauge "saas_export_delivery_last_error_timestamp_seconds" "seconds" "When a try at the destination last failed, in seconds since 1970.";
    REACHABLE = Gauge "saas_export_destination_reachable" "" "1 where the last try at the destination worked, 0 where it failed.";
    PENDING = Gauge "saas_export_pending_segments" "" "Files of open tasks that wait for the destination; by the ledger.";
    PENDING_BYTES = Gauge "saas_export_pending_bytes" "bytes" "Bytes of files of open tasks that wait for the destination; by the ledger.";
    SPOOL_USED = Gauge "saas_export_spool_used_bytes" "bytes" "Bytes in the spools that wait for delivery or are booked for files in the making.";
    SPOOL_QUOTA = Gauge "saas_export_spool_quota_bytes" "bytes" "The configured quota of the spools, if there is one.";
    LEDGER_SIZE = Gauge "saas_export_ledger_size_bytes" "bytes" "Size of the ledger's file.";
    LEDGER_WAL = Gauge "saas_export_ledger_wal_bytes" "bytes" "Size of the ledger's write-ahead log.";
    LEDGER_SNAPSHOT = Gauge "saas_export_ledger_snapshot_timestamp_seconds" "seconds" "When the newest snapshot of the ledger was taken, in seconds since 1970.";
    CONVERSIONS = Counter "saas_export_conversions" "" "Pieces of work done by the threads that convert and encode.";
    CONVERTING = Counter "saas_export_conversion_seconds" "seconds" "Time that these threads worked.";
    CONVERTERS = Gauge "saas_export_conversion_threads" "" "Number of these threads.";
    CPU = Counter "process_cpu_seconds" "seconds" "Processor time used.";
    MEMORY = Gauge "process_resident_memory_bytes" "bytes" "Memory in use.";
    FILES = Gauge "process_open_fds" "" "Open files.";
    MOST_FILES = Gauge "process_max_fds" "" "The most files that may be open.";
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_as_the_format_wants_them() {
        let mut seen = BTreeSet::new();
        for family in ALL {
            assert!(seen.insert(family.name), "{} twice", family.name);
            assert!(family.name.chars().all(|c| c.is_ascii_lowercase() || c == '_'), "{}", family.name);
            for end in ["_total", "_info", "_created", "_sum", "_count"] {
                assert!(!family.name.ends_with(end), "{}: the ending is that of a sample", family.name);
            }
            assert!(family.unit.is_empty() || family.name.ends_with(&format!("_{}", family.unit)), "{}", family.name);
            for unit in ["seconds", "bytes"] {
                assert!(
                    !family.name.ends_with(&format!("_{unit}")) || family.unit == unit,
                    "{}: say the unit",
                    family.name
                );
            }
            assert!(family.help.ends_with('.'), "{}", family.help);
        }
    }

    fn file(name: &str) -> String {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name);
        std::fs::read_to_string(path).unwrap()
    }

    /// The words in a text that are names of samples of ours.
    fn named(text: &str) -> BTreeSet<&str> {
        let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        words.filter(|word| word.starts_with("saas_export_") || word.starts_with("process_")).collect()
    }

    #[track_caller]
    fn all_exist(text: &str, least: usize) {
        let samples: BTreeSet<String> = ALL.iter().map(Family::sample).collect();
        let named = named(text);
        assert!(named.len() >= least, "{named:?}");
        for name in named {
            assert!(samples.contains(name), "{name} is no metric of ours");
        }
    }

    #[test]
    fn the_alert_rules_are_yaml_over_metrics_that_exist() {
        let text = file("packaging/prometheus-alerts.yml");
        for event in saphyr_parser::Parser::new_from_str(&text) {
            event.unwrap();
        }
        for rule in text.split("- alert: ").skip(1) {
            for key in ["expr: ", "severity: ", "summary: ", "description: "] {
                assert_eq!(rule.matches(key).count(), 1, "{key} in {rule}");
            }
        }
        all_exist(&text, 12);
    }

    #[test]
    fn the_dashboard_is_json_over_metrics_that_exist() {
        let text = file("packaging/grafana-dashboard.json");
        let board: serde_json::Value = serde_json::from_str(&text).unwrap();
        let panels = board["panels"].as_array().unwrap();
        let ids: BTreeSet<u64> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
        assert!(ids.len() == panels.len() && panels.len() > 15 && board["uid"] == "saas-export");
        for target in panels.iter().flat_map(|panel| panel["targets"].as_array().unwrap()) {
            let expr = target["expr"].as_str().unwrap();
            assert!(expr.contains("job=\"$job\"") && expr.matches('(').count() == expr.matches(')').count(), "{expr}");
        }
        all_exist(&text, 25);
    }

    /// The table in the manual; the labels are written there by hand, and an end-to-end test knows them.
    #[test]
    fn the_manual_names_every_metric_with_what_it_says() {
        let text = file("docs/monitoring.md");
        for family in ALL {
            let row = text.lines().find(|line| line.starts_with(&format!("| `{}` |", family.sample())));
            assert!(row.is_some_and(|row| row.contains(family.help)), "docs/monitoring.md: {}", family.sample());
        }
    }
}
