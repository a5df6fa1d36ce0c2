//! What a ledger is not made of, and a crash while it is made.

use crate::ledger_adopt::{adopted, bed, change, ledger, night, nights, restore, snapshot, stop, whole};
use saas_export_tests::harness::bed::PATIENCE;
use saas_export_tests::harness::programs::{Ended, finish, skipped};
use std::fs;
use std::os::unix::fs::MetadataExt as _;

/// A key that signs manifests: test 1 of RFC 8032, section 7.1.
const MANIFEST_KEY: &str = "MANIFEST_KEY=\"-----BEGIN PRIVATE KEY-----\\n\
     MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\\n-----END PRIVATE KEY-----\"\n";

#[test]
fn what_cannot_be_trusted_is_refused_and_changes_nothing() {
    let mut bed = bed();
    bed.config["daemon"]["signing_key"] = "${MANIFEST_KEY}".into();
    bed.auth_env += MANIFEST_KEY;
    let (snapshot, tasks) = nights(&bed);
    let before = ledger(&bed);
    let stays = |ended: Ended, code: i32, says: &str| {
        let said = ended.expect(code).stderr;
        assert!(said.contains(says), "{says} is not in {said}");
        assert_eq!(ledger(&bed), before, "{says}");
    };
    stays(restore(&bed, &bed.path("no.db"), &[]), 4, "no.db");
    let whole = fs::read(&snapshot).unwrap();
    for (name, bytes) in
        [("cut.db", &whole[..whole.len() - 700]), ("empty.db", &[]), ("text.db", b"this is no ledger at all")]
    {
        fs::write(bed.path(name), bytes).unwrap();
        stays(restore(&bed, &bed.path(name), &[]), 1, "choose another one");
    }
    let mut damaged = whole.clone();
    damaged[4096..12288].fill(0x5a);
    fs::write(bed.path("damaged.db"), damaged).unwrap();
    stays(restore(&bed, &bed.path("damaged.db"), &[]), 1, "damaged.db");

    let at = |name: &str| bed.lake().join(format!("shop/items/{}/{name}", tasks[1]));
    let spoilt = |name: &str, says: &str, change: &dyn Fn(Vec<u8>) -> Vec<u8>, more: &[&str]| {
        let good = fs::read(at(name)).unwrap();
        fs::remove_file(at(name)).unwrap();
        fs::write(at(name), change(good.clone())).unwrap();
        stays(restore(&bed, &snapshot, more), 1, says);
        fs::write(at(name), good).unwrap();
    };
    let swap = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().replace("2024", "2023").into();
    spoilt("_manifest.json", "is not this manifest's signature", &swap, &["--accept-unsigned"]);
    spoilt("_manifest.json.sig", "signature", &|bytes| bytes.into_iter().rev().collect(), &["--accept-unsigned"]);
    let running = bed.start();
    let said = restore(&bed, &snapshot, &[]).expect(7).stderr;
    assert!(said.contains("another daemon"), "{said}");
    stop(running);
    restore(&bed, &snapshot, &[]).expect(0);
}

#[test]
fn unsigned_manifests_are_taken_by_order_alone() {
    let mut bed = bed();
    let (snapshot, tasks) = nights(&bed);
    // Without a signature the list that readers follow says what a manifest must be.
    let manifest = bed.lake().join(format!("shop/items/{}/_manifest.json", tasks[1]));
    let good = fs::read(&manifest).unwrap();
    fs::remove_file(&manifest).unwrap();
    let refused = restore(&bed, &snapshot, &[]).expect(1).stderr;
    assert!(refused.contains("it is listed, but not there"), "{refused}");
    fs::write(&manifest, String::from_utf8(good.clone()).unwrap().replace("2024", "2023")).unwrap();
    let refused = restore(&bed, &snapshot, &[]).expect(1).stderr;
    assert!(refused.contains("latest.json says"), "{refused}");
    fs::write(&manifest, good).unwrap();

    bed.config["daemon"]["signing_key"] = "${MANIFEST_KEY}".into();
    bed.auth_env += MANIFEST_KEY;
    let refused = restore(&bed, &snapshot, &[]).expect(1).stderr;
    assert!(refused.contains("is not signed") && refused.contains("--accept-unsigned"), "{refused}");
    // Whoever runs it, the daemon's user owns what it makes.
    let root = nix::unistd::geteuid().is_root();
    match root {
        true => std::os::unix::fs::chown(bed.path("state"), Some(4242), Some(4243)).unwrap(),
        false => skipped("the owner of a restored ledger: only root can give files away"),
    }
    let report = restore(&bed, &snapshot, &["--accept-unsigned", "--json"]).expect(0).json();
    assert_eq!(adopted(&report), tasks);
    for name in ["ledger.db", "lock"] {
        let meta = fs::metadata(bed.path("state").join(name)).unwrap();
        assert!(!root || (meta.uid(), meta.gid()) == (4242, 4243), "{name} belongs to {}", meta.uid());
        assert_eq!(meta.mode() & 0o077, 0, "{name} is nobody else's");
    }
}

#[test]
fn killed_anywhere_there_is_a_ledger() {
    for lost in [false, true] {
        for point in ["restore.built", "restore.kept", "restore.log_removed", "restore.in_place"] {
            let bed = bed();
            change(&bed, 1..=20, 10);
            let daemon = bed.start();
            night(&bed, &daemon);
            stop(daemon);
            let snapshot = snapshot(&bed);
            let daemon = bed.start();
            change(&bed, 21..=21, 21);
            night(&bed, &daemon);
            // Its log stays behind.
            daemon.kill();
            if lost {
                fs::write(bed.path("state/ledger.db"), "not a ledger any more").unwrap();
            }
            let mut command = bed.daemon_command();
            command.args(["ledger", "restore"]).arg(&snapshot).env("SAAS_EXPORT_CRASH_AT", point);
            assert_eq!(finish(&mut command, PATIENCE).code, None, "killed at {point}");
            assert!(bed.path("state/ledger.db").is_file(), "{point}: one of them is always there");
            if lost && point != "restore.in_place" {
                restore(&bed, &snapshot, &[]).expect(0);
            }
            let daemon = bed.start();
            assert_eq!(night(&bed, &daemon).1, 0, "{point}");
            whole(&bed, 3);
            stop(daemon);
            // Whatever it left behind is in nobody's way.
            restore(&bed, &snapshot, &[]).expect(0);
            assert!(!bed.path("state/ledger.db.draft").exists());
            let daemon = bed.start();
            assert_eq!(night(&bed, &daemon).1, 0, "{point}");
            whole(&bed, 4);
        }
    }
}
