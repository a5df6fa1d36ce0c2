//! What every destination must do, bare and behind faults: one suite over all of them.
//!
//! A kind joins by giving [`suite`] a fresh place; kinds that need a server are run where one was started.

use super::faulty::wild;
use super::local::Local;
use super::open::Opener;
use super::upload::{InMemory, UploadLog as _};
use super::{Destination, DestinationError, Expected, Put, Small};
use crate::base::error::{Classify as _, ErrorClass};
use crate::config::settings;
use crate::config::settings::LocalDestination;
use crate::config::units::Mode;
use futures_util::TryStreamExt as _;
use std::path::Path;

/// Bytes that differ everywhere, so that a piece in the wrong place is seen.
pub fn pattern(bytes: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    let mut out: Vec<u8> = Vec::with_capacity(bytes + 8);
    while out.len() < bytes {
        out.extend_from_slice(&next());
    }
    out.truncate(bytes);
    out
}

/// Reads an object whole.
pub async fn content(place: &dyn Destination, key: &str) -> Option<Vec<u8>> {
    let content = place.read(key).await.unwrap()?;
    let join = |mut all: Vec<u8>, piece: bytes::Bytes| async move {
        all.extend_from_slice(&piece);
        Ok(all)
    };
    Some(content.try_fold(Vec::new(), join).await.unwrap())
}

/// Puts bytes that lie in a file of `dir`.
pub async fn put(place: &dyn Destination, dir: &Path, key: &str, bytes: &[u8]) -> Result<(), DestinationError> {
    let from = dir.join(format!("spooled-{}", key.replace('/', "-")));
    std::fs::write(&from, bytes).unwrap();
    let log = InMemory::default();
    let done = place.put_file(Put { key, from: &from, expected: &Expected::of(bytes), log: &log }).await;
    if done.is_ok() {
        assert_eq!(log.load().await.unwrap(), None, "a completed upload is forgotten");
    }
    done
}

/// The suite: `place` is empty, `dir` is for spooled files, `large` is the size of an object in several parts.
pub async fn suite(place: &dyn Destination, dir: &Path, large: usize) {
    place.probe().await.unwrap();
    place.probe().await.unwrap();
    files(place, dir, large).await;
    small_objects(place).await;
    pointer(place).await;
    assert!(!place.location("e/s/t/part").is_empty());
    place.free().await.unwrap();
}

async fn files(place: &dyn Destination, dir: &Path, large: usize) {
    for (key, size) in [("e/s/t/part-0", 0), ("e/s/t/part-1", 1), ("e/s/t/part-2", 70_000), ("e/s/t/part-3", large)] {
        let bytes = pattern(size, size as u64 + 7);
        assert_eq!(place.head(key).await.unwrap(), None, "{key} is not there yet");
        assert!(content(place, key).await.is_none());
        put(place, dir, key, &bytes).await.unwrap();
        assert!(content(place, key).await.unwrap() == bytes, "{key} comes back as it was");
        let head = place.head(key).await.unwrap().unwrap();
        let expected = Expected::of(&bytes);
        assert_eq!(head.bytes, expected.bytes);
        assert!(head.sha256.is_none_or(|found| found == expected.sha256));
        assert!(head.crc32c.is_none_or(|found| found == expected.crc32c));

        put(place, dir, key, &bytes).await.expect("the same object is adopted");
        let other = pattern(size + 1, 99);
        let error = put(place, dir, key, &other).await.expect_err("another object is a conflict");
        assert_eq!(error.class(), ErrorClass::Conflict, "{error}");
        assert!(content(place, key).await.unwrap() == bytes, "{key} was not touched");

        place.tidy("e/s/t").await.expect("a directory in which something is left stays");
        assert!(content(place, key).await.unwrap() == bytes);
        place.delete(key).await.unwrap();
        place.delete(key).await.expect("what is not there is deleted already");
        place.tidy("e/s/t").await.unwrap();
        place.tidy("e/s/t").await.expect("a directory that is not there is no error");
        assert!(content(place, key).await.is_none());
    }
    place.delete("never/there/at/all").await.unwrap();
}

async fn small_objects(place: &dyn Destination) {
    let key = "e/s/t/_manifest.json";
    assert_eq!(place.read_small(key, 100).await.unwrap(), None);
    place.put_bytes(key, b"one"[..].into()).await.unwrap();
    place.put_bytes(key, b"one"[..].into()).await.expect("the same is adopted");
    let error = place.put_bytes(key, b"two"[..].into()).await.expect_err("another is a conflict");
    assert_eq!(error.class(), ErrorClass::Conflict, "{error}");
    assert_eq!(place.read_small(key, 100).await.unwrap().unwrap().bytes, b"one"[..]);
    place.read_small(key, 2).await.expect_err("larger than the limit");
    place.delete(key).await.unwrap();
}

async fn pointer(place: &dyn Destination) {
    let key = "e/s/latest.json";
    let mut seen: Option<Small> = None;
    for text in ["1", "22", "333"] {
        place.replace(key, text.into(), seen.as_ref()).await.unwrap();
        let now = place.read_small(key, 100).await.unwrap().unwrap();
        assert_eq!(now.bytes, text);
        if let (Some(before), Some(_)) = (&seen, &now.version) {
            let error = place.replace(key, "old".into(), Some(before)).await.expect_err("somebody was faster");
            assert!(error.class().retryable(), "{error}");
        }
        seen = Some(now);
    }
    place.delete(key).await.unwrap();
}

#[tokio::test]
async fn a_local_directory() {
    let dir = tempfile::tempdir().unwrap();
    let local = Local::new(&LocalDestination { root: dir.path().join("root"), mode: Mode(0o640) });
    suite(&local, dir.path(), 3 << 20).await;
}

#[tokio::test]
async fn a_local_directory_behind_faults() {
    let dir = tempfile::tempdir().unwrap();
    let local = Local::new(&LocalDestination { root: dir.path().join("root"), mode: Mode(0o640) });
    suite(&wild(&local), dir.path(), 3 << 20).await;
}

/// A secret is what its placeholder says.
#[derive(Debug)]
struct Literal;

impl crate::base::secret::Resolve for Literal {
    fn resolve(&self, text: &str) -> Result<crate::base::secret::Secret, String> {
        Ok(crate::base::secret::Secret::new(text))
    }
}

/// The destination that a variable of the environment describes, as `tests/stores` writes it: the settings as JSON. Each test
/// gets a prefix of its own. `None` where no such server was started, which is noted.
fn started(variable: &str, prefix: &str) -> Option<std::sync::Arc<dyn Destination>> {
    let Ok(text) = std::env::var(variable) else {
        skipped(&format!("destinations at a real server: {variable} is not set (tests/stores)"));
        return None;
    };
    let unique = format!("{prefix}-{}", crate::base::clock::now().as_microsecond());
    let mut settings: serde_json::Value = serde_json::from_str(&text).unwrap();
    for (_, inside) in settings.as_object_mut().unwrap() {
        inside["prefix"] = unique.clone().into();
        inside["transfer"] = serde_json::json!({ "connections": 2, "in_flight": "11MB" });
    }
    let settings: settings::Destination = serde_json::from_value(settings).unwrap();
    let place = Opener::new(std::sync::Arc::new(Literal)).open(&settings).unwrap();
    Some(place)
}

/// Large objects have three parts, the last one short.
const LARGE: usize = 12_345_678;

async fn at_a_server(variable: &str) {
    let dir = tempfile::tempdir().unwrap();
    let Some(place) = started(variable, "bare") else { return };
    println!("{variable}: {:?}", place.probe().await.unwrap().notes);
    suite(&*place, dir.path(), LARGE).await;
    resumes(&*place, dir.path()).await;
    let place = started(variable, "faulty").unwrap();
    suite(&wild(&*place), dir.path(), LARGE).await;
}

/// An upload that is torn off again and again comes through, and sends hardly anything twice.
async fn resumes(place: &dyn Destination, dir: &Path) {
    let (key, bytes) = ("e/s/t/resumed", pattern(40_000_000, 5));
    let (from, expected, log) = (dir.join("resumed"), Expected::of(&bytes), InMemory::default());
    std::fs::write(&from, &bytes).unwrap();
    let before = place.sent();
    let mut torn = 0;
    for n in 0..1000u64 {
        let put = place.put_file(Put { key, from: &from, expected: &expected, log: &log });
        match tokio::time::timeout(std::time::Duration::from_millis(60 + 60 * n), put).await {
            Ok(Ok(())) => break,
            // A server that is torn at may fail, too.
            Ok(Err(error)) => assert!(error.class().retryable(), "{error}"),
            Err(_) => {}
        }
        torn += 1;
    }
    assert!(content(place, key).await.unwrap() == bytes, "torn {torn} times");
    let sent = place.sent() - before;
    println!("torn {torn} times, sent {sent} of {}", bytes.len());
    // What was under way at each tear, and what a client sent once more by itself to a server that was slow.
    assert!(sent <= bytes.len() as u64 + (torn + 1) * 11_000_000, "{sent} bytes sent, torn {torn} times");
    place.delete(key).await.unwrap();
}

#[tokio::test]
async fn a_real_s3_server() {
    at_a_server("SAAS_EXPORT_TEST_S3").await;
}

#[tokio::test]
async fn a_real_azure_server() {
    at_a_server("SAAS_EXPORT_TEST_AZURE").await;
}

/// Notes what this machine cannot test, in the file that `SAAS_EXPORT_SKIPS` names.
pub fn skipped(what: &str) {
    use std::io::Write as _;
    eprintln!("skipped: {what}");
    let Some(path) = std::env::var_os("SAAS_EXPORT_SKIPS") else { return };
    let file = std::fs::OpenOptions::new().append(true).create(true).open(path);
    let _ = file.and_then(|mut file| writeln!(file, "{what}"));
}
