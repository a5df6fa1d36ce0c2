//! Chains of real files go as wholes, the ledger knows it, and what is interrupted is finished.

use super::*;
use crate::base::ids::{RequestKey, TaskId};
use crate::config;
use crate::destinations::local::PRIVATE;
use crate::destinations::object_key;
use crate::ledger::input::{Change, NewTask, StreamEnd};
use crate::ledger::{Advance, Tail};
use crate::model::mark::CursorValue;
use crate::model::offset::{Offset, PageCursor};
use crate::model::scope::Scope;
use crate::model::segment::{CheckpointDelta, Counts, CutReason, SealedSegment, SegmentId};
use crate::model::task::TaskEvent;
use saas_export_manifest::{Digests, Latest, LatestEntry, MANIFEST_NAME, Manifest, SUMS_NAME};
use serde_json::json;
use std::fs;

const CONFIG: &str = r#"
version: 1
daemon: { state_dir: DIR/state }
sources:
  shop:
    rest:
      base_url: https://api.shop.example
      streams: { orders: { path: /orders, records: "$[*]", paginate: { none: {} } } }
destinations: { lake: { local: { root: DIR/lake } }, copy: { local: { root: DIR/copy } } }
exports: { shop: { source: shop, to: [lake, copy], keep: KEEP } }
"#;

/// A daemon's ledger and destinations, with a clock that gives each task another second.
struct Scene {
    dir: tempfile::TempDir,
    ledger: Ledger,
    pruner: Pruner,
    config: Arc<Config>,
}

impl Scene {
    fn new(keep: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.yaml");
        fs::write(&path, CONFIG.replace("DIR", dir.path().to_str().unwrap()).replace("KEEP", keep)).unwrap();
        let config = Arc::new(config::load(&path, None).unwrap_or_else(|problems| panic!("{:?}", problems.list())));
        let ledger = Ledger::open(&config.daemon.state_dir).unwrap();
        let opener = Arc::new(Opener::new(Arc::new(crate::config::Secrets::default())));
        let now = watch::Sender::new(config.clone()).subscribe();
        let pruner = Pruner::new(ledger.clone(), opener, now);
        Self { dir, ledger, pruner, config }
    }

    /// A task whose data are read, full or what is new, published at these destinations.
    async fn task(&self, full: bool, params: &[(&str, &str)], at: &[&str]) -> TaskId {
        let params: Vec<_> = params.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let new = NewTask {
            export: "shop".into(),
            key: RequestKey::new("shop", &params, "csv", if full { "full" } else { "" }),
            chained: params.is_empty(),
            params,
            scope: Scope { full, ..Scope::default() },
            format: "csv".into(),
            config: self.config.effective_for("shop").unwrap().to_string(),
            streams: vec!["orders".into()],
            notify: vec![],
            actor: "anna".into(),
            at: clock::now(),
        };
        let ledger = &self.ledger;
        let (id, created) = ledger.create_task(new).await.unwrap();
        assert!(created);
        ledger.task_event(&id, TaskEvent::Start, Change::default()).await.unwrap();
        ledger.begin_stream(&id, "orders", "fingerprint", true).await.unwrap();
        ledger.open_lanes(&id, "orders", &[Offset::start(0)]).await.unwrap();
        let to = Offset { cursor: PageCursor::Page(1), pages: 1, records: 1, ..Offset::start(0) };
        let segment = SegmentId { stream: "orders".into(), lane: 0, n: 0, revision: 0 };
        let digests = Digests::of(b"data");
        let sealed = SealedSegment {
            name: segment.file_name("csv"),
            id: segment,
            bytes: digests.bytes,
            sha256: digests.sha256,
            crc32c: digests.crc32c,
            plain: None,
            counts: Counts { read: 1, written: 1, ..Counts::default() },
            pages: 1,
            source_bytes: 2,
            cut: CutReason::Size,
            delta: CheckpointDelta { from: Offset::start(0), to: to.clone() },
        };
        let destinations: Vec<String> = at.iter().map(|name| (*name).to_owned()).collect();
        let newest =
            crate::ledger::input::Newest { mark: CursorValue::parse("7"), records: vec![], keep_from: vec![], most: 1 };
        let step = Advance { destinations: &destinations, newest: Some(&newest), ..Advance::default() };
        ledger.advance(&id, &sealed, step).await.unwrap();
        let end = Offset { cursor: PageCursor::End, ..to.clone() };
        let tail = Tail { delta: CheckpointDelta { from: to, to: end }, counts: Counts::default() };
        ledger.finish_lane(&id, "orders", 0, tail).await.unwrap();
        ledger.stream_extracted(&id, "orders").await.unwrap();
        let end = StreamEnd {
            stream: "orders".into(),
            fingerprint: "fingerprint".into(),
            primary_key: vec!["id".into()],
            cursor_field: Some("id".into()),
            ..StreamEnd::default()
        };
        ledger.task_extracted(&id, vec![end]).await.unwrap();
        for name in at {
            ledger.delivery_verified(&id, &sealed.id, name).await.unwrap();
            self.publish(&id, name, &sealed).await;
        }
        ledger.task_event(&id, TaskEvent::Succeed, Change::default()).await.unwrap();
        id
    }

    async fn publish(&self, id: &TaskId, name: &str, sealed: &SealedSegment) {
        let link = self.ledger.link(id, "orders").await.unwrap().unwrap();
        let manifest = json!({
            "version": 1, "export": "shop", "stream": "orders", "task": id.as_str(), "created_at": "2026-01-01T00:00:00Z",
            "mode": link.as_new.mode, "format": "csv", "schema": {}, "schema_version": 1, "primary_key": ["id"],
            "cursor_field": null, "shift_protection": "none", "chain": link.place, "offsets": [],
            "marks": { "before": null, "after": null },
            "counts": { "read": 1, "written": 1, "rejected": 0, "duplicate": 0, "filtered": 0, "over_limit": 0, "rescued": 0 },
            "pages": 1, "source_bytes": 2, "daemon_version": "0",
            "segments": [{
                "name": sealed.name, "rows": 1, "bytes": sealed.bytes, "sha256": sealed.sha256,
                "crc32c": format!("{:08x}", sealed.crc32c), "lane": 0, "n": 0, "revision": 0,
                "first_offset": null, "last_offset": null,
            }],
        });
        let manifest: Manifest = serde_json::from_value(manifest).unwrap();
        let bytes = self.ledger.compose_manifest(id, "orders", name, manifest.to_bytes().unwrap()).await.unwrap();
        for (file, content) in [(sealed.name.as_str(), &b"data"[..]), (SUMS_NAME, b"sums"), (MANIFEST_NAME, &bytes)] {
            let path = self.dir.path().join(name).join(object_key("shop", "orders", id, file));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        fs::create_dir_all(self.dir.path().join(name).join(PRIVATE)).unwrap();
        self.ledger.manifest_published(id, "orders", name).await.unwrap();
    }

    /// Writes the pointer that readers follow.
    fn point(&self, name: &str, tasks: &[&TaskId]) {
        let entry = |task: &&TaskId| LatestEntry {
            path: format!("{task}/{MANIFEST_NAME}"),
            task: task.to_string(),
            sha256: "0".repeat(64),
            mode: saas_export_manifest::Mode::Full,
            primary_key: vec![],
            cursor_field: None,
        };
        let chain = saas_export_manifest::ChainPosition { id: tasks[0].to_string(), position: tasks.len() as u64 - 1 };
        let manifests = tasks.iter().map(entry).collect();
        let latest = Latest { version: 1, export: "shop".into(), stream: "orders".into(), chain, manifests };
        fs::write(self.dir.path().join(name).join("shop/orders/latest.json"), latest.to_bytes().unwrap()).unwrap();
    }

    fn there(&self, name: &str, id: &TaskId) -> bool {
        self.dir.path().join(name).join(format!("shop/orders/{id}")).exists()
    }

    async fn prune(&self) -> PruneReport {
        self.pruner.prune(None, "uid 7 (anna)").await.unwrap()
    }
}

fn with(report: &PruneReport, fate: api::Fate) -> Vec<(String, String)> {
    let chains = report.chains.iter().filter(|chain| chain.fate == fate);
    chains.map(|chain| (chain.chain.clone(), chain.destination.clone())).collect()
}

#[tokio::test]
async fn whole_chains_go_where_their_destination_does_not_keep_them() {
    let scene = Scene::new("{ chains: 1, destinations: { copy: { chains: 2 } } }");
    let mut tasks = Vec::new();
    for full in [true, false, true, false, true] {
        tasks.push(scene.task(full, &[], &["lake", "copy"]).await);
    }
    let [a, a1, b, b1, c] = &tasks[..] else { panic!("five") };
    scene.point("lake", &[c]);
    let plan = scene.pruner.plan(None).await.unwrap();
    assert!(plan.dry_run && with(&plan, api::Fate::Due).len() == 3, "{plan:?}");
    assert!(scene.there("lake", a), "a plan removes nothing");
    let quarantine = scene.config.daemon.state_dir.join("quarantine").join(a.as_str());
    fs::create_dir_all(&quarantine).unwrap();

    let report = scene.prune().await;
    let at = |id: &TaskId, name: &str| (id.to_string(), name.to_owned());
    assert_eq!(with(&report, api::Fate::Pruned), [at(a, "copy"), at(a, "lake"), at(b, "lake")]);
    for (id, lake, copy) in
        [(a, false, false), (a1, false, false), (b, false, true), (b1, false, true), (c, true, true)]
    {
        assert_eq!((scene.there("lake", id), scene.there("copy", id)), (lake, copy), "{id}");
    }
    assert!(scene.dir.path().join("lake/shop/orders/latest.json").exists());
    assert!(!quarantine.exists(), "nothing else of the task is left");

    // The ledger knows: nothing that is gone is offered, what is left is.
    let offered: Vec<_> =
        scene.ledger.published_tasks("shop", 10).await.unwrap().into_iter().map(|row| row.id).collect();
    assert_eq!(offered, [c, b1, b].map(Clone::clone));
    assert!(scene.ledger.manifest(a, "orders", "lake").await.unwrap().unwrap().pruned_at.is_some());
    assert!(scene.ledger.chain(b1, "orders", "lake").await.unwrap().is_empty());
    assert_eq!(scene.ledger.chain(b1, "orders", "copy").await.unwrap().len(), 2);
    let audit = scene.ledger.audit_since(0, 1000).await.unwrap();
    let lines: Vec<_> = audit.iter().filter(|row| row.action == "pruned").collect();
    assert_eq!(lines.len(), 3, "one line for a chain and destination");
    let line = lines.iter().find(|row| row.task.as_deref() == Some(b.as_str())).unwrap();
    let detail: serde_json::Value = serde_json::from_str(line.detail.as_deref().unwrap()).unwrap();
    assert_eq!((line.actor.as_str(), line.export.as_deref()), ("uid 7 (anna)", Some("shop")));
    assert_eq!(detail["tasks"], json!([b.as_str(), b1.as_str()]));
    assert_eq!((&detail["files"], &detail["destination"]), (&json!(2), &json!("lake")));

    let again = scene.prune().await;
    assert_eq!((with(&again, api::Fate::Pruned), with(&again, api::Fate::Waits)), (vec![], vec![]));
    assert_eq!(scene.ledger.audit_since(0, 1000).await.unwrap().len(), audit.len());
}

#[tokio::test]
async fn tasks_with_parameters_are_data_sets_of_their_own() {
    let scene = Scene::new("{ chains: 1 }");
    let eu = scene.task(true, &[("region", "eu")], &["lake"]).await;
    let us = scene.task(true, &[("region", "us")], &["lake"]).await;
    let usual = scene.task(true, &[], &["lake"]).await;
    let again = scene.task(true, &[("region", "eu")], &["lake"]).await;
    let report = scene.prune().await;
    assert_eq!(with(&report, api::Fate::Pruned), [(eu.to_string(), "lake".into())]);
    assert!([&us, &usual, &again].iter().all(|id| scene.there("lake", id)));
}

#[tokio::test]
async fn nothing_goes_that_readers_follow_or_a_task_needs() {
    let scene = Scene::new("{ chains: 1 }");
    let a = scene.task(true, &[], &["lake"]).await;
    let b = scene.task(true, &[], &["lake"]).await;
    // The pointer was not moved, for whatever reason.
    scene.point("lake", &[&a]);
    let report = scene.prune().await;
    let fate = report.chains.iter().find(|chain| chain.chain == a.as_str()).unwrap();
    assert_eq!((fate.fate, fate.why.as_str()), (api::Fate::Kept, "latest.json still leads to it"));
    // One that cannot be read leads nobody knows where.
    fs::write(scene.dir.path().join("lake/shop/orders/latest.json"), "{").unwrap();
    assert_eq!(with(&scene.prune().await, api::Fate::Waits).len(), 1);
    assert!(scene.there("lake", &a));
    scene.point("lake", &[&b]);
    assert_eq!(with(&scene.prune().await, api::Fate::Pruned).len(), 1);
    assert!(!scene.there("lake", &a));
}

#[tokio::test]
async fn what_was_interrupted_is_finished_and_a_dead_destination_waits_alone() {
    let scene = Scene::new("{ chains: 1 }");
    let a = scene.task(true, &[], &["lake", "copy"]).await;
    scene.task(true, &[], &["lake", "copy"]).await;
    // A directory in the place of a file lets no deletion through.
    let object = |name: &str| scene.dir.path().join(name).join(format!("shop/orders/{a}/part-0-000000.csv"));
    fs::remove_file(object("copy")).unwrap();
    fs::create_dir_all(object("copy").join("x")).unwrap();
    // At the other one somebody else was there before.
    fs::remove_file(object("lake")).unwrap();
    let report = scene.prune().await;
    assert_eq!(with(&report, api::Fate::Pruned), [(a.to_string(), "lake".into())]);
    assert_eq!(with(&report, api::Fate::Waits), [(a.to_string(), "copy".into())]);
    assert!(!scene.there("lake", &a));
    let dir = object("copy").parent().unwrap().to_owned();
    assert!(!dir.join(MANIFEST_NAME).exists(), "what is left is no data set");
    assert!(!scene.ledger.manifest(&a, "orders", "copy").await.unwrap().unwrap().there(), "nor is it offered");
    fs::remove_dir_all(object("copy")).unwrap();
    let report = scene.pruner.prune(None, "").await.unwrap();
    assert_eq!(with(&report, api::Fate::Pruned), [(a.to_string(), "copy".into())]);
    assert!(!dir.exists());
    let audit = scene.ledger.audit_since(0, 1000).await.unwrap();
    let line = audit.iter().rfind(|row| row.action == "pruned").unwrap();
    assert_eq!(line.actor, "uid 7 (anna)", "who began it");
}

#[tokio::test]
async fn the_ledger_refuses_what_is_newest_or_has_changed() {
    let scene = Scene::new("{ chains: 1 }");
    let a = scene.task(true, &[], &["lake"]).await;
    let there = || async { scene.ledger.chains_there(None).await.unwrap() };
    let alone = there().await.remove(0);
    assert!(!scene.ledger.begin_prune(&alone, "", "").await.unwrap(), "the newest never goes, whoever says so");
    let b = scene.task(true, &[], &["lake"]).await;
    let grown = there().await;
    assert_eq!(grown.iter().map(|chain| chain.chain.as_str()).collect::<Vec<_>>(), [a.as_str(), b.as_str()]);
    let other = ChainAt { links: vec![], ..grown[0].clone() };
    assert!(!scene.ledger.begin_prune(&other, "", "").await.unwrap());
    assert!(scene.ledger.begin_prune(&grown[0], "", "").await.unwrap());
    assert!(!scene.ledger.begin_prune(&grown[0], "", "").await.unwrap(), "it is begun");
    assert!(!scene.ledger.begin_prune(&grown[1], "", "").await.unwrap());
}

#[tokio::test]
async fn what_the_configuration_does_not_mention_stays() {
    let scene = Scene::new("{ chains: 1 }");
    let a = scene.task(true, &[], &["lake"]).await;
    scene.task(true, &[], &["lake"]).await;
    let mut config = (*scene.config).clone();
    for export in config.exports.values_mut() {
        export.to.remove(0);
    }
    let opener = Arc::new(Opener::new(Arc::new(crate::config::Secrets::default())));
    let now = watch::Sender::new(Arc::new(config.clone())).subscribe();
    let other = Pruner::new(scene.ledger.clone(), opener.clone(), now);
    assert!(with(&other.prune(None, "").await.unwrap(), api::Fate::Pruned).is_empty());
    config.exports.clear();
    let other = Pruner::new(scene.ledger.clone(), opener, watch::Sender::new(Arc::new(config)).subscribe());
    assert!(with(&other.prune(None, "").await.unwrap(), api::Fate::Pruned).is_empty());
    assert!(scene.there("lake", &a));
}
