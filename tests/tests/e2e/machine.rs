//! The machine fails: its disks answer with errors and fill up, descriptors and memory run out. Nothing that was not done is said to
//! have succeeded, and once the machine is well again everything is exact.

use crate::compare::{assert_complete, parts};
use crate::crash::each;
use crate::fulldisk::{Tmpfs, waits};
use crate::torture;
use saas_export_tests::harness::bed::{Bed, PATIENCE};
use saas_export_tests::harness::chance::Chance;
use saas_export_tests::harness::config;
use saas_export_tests::harness::daemon::Daemon;
use saas_export_tests::harness::programs::{finish, has, root_or_skip, skipped, wait, wait_until};
use saas_export_tests::sample::Fault;
use serde_json::json;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// What the kernel answers with an error. Those of [`DATA`] come first.
const CALLS: [&str; 9] = [
    DATA[0],
    DATA[1],
    "fsync",
    "fdatasync",
    "pwrite64",
    "rename,renameat,renameat2",
    "link,linkat",
    "mkdir,mkdirat",
    "unlink,unlinkat",
];

/// By these go data to files, sockets and the log alike: they fail at the files of the spool and of the ledger alone.
const DATA: [&str; 2] = ["write,writev,pwrite64", "read,pread64,copy_file_range"];

const ERRORS: [&str; 4] = ["EIO", "EROFS", "ENOSPC", "EDQUOT"];

/// Two destinations, a link away and a copy away, and a source that takes its time.
fn bed(format: &str) -> Bed {
    let mut bed = Bed::with_records(4000);
    bed.config["daemon"]["replay_limit"] = "1s".into();
    bed.config["destinations"]["copy"] = json!({ "local": { "root": bed.path("copy") } });
    bed.stream("regions", config::regions(3));
    let mut export = config::export("shop", "regions", format, "200kB");
    export["to"] = json!(["lake", "copy"]);
    export["attempts"] = 3.into();
    bed.export("shop", export);
    bed.api.set_faults(vec![Fault::rate(30.0)]);
    bed
}

/// Where a task of [`bed`] spools what it reads, and where the ledger is.
fn files(bed: &Bed, task: &str) -> Vec<PathBuf> {
    let spool = bed.path(&format!("lake/.saas-export/spool/{task}/regions"));
    let parts = (0..3).flat_map(|lane| (0..8).map(move |n| format!("part-{lane}-{n:06}")));
    let mut files: Vec<_> = parts
        .flat_map(|part| ["journal", "ndjson", "parquet"].map(|ending| spool.join(format!("{part}.{ending}"))))
        .collect();
    files.extend(["state/ledger.db", "state/ledger.db-wal"].map(|name| bed.path(name)));
    files
}

/// System calls of a daemon that fail until this is dropped.
struct Errors {
    strace: Child,
    /// What was traced.
    told: PathBuf,
}

impl Errors {
    /// Every `step`-th of these calls of the daemon that runs the task fails, from the `first` on, counted for each thread.
    fn of(bed: &Bed, (daemon, task): (&Daemon, &str), calls: &str, error: &str, (first, step): (u64, u64)) -> Self {
        let told = bed.path("strace");
        let pid = daemon.pid().to_string();
        let inject = format!("inject={calls}:error={error}:when={first}+{step}");
        let mut strace = Command::new("strace");
        strace.args(["-f", "-qq", "-p", &pid, "-e", &format!("trace={calls}"), "-e", &inject, "-o"]).arg(&told);
        if DATA.contains(&calls) {
            for file in files(bed, task) {
                strace.arg("-P").arg(file);
            }
        }
        let child = strace.stdin(Stdio::null()).stderr(Stdio::null()).spawn().expect("strace starts");
        let traced = || {
            let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            status.lines().any(|line| line.starts_with("TracerPid:") && !line.ends_with("\t0"))
        };
        assert!(wait_until(Duration::from_secs(10), traced), "strace does not come to {pid}");
        Self { strace: child, told }
    }

    /// Ends them; how often something failed.
    fn end(self) -> usize {
        let told = self.told.clone();
        drop(self);
        std::fs::read_to_string(told).unwrap_or_default().matches("(INJECTED)").count()
    }
}

impl Drop for Errors {
    fn drop(&mut self) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.strace.id()).expect("a process id"));
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        if wait(&mut self.strace, Duration::from_secs(10)).is_none() {
            let _ = self.strace.kill();
        }
        let _ = self.strace.wait();
    }
}

/// Both destinations hold each record once.
fn exact(bed: &Bed) {
    assert_complete(bed, "shop");
    assert_eq!(parts(bed, "shop", "lake"), parts(bed, "shop", "copy"));
}

/// The machine is well again: the task comes to its end, tried again by hand where it has failed. With a daemon that has ended,
/// another one takes over.
fn recovers(bed: &Bed, mut daemon: Daemon, id: &str) {
    if !daemon.alive() {
        daemon = bed.start();
    }
    let ended = daemon.wait_for(id, &["succeeded", "failed"], PATIENCE);
    if ended["task"]["state"] == "failed" {
        bed.ctl(&["retry", id]).expect(0);
        daemon.wait_for(id, &["succeeded"], PATIENCE);
    }
    exact(bed);
    bed.ctl(&["verify", id]).expect(0);
    bed.ctl(&["ledger", "check"]).expect(0);
    // What comes next is not held up by what was.
    daemon.run_to_success("shop");
    exact(bed);
    assert!(!daemon.stderr().contains("panicked"), "{}", daemon.stderr());
}

fn can_trace() -> bool {
    if !has("strace") {
        skipped("machine: strace is missing");
        return false;
    }
    // Where nobody may trace a process of his own, root may.
    root_or_skip("machine: errors of system calls")
}

#[test]
fn errors_of_the_disk_are_no_success_and_are_over_with_the_fault() {
    if !can_trace() {
        return;
    }
    let mut chance = Chance::of_this_run("errors of the disk");
    let rounds = if torture() { 25 } else { 1 };
    let cases: Vec<String> = (0..rounds)
        .flat_map(|_| CALLS)
        .map(|calls| {
            let (error, format) = (*chance.one_of(&ERRORS), *chance.one_of(&["ndjson", "parquet"]));
            format!("{calls} {error} {format} {} {}", 1 + chance.below(2), 1 + chance.below(4))
        })
        .collect();
    let struck = AtomicU64::new(0);
    each(&cases, |case| {
        let [calls, error, format, first, step] = case.split(' ').collect::<Vec<_>>()[..] else { panic!("{case}") };
        let bed = bed(format);
        let daemon = bed.start();
        let id = daemon.run("shop");
        let errors =
            Errors::of(&bed, (&daemon, &id), calls, error, (first.parse().expect("n"), step.parse().expect("n")));
        // Nothing where the daemon has ended.
        let state = || {
            let answer = daemon.ask("GET", &format!("/v1/tasks/{id}"), "").ok()?;
            let task: serde_json::Value = serde_json::from_slice(&answer.body).ok()?;
            Some(task["result"]["task"]["state"].as_str().or(task["task"]["state"].as_str())?.to_owned())
        };
        wait_until(Duration::from_secs(4), || state().is_none_or(|state| ["succeeded", "failed"].contains(&&*state)));
        let done = state().is_some_and(|state| state == "succeeded");
        let failed = errors.end();
        if done {
            exact(&bed);
        }
        println!("torture: {failed} calls of {calls} failed with {error}");
        struck.fetch_add(u64::from(failed > 0), Relaxed);
        recovers(&bed, daemon, &id);
    });
    let struck = struck.into_inner();
    println!("torture: {struck} of {} faults of the disk struck, lost 0, duplicated 0, no false success", cases.len());
    assert!(struck * 4 >= cases.len() as u64 * 3, "most of them must strike");
}

#[test]
fn a_full_disk_below_the_ledger_or_one_destination_is_waited_for() {
    if !root_or_skip("machine: full disks") {
        return;
    }
    each(&["state", "copy"].map(str::to_owned), |place| {
        let bed = bed("ndjson");
        let Some(_disk) = Tmpfs::mount(&bed.path(place), "4m") else { return };
        let daemon = bed.start();
        let id = daemon.run("shop");
        std::thread::sleep(Duration::from_millis(300));
        let filler = bed.path(place).join("filler");
        // What there is room for of it takes all that there is.
        let filled = std::fs::write(&filler, vec![b'x'; 8 << 20]);
        assert_eq!(filled.expect_err("no room").raw_os_error(), Some(nix::libc::ENOSPC));
        if place == "copy" {
            let reason = waits(&daemon, &id);
            assert!(reason.contains("full") && reason.contains("copy"), "{reason}");
        } else {
            let told = wait_until(PATIENCE, || daemon.stderr().contains("ledger.db: its disk is full"));
            assert!(told, "{}", daemon.stderr());
        }
        std::fs::remove_file(filler).expect("room again");
        recovers(&bed, daemon, &id);
    });
}

/// Sets a limit of a running process.
fn limit(daemon: &Daemon, what: &str) {
    let pid = daemon.pid().to_string();
    finish(Command::new("prlimit").args(["--pid", &pid, what]), PATIENCE).expect(0);
}

#[test]
fn a_daemon_without_descriptors_goes_on_when_it_has_some() {
    let bed = bed("parquet");
    let daemon = bed.start();
    let most = daemon.usage().descriptors;
    let id = daemon.run("shop");
    std::thread::sleep(Duration::from_millis(300));
    // Fewer than it has open now; the soft limit, so that it can be raised again without being root.
    limit(&daemon, &format!("--nofile={}:", most.saturating_sub(4).max(8)));
    std::thread::sleep(Duration::from_secs(2));
    limit(&daemon, "--nofile=1024:");
    assert!(daemon.stderr().contains("Too many open files"), "{}", daemon.stderr());
    recovers(&bed, daemon, &id);
}

#[test]
fn a_daemon_that_dies_for_want_of_memory_loses_nothing() {
    let bed = bed("parquet");
    let mut daemon = bed.start();
    let id = daemon.run("shop");
    std::thread::sleep(Duration::from_millis(300));
    // Less than it has now: nothing more is given.
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.pid())).expect("it runs");
    let size = status.lines().find_map(|line| line.strip_prefix("VmSize:")).expect("a size");
    let kilobytes: u64 = size.split_whitespace().next().and_then(|n| n.parse().ok()).expect("a number");
    limit(&daemon, &format!("--as={}:", kilobytes * 1024 / 2));
    assert!(wait_until(PATIENCE, || !daemon.alive()), "it needs no memory:\n{}", daemon.stderr());
    recovers(&bed, daemon, &id);
}
