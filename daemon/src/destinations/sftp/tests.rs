//! Against a real server, where one was started (tests/stores/sftp.sh), and against one of ours that misbehaves.

mod fake;

use super::*;
use crate::base::error::Classify as _;
use crate::base::secret::Secret;
use crate::destinations::conformance::{content, pattern, put, skipped, suite};
use crate::destinations::faulty::wild;
use crate::destinations::upload::InMemory;
use fake::{Fake, Faults};
use serde_json::{Value, json};
use std::path::Path;

/// Bytes of an object that travels in several parts.
const LARGE: usize = 5_000_000;

/// Secrets by name.
struct Secrets(Vec<(&'static str, String)>);

impl Resolve for Secrets {
    fn resolve(&self, text: &str) -> Result<Secret, String> {
        let fill = |text: String, (name, value): &(&str, String)| text.replace(&format!("${{{name}}}"), value);
        Ok(Secret::new(self.0.iter().fold(text.to_owned(), fill)))
    }
}

/// A real server: `SAAS_EXPORT_TEST_SFTP` is a JSON object with the settings of a destination and what is beside them.
struct Real {
    settings: Value,
    password: String,
    key: String,
    fingerprint: String,
    files: std::path::PathBuf,
}

impl Real {
    fn started(root: &str) -> Option<Self> {
        let Ok(text) = std::env::var("SAAS_EXPORT_TEST_SFTP") else {
            skipped("SFTP: no server was started (tests/stores/sftp.sh)");
            return None;
        };
        let mut settings: Value = serde_json::from_str(&text).unwrap();
        let mut take =
            |name: &str| settings.as_object_mut().unwrap().remove(name).unwrap().as_str().unwrap().to_owned();
        let key = std::fs::read_to_string(take("private_key")).unwrap();
        let (password, fingerprint) = (take("password"), take("fingerprint"));
        let files = std::path::PathBuf::from(take("local_root")).join(root);
        settings["root"] = format!("/upload/{root}").into();
        Some(Self { settings, password, key, fingerprint, files })
    }

    fn with(&self, more: Value) -> Result<Sftp, DestinationError> {
        let mut settings = self.settings.clone();
        settings["auth"] = json!({ "key": { "private_key": "${KEY}" } });
        for (key, value) in more.as_object().unwrap() {
            match value {
                Value::Null => drop(settings.as_object_mut().unwrap().remove(key)),
                value => settings[key] = value.clone(),
            }
        }
        // As auth.env has it, in one line.
        let secrets = vec![("KEY", self.key.replace('\n', "\\n")), ("PASSWORD", self.password.clone())];
        Sftp::new(&serde_json::from_value(settings).unwrap(), &Secrets(secrets))
    }
}

/// Files below `.saas-export` of a directory.
fn left(root: &Path) -> usize {
    std::fs::read_dir(root.join(PRIVATE).join("incoming")).map_or(0, Iterator::count)
}

#[tokio::test]
async fn a_real_server_conforms() {
    let Some(real) = Real::started("conforms") else { return };
    let dir = tempfile::tempdir().unwrap();
    let sftp = real.with(json!({ "transfer": { "in_flight": "1MB" } })).unwrap();
    suite(&sftp, dir.path(), LARGE).await;
    assert_eq!(left(&real.files), 0, "no temporary file is left");
    assert!(sftp.free().await.unwrap().is_some_and(|free| free > 0));
    assert_eq!(sftp.probe().await.unwrap(), Probed::default(), "OpenSSH has all that is wanted");
    let sized = real.with(json!({ "verify": "size" })).unwrap();
    suite(&sized, dir.path(), LARGE).await;
    suite(&wild(&sftp), dir.path(), LARGE).await;
}

#[tokio::test]
async fn a_file_gets_its_mode_and_its_owner_alone_reads_it_before() {
    use std::os::unix::fs::PermissionsExt as _;
    let Some(real) = Real::started("modes") else { return };
    let dir = tempfile::tempdir().unwrap();
    let sftp = real.with(json!({ "mode": "0644" })).unwrap();
    put(&sftp, dir.path(), "a/b/part", &pattern(10, 1)).await.unwrap();
    let mode = |path: &str| std::fs::metadata(real.files.join(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode("a/b/part"), 0o644);
}

#[tokio::test]
async fn a_server_is_known_by_its_key_alone() {
    let Some(real) = Real::started("keys") else { return };
    let other = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";
    let known = std::fs::read_to_string(real.settings["known_hosts"].as_str().unwrap()).unwrap();
    let ecdsa = known.lines().find(|line| line.contains("ecdsa")).unwrap().split_once(' ').unwrap().1.to_owned();
    for pin in [real.fingerprint.as_str(), ecdsa.as_str()] {
        let sftp = real.with(json!({ "known_hosts": null, "host_key": pin })).unwrap();
        sftp.probe().await.unwrap_or_else(|error| panic!("{pin}: {error}"));
    }
    let changed = real.with(json!({ "known_hosts": null, "host_key": other })).unwrap().probe().await.unwrap_err();
    assert_eq!(changed.class(), ErrorClass::Auth);
    let text = changed.to_string();
    assert!(text.contains(&real.fingerprint) && text.contains("ssh-keyscan -p"), "{text}");
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("known_hosts");
    std::fs::write(&file, format!("elsewhere.example {other}\n")).unwrap();
    let unknown = real.with(json!({ "known_hosts": file })).unwrap().probe().await.unwrap_err();
    assert!(
        unknown.class() == ErrorClass::Auth && unknown.to_string().contains("has no key of this host"),
        "{unknown}"
    );
    let none = real.with(json!({ "known_hosts": null })).unwrap_err();
    assert_eq!(none.class(), ErrorClass::Config);
}

#[tokio::test]
async fn a_login_is_by_key_or_password_and_a_wrong_one_is_told() {
    let Some(real) = Real::started("logins") else { return };
    let password = json!({ "auth": { "password": { "password": "${PASSWORD}" } } });
    real.with(password).unwrap().probe().await.unwrap();
    let wrong = json!({ "auth": { "password": { "password": "not-${PASSWORD}" } } });
    let error = real.with(wrong).unwrap().probe().await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Auth);
    assert!(error.to_string().contains("publickey") && !error.to_string().contains(&real.password), "{error}");
    let nobody = real.with(json!({ "port": 1, "connect_timeout": "2s" })).unwrap().probe().await.unwrap_err();
    assert_eq!(nobody.class(), ErrorClass::Transient);
    let bad = real.with(json!({ "auth": { "key": { "private_key": "no key" } } })).unwrap_err();
    assert_eq!(bad.class(), ErrorClass::Config);
}

#[tokio::test]
async fn what_was_left_a_day_ago_is_swept() {
    let Some(real) = Real::started("sweep") else { return };
    let sftp = real.with(json!({})).unwrap();
    sftp.probe().await.unwrap();
    let incoming = real.files.join(PRIVATE).join("incoming");
    for (name, age) in [("old", 200_000), ("new", 10)] {
        let file = std::fs::File::create(incoming.join(name)).unwrap();
        file.set_modified(std::fs::metadata(&incoming).unwrap().modified().unwrap() - Duration::from_secs(age))
            .unwrap();
        std::os::unix::fs::chown(incoming.join(name), Some(owner(&real.files)), None).unwrap();
    }
    sftp.probe().await.unwrap();
    let left: Vec<_> = std::fs::read_dir(&incoming).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["new"]);
    sftp.abort("k", &format!("{}/new", sftp.incoming())).await.unwrap();
    assert_eq!(left.len() - 1, std::fs::read_dir(&incoming).unwrap().count());
    std::fs::write(real.files.join("precious"), b"x").unwrap();
    sftp.abort("k", &sftp.settings.path("precious")).await.unwrap();
    assert!(real.files.join("precious").exists(), "only temporary files are ever removed for an upload");
}

fn owner(path: &Path) -> u32 {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata(path).unwrap().uid()
}

#[tokio::test]
async fn what_arrived_is_not_sent_again() {
    let Some(real) = Real::started(&format!("resumes-{}", std::process::id())) else { return };
    let dir = tempfile::tempdir().unwrap();
    let from = dir.path().join("spooled");
    let bytes = pattern(LARGE, 5);
    std::fs::write(&from, &bytes).unwrap();
    let expected = Expected::of(&bytes);
    let slow = json!({ "transfer": { "in_flight": "1MB", "per_second": "8MB", "connections": 1 } });
    let (mut sent, log) = (0, InMemory::default());
    let mut cuts = 0;
    loop {
        // Each time another connection, cut once it has sent so much.
        let sftp = real.with(slow.clone()).unwrap();
        let put = sftp.put_file(Put { key: "e/part", from: &from, expected: &expected, log: &log });
        let cut = async {
            while sftp.sent() < 1_500_000 {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        let done = tokio::select! {
            done = put => Some(done),
            () = cut => None,
        };
        sent += sftp.sent();
        match done {
            Some(done) => break done.unwrap(),
            None => cuts += 1,
        }
        assert!(cuts < 200);
    }
    assert!(cuts >= 1, "it was cut in the middle");
    assert!(sent <= LARGE as u64 + cuts * 1_000_000, "{sent} bytes sent for {LARGE} in {cuts} cuts");
    assert!(std::fs::read(real.files.join("e/part")).unwrap() == bytes);
    assert_eq!(left(&real.files), 0);
}

#[tokio::test]
async fn a_server_without_extensions_conforms() {
    let fake = Fake::start(Faults::default()).await;
    let dir = tempfile::tempdir().unwrap();
    let sftp = fake.destination(json!({}));
    let notes = sftp.probe().await.unwrap().notes;
    assert_eq!(notes.len(), 2, "{notes:?}");
    suite(&sftp, dir.path(), 300_000).await;
    assert_eq!(left(fake.root()), 0);
    assert_eq!(sftp.free().await.unwrap(), None);
}

#[tokio::test]
async fn a_server_whose_rename_replaces_is_found_out_and_never_overwrites() {
    let fake = Fake::start(Faults { rename_replaces: true, ..Faults::default() }).await;
    let dir = tempfile::tempdir().unwrap();
    let sftp = fake.destination(json!({}));
    let notes = sftp.probe().await.unwrap().notes;
    assert!(notes.iter().any(|note| note.contains("replaces")), "{notes:?}");
    suite(&sftp, dir.path(), 100_000).await;
}

/// Puts the object until that succeeds, as a worker would; how many attempts failed.
async fn stubbornly(sftp: &Sftp, from: &Path, bytes: &[u8]) -> usize {
    let (expected, log) = (Expected::of(bytes), InMemory::default());
    for tries in 0..20 {
        match sftp.put_file(Put { key: "e/s/t/part", from, expected: &expected, log: &log }).await {
            Ok(()) => return tries,
            Err(error) => assert!(error.class().retryable(), "{error}"),
        }
    }
    panic!("it never arrived");
}

#[tokio::test]
async fn a_dropped_connection_is_made_again_and_the_upload_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let from = dir.path().join("spooled");
    let bytes = pattern(2_000_000, 3);
    std::fs::write(&from, &bytes).unwrap();
    // In the middle of a piece, between two, and near both ends.
    for drop_after in [1, 40_000, 777_777, 1_310_720, 1_999_999] {
        let fake = Fake::start(Faults { drop_after: Some(drop_after), ..Faults::default() }).await;
        let sftp = fake.destination(json!({ "transfer": { "in_flight": "1MB", "connections": 1 } }));
        assert_eq!(stubbornly(&sftp, &from, &bytes).await, 1, "dropped after {drop_after} bytes");
        assert!(content(&sftp, "e/s/t/part").await.unwrap() == bytes);
        assert!(sftp.sent() <= bytes.len() as u64 + 1_000_000, "{} sent, dropped after {drop_after}", sftp.sent());
        assert_eq!(left(fake.root()), 0);
    }
}

#[tokio::test]
async fn a_failure_that_was_a_success_does_no_harm() {
    let dir = tempfile::tempdir().unwrap();
    let from = dir.path().join("spooled");
    let bytes = pattern(300_000, 4);
    std::fs::write(&from, &bytes).unwrap();
    for request in ["write", "rename", "close", "setstat", "remove", "mkdir"] {
        let fake = Fake::start(Faults { lies_once: Some(request), ..Faults::default() }).await;
        let sftp = fake.destination(json!({}));
        let failed = stubbornly(&sftp, &from, &bytes).await;
        assert!(failed <= 1, "{request}: {failed}");
        assert!(content(&sftp, "e/s/t/part").await.unwrap() == bytes, "{request}");
        assert_eq!(left(fake.root()), 0, "{request}");
    }
}

#[tokio::test]
async fn damage_on_the_way_is_found_and_sent_again() {
    let dir = tempfile::tempdir().unwrap();
    let from = dir.path().join("spooled");
    let bytes = pattern(300_000, 6);
    std::fs::write(&from, &bytes).unwrap();
    let fake = Fake::start(Faults { damages_once: true, ..Faults::default() }).await;
    let sftp = fake.destination(json!({}));
    assert_eq!(stubbornly(&sftp, &from, &bytes).await, 1);
    assert!(content(&sftp, "e/s/t/part").await.unwrap() == bytes);
}

#[tokio::test]
async fn a_full_server_and_a_silent_one_are_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::start(Faults { full: true, ..Faults::default() }).await;
    let error = put(&fake.destination(json!({})), dir.path(), "part", &pattern(9, 1)).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Full, "{error}");
    let fake = Fake::start(Faults { silent: true, ..Faults::default() }).await;
    let hasty = fake.destination(json!({ "read_timeout": "300ms" }));
    let error = put(&hasty, dir.path(), "part", &pattern(9, 1)).await.unwrap_err();
    assert!(error.class() == ErrorClass::Transient && error.to_string().contains("read_timeout"), "{error}");
}

#[tokio::test]
async fn several_files_travel_at_a_time_over_one_connection() {
    let fake = Fake::start(Faults::default()).await;
    let dir = tempfile::tempdir().unwrap();
    let sftp = fake.destination(json!({ "transfer": { "connections": 3 } }));
    let bytes = pattern(400_000, 8);
    let keys: Vec<String> = (0..8).map(|n| format!("e/s/t/part-{n}")).collect();
    let puts = keys.iter().map(|key| put(&sftp, dir.path(), key, &bytes));
    for done in futures_util::future::join_all(puts).await {
        done.unwrap();
    }
    let (connections, most) = fake.used();
    assert!(connections == 1 && (2..=3).contains(&most), "{connections} connections, {most} files at a time");
    assert_eq!(sftp.sent(), 8 * 400_000);
    assert_eq!(left(fake.root()), 0);
}

#[test]
fn files_share_what_may_be_unconfirmed() {
    assert_eq!(share(4, 32_000_000), (4, 8_000_000));
    assert_eq!(share(64, 1_000_000), (3, 333_333));
    assert_eq!(share(1, 1), (1, 1));
}
