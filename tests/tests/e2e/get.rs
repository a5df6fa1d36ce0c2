//! Downloads: what arrives is what lies at the destination, also after an interruption, and what is damaged is not kept.

use crate::compare::{latest, sha256, walk};
use saas_export_tests::harness::bed::Bed;
use saas_export_tests::harness::programs::program;
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// What two directories hold is the same: names and bytes.
#[track_caller]
fn assert_same(got: &Path, published: &Path) {
    let names = |dir: &Path| -> Vec<_> {
        let mut names: Vec<_> = walk(dir).iter().map(|path| path.strip_prefix(dir).unwrap().to_owned()).collect();
        names.sort();
        names
    };
    assert_eq!(names(got), names(published));
    for name in names(got) {
        assert!(fs::read(got.join(&name)).unwrap() == fs::read(published.join(&name)).unwrap(), "{}", name.display());
    }
}

fn events(daemon: &saas_export_tests::harness::daemon::Daemon, action: &str) -> Vec<Value> {
    let answer = daemon.ask("GET", "/v1/events", "").unwrap();
    let text = String::from_utf8(answer.body.clone()).unwrap();
    let all = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    all.filter(|event| event["action"] == action).collect()
}

#[test]
fn what_arrives_is_what_was_published_and_is_on_record() {
    let bed = Bed::with_records(2000);
    let daemon = bed.start();
    let id = daemon.run_to_success("shop");
    let published = bed.lake().join("shop/cursor").join(&id);
    let out = bed.path("out");
    let to = out.display().to_string();
    bed.ctl(&["get", "shop", "-o", &to]).expect(0);
    assert_same(&out.join("cursor"), &published);
    bed.ctl(&["verify", "--dir", &out.join("cursor").display().to_string()]).expect(0);
    let files = events(&daemon, "download");
    let parts = files.iter().filter(|event| event["reason"].as_str().unwrap().contains("/part-")).count();
    assert_eq!(parts, latest(&bed, "shop", "lake").len());
    assert!(
        files.iter().all(|event| event["actor"].as_str().unwrap().starts_with("uid ") && event["task"] == id.as_str())
    );
    // Again: everything is there, nothing is read a second time but what describes it.
    let again = bed.ctl_json(&["get", &id, "-o", &to]);
    assert!(again["files"].as_array().unwrap().iter().all(|file| file["kept"] == true), "{again}");
    let asked = events(&daemon, "download").len() - files.len();
    assert_eq!(asked, 2, "the manifest and the checksums");
    let refused = bed.ctl(&["url", &id, "part-0-000000.ndjson"]).expect(7);
    assert!(
        refused.stderr.contains("cannot make links") && refused.stderr.contains("exportctl get"),
        "{}",
        refused.stderr
    );
    assert!(events(&daemon, "link").is_empty());
}

#[test]
fn an_interrupted_download_goes_on() {
    let bed = Bed::with_records(20_000);
    let daemon = bed.start();
    let id = daemon.run_to_success("shop");
    let published = bed.lake().join("shop/cursor").join(&id);
    let out = bed.path("out");
    let get = || {
        let mut command = Command::new(program("exportctl"));
        command.arg("--socket").arg(bed.socket()).args(["get", &id, "-o"]).arg(&out);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    };
    for n in 1..6 {
        let mut child = get().spawn().unwrap();
        std::thread::sleep(Duration::from_millis(12 * n));
        let _ = child.kill();
        child.wait().unwrap();
        // Whatever has its name is whole.
        for path in walk(&out).iter().filter(|path| !path.to_string_lossy().ends_with(".part")) {
            assert_eq!(sha256(path), sha256(&published.join(path.file_name().unwrap())), "{}", path.display());
        }
    }
    // The daemon goes away in the middle, and comes back.
    let mut child = get().spawn().unwrap();
    std::thread::sleep(Duration::from_millis(20));
    daemon.kill();
    let _daemon = bed.start();
    let _ = child.wait().unwrap();
    bed.ctl(&["get", &id, "-o", &out.display().to_string()]).expect(0);
    assert_same(&out.join("cursor"), &published);
}

#[test]
fn what_is_damaged_at_the_destination_is_not_kept() {
    let bed = Bed::with_records(2000);
    let daemon = bed.start();
    let id = daemon.run_to_success("shop");
    let file = latest(&bed, "shop", "lake")[1].path.clone();
    let name = file.file_name().unwrap().to_string_lossy().into_owned();
    let good = fs::read(&file).unwrap();
    let mut flipped = good.clone();
    flipped[good.len() / 2] ^= 1;
    let longer = [&good[..], b"more"].concat();
    for (n, bad) in [&flipped[..], &good[..good.len() - 1], &longer].into_iter().enumerate() {
        fs::write(&file, bad).unwrap();
        let out = bed.path(&format!("out-{n}"));
        let ended = bed.ctl(&["get", &id, "-o", &out.display().to_string()]).expect(9);
        assert!(ended.stderr.contains(&name), "{}", ended.stderr);
        let got = walk(&out);
        assert!(!got.is_empty() && !got.iter().any(|path| path.to_string_lossy().contains(&name)), "{got:?}");
        assert!(!out.join("cursor/_manifest.json").exists(), "it is not whole, and does not look so");
        fs::write(&file, &good).unwrap();
        bed.ctl(&["get", &id, "-o", &out.display().to_string()]).expect(0);
        assert_same(&out.join("cursor"), file.parent().unwrap());
    }
    fs::remove_file(&file).unwrap();
    let out = bed.path("out-gone").display().to_string();
    assert!(bed.ctl(&["get", &id, "-o", &out]).expect(7).stderr.contains("is gone"));
}
