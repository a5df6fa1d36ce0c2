//! The control API against a real ledger and a dispatcher that only notes what it is told.

mod abuse;
mod answers;
mod document;
mod downloads;
mod notifications;
mod table;

use super::access::{Access, Caller};
use super::server::Limits;
use super::service::respond;
use super::{Content, ControlHooks, ControlState, ObjectAt, SchemaAsk};
use crate::base::clock;
use crate::base::ids::{Name, RequestKey, TaskId};
use crate::config::settings::{Config, Rate};
use crate::destinations::DestinationError;
use crate::ledger::input::{AddDestination, Change, NewTask};
use crate::ledger::rows::{FreedSegment, TaskRow};
use crate::ledger::{Ledger, LedgerError, NoticeFilter};
use crate::model::notice::{Event, Rule};
use crate::model::scope::Scope;
use crate::model::task::TaskEvent;
use crate::net::limit::{Limiter, Standing};
use crate::queue::handle::{Actor, Command, Inbox, Order, Ordered, QueueHandle, Refusal, ReloadReport, Submitted};
use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use saas_export_api::{
    ChainFate, Fate, PruneReport, SchemaReport, StaleStream, StreamSchema, VerifyProblem, VerifyReport,
};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// A daemon without anything that exports.
struct Fixture {
    state: Arc<ControlState>,
    /// What the dispatcher was told, and by whom.
    told: Arc<Mutex<Vec<String>>>,
    stop: CancellationToken,
    _dir: tempfile::TempDir,
}

/// An answer.
struct Got {
    status: StatusCode,
    headers: HeaderMap,
    body: Value,
    text: String,
}

impl Fixture {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(dir.path()).unwrap();
        let (queue, inbox) = QueueHandle::new();
        let told = Arc::new(Mutex::new(Vec::new()));
        tokio::spawn(dispatch(inbox, told.clone(), ledger.clone()));
        let config = watch::Sender::new(Arc::new(config())).subscribe();
        let state = ControlState::new(queue, ledger, config, Arc::new(Hooks));
        Self { state: Arc::new(state), told, stop: CancellationToken::new(), _dir: dir }
    }

    /// A task of the export `shop`, pending.
    async fn task(&self) -> TaskId {
        new_task(&self.state.ledger, &format!("{:?}", clock::monotonic())).await
    }

    async fn send(&self, caller: &Caller, request: Request<Full<Bytes>>) -> Got {
        let limits = Limits::default();
        let response = respond(self.state.clone(), caller.clone(), self.stop.clone(), limits, request).await;
        let (head, body) = response.into_parts();
        let text = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
        let body = serde_json::from_str(&text).unwrap_or(Value::Null);
        Got { status: head.status, headers: head.headers, body, text }
    }

    async fn ask(&self, access: Option<Access>, method: &str, path: &str, body: &str) -> Got {
        let request = Request::builder().method(method).uri(path).body(Full::from(body.to_owned())).unwrap();
        self.send(&caller(access), request).await
    }

    async fn get(&self, path: &str) -> Got {
        self.ask(Some(Access::Admin), "GET", path, "").await
    }

    fn told(&self) -> Vec<String> {
        self.told.lock().unwrap().clone()
    }
}

fn caller(access: Option<Access>) -> Caller {
    Caller { uid: 7, actor: Actor("uid 7 (tester)".into()), access }
}

async fn new_task(ledger: &Ledger, key: &str) -> TaskId {
    ledger.create_task(task_of(key)).await.unwrap().0
}

fn task_of(key: &str) -> NewTask {
    NewTask {
        export: "shop".into(),
        key: RequestKey::new("shop", &[("key".into(), key.into())], "csv", ""),
        params: vec![],
        scope: Scope::default(),
        chained: true,
        format: "csv".into(),
        config: config().effective_for("shop").unwrap().to_string(),
        streams: vec!["orders".into()],
        notify: vec![],
        actor: "uid 7 (creator)".into(),
        at: clock::now(),
    }
}

fn config() -> Config {
    let name = |text: &str| Name::new(text).unwrap();
    let stream = json!({ "path": "/orders" });
    let source = json!({ "rest": { "base_url": "https://api.shop.example", "streams": { "orders": stream } } });
    let export = json!({ "source": "shop", "to": ["lake"], "params": { "region": { "type": "string" } } });
    let destination = json!({ "local": { "root": "/srv/exports" } });
    Config {
        version: 1,
        daemon: crate::config::settings::Daemon::default(),
        sources: [(name("shop"), serde_json::from_value(source).unwrap())].into(),
        destinations: [(name("lake"), serde_json::from_value(destination).unwrap())].into(),
        exports: [(name("shop"), serde_json::from_value(export).unwrap())].into(),
        notify: BTreeMap::new(),
    }
}

/// Gives the ledger a message that waits; its id.
async fn give_notice(ledger: &Ledger, key: &str) -> String {
    let task = new_task(ledger, key).await;
    let tell = vec![Rule { to: "ops".into(), on: vec![Event::Failure] }];
    let change = Change { reason: "reach the source".into(), tell, ..Change::default() };
    ledger.task_event(&task, TaskEvent::Fail, change).await.unwrap();
    ledger.notices(&NoticeFilter { limit: 1, ..NoticeFilter::default() }).await.unwrap().remove(0).id
}

/// A dispatcher that does nothing but note, except for what the ledger must know.
async fn dispatch(mut inbox: Inbox, told: Arc<Mutex<Vec<String>>>, ledger: Ledger) {
    let note = |text: String| told.lock().unwrap().push(text);
    while let Some(command) = inbox.commands.recv().await {
        match command {
            Command::Submit(request, answer) => {
                note(format!(
                    "submit {} {:?} {:?} by {}",
                    request.export, request.params, request.format, request.actor.0
                ));
                let refused = request.params.contains_key("refuse");
                let key = told.lock().unwrap().len().to_string();
                let task = new_task(&ledger, &key).await;
                let done = Ok(Submitted { task, created: true });
                let _ = answer.send(if refused { Err(Refusal::Invalid("no such parameter".into())) } else { done });
            }
            // No scheduler runs here.
            Command::SubmitSlot(_, _, answer) => drop(answer.send(Ok(None))),
            Command::Act(act, target, actor, answer) => {
                note(format!("{act:?} {target:?} by {}", actor.0));
                let _ = answer.send(Ok(vec![]));
            }
            Command::Reload(actor, answer) => {
                note(format!("reload by {}", actor.0));
                let _ = answer.send(Ok(ReloadReport::default()));
            }
            Command::Order(task, order, answer) => {
                note(format!(
                    "order {} {}",
                    task.as_str().len(),
                    match order {
                        Order::Add(order) => format!("to {} by {}", order.name, order.actor),
                        Order::Drop(order) => format!("drop {} by {}", order.name, order.actor),
                    }
                ));
                let _ = answer.send(Ok(Ordered { deliveries: 3, freed: vec![] }));
            }
            Command::Drain(answer) => drop(answer.send(())),
        }
    }
}

fn broken() -> DestinationError {
    let location = "https://store.example/sums".into();
    DestinationError::Corrupt { location, found: "it broke off".into() }
}

/// Contents that somebody still reads.
static READ: AtomicUsize = AtomicUsize::new(0);

struct Reading;

impl Drop for Reading {
    fn drop(&mut self) {
        READ.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A content without an end.
fn endless() -> Content {
    READ.fetch_add(1, Ordering::SeqCst);
    let reading = Reading;
    let piece = Bytes::from(vec![b'x'; 1 << 16]);
    futures_util::stream::repeat_with(move || (&reading, Ok(piece.clone())).1).boxed()
}

struct Hooks;

impl ControlHooks for Hooks {
    fn metrics(&self) -> BoxFuture<'static, Bytes> {
        Box::pin(std::future::ready(Bytes::from_static(b"# EOF\n")))
    }

    fn stale(&self) -> BoxFuture<'static, Result<Vec<StaleStream>, LedgerError>> {
        Box::pin(std::future::ready(Ok(vec![])))
    }

    fn back_fill(
        &self,
        _: TaskRow,
        name: String,
        actor: String,
    ) -> BoxFuture<'static, Result<AddDestination, Refusal>> {
        Box::pin(async move {
            match name.as_str() {
                "offsite" => Ok(AddDestination { name, settings: json!({}), moved: false, actor }),
                _ => Err(Refusal::NotFound(format!("there is no destination {name:?}"))),
            }
        })
    }

    fn free(&self, _: TaskRow, _: Vec<FreedSegment>) -> BoxFuture<'static, Result<(), Refusal>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn verify(
        &self,
        task: TaskId,
        destination: Option<String>,
        _deep: bool,
    ) -> BoxFuture<'static, Result<VerifyReport, Refusal>> {
        Box::pin(async move {
            let Some(destination) = destination else {
                let (task, problems, skipped) = (task.to_string(), vec![], vec![]);
                return Ok(VerifyReport { task, ok: true, files: 3, bytes: 9, problems, skipped });
            };
            let problem = VerifyProblem {
                destination,
                stream: "orders".into(),
                path: "/srv/x".into(),
                problem: "it is gone".into(),
            };
            let (task, problems, skipped) = (task.to_string(), vec![problem], vec![]);
            Ok(VerifyReport { task, ok: false, files: 3, bytes: 9, problems, skipped })
        })
    }

    fn schema(&self, ask: SchemaAsk) -> BoxFuture<'static, Result<SchemaReport, Refusal>> {
        Box::pin(async move {
            let stream = StreamSchema {
                stream: ask.stream.unwrap_or_default(),
                notes: vec![format!("{:?}", ask.params)],
                ..StreamSchema::default()
            };
            Ok(SchemaReport { export: ask.export, format: ask.format.unwrap_or_default(), streams: vec![stream] })
        })
    }

    fn preflight(
        &self,
        export: Option<String>,
        params: BTreeMap<String, String>,
    ) -> BoxFuture<'static, Result<saas_export_api::Preflight, Refusal>> {
        let step = saas_export_api::PreflightStep {
            subject: "source shop".into(),
            name: "dns".into(),
            result: saas_export_api::StepResult::Ok,
            ms: 3,
            message: format!("{params:?}"),
            hint: None,
        };
        let exports = vec![export.unwrap_or_else(|| "all".into())];
        Box::pin(async { Ok(saas_export_api::Preflight { ok: true, exports, steps: vec![step] }) })
    }

    fn prune(&self, export: Option<String>, by: Option<String>) -> BoxFuture<'static, Result<PruneReport, Refusal>> {
        Box::pin(async move {
            let chain = ChainFate {
                export: export.unwrap_or_else(|| "all".into()),
                stream: "orders".into(),
                destination: "lake".into(),
                chain: "c".into(),
                tasks: vec!["c".into()],
                params: BTreeMap::new(),
                published_at: "2026-01-01T00:00:00Z".into(),
                files: 3,
                bytes: 9,
                fate: if by.is_some() { Fate::Pruned } else { Fate::Due },
                why: "2 newer ones are whole (chains: 2)".into(),
            };
            Ok(PruneReport { dry_run: by.is_none(), chains: vec![chain] })
        })
    }

    fn read_object(&self, object: ObjectAt) -> BoxFuture<'static, Result<Option<Content>, Refusal>> {
        let pieces = match object.key.rsplit('/').next().unwrap_or_default() {
            "_manifest.json" => return Box::pin(async { Ok(None) }),
            "_manifest.json.sig" | "part-0-000009.csv" => return Box::pin(async { Ok(Some(endless())) }),
            "SHA256SUMS" => vec![Ok("sums".into()), Err(broken())],
            // Longer than it must be, by more than one piece.
            _ => vec![Ok(Bytes::from(vec![b'x'; 299])), Ok("yz".into()), Ok("more".into())],
        };
        Box::pin(async move { Ok(Some(futures_util::stream::iter(pieces).boxed())) })
    }

    fn link(&self, object: ObjectAt, expires: Duration) -> BoxFuture<'static, Result<Option<String>, Refusal>> {
        let url = format!("https://store.example/{}?secret=hunter2&expires={}", object.key, expires.as_secs());
        Box::pin(async move { Ok(object.key.ends_with(".csv").then_some(url)) })
    }

    fn notify_test(&self, recipient: String) -> BoxFuture<'static, Result<String, Refusal>> {
        Box::pin(async move {
            match recipient.as_str() {
                "ops" => Ok("the server took it".into()),
                _ => Err(Refusal::NotFound("there is no recipient".into())),
            }
        })
    }

    fn plan_reload(&self) -> BoxFuture<'static, Result<ReloadReport, Refusal>> {
        let applied = vec!["daemon.parallel: 3 → 4".into()];
        Box::pin(async { Ok(ReloadReport { applied, ..ReloadReport::default() }) })
    }

    fn check_config(&self) -> BoxFuture<'static, Vec<String>> {
        Box::pin(async { vec!["config.yaml:1:1: exports: missing".into()] })
    }

    fn config_path(&self) -> PathBuf {
        "/etc/export/config.yaml".into()
    }

    fn budgets(&self) -> BTreeMap<Name, Standing> {
        let standing = Limiter::new(&Rate { per_second: Some(7.0), ..Rate::default() }).standing();
        [(Name::new("api").unwrap(), standing.clone()), (Name::new("other").unwrap(), standing)].into()
    }
}
