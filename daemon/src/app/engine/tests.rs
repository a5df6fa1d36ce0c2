//! Requests and the building of runs.

use super::reload::{changed_since, keep_what_is_read_once};
use super::*;
use crate::app::params::check_value;
use crate::base::error::ErrorClass;
use crate::config::settings::Param;
use crate::model::scope::Scope;
use crate::queue::handle::Actor;
use crate::transfer::progress::Counters;
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

const CONFIG: &str = r#"
version: 1
daemon: { state_dir: DIR/state }
sources:
  shop:
    rest:
      base_url: https://api.shop.example
      tls: { ca_file: DIR/ca.pem }
      streams: { orders: { path: /orders, records: "$[*]", paginate: { none: {} } } }
destinations: { lake: { local: { root: DIR/lake } } }
exports:
  shop:
    source: shop
    to: [lake]
    attempts: 7
    params:
      region: { type: string, default: eu }
      since: { type: date, default: "2024-01-01" }
"#;

fn engine() -> (TempDir, Arc<AppEngine>) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.yaml");
    std::fs::write(&path, CONFIG.replace("DIR", dir.path().to_str().unwrap())).unwrap();
    let config = config::load(&path, None).unwrap_or_else(|problems| panic!("{:?}", problems.list()));
    let ledger = Ledger::open(&config.daemon.state_dir).unwrap();
    let files = Files { config: path, auth_env: None };
    (dir, Arc::new(AppEngine::new(files, config, Secrets::default(), ledger)))
}

fn request(params: &[(&str, &str)]) -> Request {
    let params = params.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let (notify, actor) = (Vec::new(), Actor("anna".into()));
    Request { export: "shop".into(), params, format: None, scope: Scope::default(), notify, actor }
}

#[tokio::test]
async fn a_default_that_is_given_is_no_other_task() {
    let (_dir, engine) = engine();
    let plain = engine.plan(&request(&[])).unwrap();
    let given = engine.plan(&request(&[("region", "eu"), ("since", "2024-01-01")])).unwrap();
    assert_eq!(given.key, plain.key);
    assert!(given.params.is_empty(), "it is the plain task, which moves the mark");
    let other = engine.plan(&request(&[("region", "us")])).unwrap();
    assert_ne!(other.key, plain.key);
    assert_eq!(other.params, [("region".to_owned(), "us".to_owned())]);
    let all = engine.plan(&request(&[("region", "us"), ("since", "2024-01-01")])).unwrap();
    assert_eq!((all.key, all.params), (other.key, other.params));
}

/// The run of a task, the token that stops it, and its end.
async fn run(engine: &Arc<AppEngine>) -> (CancellationToken, tokio::task::JoinHandle<Outcome>) {
    let (task, _) = engine.ledger.create_task(engine.plan(&request(&[])).unwrap()).await.unwrap();
    let row = engine.ledger.task(&task).await.unwrap().unwrap();
    assert_eq!(engine.attempts(&row), 7);
    let stop = CancellationToken::new();
    let progress = Arc::<Counters>::default();
    let control = RunControl { stop: stop.clone(), progress, extracted: mpsc::channel(1).0 };
    (stop, tokio::spawn(engine.clone().run(row, control)))
}

#[tokio::test]
async fn a_file_that_hangs_holds_up_nobody_and_the_task_can_be_stopped() {
    let (dir, engine) = engine();
    let fifo = dir.path().join("ca.pem");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    // The runtime has this thread alone: were it blocked, nothing below would come.
    let (stop, ended) = run(&engine).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!ended.is_finished());
    stop.cancel();
    assert!(matches!(ended.await.unwrap(), Outcome::Stopped));
    // Lets the thread that reads go.
    drop(std::fs::OpenOptions::new().write(true).open(&fifo).unwrap());
}

#[tokio::test]
async fn what_is_wrong_with_the_configuration_fails_the_task() {
    let (dir, engine) = engine();
    std::fs::write(dir.path().join("ca.pem"), "no certificate").unwrap();
    let outcome = run(&engine).await.1.await.unwrap();
    assert!(matches!(&outcome, Outcome::Failed(ErrorClass::Config, why) if why.contains("ca_file")), "{outcome:?}");
}

#[test]
fn a_full_disk_makes_the_task_wait_and_other_errors_keep_their_class() {
    let spool =
        |errno: nix::errno::Errno| BuildError::Spool { path: "/srv/x".into(), source: errno.into() }.outcome(false);
    let full = spool(nix::errno::Errno::ENOSPC);
    assert!(matches!(&full, Outcome::Wait(waiting, _) if waiting.reason.contains("room to create /srv/x")), "{full:?}");
    assert!(matches!(spool(nix::errno::Errno::EIO), Outcome::RetryAfter(None, ErrorClass::Transient, _)));
    assert!(matches!(spool(nix::errno::Errno::EACCES), Outcome::Failed(ErrorClass::Config, _)));
    // Once its source is read, a task cannot fail any more.
    for errno in [nix::errno::Errno::EIO, nix::errno::Errno::EACCES] {
        let error = BuildError::Spool { path: "/srv/x".into(), source: errno.into() };
        let outcome = error.outcome(true);
        assert!(
            matches!(&outcome, Outcome::Wait(waiting, _) if waiting.reason.contains("create /srv/x")),
            "{outcome:?}"
        );
    }
}

#[test]
fn a_parameter_of_a_run_is_held_to_the_same_rules_as_its_default() {
    let param = |kind| Param { kind, one_of: None, default: None };
    let check = |kind, value: &str| check_value("p", &param(kind), value);
    assert!(check(settings::ParamType::Date, "2026-01-31").is_ok());
    // jiff takes these as days, too; as text they would not compare.
    for day in ["20260131", "2026-01-31T10:00", "2026-01-32"] {
        assert!(check(settings::ParamType::Date, day).is_err(), "{day}");
    }
    let words = Param { one_of: Some(vec!["eu".into()]), ..param(settings::ParamType::String) };
    assert!(check_value("p", &words, "eu").is_ok() && check_value("p", &words, "us").is_err());
}

#[test]
fn what_is_read_once_stays_over_a_reload() {
    let mut config = Config {
        version: 1,
        daemon: settings::Daemon::default(),
        sources: BTreeMap::new(),
        destinations: BTreeMap::new(),
        exports: BTreeMap::new(),
        notify: BTreeMap::new(),
    };
    let old = config.clone();
    config.daemon =
        settings::Daemon { state_dir: "/a".into(), socket: "/b".into(), threads: 7, parallel: 9, ..config.daemon };
    let told = config::diff::diff(&old, &config).needs_restart.len();
    keep_what_is_read_once(&mut config, &old);
    assert_eq!((config.daemon.parallel, config.daemon.threads), (9, 0));
    assert_eq!(told, 3);
    assert!(config::diff::diff(&old, &config).needs_restart.is_empty(), "all that is told is kept");
}

#[test]
fn a_restart_for_secrets_is_asked_for_only_after_a_change() {
    let dir = tempfile::tempdir().unwrap();
    let (file, copy) = (dir.path().join("auth.env"), dir.path().join("copy"));
    std::fs::write(&file, "A=1").unwrap();
    std::thread::sleep(std::time::Duration::from_millis(20));
    std::fs::write(&copy, "A=1").unwrap();
    assert!(!changed_since(&file, &copy));
    std::thread::sleep(std::time::Duration::from_millis(20));
    std::fs::rename(&file, dir.path().join("new")).unwrap();
    std::fs::rename(dir.path().join("new"), &file).unwrap();
    assert!(changed_since(&file, &copy), "moved into place");
    assert!(!changed_since(&dir.path().join("none"), &copy));
}
