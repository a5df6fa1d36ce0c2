//! Encryption and signatures, judged by the tools that users have: age and openssl.

use crate::compare::{assert_exact, latest, sha256, walk};
use saas_export_tests::harness::bed::{Bed, PATIENCE};
use saas_export_tests::harness::config;
use saas_export_tests::harness::programs::{finish, has, skipped};
use saas_export_tests::sample::{Fault, Kind, Options};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

const RECORDS: u64 = 2000;

/// An identity in a file of its own outside of the bed, and the recipient that goes into the configuration.
struct Identity {
    file: PathBuf,
    recipient: String,
    secret: String,
}

fn identities(dir: &Path, count: usize) -> Vec<Identity> {
    let make = |n| {
        let file = dir.join(format!("identity-{n}"));
        finish(Command::new("age-keygen").arg("-o").arg(&file), PATIENCE).expect(0);
        let text = std::fs::read_to_string(&file).unwrap();
        let recipient = text.lines().find_map(|line| line.strip_prefix("# public key: ")).unwrap().to_owned();
        Identity { file, recipient, secret: text.lines().last().unwrap().to_owned() }
    };
    (0..count).map(make).collect()
}

fn decrypted(file: &Path, identity: &Identity, to: &Path) -> Vec<u8> {
    finish(Command::new("age").arg("-d").arg("-i").arg(&identity.file).arg("-o").arg(to).arg(file), PATIENCE).expect(0);
    std::fs::read(to).unwrap()
}

fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn manifest(bed: &Bed) -> (PathBuf, Value) {
    let dir = latest(bed, "shop", "lake")[0].path.parent().unwrap().to_owned();
    let text = std::fs::read(dir.join("_manifest.json")).unwrap();
    (dir, serde_json::from_slice(&text).unwrap())
}

fn holds(bytes: &[u8], needle: &str) -> bool {
    bytes.windows(needle.len()).any(|window| window == needle.as_bytes())
}

/// Files below the bed that show one of the needles, the configuration aside.
fn showing(bed: &Bed, needles: &[&str]) -> Vec<PathBuf> {
    let mut files = walk(bed.dir());
    files.retain(|path| !path.ends_with("config.yaml") && !path.ends_with("auth.env"));
    files.retain(|path| needles.iter().any(|needle| holds(&std::fs::read(path).unwrap_or_default(), needle)));
    files
}

fn bed(recipients: &[&str]) -> Bed {
    let mut bed = Bed::new(Options { records: RECORDS, page_size: 20, ..Options::default() });
    bed.config["daemon"]["replay_limit"] = "1s".into();
    bed.export("shop", config::export("shop", "cursor", "ndjson", "64kB"));
    if !recipients.is_empty() {
        bed.config["exports"]["shop"]["encryption"] = json!({ "age": { "recipients": recipients } });
    }
    bed
}

/// The names and plain digests of an export that is not encrypted.
fn plain_parts() -> BTreeMap<String, String> {
    let bed = bed(&[]);
    let daemon = bed.start();
    daemon.run_to_success("shop");
    let name = |path: &Path| path.file_name().unwrap().to_string_lossy().into_owned();
    latest(&bed, "shop", "lake").iter().map(|file| (name(&file.path), sha256(&file.path))).collect()
}

#[test]
fn each_identity_decrypts_what_was_delivered_and_nothing_plain_is_left() {
    if !has("age") || !has("age-keygen") {
        return skipped("age: not installed");
    }
    let keys = tempfile::tempdir().unwrap();
    let identities = identities(keys.path(), 2);
    let bed = bed(&[&identities[0].recipient, &identities[1].recipient]);
    // It dies between the seal of a segment and its commit: that segment is encoded and encrypted again.
    bed.api.set_faults(vec![Fault::rate(150.0)]);
    let daemon = bed.start_with(&[("SAAS_EXPORT_CRASH_AT", "segment.before_commit:3")]);
    let id = daemon.run("shop");
    let (_, said) = daemon.ended(PATIENCE);
    let needles = ["@shop.example", &identities[0].secret, &identities[1].secret];
    assert_eq!(showing(&bed, &needles), [] as [PathBuf; 0], "after the kill:\n{said}");
    let daemon = bed.start();
    daemon.wait_for(&id, &["succeeded"], PATIENCE);
    assert_eq!(showing(&bed, &needles), [] as [PathBuf; 0], "after the end");

    let (dir, manifest) = manifest(&bed);
    assert_eq!(manifest["encryption"]["format"], "age");
    assert_eq!(manifest["encryption"]["recipients"], json!([identities[0].recipient, identities[1].recipient]));
    let mut parts = BTreeMap::new();
    for segment in manifest["segments"].as_array().unwrap() {
        let name = segment["name"].as_str().unwrap();
        let file = dir.join(name);
        assert_eq!(segment["sha256"], sha256(&file).as_str());
        for identity in &identities {
            let plain = decrypted(&file, identity, &keys.path().join("plain"));
            assert_eq!(segment["plain_sha256"], digest(&plain).as_str(), "{name}");
            assert_eq!(segment["plain_bytes"], plain.len(), "{name}");
        }
        let plain_name = name.strip_suffix(".age").expect("its name says so").to_owned();
        parts.insert(plain_name, segment["plain_sha256"].as_str().unwrap().to_owned());
    }
    assert_eq!(parts, plain_parts(), "the same segments as without encryption, in spite of the kill");
    finish(Command::new("sha256sum").args(["--check", "--strict", "SHA256SUMS"]).current_dir(&dir), PATIENCE).expect(0);
    bed.ctl(&["verify", &id]).expect(0);
    bed.ctl(&["verify", "--path", dir.to_str().unwrap()]).expect(0);
}

#[test]
fn a_lost_state_key_drops_the_journal_and_loses_nothing() {
    if !has("age") || !has("age-keygen") {
        return skipped("age: not installed");
    }
    let keys = tempfile::tempdir().unwrap();
    let identities = identities(keys.path(), 1);
    let mut bed = bed(&[&identities[0].recipient]);
    bed.config["exports"]["shop"]["chunk_size"] = "1GB".into();
    bed.api.set_faults(vec![Fault::rate(40.0)]);
    let daemon = bed.start();
    let id = daemon.run("shop");
    assert!(bed.api.wait_until(PATIENCE, |truth| truth.requests >= 60));
    daemon.kill();
    let journal = walk(bed.dir()).into_iter().find(|path| path.extension().is_some_and(|end| end == "journal"));
    let journal = journal.expect("there is a journal");
    assert!(!crate::sealed::journal(&journal, &bed.path("state/state-key")).is_empty(), "it opens with the key");
    std::fs::remove_file(bed.path("state/state-key")).unwrap();
    bed.api.set_faults(vec![]);
    let daemon = bed.start();
    let detail = daemon.wait_for(&id, &["succeeded"], PATIENCE);
    assert!(detail.to_string().contains("the state-key does not open"), "{detail}");
    let (dir, manifest) = manifest(&bed);
    let name = manifest["segments"][0]["name"].as_str().unwrap();
    let plain = decrypted(&dir.join(name), &identities[0], &keys.path().join("plain"));
    assert_eq!(plain.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).count() as u64, RECORDS);
}

#[test]
fn rejected_records_are_sealed_and_can_be_printed() {
    let mut bed = Bed::with_records(500);
    let mut stream = config::streams()["cursor"].clone();
    stream["transform"] = json!([{ "mask": { "fields": ["name"] } }]);
    stream["schema"] = json!({ "json_schema": { "inline": { "properties": { "amount": { "minimum": 0 } } } } });
    bed.stream("orders", stream);
    bed.export("shop", config::export("shop", "orders", "ndjson", "64kB"));
    let daemon = bed.start();
    let id = daemon.run("shop");
    let failed = daemon.wait_for(&id, &["failed"], PATIENCE);
    let command = format!("saas-export-daemon quarantine {id} orders");
    assert!(failed.to_string().contains(&command), "{failed}");
    let files = walk(&bed.path("state/quarantine").join(&id));
    assert!(
        !files.is_empty() && files.iter().all(|path| path.to_string_lossy().ends_with(".ndjson.sealed")),
        "{files:?}"
    );
    assert!(showing(&bed, &["\"reason\":"]).iter().all(|path| !path.starts_with(bed.path("state/quarantine"))));
    let printed = bed.daemon(&["quarantine", &id, "orders"]).expect(0).stdout;
    let rejected = failed["streams"][0]["counts"]["rejected"].as_u64().unwrap();
    assert_eq!(printed.lines().count() as u64, rejected);
    for line in printed.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let record: Value = serde_json::from_str(line["record"].as_str().unwrap()).unwrap();
        assert!(record["name"] == "***" && line["reason"].is_string(), "{line}");
    }
    bed.daemon(&["quarantine", &id, "users"]).expect(4);
    bed.daemon(&["quarantine", "2001"]).expect(4);
    // Another key opens nothing, and says so.
    std::fs::write(bed.path("other"), [7; 32]).unwrap();
    let other = bed.daemon(&["quarantine", &id, "--state-key", bed.path("other").to_str().unwrap()]).expect(1);
    assert!(other.stderr.contains("another state-key"), "{other:?}");
}

/// The PEM text of a key as one line of auth.env.
fn quoted(pem: &str) -> String {
    format!("\"{}\"", pem.trim_end().replace('\n', "\\n"))
}

#[test]
fn openssl_and_exportctl_check_the_signature_of_a_manifest() {
    if !has("openssl") {
        return skipped("openssl: not installed");
    }
    let keys = tempfile::tempdir().unwrap();
    let path = |name: &str| keys.path().join(name).display().to_string();
    let openssl = |args: &[&str]| finish(Command::new("openssl").args(args), PATIENCE);
    for name in ["own", "other"] {
        openssl(&["genpkey", "-algorithm", "ed25519", "-out", &path(name)]).expect(0);
        openssl(&["pkey", "-in", &path(name), "-pubout", "-out", &path(&format!("{name}.pub"))]).expect(0);
    }
    let mut bed = Bed::with_records(500);
    bed.config["daemon"]["signing_key"] = "${MANIFEST_KEY}".into();
    let pem = std::fs::read_to_string(path("own")).unwrap();
    bed.auth_env += &format!("MANIFEST_KEY={}\n", quoted(&pem));
    let daemon = bed.start();
    let id = daemon.run_to_success("shop");
    let (dir, _) = manifest(&bed);
    let (document, signature) = (dir.join("_manifest.json"), dir.join("_manifest.json.sig"));
    let (dir, document) = (dir.display().to_string(), document.display().to_string());
    let pkeyutl = |key: &str| {
        let (key, signature) = (path(key), signature.display().to_string());
        openssl(&["pkeyutl", "-verify", "-rawin", "-pubin", "-inkey", &key, "-sigfile", &signature, "-in", &document])
    };
    pkeyutl("own.pub").expect(0);
    pkeyutl("other.pub").expect(1);
    let offline = |key: &str| bed.ctl(&["verify", "--path", &dir, "--public-key", &path(key)]);
    offline("own.pub").expect(0);
    assert!(offline("other.pub").expect(9).stdout.contains("_manifest.json.sig"));
    offline("own").expect(2);
    bed.ctl(&["verify", &id]).expect(0);

    let good = std::fs::read(&signature).unwrap();
    let mut bad = good.clone();
    bad[20] ^= 1;
    std::fs::write(&signature, bad).unwrap();
    offline("own.pub").expect(9);
    assert!(bed.ctl(&["verify", &id]).expect(9).stdout.contains("_manifest.json.sig"));
    std::fs::remove_file(&signature).unwrap();
    offline("own.pub").expect(9);
    // Also without the key: the manifest says that it is signed.
    assert!(bed.ctl(&["verify", "--path", &dir]).expect(9).stdout.contains("is missing"));
    assert!(bed.ctl(&["verify", &id]).expect(9).stdout.contains("is missing"));
    std::fs::write(&signature, good).unwrap();
    bed.ctl(&["verify", &id]).expect(0);

    // The private key is nowhere but in auth.env.
    let secret = pem.lines().nth(1).unwrap();
    assert_eq!(showing(&bed, &[secret]), [] as [PathBuf; 0]);
    let said = daemon.stderr() + &bed.ctl(&["query", "GET", "/v1/events"]).stdout + &daemon.task(&id).to_string();
    assert!(!said.contains(secret));
}

#[test]
fn a_manifest_that_was_signed_before_a_kill_keeps_its_signature_when_the_key_changes() {
    if !has("openssl") {
        return skipped("openssl: not installed");
    }
    let keys = tempfile::tempdir().unwrap();
    let path = |name: &str| keys.path().join(name).display().to_string();
    let openssl = |args: &[&str]| finish(Command::new("openssl").args(args), PATIENCE).expect(0);
    let mut lines = Vec::new();
    for name in ["old", "new"] {
        openssl(&["genpkey", "-algorithm", "ed25519", "-out", &path(name)]);
        openssl(&["pkey", "-in", &path(name), "-pubout", "-out", &path(&format!("{name}.pub"))]);
        lines.push(format!("MANIFEST_KEY={}\n", quoted(&std::fs::read_to_string(path(name)).unwrap())));
    }
    let mut bed = Bed::with_records(500);
    bed.config["daemon"]["signing_key"] = "${MANIFEST_KEY}".into();
    let others = bed.auth_env.clone();
    bed.auth_env = format!("{others}{}", lines[0]);
    let daemon = bed.start_with(&[("SAAS_EXPORT_CRASH_AT", "manifest.signed")]);
    let id = daemon.run("shop");
    daemon.ended(PATIENCE);
    bed.auth_env = format!("{others}{}", lines[1]);
    let daemon = bed.start();
    daemon.wait_for(&id, &["succeeded"], PATIENCE);
    let (dir, _) = manifest(&bed);
    let offline = |key: &str| bed.ctl(&["verify", "--path", &dir.display().to_string(), "--public-key", &path(key)]);
    offline("old.pub").expect(0);
    offline("new.pub").expect(9);
    // It is compared with what was published: the key of today says nothing about it.
    bed.ctl(&["verify", &id]).expect(0);
    daemon.run_to_success("shop");
    let (dir, _) = manifest(&bed);
    bed.ctl(&["verify", "--path", &dir.display().to_string(), "--public-key", &path("new.pub")]).expect(0);
}

#[test]
fn keys_of_parquet_are_nowhere_and_other_formats_are_refused() {
    let key = "6b65792d63616e6172792d6f662d706172717565742d66696c65732121212121";
    let mut bed = Bed::with_records(500);
    let mut export = config::export("shop", "cursor", "parquet", "64kB");
    export["format"]["parquet"]["encryption"] = json!({ "footer_key": "${FOOT}", "columns": { "email": "${FOOT}" } });
    bed.export("shop", export);
    bed.auth_env += &format!("FOOT={key}\n");
    let daemon = bed.start();
    let id = daemon.run_to_success("shop");
    let (_, manifest) = manifest(&bed);
    assert_eq!(manifest["parquet_encryption"], true);
    assert_eq!(manifest["encrypted_columns"], json!(["email"]));
    assert_eq!(showing(&bed, &["@shop.example", key, &key[..16], "key-canary-of"]), [] as [PathBuf; 0]);
    let refused = bed.ctl(&["run", "shop", "--format", "csv"]).expect(2);
    assert!(refused.stderr.contains("encrypted by its own format"), "{refused:?}");
    let said = daemon.stderr() + &bed.ctl(&["query", "GET", "/v1/events"]).stdout + &daemon.task(&id).to_string();
    assert!(!said.contains(key));
    bed.config["exports"]["shop"]["format"]["parquet"]["encryption"] = json!({ "footer_key": "${FOOT}" });
    bed.write();
    bed.ctl(&["reload"]).expect(0);
    daemon.run_to_success("shop");
    read_by_others(&bed, key);
}

/// pyarrow and DuckDB read the files, where they are there.
fn read_by_others(bed: &Bed, key: &str) {
    let Some(python) = std::env::var_os("SAAS_EXPORT_PYTHON") else {
        return skipped("pyarrow: SAAS_EXPORT_PYTHON names no python that has it");
    };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("readers/parquet_encryption.py");
    let mut command = Command::new(python);
    command.arg(script).arg(key).args(latest(bed, "shop", "lake").iter().map(|file| &file.path));
    let read = finish(&mut command, PATIENCE).expect(0);
    assert_eq!(read.stdout.trim(), "500", "{read:?}");
}

#[test]
fn a_page_that_was_damaged_on_its_way_is_asked_for_again() {
    let bed = Bed::new(Options { records: RECORDS, digests: true, ..Options::default() });
    let damaged = [3, 7, 8];
    bed.api.set_faults(vec![Fault::new(Kind::Damaged).at(&damaged)]);
    let daemon = bed.start();
    daemon.run_to_success("shop");
    assert_exact(&bed, "shop");
    let truth = bed.api.truth();
    assert_eq!(truth.faults.get(&Kind::Damaged), Some(&(damaged.len() as u64)));
    assert_eq!(truth.repeated_requests(), damaged.len() as u64, "each was asked for once more");
}

/// One file of a stream is put together from parts that are sealed, and encrypted as a whole: plain bytes lie nowhere, also
/// where the daemon dies on the way, and what is in it is what an export in the clear has.
#[test]
fn one_file_is_put_together_from_sealed_parts_and_encrypted() {
    if !has("age") || !has("age-keygen") {
        return skipped("age: not installed");
    }
    let keys = tempfile::tempdir().unwrap();
    let identity = &identities(keys.path(), 1)[0];
    for (format, ending) in [("ndjson", "ndjson"), ("csv", "csv"), ("parquet", "parquet"), ("avro", "avro")] {
        let single = |recipients: &[&str]| {
            let mut bed = bed(recipients);
            let encryption = bed.config["exports"]["shop"].get("encryption").cloned();
            let mut export = config::export("shop", "cursor", format, "64kB");
            if ["parquet", "avro"].contains(&format) {
                export["format"][format] = json!({ "compression": "none" });
            }
            export["layout"] = "single".into();
            if let Some(encryption) = encryption {
                export["encryption"] = encryption;
            }
            bed.export("shop", export);
            bed
        };
        let plain = single(&[]);
        let undisturbed = plain.start();
        undisturbed.run_to_success("shop");
        let plain = std::fs::read(&latest(&plain, "shop", "lake")[0].path).unwrap();

        let bed = single(&[&identity.recipient]);
        let daemon = bed.start_with(&[("SAAS_EXPORT_CRASH_AT", "single.written")]);
        let id = daemon.run("shop");
        daemon.ended(PATIENCE);
        let parts = walk(&bed.lake().join(".saas-export")).len();
        assert!(parts > 2, "{format}: {parts} files in the spool");
        assert_eq!(showing(&bed, &["@shop.example"]), [] as [PathBuf; 0], "{format}: after the kill");
        let daemon = bed.start();
        daemon.wait_for(&id, &["succeeded"], PATIENCE);
        assert_eq!(showing(&bed, &["@shop.example"]), [] as [PathBuf; 0], "{format}: after the end");
        let (dir, manifest) = manifest(&bed);
        let listed = manifest["segments"].as_array().unwrap();
        assert_eq!(listed.len(), 1);
        let name = listed[0]["name"].as_str().unwrap();
        assert!(name.ends_with(&format!(".{ending}.age")), "{name}");
        let found = decrypted(&dir.join(name), identity, &keys.path().join("out"));
        assert!(found == plain, "{format}: what is in it is the plain file");
        assert_eq!(listed[0]["plain_sha256"], digest(&plain));
        assert_eq!(listed[0]["plain_bytes"], plain.len());
        bed.ctl(&["verify", &id, "--deep"]).expect(0);
    }
}
