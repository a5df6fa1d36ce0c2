//! A full disk: the task waits and says what is missing, goes on by itself when there is room, and loses nothing.

use crate::compare::{assert_exact, assert_tidy};
use saas_export_tests::harness::bed::{Bed, PATIENCE};
use saas_export_tests::harness::config;
use saas_export_tests::harness::programs::{root_or_skip, skipped};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// A small file system in memory; unmounted when dropped.
pub struct Tmpfs(PathBuf);

impl Tmpfs {
    /// Mounts one, or says why the test is skipped.
    pub fn mount(at: &Path, size: &str) -> Option<Self> {
        std::fs::create_dir_all(at).unwrap();
        let options = format!("size={size},mode=0755");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(at).status();
        if mounted.is_ok_and(|status| status.success()) {
            return Some(Self(at.to_owned()));
        }
        skipped("full disk: cannot mount a tmpfs here");
        None
    }

    pub fn grow(&self, size: &str) {
        let grown = Command::new("mount").args(["-o", &format!("remount,size={size}")]).arg(&self.0).status().unwrap();
        assert!(grown.success());
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// Waits until the task says that it waits for room; what it says.
pub fn waits(daemon: &saas_export_tests::harness::daemon::Daemon, id: &str) -> String {
    let end = Instant::now() + PATIENCE;
    loop {
        let task = daemon.task(id)["task"].clone();
        if let Some(reason) = task["waiting"]["reason"].as_str() {
            assert_eq!(task["state"], "processing", "{task}");
            return reason.to_owned();
        }
        assert!(!["failed", "succeeded"].contains(&task["state"].as_str().unwrap()), "{task}\n{}", daemon.stderr());
        assert!(Instant::now() < end, "no word of waiting: {task}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_task_waits_for_room_and_goes_on_by_itself() {
    if !root_or_skip("fulldisk") {
        return;
    }
    for format in ["ndjson", "parquet"] {
        // About 10 MB of NDJSON, 2.5 MB of Parquet.
        let mut bed = Bed::with_records(20_000);
        let chunk = if format == "ndjson" { "1MB" } else { "300kB" };
        bed.export("shop", config::export("shop", "cursor", format, chunk));
        let Some(disk) = Tmpfs::mount(&bed.lake(), if format == "ndjson" { "4m" } else { "1m" }) else { return };
        let daemon = bed.start();
        let id = daemon.run("shop");
        let reason = waits(&daemon, &id);
        let words = reason.to_lowercase();
        assert!(words.contains("full") && words.contains("missing"), "{reason}");
        assert!(words.contains(|c: char| c.is_ascii_digit()), "says how much is missing: {reason}");
        let shown = bed.ctl(&["show", &id]).expect(0).stdout;
        assert!(shown.to_lowercase().contains("full"), "{shown}");
        // It holds still, and it can be told to stop meanwhile.
        std::thread::sleep(Duration::from_millis(500));
        assert_eq!(daemon.task(&id)["task"]["state"], "processing");
        disk.grow("64m");
        daemon.wait_for(&id, &["succeeded"], PATIENCE);
        assert_exact(&bed, "shop");
        assert_tidy(&bed, "shop", "cursor");
        bed.ctl(&["verify", &id]).expect(0);
        drop(daemon);
    }
}

#[test]
fn a_task_that_waits_for_room_can_be_paused_killed_and_cancelled() {
    if !root_or_skip("fulldisk") {
        return;
    }
    let mut bed = Bed::with_records(20_000);
    bed.export("shop", config::export("shop", "cursor", "ndjson", "1MB"));
    let Some(disk) = Tmpfs::mount(&bed.lake(), "4m") else { return };
    let daemon = bed.start();
    let id = daemon.run("shop");
    waits(&daemon, &id);
    bed.ctl(&["pause", &id]).expect(0);
    daemon.wait_for(&id, &["paused"], Duration::from_secs(2));
    bed.ctl(&["resume", &id]).expect(0);
    waits(&daemon, &id);
    daemon.kill();
    let daemon = bed.start();
    waits(&daemon, &id);
    disk.grow("64m");
    daemon.wait_for(&id, &["succeeded"], PATIENCE);
    assert_exact(&bed, "shop");
    drop(daemon);
}
