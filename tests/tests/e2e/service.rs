//! What systemd sees: notifications, reload, and a drain that ends in time.

use crate::compare::assert_exact;
use nix::sys::signal::Signal;
use saas_export_tests::harness::bed::{Bed, PATIENCE};
use saas_export_tests::sample::{Fault, Kind, Options};
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

/// The notification socket of a service manager that does not exist.
struct Manager(UnixDatagram);

impl Manager {
    fn listen(bed: &Bed) -> Self {
        let socket = UnixDatagram::bind(bed.path("notify.sock")).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        Self(socket)
    }

    /// Reads messages until one holds `wanted`; all lines until then.
    #[track_caller]
    fn until(&self, wanted: &str, limit: Duration) -> Vec<String> {
        let end = Instant::now() + limit;
        let (mut lines, mut buffer) = (Vec::new(), [0; 4096]);
        while Instant::now() < end {
            let Ok(length) = self.0.recv(&mut buffer) else { continue };
            lines.extend(String::from_utf8_lossy(&buffer[..length]).lines().map(str::to_owned));
            if lines.iter().any(|line| line.starts_with(wanted)) {
                return lines;
            }
        }
        panic!("no {wanted} within {limit:?}, only {lines:?}");
    }
}

fn env(bed: &Bed) -> Vec<(&'static str, String)> {
    vec![("NOTIFY_SOCKET", bed.path("notify.sock").display().to_string()), ("WATCHDOG_USEC", "1000000".into())]
}

fn start(bed: &Bed) -> saas_export_tests::harness::daemon::Daemon {
    let env = env(bed);
    let env: Vec<(&str, &str)> = env.iter().map(|(name, value)| (*name, value.as_str())).collect();
    bed.spawn_with(&env)
}

#[test]
fn ready_status_watchdog_and_stopping() {
    let mut bed = Bed::with_records(3000);
    bed.config["exports"]["shop"]["schedule"] = "02-29 12:00 UTC".into();
    let manager = Manager::listen(&bed);
    let daemon = start(&bed);
    let lines = manager.until("READY=1", Duration::from_secs(20));
    // A recovery may take longer than systemd waits by itself.
    for wanted in ["STATUS=opening the ledger", "EXTEND_TIMEOUT_USEC="] {
        assert!(lines.iter().any(|line| line.starts_with(wanted)), "no {wanted}: {lines:?}");
    }
    // READY means that the socket answers.
    assert_eq!(daemon.ask("GET", "/v1", "").unwrap().status, 200);
    bed.api.set_faults(vec![Fault::rate(15.0)]);
    let id = daemon.run("shop");
    let lines = manager.until("WATCHDOG=1", Duration::from_secs(5));
    let status = lines.iter().find(|line| line.starts_with("STATUS=")).cloned();
    let status = status.unwrap_or_else(|| manager.until("STATUS=", Duration::from_secs(5)).pop().unwrap());
    assert!(status.contains(" queued; next: shop ") && status.contains("-02-29 12:00 UTC"), "{status}");
    daemon.wait_for(&id, &["succeeded"], PATIENCE);
    daemon.signal(Signal::SIGTERM);
    manager.until("STOPPING=1", Duration::from_secs(5));
    manager.until("EXTEND_TIMEOUT_USEC=", Duration::from_secs(5));
    let (status, said) = daemon.ended(Duration::from_secs(20));
    assert!(status.success(), "{status}: {said}");
}

#[test]
fn sighup_reloads() {
    let mut bed = Bed::with_records(500);
    let manager = Manager::listen(&bed);
    let daemon = start(&bed).ready();
    manager.until("READY=1", Duration::from_secs(20));
    let export = bed.config["exports"]["shop"].clone();
    bed.export("added", export);
    bed.write();
    daemon.signal(Signal::SIGHUP);
    let lines = manager.until("READY=1", Duration::from_secs(10));
    // systemd >= 253 ends the service if a reload comes without its time.
    assert!(
        lines.iter().any(|line| line == "RELOADING=1") && lines.iter().any(|line| line.starts_with("MONOTONIC_USEC=")),
        "{lines:?}"
    );
    daemon.run_to_success("added");
    assert_exact(&bed, "added");
    let export = bed.config["exports"]["shop"].clone();
    bed.export("third", export);
    bed.write();
    bed.ctl(&["reload"]).expect(0);
    daemon.run_to_success("third");
}

/// Waits for the end of a reload; the status that comes with it.
#[track_caller]
fn reloaded(manager: &Manager) -> String {
    let lines = manager.until("READY=1", Duration::from_secs(10));
    assert!(lines.iter().any(|line| line == "RELOADING=1"), "{lines:?}");
    lines.into_iter().rfind(|line| line.starts_with("STATUS=")).expect("READY comes with a status")
}

#[test]
fn a_refused_sighup_is_told_and_the_old_configuration_stays() {
    let mut bed = Bed::with_records(500);
    let manager = Manager::listen(&bed);
    let daemon = start(&bed).ready();
    manager.until("READY=1", Duration::from_secs(20));
    let good = serde_json::to_string(&bed.config).unwrap();
    bed.write_files(&good.replace("\"version\":1", "\"version\":7"), "");
    daemon.signal(Signal::SIGHUP);
    // The reload ends, so that systemd does not end the service; the status says how.
    assert!(reloaded(&manager).contains("the last reload was refused"));
    daemon.run_to_success("shop");
    let refused = bed.ctl(&["reload"]).expect(1);
    assert!(refused.stderr.contains("config.yaml:1:"), "{}", refused.stderr);
    bed.ctl(&["config", "check"]).expect(1);
    let export = bed.config["exports"]["shop"].clone();
    bed.export("added", export);
    bed.write();
    daemon.signal(Signal::SIGHUP);
    assert!(!reloaded(&manager).contains("refused"));
    daemon.run_to_success("added");
}

#[test]
fn sigterm_drains_to_a_page_and_the_next_start_goes_on() {
    for stall in [false, true] {
        // Behind the sample of fifty pages, before which nothing is committed.
        let bed = Bed::new(Options { records: 6000, page_size: 50, ..Options::default() });
        let fault = if stall { Fault::new(Kind::Stall).at(&[90]) } else { Fault::rate(100.0) };
        bed.api.set_faults(vec![fault]);
        let daemon = bed.start();
        let id = daemon.run("shop");
        assert!(bed.api.wait_until(PATIENCE, |truth| truth.requests >= 90));
        let asked = Instant::now();
        daemon.signal(Signal::SIGTERM);
        let (status, said) = daemon.ended(Duration::from_secs(15));
        assert!(status.success(), "{status}: {said}");
        assert!(asked.elapsed() < Duration::from_secs(10), "{:?}", asked.elapsed());
        assert!(!bed.socket().exists() || std::os::unix::net::UnixStream::connect(bed.socket()).is_err());
        bed.api.set_faults(Vec::new());
        let daemon = bed.start();
        daemon.wait_for(&id, &["succeeded"], PATIENCE);
        assert_exact(&bed, "shop");
        let again = bed.api.truth().repeated_requests();
        assert!(again <= 10, "a drained task repeats next to nothing: {again} pages");
    }
}

#[test]
fn a_stale_socket_is_replaced() {
    let bed = Bed::with_records(200);
    bed.start().kill();
    assert!(bed.socket().exists(), "a killed daemon leaves its socket");
    let daemon = bed.start();
    daemon.run_to_success("shop");
}

#[test]
fn a_directory_for_logs_gets_what_goes_wrong() {
    let bed = Bed::with_records(10);
    let logs = bed.path("logs");
    std::fs::create_dir(&logs).unwrap();
    let daemon = bed.spawn_with(&[("LOGS_DIRECTORY", &logs.display().to_string())]).ready();
    bed.write_files("version: 7", "");
    daemon.signal(Signal::SIGHUP);
    let end = Instant::now() + Duration::from_secs(10);
    let line = loop {
        let text = std::fs::read_to_string(logs.join("errors.log")).unwrap();
        if let Some(line) = text.lines().find(|line| line.contains("not reloaded")) {
            break serde_json::from_str::<serde_json::Value>(line).unwrap();
        }
        assert!(Instant::now() < end, "{text}");
        std::thread::sleep(Duration::from_millis(50));
    };
    assert_eq!(line["level"], "error");
    assert!(line["message"].as_str().unwrap().contains("config.yaml:1:"), "{line}");
}
