//! Every way to tamper with what was published is found, also beside the data files.

use super::*;
use crate::base::clock;
use crate::base::error::ErrorClass;
use crate::base::ids::RequestKey;
use crate::base::secret::{Resolve, Secret};
use crate::config::parse;
use crate::destinations::{Answer, DestinationError};
use crate::ledger::Advance;
use crate::ledger::Tail;
use crate::ledger::input::{Change, NewTask};
use crate::model::offset::{Offset, PageCursor};
use crate::model::scope::Scope;
use crate::model::segment::{CheckpointDelta, Counts, CutReason, SealedSegment, SegmentId};
use crate::model::task::TaskEvent;
use saas_export_manifest::{ChainPosition, Digests, LatestEntry, Marks, Mode, SUMS_NAME, Segment, crc32c_hex};
use std::fs;
use std::path::PathBuf;

const DATA: &[u8] = b"id\r\n1\r\n";

struct NoSecrets;
impl Resolve for NoSecrets {
    fn resolve(&self, text: &str) -> Result<Secret, String> {
        Ok(Secret::new(text))
    }
}

struct Published {
    dir: tempfile::TempDir,
    ledger: Ledger,
    opener: Opener,
    deep: bool,
    task: TaskId,
}

impl Published {
    fn stream_dir(&self) -> PathBuf {
        self.dir.path().join("lake/shop/orders")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.stream_dir().join(self.task.as_str()).join(name)
    }

    /// The names of the files with a problem.
    async fn problems(&self) -> Vec<String> {
        let report =
            verify(&self.ledger, &self.opener, &self.task, Ask { deep: self.deep, ..Ask::default() }).await.unwrap();
        assert_eq!(report.ok, report.problems.is_empty());
        let name = |problem: &VerifyProblem| problem.path.rsplit('/').next().unwrap().to_owned();
        report.problems.iter().map(name).collect()
    }
}

/// A task of one file, published as a run publishes it.
async fn published() -> Published {
    published_as(true).await
}

async fn published_as(chained: bool) -> Published {
    let dir = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(&dir.path().join("state")).unwrap();
    let text = format!(
        "{{version: 1, sources: {{s: {{rest: {{base_url: 'https://a.example', streams: {{orders: {{path: /o}}}}}}}}}}, \
         destinations: {{lake: {{local: {{root: '{}'}}}}}}, exports: {{shop: {{source: s, to: [lake]}}}}}}",
        dir.path().join("lake").display()
    );
    let new = NewTask {
        export: "shop".into(),
        key: RequestKey::new("shop", &[], "csv", ""),
        params: vec![],
        scope: Scope::default(),
        chained,
        format: "csv".into(),
        config: parse(&text, "f").unwrap().effective_for("shop").unwrap().to_string(),
        streams: vec!["orders".into()],
        notify: vec![],
        actor: "uid 7 (tester)".into(),
        at: clock::now(),
    };
    let (task, _) = ledger.create_task(new).await.unwrap();
    ledger.open_lanes(&task, "orders", &[Offset::start(0)]).await.unwrap();
    ledger.task_event(&task, TaskEvent::Start, Change::default()).await.unwrap();
    let digests = Digests::of(DATA);
    let to = Offset { cursor: PageCursor::Page(2), pages: 1, records: 1, partition_records: 1, ..Offset::start(0) };
    let counts = Counts { read: 1, written: 1, ..Counts::default() };
    let segment = SealedSegment {
        id: SegmentId { stream: "orders".into(), lane: 0, n: 0, revision: 0 },
        name: "part-0-000000.csv".into(),
        bytes: digests.bytes,
        sha256: digests.sha256.clone(),
        crc32c: digests.crc32c,
        plain: None,
        counts,
        pages: 1,
        source_bytes: 10,
        cut: CutReason::Size,
        delta: CheckpointDelta { from: Offset::start(0), to: to.clone() },
    };
    ledger.advance(&task, &segment, Advance { destinations: &["lake".into()], ..Advance::default() }).await.unwrap();
    let end = CheckpointDelta { from: to.clone(), to: Offset { cursor: PageCursor::End, ..to } };
    ledger.finish_lane(&task, "orders", 0, Tail { delta: end, counts: Counts::default() }).await.unwrap();
    ledger.delivery_verified(&task, &segment.id, "lake").await.unwrap();
    ledger.stream_extracted(&task, "orders").await.unwrap();
    ledger.task_extracted(&task, vec![]).await.unwrap();
    publish(Published { dir, ledger, opener: Opener::new(Arc::new(NoSecrets)), deep: false, task }, &digests).await
}

/// Composes the manifest and writes everything to the destination.
async fn publish(published: Published, digests: &Digests) -> Published {
    let Published { ledger, task, .. } = &published;
    let chain = ledger.link(task, "orders").await.unwrap().unwrap().place;
    let manifest = manifest(task, chain.clone(), digests);
    let composed = manifest.to_bytes().unwrap();
    ledger.compose_manifest(task, "orders", "lake", composed.clone()).await.unwrap();
    ledger.manifest_published(task, "orders", "lake").await.unwrap();
    let entry = LatestEntry {
        task: task.to_string(),
        path: format!("{task}/{MANIFEST_NAME}"),
        sha256: Digests::of(&composed).sha256,
        mode: Mode::Full,
        primary_key: vec![],
        cursor_field: None,
    };
    let latest = Latest { version: 1, export: "shop".into(), stream: "orders".into(), chain, manifests: vec![entry] };
    fs::create_dir_all(published.path("")).unwrap();
    fs::write(published.path("part-0-000000.csv"), DATA).unwrap();
    fs::write(published.path(SUMS_NAME), saas_export_manifest::sha256sums(&manifest, &composed)).unwrap();
    fs::write(published.path(MANIFEST_NAME), composed).unwrap();
    fs::write(published.stream_dir().join(LATEST_NAME), latest.to_bytes().unwrap()).unwrap();
    published
}

fn manifest(task: &TaskId, chain: ChainPosition, digests: &Digests) -> Manifest {
    Manifest {
        version: 1,
        export: "shop".into(),
        stream: "orders".into(),
        task: task.to_string(),
        created_at: "2026-11-21T02:45:01Z".into(),
        mode: Mode::Full,
        format: "csv".into(),
        compression: None,
        encryption: None,
        parquet_encryption: false,
        encrypted_columns: Vec::new(),
        signature: None,
        schema: serde_json::Value::Null,
        schema_version: 1,
        primary_key: vec![],
        cursor_field: None,
        shift_protection: "none".into(),
        limited_by: None,
        chain,
        offsets: vec![],
        marks: Marks::default(),
        counts: saas_export_manifest::Counts { read: 1, written: 1, ..Default::default() },
        pages: 1,
        source_bytes: 10,
        segments: vec![Segment {
            name: "part-0-000000.csv".into(),
            rows: 1,
            bytes: digests.bytes,
            sha256: digests.sha256.clone(),
            crc32c: crc32c_hex(digests.crc32c),
            plain_sha256: None,
            plain_bytes: None,
            lane: 0,
            n: 0,
            revision: 0,
            first_offset: serde_json::Value::Null,
            last_offset: serde_json::Value::Null,
        }],
        daemon_version: "0".into(),
    }
}

#[tokio::test]
async fn what_was_published_is_good() {
    let p = published().await;
    let report = verify(&p.ledger, &p.opener, &p.task, Ask { only: Some("lake"), deep: true }).await.unwrap();
    assert!(report.ok, "{report:?}");
    assert_eq!(report.files, 4, "data, manifest, checksums and what leads there");
}

#[tokio::test]
async fn a_deleted_directory_is_a_mismatch_and_no_trouble_of_the_daemon() {
    let p = published().await;
    fs::remove_dir_all(p.path("")).unwrap();
    assert_eq!(p.problems().await, ["part-0-000000.csv", MANIFEST_NAME, SUMS_NAME]);
    fs::remove_dir_all(p.stream_dir()).unwrap();
    assert_eq!(p.problems().await.len(), 4);
}

#[tokio::test]
async fn a_forged_manifest_checksum_or_pointer_is_found() {
    let p = published().await;
    for name in [MANIFEST_NAME, SUMS_NAME] {
        let good = fs::read_to_string(p.path(name)).unwrap();
        fs::write(p.path(name), good.replace("part-0", "part-1")).unwrap();
        assert_eq!(p.problems().await, [name]);
        fs::write(p.path(name), good).unwrap();
    }
    let latest = p.stream_dir().join(LATEST_NAME);
    let good = fs::read_to_string(&latest).unwrap();
    let sha256 = &Latest::parse(good.as_bytes()).unwrap().manifests[0].sha256;
    let forged = [
        good.replace(sha256, &"0".repeat(64)),
        good.replace(p.task.as_str(), "20200101T000000Z-00000000"),
        good.replace(p.task.as_str(), "20990101T000000Z-00000000"),
        good.replace("orders", "users"),
        good.replace("_manifest.json", "_other.json"),
        "{}".into(),
    ];
    for forged in forged {
        fs::write(&latest, &forged).unwrap();
        assert_eq!(p.problems().await, [LATEST_NAME], "{forged}");
    }
    fs::write(&latest, good).unwrap();
    assert!(p.problems().await.is_empty());
}

#[tokio::test]
async fn a_list_that_says_something_else_than_the_ledger_is_found() {
    let p = published().await;
    let latest = p.stream_dir().join(LATEST_NAME);
    let good = Latest::parse(&fs::read(&latest).unwrap()).unwrap();
    let forge = |change: fn(&mut Latest)| {
        let mut forged = good.clone();
        change(&mut forged);
        fs::write(&latest, forged.to_bytes().unwrap()).unwrap();
    };
    let spoil: [fn(&mut Latest); 4] = [
        |l| l.manifests.clear(),
        |l| l.manifests[0].primary_key = vec!["other".into()],
        |l| l.chain.position = 1,
        |l| {
            // A link behind the last one that there is.
            let more = LatestEntry { mode: Mode::Incremental, ..l.manifests[0].clone() };
            l.manifests.push(more);
            l.chain.position = 1;
        },
    ];
    for change in spoil {
        forge(change);
        assert_eq!(p.problems().await, [LATEST_NAME]);
    }
    forge(|_| ());
    assert!(p.problems().await.is_empty());
}

#[tokio::test]
async fn a_task_with_a_format_of_its_own_is_followed_by_nobody() {
    let p = published_as(false).await;
    fs::remove_file(p.stream_dir().join(LATEST_NAME)).unwrap();
    assert!(p.problems().await.is_empty());
}

#[tokio::test]
async fn a_destination_that_does_not_exist_is_named_with_those_that_do() {
    let p = published().await;
    let refused = verify(&p.ledger, &p.opener, &p.task, Ask { only: Some("lakke"), deep: false }).await.unwrap_err();
    assert!(matches!(&refused, Refusal::NotFound(why) if why.ends_with("it has lake")), "{refused}");
}

#[tokio::test]
async fn a_destination_that_does_not_let_us_in_says_nothing_about_its_files() {
    let p = published().await;
    let row = p.ledger.task(&p.task).await.unwrap().unwrap();
    let config = Config::from_effective(&serde_json::from_str(&row.config).unwrap()).unwrap();
    let destination = p.opener.open(config.destinations.get("lake").unwrap()).unwrap();
    let place = Place { destination: &*destination, name: "lake", local: None };
    let answer = |class| {
        move || -> Answer<'static, ()> {
            let (action, location, message) = ("read", "x".into(), "it answers 403".into());
            Box::pin(std::future::ready(Err(DestinationError::Remote { action, location, class, message })))
        }
    };
    for class in [ErrorClass::Auth, ErrorClass::Config] {
        let refused = asked(&place, answer(class)).await.unwrap_err();
        assert!(
            matches!(&refused, Refusal::Unavailable(why) if why.contains("lake") && why.contains("403")),
            "{refused}"
        );
    }
    assert!(asked(&place, answer(ErrorClass::Data)).await.unwrap().is_err());
}
