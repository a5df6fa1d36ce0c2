//! `quarantine`: prints the rejected records of a task, sealed or plain; no daemon is asked.

use super::bad_config;
use super::cli::Quarantine;
use super::engine::Files;
use crate::base::error::Chain;
use crate::base::fsio;
use crate::config;
use crate::host::log;
use crate::seal::{self, Seal, SealError};
use crate::transfer::protect::{SEALED, about};
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The largest quarantine file: the rejected records of one segment.
const MAX_FILE: u64 = 64 << 20;
/// The command line is wrong.
const EXIT_USAGE: u8 = 2;
/// There is no such task, or it rejected nothing.
const EXIT_NOT_FOUND: u8 = 4;

/// Why rejected records cannot be printed.
#[derive(Debug, thiserror::Error)]
enum QuarantineError {
    #[error("read {path}")]
    Read { path: PathBuf, source: io::Error },
    #[error("open {path}")]
    Seal { path: PathBuf, source: SealError },
    #[error("write to stdout")]
    Write(#[source] io::Error),
    #[error("find rejected records: {0}")]
    NotFound(String),
    #[error("choose a task: {0}")]
    Many(String),
}

/// Prints the records as NDJSON, stream by stream and segment by segment.
pub fn run(files: &Files, wanted: &Quarantine) -> ExitCode {
    log::start(log::FOREGROUND);
    let config = match config::load(&files.config, None) {
        Ok(config) => config,
        Err(problems) => return bad_config(&problems.list().iter().map(ToString::to_string).collect::<Vec<_>>()),
    };
    let state_dir = wanted.state_dir.clone().unwrap_or_else(|| config.daemon.state_dir.clone());
    let handed_over = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
    let given = || seal::handed_over(&state_dir, handed_over.as_deref(), &files.config);
    let state_key = wanted.state_key.clone().or_else(given);
    match print(&state_dir, state_key.as_deref(), wanted) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads has enough.
        Err(QuarantineError::Write(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("saas-export-daemon: failed to {}", Chain(&error));
            match error {
                QuarantineError::NotFound(_) => ExitCode::from(EXIT_NOT_FOUND),
                QuarantineError::Many(_) => ExitCode::from(EXIT_USAGE),
                _ => ExitCode::FAILURE,
            }
        }
    }
}

fn print(state_dir: &Path, state_key: Option<&Path>, wanted: &Quarantine) -> Result<(), QuarantineError> {
    let task = find(&state_dir.join("quarantine"), &wanted.task)?;
    let mut streams = names(&task)?;
    if let Some(only) = &wanted.stream {
        streams.retain(|stream| stream == only);
    }
    let mut own: Option<Seal> = None;
    let mut out = io::stdout().lock();
    let mut printed = false;
    for stream in streams {
        for name in names(&task.join(&stream))? {
            let path = task.join(&stream).join(&name);
            let read = |source| QuarantineError::Read { path: path.clone(), source };
            let mut bytes = fsio::read_limited(&path, MAX_FILE).map_err(read)?;
            if name.ends_with(SEALED) {
                let failed = |source| QuarantineError::Seal { path: path.clone(), source };
                let own = match &own {
                    Some(own) => own,
                    None => own.insert(seal::load(state_dir, state_key).map_err(failed)?),
                };
                bytes = own.open(&about("quarantine", &path), &bytes).map_err(failed)?;
            } else if !name.ends_with(".ndjson") {
                continue;
            }
            out.write_all(&bytes).map_err(QuarantineError::Write)?;
            printed = true;
        }
    }
    let flushed = out.flush().map_err(QuarantineError::Write);
    match printed {
        true => flushed,
        false => Err(QuarantineError::NotFound(format!("task {} has none of this stream", wanted.task))),
    }
}

/// The directory of the task whose id is or starts with `start`.
fn find(quarantine: &Path, start: &str) -> Result<PathBuf, QuarantineError> {
    let all = if quarantine.is_dir() { names(quarantine)? } else { Vec::new() };
    let found: Vec<&String> = all.iter().filter(|name| !start.is_empty() && name.starts_with(start)).collect();
    match found.as_slice() {
        [] => Err(QuarantineError::NotFound(format!("no task {start:?} rejected any, or they are swept"))),
        [one] => Ok(quarantine.join(one)),
        many => Err(QuarantineError::Many(format!("{} ids start with {start:?}", many.len()))),
    }
}

/// The names in a directory, in order.
fn names(dir: &Path) -> Result<Vec<String>, QuarantineError> {
    let read = |source| QuarantineError::Read { path: dir.to_owned(), source };
    let entries = fs::read_dir(dir).map_err(read)?;
    let names = entries.map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()));
    let mut names = names.collect::<io::Result<Vec<_>>>().map_err(read)?;
    names.sort();
    Ok(names)
}
