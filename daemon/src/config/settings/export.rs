//! The configured jobs, with their parameters and limits.

use super::{FileEncryption, FileLayout, Format, Keep, Limits, NotifyRule, Schedule, SchemaPolicy};
use crate::base::ids::Name;
use crate::config::units::{Size, Span};
use crate::model::task::Waiting;
use crate::model::window::{self, Window};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A configured job: streams of one source, to one or more destinations, in a format.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Export {
    /// Name of the source.
    pub source: Name,
    /// Streams of the source; all of them by default.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1))]
    pub streams: Vec<Name>,
    /// Names of the destinations.
    #[schemars(length(min = 1))]
    pub to: Vec<Name>,
    /// File format; CSV by default.
    #[serde(default)]
    pub format: Format,
    /// How the records of a stream are laid out in files.
    #[serde(default)]
    pub layout: FileLayout,
    /// Encryption of whole files before they are stored; none by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encryption: Option<FileEncryption>,
    /// Target size of a file; of a part of it with `layout: single`.
    #[serde(default = "default_chunk_size")]
    #[schemars(extend("x-minimum" = "64kB", "x-maximum" = "5GB"))]
    pub chunk_size: Size,
    /// Parameters that a run may set, for `{{ param.NAME }}` in the source's templates.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub params: BTreeMap<Name, Param>,
    /// How much one task may export; no limit by default.
    #[serde(default, skip_serializing_if = "Limits::is_none")]
    pub limits: Limits,
    /// When it runs by itself, e.g. `Mon..Fri 02:30 Europe/Paris`; only when somebody asks for it by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Schedule>,
    /// Times at which it may read its source, e.g. `Mon..Fri 22:00-06:00 Europe/Paris`; always by default. Outside of them its
    /// tasks wait, and one that runs is put away and goes on when the next window opens. Days (all without them) are those on
    /// which a window opens; without a time zone it is UTC. Files are delivered and published at any time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1))]
    pub windows: Vec<String>,
    /// Whether zero records are a success.
    #[serde(default)]
    pub allow_empty: bool,
    /// How many records may be rejected before the task fails.
    #[serde(default)]
    pub max_rejected: MaxRejected,
    /// What to do with the other streams when one fails.
    #[serde(default)]
    pub on_stream_error: OnStreamError,
    /// Attempts in a row without progress before the task fails.
    #[serde(default = "default_attempts")]
    #[schemars(range(min = 1, max = 100))]
    pub attempts: u32,
    /// Who is told how its tasks end; nobody by default. `exportctl run --notify` names more for one task.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 20))]
    pub notify: Vec<NotifyRule>,
    /// How long ago the last success of each of its streams may be, e.g. `26h` for a nightly export. One that is older is told
    /// as stale: in `exportctl status`, in the log and in the metrics. Not looked at by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-minimum" = "1s", "x-maximum" = "400d"))]
    pub freshness: Option<Span>,
    /// How long files are kept.
    #[serde(default)]
    pub keep: Keep,
    /// What to do with what does not fit the schema of a stream.
    #[serde(default)]
    pub schema: SchemaPolicy,
}

impl Export {
    /// Whether its files are encrypted, as a whole or within.
    pub fn encrypts(&self) -> bool {
        self.encryption.is_some() || matches!(&self.format, Format::Parquet(parquet) if parquet.encryption.is_some())
    }

    /// The ending of its files' names.
    pub fn extension(&self) -> String {
        let end = match &self.encryption {
            Some(FileEncryption::Age(_)) => ".age",
            None => "",
        };
        format!("{}{end}", self.format.extension())
    }

    /// Why it may not read its source at `now`, where it has windows and this is outside of them.
    pub fn closed(&self, now: Timestamp) -> Option<Waiting> {
        // Each was checked when the configuration was read.
        let windows: Vec<Window> = self.windows.iter().filter_map(|text| text.parse().ok()).collect();
        window::closed(&windows, now)
    }
}

fn default_chunk_size() -> Size {
    Size(50_000_000)
}

fn default_attempts() -> u32 {
    3
}

/// A parameter of an export.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Param {
    /// Type of its value.
    #[serde(rename = "type", default)]
    pub kind: ParamType,
    /// The only values allowed.
    #[serde(rename = "enum", default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub one_of: Option<Vec<String>>,
    /// Value when the run gives none; without it the run must give one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<String>,
}

/// Type of a parameter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ParamType {
    /// Any text of at most 1,000 characters without control characters.
    #[default]
    String,
    /// A whole number.
    Integer,
    /// A day, `YYYY-MM-DD`.
    Date,
}

/// How many records may be rejected before the task fails: the smaller of both.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MaxRejected {
    /// Part of the records read.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub rate: f64,
    /// Number of records.
    pub count: u64,
}

impl Default for MaxRejected {
    fn default() -> Self {
        Self { rate: 0.001, count: 1000 }
    }
}

/// What to do with the other streams of a task when one fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnStreamError {
    /// The task fails; nothing of it is published.
    #[default]
    Fail,
    /// The streams that are whole are published; the task still ends as failed and names the others.
    PublishRest,
}
