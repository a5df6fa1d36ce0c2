//! What journald gets: a datagram socket in its place, in a mount namespace of the daemon's own.

use crate::compare::assert_exact;
use saas_export_tests::harness::bed::{Bed, PATIENCE};
use saas_export_tests::harness::daemon::Daemon;
use saas_export_tests::harness::programs::{root_or_skip, skipped};
use saas_export_tests::sample::Fault;
use std::collections::BTreeMap;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// Puts the socket of the test where that of journald is, and starts what follows as a service is started: `JOURNAL_STREAM`
/// says which file its standard error is.
const AS_A_SERVICE: &str = r#"
socket=$1; shift
mount --make-rprivate / && mkdir -p /run/systemd && mount -t tmpfs tmpfs /run/systemd || exit 90
mkdir -p /run/systemd/journal && touch /run/systemd/journal/socket || exit 90
mount --bind "$socket" /run/systemd/journal/socket || exit 90
JOURNAL_STREAM=$(stat -L -c %d:%i /proc/self/fd/2) exec "$@"
"#;

/// The fields of an entry (systemd.io/JOURNAL_NATIVE_PROTOCOL): `NAME=value`, or the name, a length of eight bytes and the value.
fn fields(mut bytes: &[u8]) -> BTreeMap<String, String> {
    let mut fields = BTreeMap::new();
    while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
        let (line, rest) = (&bytes[..end], &bytes[end + 1..]);
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        match line.iter().position(|byte| *byte == b'=') {
            Some(at) => {
                fields.insert(text(&line[..at]), text(&line[at + 1..]));
                bytes = rest;
            }
            None => {
                let (length, rest) = rest.split_first_chunk::<8>().unwrap();
                let length = usize::try_from(u64::from_le_bytes(*length)).unwrap();
                fields.insert(text(line), text(&rest[..length]));
                bytes = &rest[length + 1..];
            }
        }
    }
    fields
}

/// The ids of the catalog and their subjects.
fn catalog() -> BTreeMap<String, String> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../systemd/saas-export-daemon.catalog");
    let text = std::fs::read_to_string(file).unwrap();
    let entries = text.split("\n-- ").skip(1);
    entries
        .map(|entry| {
            let (id, rest) = entry.split_once('\n').unwrap();
            (id.to_owned(), rest.lines().next().unwrap().trim_start_matches("Subject: ").to_owned())
        })
        .collect()
}

#[test]
fn entries_have_fields_of_their_own_and_ids_of_the_catalog() {
    if !root_or_skip("journald") {
        return;
    }
    let bed = Bed::with_records(1500);
    bed.api.set_faults(vec![Fault::status(503).at(&[3])]);
    let socket = bed.path("journald");
    let journald = UnixDatagram::bind(&socket).unwrap();
    journald.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    bed.write();
    let daemon = bed.daemon_command();
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", AS_A_SERVICE, "sh"]).arg(&socket).arg(daemon.get_program());
    command.args(daemon.get_args()).env_remove("NOTIFY_SOCKET").current_dir(bed.dir());
    let mut daemon = Daemon::spawn(command, bed.socket());
    std::thread::sleep(Duration::from_millis(300));
    if !daemon.alive() {
        skipped("journald: no mount namespace here");
        return;
    }
    let daemon = daemon.ready();
    let id = daemon.run("shop");
    daemon.wait_for(&id, &["succeeded"], PATIENCE);
    assert_exact(&bed, "shop");
    assert!(bed.ctl(&["reload"]).code == Some(0));
    let (mut entries, mut buffer) = (Vec::new(), vec![0; 1 << 16]);
    while let Ok(length) = journald.recv(&mut buffer) {
        entries.extend((length > 0).then(|| fields(&buffer[..length])));
    }
    assert_eq!(daemon.stderr(), "", "nothing is said twice");
    let subjects = catalog();
    let mut told: Vec<&str> = Vec::new();
    for entry in &entries {
        let id = entry.get("MESSAGE_ID").unwrap_or_else(|| panic!("no id: {entry:?}"));
        told.push(subjects.get(id).unwrap_or_else(|| panic!("not in the catalog: {entry:?}")));
        assert_eq!(entry["SYSLOG_IDENTIFIER"], "saas-export-daemon");
        assert!(!entry.keys().any(|name| name.starts_with("F_")), "{entry:?}");
    }
    for subject in [
        "The daemon is ready",
        "A task was queued",
        "A task runs",
        "The source answers with a server error (5xx)",
        "A manifest was published",
        "A task has succeeded",
        "The configuration was read again",
    ] {
        assert_eq!(told.iter().filter(|one| **one == subject).count(), 1, "{subject}: {told:?}");
    }
    let of = |subject: &str| &entries[told.iter().position(|one| *one == subject).unwrap()];
    let ended = of("A task has succeeded");
    let wanted =
        [("EXPORT_TASK", id.as_str()), ("EXPORT_NAME", "shop"), ("EXPORT_STATE", "succeeded"), ("PRIORITY", "6")];
    for (name, value) in wanted {
        assert_eq!(ended.get(name).map(String::as_str), Some(value), "{ended:?}");
    }
    let failed = of("The source answers with a server error (5xx)");
    for (name, value) in [("EXPORT_TASK", id.as_str()), ("EXPORT_SOURCE", "shop"), ("PRIORITY", "4")] {
        assert_eq!(failed.get(name).map(String::as_str), Some(value), "{failed:?}");
    }
    assert_eq!(failed["EXPORT_ERROR_CLASS"], "transient");
    let published = of("A manifest was published");
    assert_eq!((&*published["EXPORT_STREAM"], &*published["EXPORT_DESTINATION"]), ("cursor", "lake"));
}
