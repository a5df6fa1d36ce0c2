//! What no real server does on request: refusals at each step, answers that get lost, lists in pages, checksums that lie.

mod fake;

use super::S3;
use crate::base::error::{Classify as _, ErrorClass};
use crate::base::secret::{Resolve, Secret};
use crate::config::settings::S3Destination;
use crate::destinations::conformance::{content, pattern, put, suite};
use crate::destinations::faulty::wild;
use crate::destinations::upload::{InMemory, UploadLog as _};
use crate::destinations::{Destination as _, DestinationError, Expected, Put};
use crate::model::upload::Upload;
use fake::{Act, Fake};
use serde_json::json;
use std::path::PathBuf;
use std::time::Duration;

const KEY: &str = "e/s/20260101T000000Z-0123abcd/part-0";
const WHOLE: &str = "pre/e/s/20260101T000000Z-0123abcd/part-0";
const SECRET: &str = "canary-of-the-secret-key";
/// Three parts, the last one short.
const LARGE: usize = 12_345_678;

struct Words;

impl Resolve for Words {
    fn resolve(&self, text: &str) -> Result<Secret, String> {
        Ok(Secret::new(text.replace("${S}", SECRET)))
    }
}

struct Scene {
    fake: Fake,
    s3: S3,
    dir: tempfile::TempDir,
    log: InMemory,
}

impl Scene {
    async fn new() -> Self {
        let fake = Fake::start().await;
        let s3 = at(&fake, json!({}));
        Self { fake, s3, dir: tempfile::tempdir().unwrap(), log: InMemory::default() }
    }

    fn file(&self, bytes: &[u8]) -> (PathBuf, Expected) {
        let path = self.dir.path().join("file");
        std::fs::write(&path, bytes).unwrap();
        (path, Expected::of(bytes))
    }

    async fn put(&self, bytes: &[u8]) -> Result<(), DestinationError> {
        let (from, expected) = self.file(bytes);
        self.s3.put_file(Put { key: KEY, from: &from, expected: &expected, log: &self.log }).await
    }

    /// The object is there, and nothing else is.
    async fn is_whole(&self, bytes: &[u8]) {
        let log = self.log.load().await.unwrap();
        let state = self.fake.state();
        assert_eq!(state.objects.keys().collect::<Vec<_>>(), [WHOLE]);
        assert!(state.objects[WHOLE].bytes == bytes);
        assert!(state.uploads.is_empty() && log.is_none(), "{:?} {log:?}", state.uploads.keys());
    }
}

fn at(fake: &Fake, more: serde_json::Value) -> S3 {
    let mut settings = json!({
        "bucket": "bucket", "prefix": "pre", "endpoint": format!("http://{}", fake.at),
        "credentials": { "static": { "access_key_id": "AKIDCANARY", "secret_access_key": "${S}" } },
        "transfer": { "connections": 2, "in_flight": "11MB" },
    });
    settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let settings: S3Destination = serde_json::from_value(settings).unwrap();
    S3::new(&settings, &Words).unwrap()
}

fn refuse(status: u16, code: &'static str) -> Act {
    Act::Refuse(status, code, ("", String::new()))
}

#[tokio::test]
async fn by_the_book_and_behind_faults() {
    for (conditions, checksums, composite) in [(false, false, false), (false, false, true), (true, true, true)] {
        let scene = Scene::new().await;
        scene.fake.state().ways.ignores_conditions = conditions;
        scene.fake.state().ways.ignores_checksums = checksums;
        scene.fake.state().ways.composite = composite;
        let notes = scene.s3.probe().await.unwrap().notes;
        assert_eq!(notes.len(), if conditions { 3 } else { 0 }, "{notes:?}");
        suite(&scene.s3, scene.dir.path(), LARGE).await;
        suite(&wild(&scene.s3), scene.dir.path(), LARGE).await;
        let state = scene.fake.state();
        assert!(state.objects.is_empty() && state.uploads.is_empty(), "{:?}", state.objects.keys());
    }
}

#[tokio::test]
async fn a_refusal_at_any_step_is_mended_by_asking_again() {
    let bytes = pattern(LARGE, 3);
    for operation in ["Uploads", "Create", "Part", "Complete", "Head"] {
        for (status, code) in [(500, "InternalError"), (503, "SlowDown"), (409, "OperationAborted"), (429, "")] {
            let scene = Scene::new().await;
            scene.s3.probe().await.unwrap();
            scene.fake.rule(operation, refuse(status, code));
            let error = scene.put(&bytes).await.expect_err(operation);
            assert!(error.class().retryable(), "{operation} {status}: {error}");
            let throttled = matches!(error.class(), ErrorClass::Throttled(_));
            assert_eq!(throttled, matches!(status, 503 | 429), "{operation} {status}: {error}");
            scene.put(&bytes).await.unwrap_or_else(|error| panic!("{operation} {status}: {error}"));
            scene.is_whole(&bytes).await;
            assert!(scene.fake.count("Part") <= 1 + 3 + 1, "parts that arrived are not sent again");
        }
    }
    let scene = Scene::new().await;
    scene.s3.probe().await.unwrap();
    scene.fake.rule("Put", refuse(503, "SlowDown"));
    assert!(scene.put(b"small").await.unwrap_err().class().retryable());
    scene.put(b"small").await.unwrap();
    scene.is_whole(b"small").await;
}

#[tokio::test]
async fn refusals_say_what_to_do() {
    for (status, code, header, class, words) in [
        (403, "AccessDenied", ("", ""), ErrorClass::Auth, "s3:PutObject"),
        (403, "SignatureDoesNotMatch", ("", ""), ErrorClass::Auth, "credentials"),
        (404, "NoSuchBucket", ("", ""), ErrorClass::Config, "make the bucket"),
        (507, "XMinioStorageFull", ("", ""), ErrorClass::Full, "507"),
        (403, "QuotaExceeded", ("", ""), ErrorClass::Full, "Quota"),
        (403, "RequestTimeTooSkewed", ("date", "Sun, 06 Nov 1994 08:49:37 GMT"), ErrorClass::Transient, "s ahead of"),
        (301, "PermanentRedirect", ("x-amz-bucket-region", "eu-west-9"), ErrorClass::Config, "set region: eu-west-9"),
        (503, "SlowDown", ("retry-after", "7"), ErrorClass::Throttled(Duration::from_secs(7)), "SlowDown"),
    ] {
        let scene = Scene::new().await;
        scene.s3.probe().await.unwrap();
        scene.fake.rule("Put", Act::Refuse(status, code, (header.0, header.1.to_owned())));
        let error = scene.put(b"small").await.unwrap_err();
        assert_eq!(error.class(), class, "{error}");
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[tokio::test]
async fn no_secret_is_shown_or_sent_elsewhere() {
    let (scene, other) = (Scene::new().await, Fake::start().await);
    scene.s3.probe().await.unwrap();
    let elsewhere = format!("http://{}/bucket/x", other.at);
    scene.fake.rule("Put", Act::Refuse(307, SECRET, ("location", elsewhere)));
    let error = scene.put(b"small").await.unwrap_err();
    assert!(!error.to_string().contains(SECRET), "{error}");
    assert!(other.state().seen.is_empty(), "a redirect is not followed");
    assert!(!format!("{:?}", scene.s3).contains(SECRET));
    for seen in &scene.fake.state().seen {
        assert!(!format!("{:?}", seen.headers).contains(SECRET) && seen.headers.contains_key("authorization"));
    }
    let link = scene.s3.link(KEY, Duration::from_secs(60)).await.unwrap().unwrap();
    assert!(link.contains("X-Amz-Signature=") && !link.contains(SECRET), "{link}");
    assert!(scene.s3.link(KEY, Duration::from_secs(8 * 86_400)).await.is_err());
}

#[tokio::test]
async fn an_answer_that_is_lost_is_found_out() {
    for (operation, bytes) in [("Put", pattern(100, 1)), ("Create", pattern(LARGE, 1)), ("Part", pattern(LARGE, 1))] {
        let scene = Scene::new().await;
        scene.s3.probe().await.unwrap();
        scene.fake.rule(operation, Act::Silent);
        assert!(scene.put(&bytes).await.unwrap_err().class().retryable());
        scene.put(&bytes).await.unwrap();
        scene.is_whole(&bytes).await;
    }
    let (scene, bytes) = (Scene::new().await, pattern(LARGE, 1));
    scene.s3.probe().await.unwrap();
    scene.fake.rule("Complete", Act::Silent);
    scene.put(&bytes).await.expect("it looks, and adopts what its own request made");
    scene.is_whole(&bytes).await;
    assert_eq!(scene.fake.count("Part"), 1 + 3);
}

#[tokio::test]
async fn completing_may_fail_in_a_success() {
    let (scene, bytes) = (Scene::new().await, pattern(LARGE, 1));
    scene.s3.probe().await.unwrap();
    scene.fake.rule("Complete", Act::Say("\n \n<Error><Code>InternalError</Code></Error>"));
    assert!(scene.put(&bytes).await.unwrap_err().class().retryable());
    scene.put(&bytes).await.unwrap();
    scene.is_whole(&bytes).await;
    assert_eq!(scene.fake.count("Part"), 1 + 3, "nothing was sent again");
}

/// Leaves an upload behind with `parts` of its three parts noted and listed.
async fn begun(scene: &Scene, bytes: &[u8], parts: u32) -> Upload {
    scene.s3.probe().await.unwrap();
    let last = 1 + parts;
    scene.fake.state().rules.push(("Part", last - 1, refuse(500, "InternalError")));
    scene.put(bytes).await.unwrap_err();
    scene.log.load().await.unwrap().unwrap()
}

#[tokio::test]
async fn a_restart_sends_what_is_missing() {
    let (scene, bytes) = (Scene::new().await, pattern(LARGE, 1));
    let noted = begun(&scene, &bytes, 1).await;
    assert!(!noted.parts.is_empty() && noted.parts.len() < 3, "{noted:?}");
    scene.fake.state().ways.page = 1;
    let before = scene.fake.count("Part");
    scene.put(&bytes).await.unwrap();
    scene.is_whole(&bytes).await;
    assert_eq!(scene.fake.count("Part") - before, 3 - noted.parts.len());
    assert!(scene.fake.count("Parts") >= noted.parts.len(), "the list has pages");
}

#[tokio::test]
async fn what_the_store_does_not_have_is_sent_again() {
    for (forget_all, other_tag) in [(true, false), (false, true), (false, false)] {
        let (scene, bytes) = (Scene::new().await, pattern(LARGE, 1));
        let noted = begun(&scene, &bytes, 2).await;
        {
            let mut state = scene.fake.state();
            let first = noted.parts[0].number;
            let parts = &mut state.uploads.get_mut(&noted.id).unwrap().parts;
            if forget_all {
                state.uploads.clear();
            } else if other_tag {
                parts.get_mut(&first).unwrap().etag = "other".into();
            } else {
                parts.remove(&first);
            }
        }
        scene.put(&bytes).await.unwrap();
        scene.is_whole(&bytes).await;
    }
}

#[tokio::test]
async fn an_upload_that_vanishes_under_way_is_begun_again() {
    let (scene, bytes) = (Scene::new().await, pattern(LARGE, 1));
    scene.s3.probe().await.unwrap();
    scene.fake.rule("Part", refuse(404, "NoSuchUpload"));
    assert!(scene.put(&bytes).await.unwrap_err().class().retryable());
    scene.put(&bytes).await.unwrap();
    scene.is_whole(&bytes).await;
}

/// A kill struck while the store put the object together: it knows the upload no more, and does not have the object yet.
#[tokio::test]
async fn an_object_that_is_still_put_together_is_not_sent_again() {
    for (appears, listed) in [(true, false), (true, true), (false, false)] {
        let (scene, bytes) = (Scene::new().await, pattern(LARGE, 1));
        scene.s3.probe().await.unwrap();
        scene.fake.rule("Complete", refuse(500, "InternalError"));
        scene.put(&bytes).await.unwrap_err();
        assert_eq!(scene.log.load().await.unwrap().unwrap().parts.len(), 3);
        put(&scene.s3, scene.dir.path(), KEY, &bytes).await.unwrap();
        if listed {
            // It vanishes only when it is to be completed.
            scene.fake.rule("Complete", refuse(404, "NoSuchUpload"));
        } else {
            scene.fake.state().uploads.clear();
        }
        let object = scene.fake.state().objects.pop_first().unwrap();
        let (before, fake) = (scene.fake.count("Part"), scene.fake.clone());
        let later = tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(300)).await;
            if appears {
                fake.state().objects.extend([object]);
            }
        });
        scene.put(&bytes).await.unwrap();
        later.await.unwrap();
        scene.is_whole(&bytes).await;
        assert_eq!(scene.fake.count("Part") - before, if appears { 0 } else { 3 });
        assert_eq!(scene.log.load().await.unwrap(), None);
    }
}

#[tokio::test]
async fn somebody_was_faster() {
    // Another object: it is kept, and nothing of ours stays.
    let (scene, bytes) = (Scene::new().await, pattern(LARGE, 1));
    begun(&scene, &bytes, 2).await;
    put(&scene.s3, scene.dir.path(), KEY, b"other").await.unwrap();
    let error = scene.put(&bytes).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Conflict, "{error}");
    scene.is_whole(b"other").await;
    // The same object: it is adopted.
    let scene = Scene::new().await;
    begun(&scene, &bytes, 2).await;
    put(&scene.s3, scene.dir.path(), KEY, &bytes).await.unwrap();
    scene.put(&bytes).await.unwrap();
    scene.is_whole(&bytes).await;
}

#[tokio::test]
async fn a_spooled_file_that_is_gone_has_arrived_or_not() {
    let scene = Scene::new().await;
    let (from, expected) = (scene.dir.path().join("gone"), Expected::of(b"small"));
    let again = || scene.s3.put_file(Put { key: KEY, from: &from, expected: &expected, log: &scene.log });
    assert!(matches!(again().await, Err(DestinationError::Gone { .. })));
    scene.put(b"small").await.unwrap();
    again().await.unwrap();
}

#[tokio::test]
async fn a_checksum_that_differs_is_no_success() {
    for bytes in [pattern(100, 1), pattern(LARGE, 1)] {
        let scene = Scene::new().await;
        scene.s3.probe().await.unwrap();
        scene.fake.state().ways.lies = true;
        let error = scene.put(&bytes).await.unwrap_err();
        assert!(matches!(error, DestinationError::Corrupt { .. }), "{error}");
        assert!(scene.fake.state().objects.is_empty(), "what is damaged is taken away");
        scene.fake.state().ways.lies = false;
        scene.put(&bytes).await.unwrap();
        scene.is_whole(&bytes).await;
    }
}

#[tokio::test]
async fn open_uploads_that_nobody_knows_are_given_up() {
    let (scene, bytes) = (Scene::new().await, pattern(LARGE, 1));
    scene.s3.probe().await.unwrap();
    let open = |id: &str, key: &str, since: &str| {
        let upload = fake::Upload { key: key.into(), since: since.into(), ..fake::Upload::default() };
        scene.fake.state().uploads.insert(id.into(), upload);
    };
    let now = crate::base::clock::now().to_string();
    let old = "2026-01-01T00:00:00.000Z";
    let sibling = WHOLE.replace("part-0", "part-01");
    open("stray", WHOLE, old);
    open("sibling", &sibling, old);
    scene.put(&bytes).await.unwrap();
    assert_eq!(scene.fake.state().uploads.keys().collect::<Vec<_>>(), ["sibling"], "only of the very key");
    open("known", &sibling, old);
    open("young", &sibling, &now);
    open("foreign", "pre/backup/of/another/program", old);
    open("outside", &sibling.replace("pre/", "other/"), old);
    scene.fake.state().ways.page = 1;
    assert_eq!(scene.s3.sweep_uploads(&["known".to_owned()].into()).await.unwrap(), 1);
    let left: Vec<String> = scene.fake.state().uploads.keys().cloned().collect();
    assert_eq!(left, ["foreign", "known", "outside", "young"]);
}

#[tokio::test]
async fn objects_are_kept_as_the_settings_say() {
    let fake = Fake::start().await;
    let s3 = at(
        &fake,
        json!({ "storage_class": "STANDARD_IA", "encryption": { "sse_kms": { "key_id": "k1", "bucket_key": true } } }),
    );
    let dir = tempfile::tempdir().unwrap();
    put(&s3, dir.path(), KEY, b"small").await.unwrap();
    put(&s3, dir.path(), "e/s/t/large", &pattern(LARGE, 1)).await.unwrap();
    assert!(content(&s3, KEY).await.unwrap() == b"small");
    let seen = fake.state().seen.clone();
    for seen in seen.iter().filter(|seen| matches!(seen.operation, "Put" | "Create")) {
        assert_eq!(seen.headers["x-amz-storage-class"], "STANDARD_IA");
        assert_eq!(seen.headers["x-amz-server-side-encryption"], "aws:kms");
        assert_eq!(seen.headers["x-amz-server-side-encryption-aws-kms-key-id"], "k1");
        assert_eq!(seen.headers["x-amz-server-side-encryption-bucket-key-enabled"], "true");
    }
}
