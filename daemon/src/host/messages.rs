//! What the journal can be told: each kind of message with its stable id, cause and remedy, and the catalog made of them.

mod table;

pub use table::Message;

use crate::base::error::ErrorClass;
use std::fmt::Write as _;

/// What a message is and what to do about it.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// 128 bits as 32 lower-case hexadecimal digits (`sd_id128_t`); never changes, never means anything else.
    pub id: &'static str,
    /// The subject that `journalctl -x` shows.
    pub title: &'static str,
    /// Why it comes, with `@FIELD@` in place of the fields of the line.
    pub cause: &'static str,
    /// What to do, with the commands.
    pub remedy: &'static str,
}

impl Message {
    /// The `MESSAGE_ID` of the journal (systemd.journal-fields(7)).
    pub fn id(self) -> &'static str {
        self.entry().id
    }

    /// The message of a task that failed with this class of error.
    pub fn of_failure(class: Option<ErrorClass>) -> Self {
        match class {
            Some(ErrorClass::Auth) => Self::AuthFailed,
            Some(ErrorClass::Conflict) => Self::Conflict,
            Some(ErrorClass::Full) => Self::DiskFull,
            Some(ErrorClass::Bug) => Self::Bug,
            _ => Self::TaskFailed,
        }
    }
}

/// The message catalog, `systemd/saas-export-daemon.catalog`, in the format that `journalctl --update-catalog` reads.
pub fn catalog() -> String {
    let mut text = String::from(
        "# What journalctl -x tells about the messages of saas-export-daemon.\n\
         # Generated from daemon/src/host/messages/table.rs; do not edit.\n",
    );
    for message in Message::ALL {
        let Entry { id, title, cause, remedy } = message.entry();
        let head =
            "Defined-By: saas-export-daemon\nSupport: man:saas-export-daemon(8)\nDocumentation: man:exportctl(1)";
        let _ = write!(text, "\n-- {id}\nSubject: {title}\n{head}\n\n{}\n", folded(cause));
        if !remedy.is_empty() {
            let _ = write!(text, "\n{}\n", folded(remedy));
        }
    }
    text
}

/// Lines of at most this many characters, where words allow it.
const WIDTH: usize = 76;

fn folded(text: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.len() + 1 + word.len() <= WIDTH => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::path::{Path, PathBuf};
    use std::process::Command;

    fn file() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../systemd/saas-export-daemon.catalog")
    }

    #[test]
    fn each_id_is_an_id_and_its_own() {
        let ids: BTreeSet<&str> = Message::ALL.iter().map(|message| message.id()).collect();
        assert_eq!(ids.len(), Message::ALL.len());
        for id in ids {
            let digits = id.chars().all(|c| c.is_ascii_digit() || ('a'..='f').contains(&c));
            assert!(id.len() == 32 && digits && id != "0".repeat(32), "{id}");
        }
    }

    /// The fields that lines have; a placeholder of another name would stay as it is.
    const FIELDS: [&str; 10] = [
        "EXPORT_TASK",
        "EXPORT_NAME",
        "EXPORT_STREAM",
        "EXPORT_SEGMENT",
        "EXPORT_DESTINATION",
        "EXPORT_SOURCE",
        "EXPORT_ERROR_CLASS",
        "EXPORT_ACTOR",
        "EXPORT_STATE",
        "MESSAGE",
    ];

    #[test]
    fn texts_are_sentences_whose_placeholders_exist() {
        for message in Message::ALL {
            let Entry { title, cause, remedy, .. } = message.entry();
            assert!(!title.is_empty() && title.len() <= 70 && !title.ends_with('.'), "{title}");
            for text in [cause, remedy].into_iter().filter(|text| !text.is_empty()) {
                assert!(text.ends_with('.') || text.ends_with('`'), "{text}");
                for word in text.split('@').skip(1).step_by(2) {
                    assert!(FIELDS.contains(&word), "@{word}@ in {text}");
                }
                assert_eq!(text.matches('@').count() % 2, 0, "{text}");
            }
            assert!(!cause.is_empty(), "{title}");
        }
    }

    #[test]
    fn the_catalog_is_that_of_the_table() {
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(file(), catalog()).unwrap();
        }
        let stored = std::fs::read_to_string(file()).unwrap_or_default();
        assert_eq!(stored, catalog(), "UPDATE_DOCS=1 cargo test -p saas-export-daemon --lib catalog");
    }

    /// systemd itself reads it, where there is one.
    #[test]
    fn systemd_takes_the_catalog() {
        if Command::new("journalctl").arg("--version").output().is_err() {
            eprintln!("skipped: there is no journalctl");
            return;
        }
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("usr/lib/systemd/catalog");
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::create_dir_all(root.path().join("var/lib/systemd/catalog")).unwrap();
        std::fs::write(dir.join("saas-export-daemon.catalog"), catalog()).unwrap();
        let journalctl = |args: &[&str]| {
            let mut command = Command::new("journalctl");
            let output = command.arg("--root").arg(root.path()).args(args).output().unwrap();
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            (output.status.success(), text(&output.stdout), text(&output.stderr))
        };
        let (ok, _, said) = journalctl(&["--update-catalog"]);
        assert!(ok && !said.contains("nvalid"), "{said}");
        for message in Message::ALL {
            let (ok, shown, said) = journalctl(&["--dump-catalog", message.id()]);
            let last = message.entry().cause.split_whitespace().next_back().unwrap();
            assert!(ok && shown.contains(message.entry().title) && shown.contains(last), "{shown}{said}");
        }
    }
}
