//! What was published can be checked later, and damage is found; a name that is taken is never overwritten.

use crate::compare::{assert_exact, latest};
use saas_export_tests::harness::bed::{Bed, PATIENCE};
use saas_export_tests::harness::programs::{finish, has, skipped};
use std::process::Command;

/// A way to spoil a file.
type Harm = fn(&std::path::Path);

#[test]
fn damage_is_found_and_named() {
    let harm: [(&str, Harm); 3] = [
        ("flipped", |path| {
            let mut bytes = std::fs::read(path).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            std::fs::write(path, bytes).unwrap();
        }),
        ("cut", |path| {
            let bytes = std::fs::read(path).unwrap();
            std::fs::write(path, &bytes[..bytes.len() - 1]).unwrap();
        }),
        ("gone", |path| std::fs::remove_file(path).unwrap()),
    ];
    let bed = Bed::with_records(1000);
    let daemon = bed.start();
    for (what, harm) in harm {
        let id = daemon.run_to_success("shop");
        bed.ctl(&["verify", &id]).expect(0);
        let file = &latest(&bed, "shop", "lake")[1];
        harm(&file.path);
        let ended = bed.ctl(&["verify", &id]).expect(9);
        let name = file.path.file_name().unwrap().to_string_lossy().into_owned();
        assert!(format!("{}{}", ended.stdout, ended.stderr).contains(&name), "{what}: {ended:?}");
        std::thread::sleep(std::time::Duration::from_millis(1100));
    }
}

#[test]
fn the_sums_are_in_the_form_that_sha256sum_checks() {
    if !has("sha256sum") {
        return skipped("sha256sum: not installed");
    }
    let bed = Bed::with_records(1000);
    let daemon = bed.start();
    daemon.run_to_success("shop");
    let dir = latest(&bed, "shop", "lake")[0].path.parent().unwrap().to_owned();
    finish(Command::new("sha256sum").args(["--check", "--strict", "SHA256SUMS"]).current_dir(dir), PATIENCE).expect(0);
}

#[test]
fn a_foreign_file_under_a_segments_name_is_a_conflict() {
    let bed = Bed::with_records(1000);
    bed.api.set_faults(vec![saas_export_tests::sample::Fault::new(saas_export_tests::sample::Kind::Stall).at(&[1])]);
    let daemon = bed.start();
    let id = daemon.run("shop");
    assert!(bed.api.wait_until(PATIENCE, |truth| truth.under_way == 1));
    let dir = bed.lake().join("shop/cursor").join(&id);
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("part-0-000000.ndjson"), "not ours\n").unwrap();
    bed.ctl(&["pause", &id]).expect(0);
    daemon.wait_for(&id, &["paused"], PATIENCE);
    bed.ctl(&["resume", &id]).expect(0);
    let reason = || daemon.task(&id)["task"]["waiting"]["reason"].as_str().unwrap_or_default().to_owned();
    let start = std::time::Instant::now();
    while !reason().contains("another file is already there") {
        assert!(start.elapsed() < PATIENCE, "{}", daemon.task(&id));
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    assert_eq!(std::fs::read_to_string(dir.join("part-0-000000.ndjson")).unwrap(), "not ours\n");
    assert!(!bed.lake().join("shop/cursor/latest.json").exists());
    // What was read is kept: with the file out of the way nothing is asked again.
    let asked = bed.api.truth().requests;
    std::fs::remove_file(dir.join("part-0-000000.ndjson")).unwrap();
    bed.ctl(&["pause", &id]).expect(0);
    bed.ctl(&["resume", &id]).expect(0);
    daemon.wait_for(&id, &["succeeded"], PATIENCE);
    assert_eq!(bed.api.truth().requests, asked);
    assert_exact(&bed, "shop");
}

#[test]
fn a_newer_task_replaces_what_readers_follow_and_a_failed_one_does_not() {
    let bed = Bed::with_records(1000);
    let daemon = bed.start();
    let first = daemon.run_to_success("shop");
    bed.api.set_faults(vec![saas_export_tests::sample::Fault::status(404).at(&[5])]);
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let second = daemon.run("shop");
    daemon.wait_for(&second, &["failed"], PATIENCE);
    assert!(latest(&bed, "shop", "lake").iter().all(|file| file.task == first));
    assert_exact(&bed, "shop");
    bed.api.reset();
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let third = daemon.run_to_success("shop");
    assert!(latest(&bed, "shop", "lake").iter().all(|file| file.task == third));
    assert_exact(&bed, "shop");
}

#[test]
fn a_directory_is_verified_without_the_daemon() {
    let bed = Bed::with_records(1000);
    let daemon = bed.start();
    let id = daemon.run_to_success("shop");
    daemon.kill();
    let stream = bed.lake().join("shop/cursor");
    let task = stream.join(&id);
    let verify = |dir: &std::path::Path| bed.ctl(&["verify", "--dir", &dir.display().to_string()]);
    for dir in [&stream, &task] {
        verify(dir).expect(0);
    }
    verify(&bed.path("none")).expect(4);
    for name in ["part-0-000000.ndjson", "SHA256SUMS", "_manifest.json"] {
        let path = task.join(name);
        let good = std::fs::read(&path).unwrap();
        let mut bad = good.clone();
        // Still a digit where it was one, so that a manifest stays readable.
        let at = bad.iter().rposition(u8::is_ascii_digit).unwrap();
        bad[at] = if bad[at] == b'1' { b'2' } else { b'1' };
        std::fs::write(&path, bad).unwrap();
        let ended = verify(&stream).expect(9);
        assert!(ended.stdout.contains(&path.display().to_string()), "{name}: {ended:?}");
        std::fs::remove_file(&path).unwrap();
        assert!(verify(&task).expect(9).stdout.contains("is missing"), "{name}");
        std::fs::write(&path, good).unwrap();
    }
    verify(&stream).expect(0);
}

#[test]
fn what_is_deleted_or_forged_beside_the_data_is_found_too() {
    let bed = Bed::with_records(1000);
    let daemon = bed.start();
    let id = daemon.run_to_success("shop");
    bed.ctl(&["verify", &id]).expect(0);
    let ended = bed.ctl(&["verify", &id, "--destination", "laek"]).expect(4);
    assert!(ended.stderr.contains("it has lake"), "{}", ended.stderr);
    let latest = bed.lake().join("shop/cursor/latest.json");
    let good = std::fs::read_to_string(&latest).unwrap();
    std::fs::write(&latest, good.replace(&id, "20990101T000000Z-00000000")).unwrap();
    assert!(bed.ctl(&["verify", &id]).expect(9).stdout.contains("latest.json"));
    std::fs::write(&latest, good).unwrap();
    std::fs::remove_dir_all(bed.lake().join("shop/cursor").join(&id)).unwrap();
    assert!(bed.ctl(&["verify", &id]).expect(9).stdout.contains("_manifest.json: is missing"));
}
