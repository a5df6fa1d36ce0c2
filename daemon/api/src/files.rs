//! Published files, and what a verification found.

use crate::Time;
use serde::{Deserialize, Serialize};

/// Published data files, in the order in which they are read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Files {
    /// Name of the export.
    pub export: String,
    /// Destinations of the export, in its own order.
    pub destinations: Vec<String>,
    /// The files.
    pub files: Vec<FileEntry>,
    /// What is missing above, and why, a sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// A published data file at a destination.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// The task that wrote it.
    pub task: String,
    /// Name of the stream.
    pub stream: String,
    /// Name of the destination.
    pub destination: String,
    /// Name of the file, which with the task and the stream names it in `exportctl get` and `exportctl url`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Where it is: an absolute path, or a URL as the destination's kind writes it.
    pub path: String,
    /// Size in bytes.
    pub bytes: u64,
    /// Records in it.
    pub rows: u64,
    /// SHA-256, lower-case hex.
    pub sha256: String,
}

/// What a verification of a task's published files found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyReport {
    /// The task.
    pub task: String,
    /// Whether every file is there and has the bytes that the ledger says.
    pub ok: bool,
    /// Files read.
    pub files: u64,
    /// Bytes read.
    pub bytes: u64,
    /// What is wrong; empty where `ok`.
    pub problems: Vec<VerifyProblem>,
    /// Names of the destinations that let nothing be read, so that nobody can say what is there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skipped: Vec<String>,
}

/// A file that is not what the ledger says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyProblem {
    /// Name of the destination.
    pub destination: String,
    /// Name of the stream.
    pub stream: String,
    /// Which file.
    pub path: String,
    /// What is wrong with it, for a person.
    pub problem: String,
}

/// A link by which anybody can read a published file until it expires. The URL is a secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileLink {
    /// The task that wrote the file.
    pub task: String,
    /// Name of the stream.
    pub stream: String,
    /// Name of the file.
    pub name: String,
    /// Name of the destination.
    pub destination: String,
    /// The link.
    pub url: String,
    /// Until when it counts, at most: credentials of the daemon that expire sooner end it sooner.
    pub expires_at: Time,
}
