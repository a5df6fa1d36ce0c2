//! What is due is forgotten, in batches that leave the writer to others; what has left files behind stays.

use super::*;
use crate::base::ids::{RequestKey, TaskId};
use crate::config;
use crate::config::units::SpanOrNever;
use crate::ledger::input::{Change, NewTask};
use crate::model::scope::Scope;
use crate::model::task::TaskEvent;

const CONFIG: &str = r#"
version: 1
daemon: { state_dir: DIR/state, history: 1d }
sources:
  shop: { rest: { base_url: https://api.shop.example, streams: { orders: { path: /orders } } } }
destinations: { lake: { local: { root: DIR/lake } } }
exports: { shop: { source: shop, to: [lake] } }
"#;

/// A task that was cancelled a moment ago.
async fn cancelled(ledger: &Ledger, config: &Config, key: usize) -> TaskId {
    let new = NewTask {
        export: "shop".into(),
        key: RequestKey(format!("{key:064}")),
        params: vec![],
        scope: Scope::default(),
        chained: false,
        format: "csv".into(),
        config: config.effective_for("shop").unwrap().to_string(),
        streams: vec!["orders".into()],
        notify: vec![],
        actor: "anna".into(),
        at: clock::now(),
    };
    let (id, _) = ledger.create_task(new).await.unwrap();
    ledger.task_event(&id, TaskEvent::Cancel, Change::default()).await.unwrap();
    id
}

#[tokio::test]
async fn what_is_old_and_has_left_nothing_goes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.yaml");
    std::fs::write(&path, CONFIG.replace("DIR", dir.path().to_str().unwrap())).unwrap();
    let config = config::load(&path, None).unwrap_or_else(|problems| panic!("{:?}", problems.list()));
    let mut daemon = config.daemon.clone();
    let ledger = Ledger::open(&daemon.state_dir).unwrap();
    let mut tasks = Vec::new();
    for key in 0..BATCH + 20 {
        tasks.push(cancelled(&ledger, &config, key).await);
    }
    assert_eq!(sweep(&ledger, &daemon).await.unwrap(), (0, 0), "nothing is old enough");
    ledger.age(Duration::from_secs(3 * 86_400)).await;
    daemon.history = SpanOrNever(None);
    assert_eq!(sweep(&ledger, &daemon).await.unwrap(), (0, 0), "never");
    daemon.history = config.daemon.history;
    // Its unpublished files are still to be swept.
    let left = &tasks[7];
    std::fs::create_dir_all(dir.path().join("lake/.saas-export/spool").join(left.as_str())).unwrap();
    let (forgotten, lines) = sweep(&ledger, &daemon).await.unwrap();
    assert_eq!(forgotten, tasks.len() - 1);
    assert!(lines >= 2 * tasks.len() as i64, "{lines}");
    let rest =
        ledger.tasks(&crate::ledger::rows::TaskFilter { export: None, states: vec![], limit: 1000 }).await.unwrap();
    assert_eq!(rest.iter().map(|task| &task.id).collect::<Vec<_>>(), [left]);
    assert_eq!(ledger.verify_audit().await.unwrap(), None);
    assert_eq!(sweep(&ledger, &daemon).await.unwrap(), (0, 0), "and that was all");
    let (steps, _) = ledger.check().await.unwrap();
    assert!(steps.iter().all(|step| step.problems.is_empty()), "{steps:?}");
}

#[test]
fn history_begins_with_a_day() {
    let now: Timestamp = "2026-11-21T02:45:01Z".parse().unwrap();
    let day = Duration::from_secs(86_400);
    assert_eq!(cutoff(now, 2 * day).unwrap().to_string(), "2026-11-19T00:00:00Z");
    assert_eq!(cutoff(now, Duration::from_secs(u64::MAX / 4)), None);
}
