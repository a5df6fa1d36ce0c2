//! One owner of a state directory, and a ledger that is not what it should be.

use crate::compare::{sha256, walk};
use saas_export_tests::harness::bed::Bed;
use saas_export_tests::harness::programs::finish;
use std::path::PathBuf;
use std::time::Duration;

/// A way to spoil a file's bytes.
type Damage = fn(&mut Vec<u8>);

/// The SQLite database of a bed.
fn ledger(bed: &Bed) -> PathBuf {
    let is_database = |path: &PathBuf| std::fs::read(path).is_ok_and(|bytes| bytes.starts_with(b"SQLite format 3\0"));
    walk(&bed.path("state")).into_iter().find(is_database).expect("a SQLite database in the state directory")
}

#[test]
fn a_second_daemon_on_a_state_directory_is_refused() {
    let bed = Bed::with_records(500);
    let daemon = bed.start();
    // Also under another socket.
    let other = serde_json::to_string(&bed.config).unwrap().replace("control.sock", "other.sock");
    std::fs::write(bed.path("other.yaml"), other).unwrap();
    for config in ["config.yaml", "other.yaml"] {
        let mut command = bed.daemon_command();
        command.arg("--config").arg(bed.path(config));
        let mut second = std::process::Command::new(command.get_program());
        second.arg("--config").arg(bed.path(config)).arg("--auth-env").arg(bed.path("auth.env"));
        let ended = finish(&mut second, Duration::from_secs(10));
        let ended = ended.expect(7);
        let state = bed.path("state").display().to_string();
        assert!(ended.stderr.contains(&state), "names the directory: {}", ended.stderr);
        assert!(
            ended.stderr.contains(&daemon.pid().to_string()) || ended.stderr.contains("another"),
            "{}",
            ended.stderr
        );
    }
    // `once` wants the same ledger, so it is refused too.
    bed.daemon(&["once", "shop"]).expect(7);
    // The first one is as well as before, its socket included.
    daemon.run_to_success("shop");
    crate::compare::assert_exact(&bed, "shop");
}

#[test]
fn the_place_of_a_dead_daemon_is_free() {
    let bed = Bed::with_records(500);
    bed.start().kill();
    let daemon = bed.start();
    daemon.run_to_success("shop");
}

#[test]
fn a_corrupt_ledger_is_a_clear_error_and_stays_as_it_is() {
    let damage: [(&str, Damage); 4] = [
        ("another file", |bytes| *bytes = b"this is not a database at all, just a text".repeat(200)),
        ("a torn header", |bytes| bytes[..100].fill(0x5a)),
        ("garbage inside", |bytes| bytes[4096..].fill(0xaa)),
        ("half of it", |bytes| bytes.truncate(bytes.len() / 2)),
    ];
    for (what, harm) in damage {
        let bed = Bed::with_records(500);
        let daemon = bed.start();
        daemon.run_to_success("shop");
        daemon.signal(nix::sys::signal::Signal::SIGTERM);
        assert!(daemon.ended(Duration::from_secs(20)).0.success());
        let ledger = ledger(&bed);
        let mut bytes = std::fs::read(&ledger).unwrap();
        harm(&mut bytes);
        std::fs::write(&ledger, &bytes).unwrap();
        let before = sha256(&ledger);
        let (status, said) = bed.spawn_with(&[]).ended(Duration::from_secs(20));
        assert!(!status.success() && status.code().is_some(), "{what}: {status}: {said}");
        assert!(said.contains(&ledger.display().to_string()), "{what}: names the file: {said}");
        assert!(!said.contains("panicked"), "{what}: {said}");
        assert_eq!(sha256(&ledger), before, "{what}: nothing is overwritten");
    }
}

#[test]
fn a_ledger_of_a_newer_version_is_refused() {
    let bed = Bed::with_records(500);
    let daemon = bed.start();
    daemon.signal(nix::sys::signal::Signal::SIGTERM);
    daemon.ended(Duration::from_secs(20));
    // SQLite keeps `user_version` big-endian in bytes 60 to 63 of the header.
    let ledger = ledger(&bed);
    let mut bytes = std::fs::read(&ledger).unwrap();
    bytes[60..64].copy_from_slice(&9999u32.to_be_bytes());
    std::fs::write(&ledger, &bytes).unwrap();
    let (status, said) = bed.spawn_with(&[]).ended(Duration::from_secs(20));
    assert!(!status.success(), "{said}");
    assert!(said.contains("9999") || said.contains("newer"), "{said}");
}
