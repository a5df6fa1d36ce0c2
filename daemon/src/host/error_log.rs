//! The optional error log: warnings and errors as JSON lines in `$LOGS_DIRECTORY`, of bounded size.
//!
//! systemd sets the variable where a drop-in has `LogsDirectory=`; the journal gets everything all the same.

use crate::base::clock;
use serde_json::{Map, Value};
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// Name of the log; what was in it before has `.1` behind it.
const NAME: &str = "errors.log";
/// A log that would grow over this many bytes begins anew; the one before is kept, so that both take twice as much.
const MAX_BYTES: u64 = 10_000_000;
/// The most bytes of one value: an error may quote a part of an answer.
const MAX_VALUE: usize = 8192;
/// The group of the directory may read.
const MODE: u32 = 0o640;

/// The layer that writes the log, where there is a directory for it. One that cannot be written is said once, on stderr.
pub fn layer() -> Option<ErrorLog> {
    let dirs = std::env::var_os("LOGS_DIRECTORY")?;
    // A list, if the unit names several (systemd.exec(5)).
    let dir = std::env::split_paths(&dirs).next()?;
    let path = dir.join(NAME);
    match Lines::open(&path, MAX_BYTES) {
        Ok(lines) => Some(ErrorLog(Mutex::new(lines))),
        Err(error) => {
            eprintln!("saas-export-daemon: failed to open {}, there is no error log: {error}", path.display());
            None
        }
    }
}

/// Takes warnings and errors, and nothing else.
pub struct ErrorLog(Mutex<Lines>);

impl<S: Subscriber> Layer<S> for ErrorLog {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let level = *event.metadata().level();
        if level > Level::WARN {
            return;
        }
        let mut fields = Fields(Map::new());
        fields.0.insert("time".into(), clock::now().to_string().into());
        fields.0.insert("level".into(), if level == Level::ERROR { "error" } else { "warning" }.into());
        event.record(&mut fields);
        let line = Value::Object(fields.0).to_string() + "\n";
        // The journal has it; a full disk must not end the daemon.
        let _ = self.0.lock().unwrap_or_else(PoisonError::into_inner).add(&line);
    }
}

/// The fields of an event, by name.
struct Fields(Map<String, Value>);

impl Fields {
    fn set(&mut self, field: &Field, mut text: String) {
        text.truncate(text.floor_char_boundary(MAX_VALUE));
        self.0.insert(field.name().to_owned(), text.into());
    }
}

impl Visit for Fields {
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.set(field, value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.set(field, format!("{value:?}"));
    }
}

/// The file and how long it is.
struct Lines {
    path: PathBuf,
    file: File,
    length: u64,
    limit: u64,
}

impl Lines {
    fn open(path: &Path, limit: u64) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).create(true).mode(MODE).open(path)?;
        let length = file.metadata()?.len();
        Ok(Self { path: path.to_owned(), file, length, limit })
    }

    /// Adds a line; a log that would become too long is put aside first.
    fn add(&mut self, line: &str) -> io::Result<()> {
        let more = line.len() as u64;
        if self.length > 0 && self.length + more > self.limit {
            let mut before = self.path.clone().into_os_string();
            before.push(".1");
            fs::rename(&self.path, before)?;
            *self = Self::open(&self.path, self.limit)?;
        }
        self.file.write_all(line.as_bytes())?;
        self.length += more;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;
    use tracing_subscriber::layer::SubscriberExt as _;

    fn logged(dir: &Path, limit: u64, work: impl FnOnce()) {
        let log = ErrorLog(Mutex::new(Lines::open(&dir.join(NAME), limit).unwrap()));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(log), work);
    }

    fn read(path: PathBuf) -> Vec<Value> {
        let text = fs::read_to_string(path).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn warnings_and_errors_are_json_lines() {
        let dir = tempfile::tempdir().unwrap();
        logged(dir.path(), MAX_BYTES, || {
            tracing::info!("all is well");
            tracing::warn!(EXPORT_TASK = %"20261121T0245", tries = 3, "a line\nand \"another\"");
            tracing::error!("{}", "ä".repeat(MAX_VALUE));
        });
        let lines = read(dir.path().join(NAME));
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert_eq!(lines[0]["level"], "warning");
        assert_eq!(lines[0]["message"], "a line\nand \"another\"");
        assert_eq!((&lines[0]["EXPORT_TASK"], &lines[0]["tries"]), (&"20261121T0245".into(), &3.into()));
        assert!(lines[0]["time"].as_str().unwrap().parse::<jiff::Timestamp>().is_ok());
        assert_eq!(lines[1]["message"].as_str().unwrap().len(), MAX_VALUE);
        assert_eq!(fs::metadata(dir.path().join(NAME)).unwrap().permissions().mode() & 0o777 & !MODE, 0);
    }

    #[test]
    fn it_is_bounded_and_the_newest_lines_stay() {
        let dir = tempfile::tempdir().unwrap();
        for start in [0, 50] {
            logged(dir.path(), 2000, || (start..start + 50).for_each(|n| tracing::error!(n, "it broke")));
        }
        let (now, before) = (dir.path().join(NAME), dir.path().join(format!("{NAME}.1")));
        assert!(fs::metadata(&now).unwrap().len() <= 2000 && fs::metadata(&before).unwrap().len() <= 2000);
        let numbers: Vec<_> =
            read(before).into_iter().chain(read(now)).map(|line| line["n"].as_i64().unwrap()).collect();
        let last = *numbers.last().unwrap();
        assert!(numbers.len() > 20 && last == 99, "{numbers:?}");
        assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "{numbers:?}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_line_that_cannot_be_written_does_no_harm() {
        let full =
            Lines { path: "/nowhere/at/all".into(), file: File::open("/dev/null").unwrap(), length: 9, limit: 10 };
        let log = ErrorLog(Mutex::new(full));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(log), || tracing::error!("it broke"));
    }
}
