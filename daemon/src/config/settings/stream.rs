//! The streams of a REST source: requests and paginators.

use super::{AnswerRule, Checksum, Incremental, PartitionBy, StreamSchema, TransformStep};
use crate::config::units::SecretText;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One collection of records.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Stream {
    /// Path below `base_url`; a template.
    pub path: String,
    /// GET or POST.
    #[serde(default)]
    pub method: Method,
    /// Headers of this stream's requests; templates.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, SecretText>,
    /// Query parameters of this stream's requests; templates.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub query: BTreeMap<String, SecretText>,
    /// JSON body of a POST; its strings are templates, and may hold `${NAME}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<serde_json::Value>,
    /// JSONPath (RFC 9535) of the records in an answer.
    #[serde(default = "default_records")]
    pub records: String,
    /// Fields that identify a record.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1))]
    pub primary_key: Vec<String>,
    /// How to get from one page to the next; a single page by default.
    #[serde(default)]
    pub paginate: Paginate,
    /// JSONPath or `header NAME` of the number of records in all, for progress and for prefetching. It never ends a stream:
    /// where fewer records came than it says, the task's report has a note.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<String>,
    /// What follows where fewer records came than `total` says.
    #[serde(default)]
    pub total_mismatch: TotalMismatch,
    /// What follows where counted pages have shifted while they were read, or a cursor is no longer known to the source.
    #[serde(default, skip_serializing_if = "OnShift::is_default")]
    pub on_shift: OnShift,
    /// The most pages of one partition: an API that leads on for ever ends in an error, and not on a full disk.
    #[serde(default = "default_max_pages")]
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub max_pages: u64,
    /// What answers mean where their status alone does not say it; before the source's rules.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub answers: Vec<AnswerRule>,
    /// A checksum that answers have in a way of their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checksum: Option<Checksum>,
    /// Parts of the stream that are read one after the other (or in lanes); one part by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition: Option<PartitionBy>,
    /// What makes tasks after the first one read only what is new; each task reads everything by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incremental: Option<Incremental>,
    /// Parts read at the same time: partition i goes to lane i mod `lanes`.
    #[serde(default = "default_lanes")]
    #[schemars(range(min = 1, max = 64))]
    pub lanes: u32,
    /// Declared types by field (dots for nested fields), e.g. `amount: decimal(12,2)`; other fields are inferred.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub types: BTreeMap<String, String>,
    /// Changes to every record, in this order, before anything else sees it: names in `primary_key` and `types` are those
    /// after it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub transform: Vec<TransformStep>,
    /// A schema that the records must keep.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<StreamSchema>,
}

fn default_records() -> String {
    "$[*]".into()
}

fn default_max_pages() -> u64 {
    1_000_000
}

/// What follows where a partition has fewer records than the source said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TotalMismatch {
    /// The task's report has a note: many an API counts something else, or caps what it says.
    #[default]
    Note,
    /// The task fails.
    Fail,
}

/// What follows where the pages of a partition have shifted: records came or went in front of the page that is being read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnShift {
    /// The partition is read again from its start, a few times at most; then the task fails.
    #[default]
    Restart,
    /// Pages are taken as they come, and nobody looks: records may be missing, or be there twice.
    Keep,
}

impl OnShift {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

fn default_lanes() -> u32 {
    1
}

/// An HTTP method.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum Method {
    /// GET.
    #[default]
    Get,
    /// POST.
    Post,
}

/// Where a paginator puts its values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ParamIn {
    /// In the query.
    #[default]
    Query,
    /// In the JSON body: `param` is a key of it, a dotted path (`variables.after`) or a JSON pointer (`/variables/after`).
    Body,
}

/// How to get from one page to the next: a map with one key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Paginate {
    /// One page is all.
    None {},
    /// A cursor in the answer, given back in a parameter.
    Cursor(CursorPages),
    /// The next page's URL in the answer.
    NextUrl(NextUrlPages),
    /// `Link: <…>; rel="next"` (RFC 8288).
    Link(LinkPages),
    /// A page number.
    Page(NumberPages),
    /// Offset and limit.
    Offset(OffsetPages),
}

impl Default for Paginate {
    fn default() -> Self {
        Self::None {}
    }
}

/// A cursor in the answer; the last page has none, or null, or an empty one. In a body it is given back as the JSON it came as.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CursorPages {
    /// JSONPath or `header NAME` of the cursor.
    pub from: String,
    /// Parameter that takes it.
    pub param: String,
    /// Where the parameter goes.
    #[serde(default, rename = "in")]
    pub place: ParamIn,
}

/// The next page's URL in the answer; the last page has none, or null, or an empty one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NextUrlPages {
    /// JSONPath or `header NAME` of the URL, absolute or relative to the request.
    pub from: String,
}

/// `Link: <…>; rel="next"`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LinkPages {
    /// The relation that leads on.
    pub rel: String,
}

impl Default for LinkPages {
    fn default() -> Self {
        Self { rel: "next".into() }
    }
}

/// A page number; the first page without records is the end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct NumberPages {
    /// Parameter of the page number.
    pub param: String,
    /// Number of the first page.
    pub start: u64,
    /// Parameter of the page size, if it is sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size_param: Option<String>,
    /// Records per page, if it is sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub size: Option<u32>,
    /// Where the parameters go.
    #[serde(rename = "in")]
    pub place: ParamIn,
    /// Statuses that also are the end, behind the first page, e.g. `[400, 404]`: some APIs refuse pages behind the last one.
    /// Not needed for a 404 where `total` is told and reached, or behind a page that is shorter than the others.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(inner(range(min = 400, max = 499)))]
    pub end_status: Vec<u16>,
}

impl Default for NumberPages {
    fn default() -> Self {
        Self {
            param: "page".into(),
            start: 1,
            size_param: None,
            size: None,
            place: ParamIn::Query,
            end_status: Vec::new(),
        }
    }
}

/// Offset and limit; the first page without records is the end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OffsetPages {
    /// Parameter of the offset.
    #[serde(default = "default_offset_param")]
    pub param: String,
    /// Parameter of the limit.
    #[serde(default = "default_limit_param")]
    pub limit_param: String,
    /// Records per page.
    #[schemars(range(min = 1))]
    pub limit: u32,
    /// Whether each page but the first begins with the last record of the page before it, so that records which come or go
    /// meanwhile are noticed. Set it to false where the API takes only multiples of the limit.
    #[serde(default = "default_overlap", skip_serializing_if = "is_true")]
    pub overlap: bool,
    /// Where the parameters go.
    #[serde(default, rename = "in")]
    pub place: ParamIn,
    /// Statuses that also are the end, behind the first page, e.g. `[400, 404]`: some APIs refuse pages behind the last one.
    /// Not needed where `total` is told and reached, nor for a 404 behind a page that is shorter than the others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(inner(range(min = 400, max = 499)))]
    pub end_status: Vec<u16>,
}

fn default_overlap() -> bool {
    true
}

fn is_true(value: &bool) -> bool {
    *value
}

fn default_offset_param() -> String {
    "offset".into()
}

fn default_limit_param() -> String {
    "limit".into()
}
