//! What lies on disks: manifests of data sets, and the ledger.

use saas_export_daemon::ledger::{Ledger, check_file};
use saas_export_manifest::{Latest, Manifest};
use std::path::Path;
use std::sync::LazyLock;

/// A manifest or a list of data sets: what is accepted is written as it was read.
pub fn manifest(data: &[u8]) {
    if let Ok(manifest) = Manifest::parse(data) {
        let bytes = manifest.to_bytes().expect("it can be written");
        let again = Manifest::parse(&bytes).expect("what we write is accepted");
        assert_eq!(again, manifest);
        for file in &manifest.segments {
            let name = Path::new(&file.name);
            assert!(
                name.components().all(|part| matches!(part, std::path::Component::Normal(_))),
                "{name:?} leads away"
            );
        }
    }
    if let Ok(latest) = Latest::parse(data) {
        let bytes = serde_json::to_vec(&latest).expect("it can be written");
        assert_eq!(Latest::parse(&bytes).expect("what we write is accepted"), latest);
    }
}

/// A ledger as a fresh daemon leaves it.
static WHOLE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let dir = tempfile::tempdir().expect("a directory");
    let ledger = Ledger::open(dir.path()).expect("a ledger");
    runtime().block_on(ledger.close()).expect("closed");
    let path = ledger.path().to_owned();
    drop(ledger);
    std::fs::read(path).expect("its bytes")
});

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// A damaged ledger: groups of five bytes are places and what is written there, the rest is cut off at the place of the last
/// group where the first byte is odd. It is refused with words, or it is one.
pub fn ledger(data: &[u8]) {
    let mut bytes = WHOLE.clone();
    let groups = data.get(1..).unwrap_or_default().chunks_exact(5);
    let mut last = bytes.len();
    for group in groups {
        let place = u32::from_le_bytes([group[0], group[1], group[2], group[3]]) as usize % bytes.len();
        bytes[place] = group[4];
        last = place;
    }
    if data.first().is_some_and(|first| first % 2 == 1) {
        bytes.truncate(last);
    }
    let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a directory");
    let path = dir.path().join("ledger.db");
    std::fs::write(&path, &bytes).expect("written");
    if let Err(error) = check_file(&path) {
        assert!(!error.to_string().is_empty());
    }
    assert_eq!(std::fs::read(&path).expect("its bytes"), bytes, "looking at a ledger changed it");
    match Ledger::open(dir.path()) {
        Err(error) => assert!(!error.to_string().is_empty()),
        Ok(ledger) => {
            let runtime = runtime();
            let _ = runtime.block_on(ledger.check());
            let _ = runtime.block_on(ledger.close());
        }
    }
}
