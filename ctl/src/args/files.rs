//! `files`, `url`, `get`, `verify` and `prune`: what is published, and what becomes of it.

use super::span;
use clap::Args;
use std::path::PathBuf;
use std::time::Duration;

/// `verify`.
#[derive(Debug, Args)]
pub struct Verify {
    /// A task (id or its unique start), or an export: its newest task that is published whole.
    #[arg(value_name = "TASK|EXPORT", required_unless_present = "dir")]
    pub task: Option<String>,
    /// Only at this destination.
    #[arg(long, conflicts_with = "dir")]
    pub destination: Option<String>,
    /// Read every byte, also where the destination itself says a checksum.
    #[arg(long, conflicts_with = "dir")]
    pub deep: bool,
    /// Without the daemon: a directory with a _manifest.json, or one whose latest.json leads to such.
    #[arg(long, visible_alias = "path", value_name = "PATH", conflicts_with = "task")]
    pub dir: Option<PathBuf>,
    /// With --dir: the Ed25519 public key (PEM) whose signature each manifest must have.
    #[arg(long, value_name = "FILE", requires = "dir", conflicts_with = "task")]
    pub public_key: Option<PathBuf>,
}

/// `files`.
#[derive(Debug, Args)]
pub struct Files {
    /// A task (id or its unique start) or an export.
    #[arg(value_name = "TASK|EXPORT")]
    pub target: String,
    /// Of an export: only the newest published files of each stream.
    #[arg(long)]
    pub latest: bool,
    /// The destination whose paths are printed; by default the export's first one.
    #[arg(long)]
    pub destination: Option<String>,
    /// A table with stream, name, records, size and path.
    #[arg(long, short, conflicts_with = "json")]
    pub long: bool,
}

/// `url`.
#[derive(Debug, Args)]
pub struct Url {
    /// A task (id or its unique start), or an export: its newest task that is published whole.
    #[arg(value_name = "TASK|EXPORT")]
    pub task: String,
    /// The file: STREAM/NAME, or its name alone where only one stream has it.
    pub file: String,
    /// The destination that the link leads to; by default the export's first one.
    #[arg(long)]
    pub destination: Option<String>,
    /// How long the link counts, at most 7 days.
    #[arg(long, default_value = "1h", value_parser = expires, value_name = "TIME")]
    pub expires: Duration,
}

/// `get`.
#[derive(Debug, Args)]
pub struct Get {
    /// A task (id or its unique start), or an export: its newest task that is published whole.
    #[arg(value_name = "TASK|EXPORT")]
    pub task: String,
    /// Only these files: STREAM/NAME, or a name; all of them, with manifests and checksums, by default.
    #[arg(value_name = "FILE")]
    pub files: Vec<String>,
    /// The directory to write to; it is made where it is missing.
    #[arg(long, short, value_name = "DIR")]
    pub output: PathBuf,
    /// The destination to read from; by default the first one of the export that has the stream.
    #[arg(long)]
    pub destination: Option<String>,
}

/// `prune`.
#[derive(Debug, Args)]
pub struct Prune {
    /// Name of the export; all of them without it.
    pub export: Option<String>,
    /// Only show what would go and what stays, and why.
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask.
    #[arg(long, conflicts_with = "dry_run")]
    pub yes: bool,
}

/// The longest that a link counts, in seconds.
const MAX_EXPIRES: u64 = 7 * 24 * 3600;

/// Reads how long a link counts.
fn expires(text: &str) -> Result<Duration, String> {
    // Days are no unit of a duration in itself, but everybody writes them.
    let days = text.strip_suffix('d').and_then(|days| days.parse::<u64>().ok());
    let time = days.and_then(|days| days.checked_mul(24 * 3600)).map(Duration::from_secs);
    let time = time.map_or_else(|| span(text), Ok)?;
    match time.as_secs() {
        1..=MAX_EXPIRES => Ok(time),
        _ => Err("a link counts from 1s to 7d".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_end() {
        for (text, seconds) in [("1h", 3600), ("7d", MAX_EXPIRES), ("90s", 90)] {
            assert_eq!(expires(text).map(|time| time.as_secs()), Ok(seconds), "{text}");
        }
        for text in ["0s", "8d", "169h", "100ms", "soon", "-1h", "99999999999999999d"] {
            assert!(expires(text).is_err(), "{text}");
        }
    }
}
