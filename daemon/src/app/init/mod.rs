//! `saas-export-daemon init --openapi`: a commented configuration from an OpenAPI 3.0 or 3.1 document.
//!
//! What the document says is taken; what is guessed is marked with `# check:`, so that an operator knows where to look. What
//! comes out loads: a stream that our own rules refuse is left out, with the reason beside it.

mod auth;
mod collect;
mod document;
mod draft;
mod names;
mod paginate;
mod parents;
mod words;
mod write;

#[cfg(test)]
mod tests;

use super::cli::Init;
use crate::base::fsio;
use crate::config::{self, load};
use document::Document;
use draft::Draft;
use saas_export_api::plural;
use serde_json::Value;
use std::fs::OpenOptions;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::ExitCode;

/// The largest document.
const MAX_BYTES: u64 = 64 << 20;
/// The command line is wrong.
const EXIT_USAGE: u8 = 2;

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// The document cannot be read.
    #[error("read {path}")]
    Read {
        /// Which file.
        path: String,
        /// What the system said.
        #[source]
        cause: std::io::Error,
    },
    /// It is neither JSON nor YAML.
    #[error("read {path}: {reason}")]
    Syntax {
        /// Which file.
        path: String,
        /// Where it goes wrong.
        reason: String,
    },
    /// It is no OpenAPI document of a version that is known here.
    #[error("use {path}: {reason}")]
    Version {
        /// Which file.
        path: String,
        /// What it is instead.
        reason: String,
    },
    /// No collection was found in it.
    #[error("use {path}: it has no GET operation that answers with a list of objects")]
    Nothing {
        /// Which file.
        path: String,
    },
    /// What was made does not load; the text says why.
    #[error("make a configuration that loads: {0}")]
    Broken(String),
}

/// Reads the document and writes the configuration.
pub fn run(args: &Init) -> ExitCode {
    let failed = |error: &(dyn std::error::Error + 'static)| {
        eprintln!("saas-export-daemon: failed to {}", crate::base::error::Chain(error));
        ExitCode::FAILURE
    };
    if let Some(name) = &args.source
        && let Err(error) = crate::base::ids::Name::new(name)
    {
        eprintln!("saas-export-daemon: --source: {error}");
        return ExitCode::from(EXIT_USAGE);
    }
    let made = match read(&args.openapi).and_then(|(text, path)| make(&text, &path, args.source.as_deref())) {
        Ok(made) => made,
        Err(error) => return failed(&error),
    };
    let written = match &args.output {
        None => std::io::stdout().lock().write_all(made.text.as_bytes()),
        // It is never another file that is written over.
        Some(path) => OpenOptions::new().write(true).create_new(true).open(path).and_then(|mut file| {
            file.write_all(made.text.as_bytes())?;
            file.sync_all()
        }),
    };
    if let Err(error) = written {
        let place = args.output.as_deref().unwrap_or(Path::new("stdout")).display();
        eprintln!("saas-export-daemon: failed to write {place}: {error}");
        return ExitCode::FAILURE;
    }
    eprintln!("{}", made.summary);
    ExitCode::SUCCESS
}

fn read(path: &Path) -> Result<(String, String), InitError> {
    let stdin = path == Path::new("-");
    let name = if stdin { "stdin".to_owned() } else { path.display().to_string() };
    let bytes = if stdin {
        let mut bytes = Vec::new();
        std::io::stdin().lock().take(MAX_BYTES + 1).read_to_end(&mut bytes).map(|_| bytes)
    } else {
        fsio::read_limited(path, MAX_BYTES)
    };
    let bytes = bytes.map_err(|cause| InitError::Read { path: name.clone(), cause })?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(InitError::Syntax { path: name, reason: format!("it is larger than {MAX_BYTES} bytes") });
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok((text, name)),
        Err(_) => Err(InitError::Syntax { path: name, reason: "it is not UTF-8".into() }),
    }
}

/// A configuration, and a sentence about it.
#[derive(Debug)]
pub struct Made {
    /// The YAML.
    pub text: String,
    /// What is in it.
    pub summary: String,
}

/// Makes a configuration from the text of a document; `path` is its name in errors.
pub fn make(text: &str, path: &str, source: Option<&str>) -> Result<Made, InitError> {
    let value = parse(text).map_err(|reason| InitError::Syntax { path: path.to_owned(), reason })?;
    let document = Document::new(&value).map_err(|reason| InitError::Version { path: path.to_owned(), reason })?;
    let mut draft = Draft::of(&document, source);
    if draft.streams.is_empty() {
        return Err(InitError::Nothing { path: path.to_owned() });
    }
    loadable(&mut draft)?;
    let left = draft.streams.iter().filter(|stream| stream.refused.is_some()).count();
    let made = draft.streams.len() - left;
    let mut summary = format!("{made} {}", plural(made, "stream"));
    if left > 0 {
        summary.push_str(&format!(", {left} left out (see the comments)"));
    }
    summary.push_str("; look at the lines with `# check:`, then: saas-export-daemon --check-config");
    Ok(Made { text: write::yaml(&draft), summary })
}

/// JSON where it begins like that, else YAML.
fn parse(text: &str) -> Result<Value, String> {
    let start = text.trim_start_matches('\u{feff}').trim_start();
    if start.starts_with('{') {
        serde_json::from_str(start).map_err(|error| error.to_string())
    } else {
        load::foreign(text)
    }
}

/// Leaves out what our own rules refuse, until the rest loads.
fn loadable(draft: &mut Draft) -> Result<(), InitError> {
    loop {
        let Err(problems) = config::parse(&write::yaml(draft), "config.yaml") else { return Ok(()) };
        let mut news = false;
        for problem in problems.list() {
            news |= draft.refuse(&problem.path, &problem.message);
        }
        if !news {
            return Err(InitError::Broken(problems.list().first().map(ToString::to_string).unwrap_or_default()));
        }
    }
}
