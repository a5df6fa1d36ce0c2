//! Golden JSON: every wire type reads and writes the documents in `golden/`, which a release adds to and never edits.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

#[path = "golden/ledger.rs"]
mod ledger;
#[path = "golden/reload.rs"]
mod reload;
#[path = "golden/schedule.rs"]
mod schedule;
#[path = "golden/schema.rs"]
mod schema;

use saas_export_api::*;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::path::Path;

/// The stored text is exactly what the value is written as, and reads back as the value.
fn check<T: Serialize + DeserializeOwned + PartialEq + Debug>(name: &str, value: &T) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(format!("{name}.json"));
    let written = serde_json::to_string_pretty(value).unwrap() + "\n";
    if std::env::var_os("GOLDEN_ADD").is_some() && !path.exists() {
        std::fs::write(&path, &written).unwrap();
    }
    let stored = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert_eq!(written, stored, "{name} is written differently");
    assert_eq!(&serde_json::from_str::<T>(&stored).unwrap(), value, "{name} is read differently");
}

fn text(text: &str) -> String {
    text.to_owned()
}

fn summary() -> TaskSummary {
    TaskSummary {
        id: text("20261121T024501Z-9f86d081"),
        export: text("shop-nightly"),
        params: BTreeMap::from([(text("region"), text("eu"))]),
        format: text("parquet"),
        state: TaskState::Processing,
        reason: text("attempt 2 of 3"),
        error_class: Some(text("transient")),
        waiting: Some(Waiting {
            reason: text("disk full: 12 MB missing on /srv/exports"),
            until: Some(text("2026-11-21T02:50:00Z")),
        }),
        attempt: 2,
        actor: text("uid 1000 (anna)"),
        extracted: false,
        created_at: text("2026-11-21T02:45:01Z"),
        started_at: Some(text("2026-11-21T02:45:02.5Z")),
        ended_at: None,
        retry_at: Some(text("2026-11-21T02:50:00Z")),
        progress: Progress {
            records: 120_000,
            source_bytes: 48_000_000,
            bytes: 9_000_000,
            pages: 1_200,
            total: Some(1_000_000),
            retries: 3,
            rate: 4_000.5,
            eta_seconds: Some(220),
        },
        destinations: Vec::new(),
    }
}

#[test]
fn deliveries() {
    let place = TaskDestination {
        name: text("offsite"),
        files: 12,
        delivered: 7,
        bytes: 600_000_000,
        delivered_bytes: 350_000_000,
        sent_bytes: 380_000_000,
        published: false,
        filling: true,
        error: Some(text("deliver to offsite: connection refused")),
        next_try: Some(text("2026-11-21T02:50:00Z")),
    };
    check("task_destination", &place);
    let small = TaskDestination { name: text("lake"), published: true, ..TaskDestination::default() };
    check("task_destination_small", &small);
    check("deliver_to", &Deliver { to: Some(text("offsite")), drop: None });
    check("deliver_drop", &Deliver { to: None, drop: Some(text("offsite")) });
    check(
        "delivering",
        &Delivering { task: text("20261121T024501Z-9f86d081"), destination: text("offsite"), files: 12 },
    );
}

#[test]
fn tasks() {
    check("task_summary", &summary());
    let small = TaskSummary {
        params: BTreeMap::new(),
        state: TaskState::Pending,
        reason: String::new(),
        error_class: None,
        waiting: None,
        started_at: None,
        retry_at: None,
        progress: Progress::default(),
        ..summary()
    };
    check("task_summary_small", &small);
    let stream = StreamDetail {
        name: text("orders"),
        counts: Counts { read: 10, written: 4, rejected: 1, duplicate: 2, filtered: 2, over_limit: 1, rescued: 7 },
        pages: 5,
        source_bytes: 1_000,
        bytes: 300,
        segments: 1,
        total: Some(10),
        columns: Some(12),
        mode: None,
        extracted: true,
        limited_by: None,
        error: Some(text("refused by the source: 403")),
        notes: vec![text("the page journal was dropped: the source shifted")],
    };
    let published = Published {
        stream: text("orders"),
        destination: text("lake"),
        published_at: Some(text("2026-11-21T03:00:00Z")),
        pruned_at: None,
    };
    check("published_pruned", &Published { pruned_at: Some(text("2026-12-21T03:00:00Z")), ..published.clone() });
    check("task_detail", &TaskDetail { task: summary(), streams: vec![stream], manifests: vec![published] });
    let submit = Submit {
        params: BTreeMap::from([(text("region"), text("eu"))]),
        format: Some(text("csv")),
        ..Submit::default()
    };
    check("submit", &submit);
    check("submit_empty", &Submit::default());
    check("submitted", &Submitted { task: summary().id, created: true });
    check("acted", &Acted { tasks: vec![summary().id] });
}

#[test]
fn stale_streams() {
    let stale = StaleStream {
        export: text("shop-nightly"),
        stream: text("orders"),
        last_success: Some(text("2026-11-19T02:51:07Z")),
        seconds: 172_500,
        freshness: 93_600,
    };
    check("stale_stream", &stale);
    check("stale_stream_never", &StaleStream { last_success: None, ..stale });
}

#[test]
fn exports_and_status() {
    let reference = |state| TaskRef {
        id: summary().id,
        state,
        created_at: text("2026-11-21T02:45:01Z"),
        ended_at: Some(text("2026-11-21T03:00:00Z")),
    };
    let export = Export {
        name: text("shop-nightly"),
        source: text("shop"),
        streams: vec![text("orders")],
        to: vec![text("lake")],
        format: text("parquet"),
        params: BTreeMap::from([(
            text("region"),
            ParamSpec { kind: text("string"), one_of: Some(vec![text("eu"), text("us")]), default: Some(text("eu")) },
        )]),
        paused: false,
        last_task: Some(reference(TaskState::Failed)),
        last_success: Some(reference(TaskState::Succeeded)),
    };
    check("export", &export);
    let status = Status {
        version: text("0.1.0"),
        started_at: text("2026-11-21T00:00:00Z"),
        uptime_seconds: 9_901,
        config: text("/etc/export/config.yaml"),
        tasks: TaskCounts { running: 1, paused: 0, queued: 2 },
        ledger: LedgerHealth { healthy: false, reason: Some(text("write the ledger: disk full")) },
        paused_exports: vec![text("crm")],
        open: vec![summary()],
        sources: vec![],
        notifications: None,
        stale: vec![],
        caller: Caller { actor: text("uid 1000 (anna)"), access: Access::Operate },
    };
    check("status", &status);
    let trouble = NotificationTrouble { late: 2, given_up: 1 };
    check("status_trouble", &Status { notifications: Some(trouble), open: vec![], ..status });
    let source = SourceRate {
        source: text("shop"),
        rate: 9.8,
        under_way: 4,
        concurrency: 8,
        limit: Some(RateLimit { per_second: 9.9, from: text("learnt") }),
        window: Some(RateWindow { limit: Some(5_000), left: 12, ends_at: text("2026-11-21T03:00:00Z") }),
        requests: 4_988,
        refused: 3,
        waiting: Some(Waiting { reason: text("source shop asks to wait (Retry-After)"), until: None }),
    };
    check("source_rate", &source);
    let small = SourceRate { limit: None, window: None, waiting: None, ..source };
    check("source_rate_small", &small);
}

#[test]
fn files_and_offsets() {
    let path = text("/srv/exports/shop-nightly/orders/20261121T024501Z-9f86d081/part-0-000000.parquet");
    let entry = FileEntry {
        task: summary().id,
        stream: text("orders"),
        destination: text("lake"),
        name: String::new(),
        path: path.clone(),
        bytes: 50_000_000,
        rows: 1_000_000,
        sha256: "9f86d081".repeat(8),
    };
    let named = FileEntry { name: text("part-0-000000.parquet"), ..entry.clone() };
    let files = Files {
        export: text("shop-nightly"),
        destinations: vec![text("lake")],
        files: vec![entry],
        notes: vec![text("task t is left out")],
    };
    check("files", &files);
    check("files_named", &Files { files: vec![named], notes: vec![], ..files });
    let link = FileLink {
        task: summary().id,
        stream: text("orders"),
        name: text("part-0-000000.parquet"),
        destination: text("offsite"),
        url: text("https://acme.s3.example/part-0-000000.parquet?X-Amz-Expires=3600"),
        expires_at: text("2026-11-21T04:00:00Z"),
    };
    check("file_link", &link);
    let problem =
        VerifyProblem { destination: text("lake"), stream: text("orders"), path, problem: text("SHA-256 differs") };
    let problems = vec![problem];
    let report = VerifyReport { task: summary().id, ok: false, files: 20, bytes: 1_000, problems, skipped: vec![] };
    check("verify_report", &report);
    let skipped = vec![text("intake")];
    check("verify_report_skipped", &VerifyReport { ok: true, problems: vec![], skipped, ..report });
    let cursors = [
        Cursor::Start,
        Cursor::Token(text("eyJpZCI6MX0=")),
        Cursor::Url(text("https://api.shop.example/v2/orders?page=2")),
        Cursor::Page(7),
        Cursor::Record(700),
        Cursor::End,
    ];
    let lanes = cursors
        .into_iter()
        .zip(0..)
        .map(|(cursor, lane)| {
            let counted = matches!(cursor, Cursor::Page(_) | Cursor::Record(_));
            let tail = counted.then(|| text("0123456789abcdef"));
            let offset = Offset { partition: lane, cursor, pages: 6, records: 600, partition_records: 60, tail };
            LaneOffset { lane, revision: 1, offset }
        })
        .collect();
    let doc = OffsetsDoc {
        export: text("shop-nightly"),
        task: Some(summary().id),
        streams: BTreeMap::from([(text("orders"), StreamOffsets { mark: None, lanes })]),
    };
    check("offsets", &doc);
    let marks = [Mark::Number(text("17")), Mark::Instant(text("2026-11-21T02:45:00Z")), Mark::Text(text("W/a"))];
    let streams = marks
        .into_iter()
        .zip(["a", "b", "c"])
        .map(|(mark, name)| (text(name), StreamOffsets { mark: Some(mark), ..StreamOffsets::default() }));
    check("offsets_export", &OffsetsDoc { task: None, streams: streams.collect(), ..doc });
}

#[test]
fn prunes() {
    let chain = |fate, params: &[(&str, &str)]| ChainFate {
        export: text("shop-nightly"),
        stream: text("orders"),
        destination: text("lake"),
        chain: summary().id,
        tasks: vec![summary().id, text("20261122T024501Z-9f86d081")],
        params: params.iter().map(|(name, value)| (text(name), text(value))).collect(),
        published_at: text("2026-11-22T03:00:00Z"),
        files: 20,
        bytes: 1_000_000_000,
        fate,
        why: text("2 newer ones are whole (chains: 2)"),
    };
    let chains = vec![
        chain(Fate::Kept, &[]),
        chain(Fate::Due, &[("region", "eu")]),
        chain(Fate::Pruned, &[]),
        chain(Fate::Waits, &[]),
    ];
    check("prune_report", &PruneReport { dry_run: false, chains });
}

#[test]
fn checks() {
    let step = |name: &str, result, hint: Option<&str>| PreflightStep {
        subject: text("source shop"),
        name: text(name),
        result,
        ms: 12,
        message: text("what was found"),
        hint: hint.map(text),
    };
    let steps = vec![
        step("dns", StepResult::Ok, None),
        step("tls", StepResult::Warn, Some("it expires soon")),
        step("auth", StepResult::Fail, Some("check auth.env")),
        step("first_page", StepResult::Skip, None),
    ];
    check("preflight", &Preflight { ok: false, exports: vec![text("shop-nightly")], steps });
}

#[test]
fn events() {
    let event: Event<Value> = Event {
        seq: 42,
        at: text("2026-11-21T02:46:00Z"),
        task: Some(summary().id),
        export: Some(text("shop-nightly")),
        actor: text("uid 1000 (anna)"),
        action: text("pause"),
        from: Some(TaskState::Processing),
        to: Some(TaskState::Paused),
        reason: text("asked by an operator"),
        detail: Some(json!({ "segments": 3 })),
    };
    check("event", &event);
    let small = Event { task: None, export: None, from: None, to: None, detail: None, ..event };
    check("event_small", &small);
}

#[test]
fn envelopes() {
    check("answer_sync", &Answer::Sync { result: Acted { tasks: vec![] } });
    check(
        "answer_async",
        &Answer::Async {
            location: format!("/v1/tasks/{}", summary().id),
            result: Submitted { task: summary().id, created: false },
        },
    );
    let error = Error {
        code: ErrorCode::Forbidden,
        message: text("uid 1000 (anna) may look but not act"),
        hint: Some(text("ask an administrator for the group saas-export-operator")),
    };
    check("answer_error", &Answer::<Acted>::Error { error });
}

#[test]
fn an_unknown_kind_of_error_is_still_an_error() {
    let error: Error = serde_json::from_str(r#"{"code": "brand_new", "message": "no"}"#).unwrap();
    assert_eq!(error.code, ErrorCode::Internal);
}

#[test]
fn unknown_fields_of_a_request_are_refused_and_those_of_an_answer_ignored() {
    assert!(serde_json::from_str::<Submit>(r#"{"path": "/etc/passwd"}"#).is_err());
    assert!(serde_json::from_str::<Acted>(r#"{"tasks": [], "new": 1}"#).is_ok());
}

#[test]
fn notifications() {
    let waiting = Notification {
        id: text("msg_5d41402abc4b2a76b9719d911017c592"),
        recipient: text("ops-mail"),
        event: text("first_failure"),
        task: text("20261121T024501Z-9f86d081"),
        export: text("shop-nightly"),
        state: NotificationState::Waiting,
        created_at: text("2026-11-21T02:45:01Z"),
        attempts: 2,
        next_at: Some(text("2026-11-21T02:50:00Z")),
        settled_at: None,
        error: Some(text("log in to the mail server: permanent error (535)")),
    };
    check("notification", &waiting);
    let settled = Some(text("2026-11-21T02:45:02Z"));
    let state = NotificationState::Sent;
    check("notification_sent", &Notification { state, next_at: None, settled_at: settled, error: None, ..waiting });
    let (recipient, done) = (text("ops-mail"), text("smtp.example.com took it for 1 address"));
    check("notification_test", &NotificationTest { recipient, done });
}
