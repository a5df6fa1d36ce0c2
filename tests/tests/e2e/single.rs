//! One file a stream: exact in every format, the same bytes however often the daemon dies, nothing left beside it.

use crate::compare::{assert_complete, assert_exact, assert_tidy, latest, parts, walk};
use crate::fulldisk::{Tmpfs, waits};
use crate::read;
use saas_export_tests::harness::bed::{Bed, PATIENCE};
use saas_export_tests::harness::config;
use saas_export_tests::harness::programs::{finish, has, root_or_skip};
use saas_export_tests::sample::{Fault, Kind, Options};
use serde_json::{Value, json};
use std::os::unix::process::ExitStatusExt as _;
use std::process::Command;
use std::time::{Duration, Instant};

/// A bed with an export of one file, in segments of about `chunk`.
fn bed(records: u64, format: &str, settings: Value, chunk: &str) -> Bed {
    let mut bed = Bed::with_records(records);
    let mut export = config::export("shop", "cursor", format, chunk);
    export["format"][format] = settings;
    export["layout"] = "single".into();
    bed.export("shop", export);
    bed
}

/// What `exportctl files` and the manifest say of the one file.
fn one_file(bed: &Bed, ending: &str) -> crate::compare::File {
    let mut files = latest(bed, "shop", "lake");
    assert_eq!(files.len(), 1, "{files:?}");
    let file = files.remove(0);
    assert!(file.path.ends_with(format!("{}.{ending}", file.stream)), "{}", file.path.display());
    let manifest = std::fs::read(file.path.with_file_name("_manifest.json")).unwrap();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    let listed = manifest["segments"].as_array().unwrap();
    assert_eq!(listed.len(), 1, "{manifest:#}");
    assert_eq!((&listed[0]["rows"], &listed[0]["bytes"]), (&json!(file.rows), &json!(file.bytes)));
    assert_eq!((&listed[0]["lane"], &listed[0]["n"]), (&json!(0), &json!(0)));
    assert_eq!(listed[0]["first_offset"]["pages"], 0);
    assert_eq!(manifest["counts"]["written"], file.rows);
    file
}

#[test]
fn every_format_is_one_exact_file() {
    let cases = [
        ("parquet", "zstd", "parquet"),
        ("parquet", "none", "parquet"),
        ("avro", "zstd", "avro"),
        ("avro", "none", "avro"),
        ("csv", "none", "csv"),
        ("csv", "gzip", "csv.gz"),
        ("ndjson", "zstd", "ndjson.zst"),
        ("json", "none", "json"),
        ("json", "zstd", "json.zst"),
        ("json", "gzip", "json.gz"),
    ];
    for (format, compression, ending) in cases {
        let settings = json!({ "compression": compression });
        let bed = bed(5000, format, settings, "64kB");
        let daemon = bed.start();
        let id = daemon.run_to_success("shop");
        let file = one_file(&bed, ending);
        assert_exact(&bed, "shop");
        assert_tidy(&bed, "shop", "cursor");
        let stream = &daemon.task(&id)["streams"][0];
        assert_eq!((&stream["segments"], &stream["bytes"]), (&json!(1), &json!(file.bytes)));
        bed.ctl(&["verify", &id]).expect(0);
        let dir = file.path.parent().unwrap();
        if has("sha256sum") {
            let mut check = Command::new("sha256sum");
            finish(check.args(["--check", "--strict", "SHA256SUMS"]).current_dir(dir), PATIENCE).expect(0);
        }
        if !matches!(format, "parquet" | "avro") {
            // The bytes that one segment would have had.
            let whole = self::bed(5000, format, json!({ "compression": "none" }), "1GB");
            let daemon = whole.start();
            daemon.run_to_success("shop");
            let (one, whole) = (read::text(&file.path), read::text(&latest(&whole, "shop", "lake")[0].path));
            assert!(one == whole, "{format}, {compression}");
        }
    }
}

/// Two lanes, several parts each, two destinations.
fn scene(format: &str) -> Bed {
    let mut bed = Bed::new(Options { records: 1200, page_size: 20, ..Options::default() });
    bed.config["destinations"]["copy"] = json!({ "local": { "root": bed.path("copy") } });
    bed.stream("regions", config::regions(2));
    let mut export = config::export("shop", "regions", format, "64kB");
    if format == "parquet" {
        export["format"]["parquet"] = json!({ "row_group_rows": 60, "compression": "none" });
    } else {
        export["format"][format] = json!({ "compression": "none" });
    }
    export["to"] = json!(["lake", "copy"]);
    export["layout"] = "single".into();
    export["attempts"] = 5.into();
    bed.export("shop", export);
    bed
}

#[test]
fn killed_at_every_point_on_the_way_to_one_file() {
    let points = [
        "task.extracted",
        "single.begun",
        "single.written",
        "single.synced",
        "single.verified",
        "single.renamed",
        "single.committed",
        "delivery.started",
        "delivery.before_commit",
        "delivery.committed:2",
        "spool.removed",
        "single.part_removed",
        "single.part_removed:2",
        "manifest.composed",
        "manifest.committed",
    ];
    // Where it dies does not depend on the format; that the second try writes the same bytes may.
    for (format, points) in [("parquet", &points[..]), ("avro", &points[2..7])] {
        let undisturbed = scene(format);
        let daemon = undisturbed.start();
        daemon.run_to_success("shop");
        assert_complete(&undisturbed, "shop");
        let wanted = parts(&undisturbed, "shop", "lake");
        assert_eq!(wanted.len(), 1, "{wanted:?}");
        for point in points {
            let bed = scene(format);
            let daemon = bed.start_with(&[("SAAS_EXPORT_CRASH_AT", point)]);
            let _ = daemon.ask("POST", "/v1/exports/shop/run", "");
            let (status, said) = daemon.ended(Duration::from_secs(20));
            assert_eq!(status.signal(), Some(9), "killed by itself at {point}:\n{said}");
            let asked = bed.api.truth().requests;
            let daemon = bed.start();
            let id = daemon.get("/v1/tasks")[0]["id"].as_str().unwrap().to_owned();
            daemon.wait_for(&id, &["succeeded"], PATIENCE);
            assert_eq!(bed.api.truth().requests, asked, "{point}: the source is never asked again");
            assert_eq!(parts(&bed, "shop", "lake"), wanted, "{point}");
            assert_eq!(parts(&bed, "shop", "copy"), wanted, "{point}");
            assert_complete(&bed, "shop");
            assert_tidy(&bed, "shop", "regions");
            let left = walk(&bed.lake().join(".saas-export"));
            let left: Vec<_> = left.iter().filter(|path| path.to_string_lossy().contains("regions")).collect();
            assert!(left.is_empty(), "{point}: {left:?}");
            bed.ctl(&["verify", &id]).expect(0);
        }
    }
}

#[test]
fn what_is_read_again_is_in_the_file_once() {
    let undisturbed = scene("ndjson");
    let first = undisturbed.start();
    first.run_to_success("shop");
    let wanted = parts(&undisturbed, "shop", "lake");
    let bed = scene("ndjson");
    bed.api.set_faults(vec![Fault::new(Kind::Stall).at(&[30])]);
    let daemon = bed.start();
    let id = daemon.run("shop");
    assert!(bed.api.wait_until(PATIENCE, |truth| truth.under_way == 1 && truth.requests >= 30));
    bed.ctl(&["pause", &id]).expect(0);
    daemon.wait_for(&id, &["paused"], PATIENCE);
    // Everything that was read is read again, under the next revision.
    bed.ctl(&["offsets", "reset", &id, "--yes"]).expect(0);
    bed.api.reset();
    bed.ctl(&["resume", &id]).expect(0);
    daemon.wait_for(&id, &["succeeded"], PATIENCE);
    assert_complete(&bed, "shop");
    assert_eq!(parts(&bed, "shop", "lake"), wanted);
    assert_tidy(&bed, "shop", "regions");
}

#[test]
fn a_file_that_was_made_before_a_reset_is_not_published() {
    let bed = scene("ndjson");
    bed.api.set_faults(vec![Fault::new(Kind::Stall).at(&[20])]);
    let daemon = bed.start();
    let id = daemon.run("shop");
    assert!(bed.api.wait_until(PATIENCE, |truth| truth.under_way == 1));
    // Somebody else's files keep the destinations from taking ours.
    let dirs = [bed.lake(), bed.path("copy")].map(|root| root.join("shop/regions").join(&id));
    for dir in &dirs {
        std::fs::create_dir_all(dir).unwrap();
        std::fs::write(dir.join("regions.ndjson"), "not ours\n").unwrap();
    }
    bed.ctl(&["pause", &id]).expect(0);
    daemon.wait_for(&id, &["paused"], PATIENCE);
    bed.api.reset();
    bed.ctl(&["resume", &id]).expect(0);
    // First it says that it puts the file together.
    let end = Instant::now() + PATIENCE;
    while !waits(&daemon, &id).contains("another file is already there") {
        assert!(Instant::now() < end, "{}", daemon.task(&id));
    }
    bed.ctl(&["pause", &id]).expect(0);
    daemon.wait_for(&id, &["paused"], PATIENCE);
    bed.ctl(&["offsets", "reset", &id, "--yes"]).expect(0);
    for dir in &dirs {
        std::fs::remove_file(dir.join("regions.ndjson")).unwrap();
    }
    bed.ctl(&["resume", &id]).expect(0);
    daemon.wait_for(&id, &["succeeded"], PATIENCE);
    assert_complete(&bed, "shop");
    for dir in &dirs {
        let mut names: Vec<String> =
            std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        assert_eq!(names, ["SHA256SUMS", "_manifest.json", "regions-r1.ndjson"]);
    }
    bed.ctl(&["verify", &id]).expect(0);
}

#[test]
fn without_room_for_the_whole_file_it_waits_and_says_how_much() {
    if !root_or_skip("single: full disk") {
        return;
    }
    // About 5 MB of parts; no room for as much again.
    let bed = bed(10_000, "ndjson", json!({}), "500kB");
    let Some(disk) = Tmpfs::mount(&bed.lake(), "11m") else { return };
    let daemon = bed.start();
    let id = daemon.run("shop");
    let reason = waits(&daemon, &id);
    assert!(reason.contains("full") && reason.contains("missing") && reason.contains("cursor.ndjson"), "{reason}");
    let asked = bed.api.truth().requests;
    daemon.kill();
    let daemon = bed.start();
    waits(&daemon, &id);
    disk.grow("64m");
    daemon.wait_for(&id, &["succeeded"], PATIENCE);
    assert_eq!(bed.api.truth().requests, asked);
    one_file(&bed, "ndjson");
    assert_exact(&bed, "shop");
    assert_tidy(&bed, "shop", "cursor");
    drop(daemon);
}
