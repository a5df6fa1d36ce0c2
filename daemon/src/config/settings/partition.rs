//! How a stream is cut into parts: fixed lists, windows of time, the records of a parent stream, and products of these.

use crate::base::ids::Name;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How a stream is cut into parts, at most 1,000,000: a map with one key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PartitionBy {
    /// A fixed list of values.
    List(ListPartitions),
    /// Windows of time, one after the other.
    Windows(WindowPartitions),
    /// One part for each record of another stream of the source, or for each different value in them.
    Parent(ParentPartitions),
    /// Every combination of several of these; the first changes slowest.
    Product(Vec<PartitionFactor>),
}

/// A factor of a product: a map with one key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PartitionFactor {
    /// A fixed list of values.
    List(ListPartitions),
    /// Windows of time, one after the other.
    Windows(WindowPartitions),
    /// One part for each record of another stream of the source, or for each different value in them.
    Parent(ParentPartitions),
}

/// A fixed list of values; each is `{{ partition.value }}` in its part's templates.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListPartitions {
    /// The values, in the order in which the parts are read.
    #[schemars(length(min = 1))]
    pub values: Vec<String>,
    /// Another word than `value`: `name: region` makes it `{{ partition.region }}`. Two lists of a product need two names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// Windows of time: each begins where the one before it ends, and is `{{ partition.start }}` and `{{ partition.end }}` in
/// its part's templates. A window holds its start and not its end, unless `granularity` says otherwise.
///
/// Where the stream is incremental, the windows of a task begin and end with what the task reads.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WindowPartitions {
    /// Start of the first window: an RFC 3339 time, a day or local time in `timezone`, `now` (the task's creation, also
    /// after a restart), or e.g. `now - 30d`.
    pub start: String,
    /// End of the last window, in the same words.
    #[serde(default = "default_end")]
    pub end: String,
    /// Length of a window: `15m`, `1h`, `1d`, `1w`, `1mo`, `1y`. Days and longer follow the calendar of `timezone`.
    pub step: String,
    /// How far each window but the first begins before the end of the one before it, for an API that shows records late.
    /// Records then come twice and are written twice, so that the stream needs a `primary_key` by which readers keep one: which
    /// window shows a late record, and with what content, cannot be told from its time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overlap: Option<String>,
    /// For an API that takes the end itself as a part of the window: how far `{{ partition.end }}` lies before the start
    /// of the next window, e.g. `1s` or `1d`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub granularity: Option<String>,
    /// How times are written: `rfc3339`, `epoch` (seconds), `epoch_ms`, `epoch_us`, or a strftime format such as
    /// `%Y-%m-%d`.
    #[serde(default = "default_format")]
    pub format: String,
    /// Time zone of days, months and years, and of the format, e.g. `Europe/Paris`.
    #[serde(default = "default_timezone")]
    pub timezone: String,
}

fn default_end() -> String {
    "now".into()
}

fn default_format() -> String {
    "rfc3339".into()
}

fn default_timezone() -> String {
    "UTC".into()
}

/// One part for each record of another stream of the source. Equal values are asked for once; a record without one of the
/// values makes no part, and the task's report says so.
///
/// The values are taken while the export reads the parent, which then comes first; a parent that the export does not have
/// is read once per task for all its children. Values of its own parent reach further down by `include`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ParentPartitions {
    /// The parent: another stream of the same source.
    pub stream: Name,
    /// What `{{ parent.NAME }}` is in the templates of the stream: a JSONPath into a record of the parent as its
    /// `transform` leaves it, or a field with dots, e.g. `{ id: id, owner: $.owner.id }`. Each leads to a text, number, true
    /// or false.
    #[schemars(length(min = 1))]
    pub values: BTreeMap<String, String>,
    /// Fields that are added to each record of the stream, each with the name of one of the values, e.g.
    /// `{ account_id: id }`. A field of that name in the record gives way.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub include: BTreeMap<String, String>,
}

/// A factor, whatever it stands in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Factor<'a> {
    /// A fixed list.
    List(&'a ListPartitions),
    /// Windows of time.
    Windows(&'a WindowPartitions),
    /// Records of a parent.
    Parent(&'a ParentPartitions),
}

impl PartitionBy {
    /// Its factors in order, each with the keys that lead to it from here; a kind by itself is a product of one.
    pub fn factors(&self) -> Vec<Factor<'_>> {
        match self {
            Self::List(list) => vec![Factor::List(list)],
            Self::Windows(windows) => vec![Factor::Windows(windows)],
            Self::Parent(parent) => vec![Factor::Parent(parent)],
            Self::Product(factors) => factors
                .iter()
                .map(|factor| match factor {
                    PartitionFactor::List(list) => Factor::List(list),
                    PartitionFactor::Windows(windows) => Factor::Windows(windows),
                    PartitionFactor::Parent(parent) => Factor::Parent(parent),
                })
                .collect(),
        }
    }

    /// The parents among the factors, in order.
    pub fn parents(&self) -> impl Iterator<Item = &ParentPartitions> {
        self.factors().into_iter().filter_map(|factor| match factor {
            Factor::Parent(parent) => Some(parent),
            Factor::List(_) | Factor::Windows(_) => None,
        })
    }
}

impl Factor<'_> {
    /// The key of its kind.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::List(_) => "list",
            Self::Windows(_) => "windows",
            Self::Parent(_) => "parent",
        }
    }

    /// The keys of the values that it gives each part, as [`Partitions`](crate::model::partitions::Partitions) has them.
    pub fn keys(&self) -> Vec<String> {
        match self {
            Self::List(list) => vec![list.name.clone().unwrap_or_else(|| "value".into())],
            Self::Windows(_) => vec!["start".into(), "end".into()],
            Self::Parent(parent) => parent.values.keys().map(|name| format!("parent.{name}")).collect(),
        }
    }
}
