//! What was published, and whether it is exactly what the oracle says.

use crate::read;
use saas_export_tests::harness::bed::Bed;
use saas_export_tests::sample::View;
use saas_export_tests::sample::truth::{expected, ids_sha256};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A published file, as `exportctl files` tells it.
#[derive(Clone, Debug)]
pub struct File {
    pub task: String,
    pub stream: String,
    pub destination: String,
    pub path: PathBuf,
    pub bytes: u64,
    pub rows: u64,
    pub sha256: String,
}

/// The newest published files of an export at a destination, in order.
#[track_caller]
pub fn latest(bed: &Bed, export: &str, destination: &str) -> Vec<File> {
    let listed = bed.ctl_json(&["files", export, "--latest"]);
    let files = listed["files"].as_array().unwrap_or_else(|| panic!("no files in {listed}"));
    let text = |file: &Value, key: &str| file[key].as_str().unwrap_or_else(|| panic!("no {key} in {file}")).to_owned();
    files
        .iter()
        .map(|file| File {
            task: text(file, "task"),
            stream: text(file, "stream"),
            destination: text(file, "destination"),
            path: text(file, "path").into(),
            bytes: file["bytes"].as_u64().expect("bytes"),
            rows: file["rows"].as_u64().expect("rows"),
            sha256: text(file, "sha256"),
        })
        .filter(|file| file.destination == destination)
        .collect()
}

/// SHA-256 of a file on disk.
pub fn sha256(path: &Path) -> String {
    let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Names of the newest published files and the SHA-256 of what is on disk: what two runs are compared by.
#[track_caller]
pub fn parts(bed: &Bed, export: &str, destination: &str) -> BTreeMap<String, String> {
    let files = latest(bed, export, destination);
    assert!(!files.is_empty(), "{export} published nothing at {destination}");
    let name = |file: &File| format!("{}/{}", file.stream, file.path.file_name().unwrap_or_default().to_string_lossy());
    files.iter().map(|file| (name(file), sha256(&file.path))).collect()
}

/// The ids of the newest published files, in order.
#[track_caller]
pub fn published_ids(bed: &Bed, export: &str) -> Vec<u64> {
    let mut all = Vec::new();
    for file in latest(bed, export, "lake") {
        let ids = read::ids(&file.path);
        assert_eq!(ids.len() as u64, file.rows, "{}", file.path.display());
        assert_eq!(std::fs::metadata(&file.path).expect("a file").len(), file.bytes, "{}", file.path.display());
        assert_eq!(sha256(&file.path), file.sha256, "{}", file.path.display());
        all.extend(ids);
    }
    all
}

/// The newest published data hold each record of the API once, in the API's order, and the sums beside them are right.
#[track_caller]
pub fn assert_exact(bed: &Bed, export: &str) {
    let ids = published_ids(bed, export);
    let oracle = expected(&bed.api.data(), View::ALL);
    assert_eq!(ids.len() as u64, oracle.count, "records of {export}");
    assert_eq!(ids_sha256(ids.iter().copied()), oracle.sha256, "ids of {export}, in order");
    assert_sums(bed, export);
}

/// The newest published data hold each record of the API once, in whatever order.
#[track_caller]
pub fn assert_complete(bed: &Bed, export: &str) {
    let mut ids = published_ids(bed, export);
    ids.sort_unstable();
    let oracle = expected(&bed.api.data(), View::ALL);
    assert_eq!(ids.len() as u64, oracle.count, "records of {export}");
    assert_eq!(ids_sha256(ids.into_iter()), oracle.sha256, "ids of {export}");
    assert_sums(bed, export);
}

/// `SHA256SUMS` names every published file with the sum it has, and the manifest is there and names them too.
#[track_caller]
fn assert_sums(bed: &Bed, export: &str) {
    for file in latest(bed, export, "lake") {
        let dir = file.path.parent().expect("a file lies in a directory");
        assert!(dir.ends_with(format!("{export}/{}/{}", file.stream, file.task)), "{}", dir.display());
        let name = file.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let sums = std::fs::read_to_string(dir.join("SHA256SUMS")).expect("SHA256SUMS");
        let line = format!("{}  {name}", file.sha256);
        assert!(sums.lines().any(|have| have == line), "no {line:?} in {sums}");
        let manifest = std::fs::read_to_string(dir.join("_manifest.json")).expect("a manifest");
        assert!(manifest.contains(&name) && manifest.contains(&file.sha256), "{name} is not in {manifest}");
        let latest = dir.parent().expect("a stream directory").join("latest.json");
        let latest = std::fs::read_to_string(latest).expect("latest.json");
        assert!(latest.contains(&file.task), "{} is not in {latest}", file.task);
    }
}

/// Nothing is left below the destination but published data: no spool, no half file, no second task.
#[track_caller]
pub fn assert_tidy(bed: &Bed, export: &str, stream: &str) {
    let dir = bed.lake().join(export).join(stream);
    let mut names: Vec<String> = std::fs::read_dir(&dir)
        .expect("the stream's directory")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    names.retain(|name| name != "latest.json");
    assert_eq!(names.len(), 1, "{names:?} in {}", dir.display());
    let left: Vec<PathBuf> = walk(&bed.lake().join(".saas-export"));
    let parts: Vec<_> = left.iter().filter(|path| path.to_string_lossy().contains("part-")).collect();
    assert!(parts.is_empty(), "left in the spool: {parts:?}");
}

/// Every file below a directory.
pub fn walk(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        // A directory is one also where it goes while we look.
        if path.is_dir() || entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            files.extend(walk(&path));
        } else {
            files.push(path);
        }
    }
    files
}
