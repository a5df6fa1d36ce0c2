//! The types of `config.yaml`. Their docs are the reference; the JSON Schema is generated from them.

use super::units::{Mode, SecretText, Size, Span};
use crate::base::ids::Name;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// The whole of `config.yaml`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Version of this format; always 1.
    pub version: u32,
    /// Settings of the daemon itself.
    #[serde(default)]
    pub daemon: Daemon,
    /// Where data come from, by name.
    pub sources: BTreeMap<Name, Source>,
    /// Where files go, by name.
    pub destinations: BTreeMap<Name, Destination>,
    /// The configured jobs, by name.
    pub exports: BTreeMap<Name, Export>,
}

/// Settings of the daemon itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Daemon {
    /// Directory of the ledger and of spools without a local destination; on a local file system.
    pub state_dir: PathBuf,
    /// The control socket.
    pub socket: PathBuf,
    /// Tasks that extract at the same time.
    pub parallel: u32,
    /// The most fetching, in time, that a crash, pause or restart may repeat.
    pub replay_limit: Span,
    /// Bytes of pages that one task holds in memory between fetching and encoding.
    pub page_buffer: Size,
    /// Threads that convert and encode; 0 = as many as there are processors.
    pub threads: u32,
}

impl Default for Daemon {
    fn default() -> Self {
        Self {
            state_dir: "/var/lib/saas-export".into(),
            socket: "/run/saas-export/control.sock".into(),
            parallel: 3,
            replay_limit: Span(Duration::from_secs(10)),
            page_buffer: Size(32_000_000),
            threads: 0,
        }
    }
}

/// Where data come from: a map with one key that names the kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// A REST API that answers JSON.
    Rest(Rest),
}

/// A REST API that answers JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rest {
    /// Absolute http or https URL; the paths of the streams are appended to it. Its origin is the only one that gets credentials.
    pub base_url: String,
    /// How requests are authenticated; none by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<Auth>,
    /// Headers of every request.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, SecretText>,
    /// Query parameters of every request.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub query: BTreeMap<String, SecretText>,
    /// How fast and how parallel the API may be asked.
    #[serde(default)]
    pub rate: Rate,
    /// How failed requests are tried again.
    #[serde(default)]
    pub retry: Retry,
    /// Connections and time-outs.
    #[serde(default)]
    pub keep_alive: KeepAlive,
    /// An HTTP proxy; none by default, and none is taken from the environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy: Option<Proxy>,
    /// TLS settings.
    #[serde(default)]
    pub tls: Tls,
    /// Other origins (`https://host[:port]`) that redirects and next URLs may lead to; they get no credentials.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allowed_origins: Vec<String>,
    /// The largest body of an answer, after decompression.
    #[serde(default = "default_max_body")]
    pub max_body: Size,
    /// The collections of the API, by name.
    pub streams: BTreeMap<Name, Stream>,
}

fn default_max_body() -> Size {
    Size(64_000_000)
}

/// How requests are authenticated: a map with one key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Auth {
    /// `Authorization: Bearer …` (RFC 6750).
    Bearer(Bearer),
    /// `Authorization: Basic …` (RFC 7617).
    Basic(Basic),
    /// A key in a header or a query parameter.
    ApiKey(ApiKey),
}

/// `Authorization: Bearer …`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Bearer {
    /// The token.
    pub token: SecretText,
}

/// `Authorization: Basic …`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Basic {
    /// User name.
    pub username: SecretText,
    /// Password.
    pub password: SecretText,
}

/// A key in a header or a query parameter: exactly one of `header` and `query`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ApiKey {
    /// Name of the header that carries the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<String>,
    /// Name of the query parameter that carries the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// The key.
    pub value: SecretText,
}

/// How fast and how parallel the API may be asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Rate {
    /// Requests per second over all tasks of this source; no limit by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_second: Option<f64>,
    /// Requests at the same time over all tasks of this source.
    pub concurrency: u32,
}

impl Default for Rate {
    fn default() -> Self {
        Self { per_second: None, concurrency: 4 }
    }
}

/// How failed requests are tried again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Retry {
    /// Tries of one request, the first one included.
    pub attempts: u32,
    /// Ceiling of the first wait; it doubles with each try, with full jitter.
    pub initial: Span,
    /// Ceiling of every wait. A longer Retry-After of the server is honoured.
    pub max: Span,
    /// Retries that one task may use in all.
    pub per_task: u32,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            attempts: 6,
            initial: Span(Duration::from_millis(500)),
            max: Span(Duration::from_secs(60)),
            per_task: 1000,
        }
    }
}

/// Connections and time-outs. The defaults survive a NAT that forgets after 350 s.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct KeepAlive {
    /// How long an idle connection is kept.
    pub pool_idle: Span,
    /// Idle time before the first TCP keep-alive probe.
    pub tcp_idle: Span,
    /// Time between TCP keep-alive probes.
    pub tcp_interval: Span,
    /// Unanswered probes before the connection counts as dead.
    pub tcp_count: u32,
    /// Time between HTTP/2 pings.
    pub http2_ping: Span,
    /// The longest a connection may take to open.
    pub connect_timeout: Span,
    /// The longest an answer may pause, before its first byte and between two.
    pub read_timeout: Span,
}

impl Default for KeepAlive {
    fn default() -> Self {
        Self {
            pool_idle: Span(Duration::from_secs(30)),
            tcp_idle: Span(Duration::from_secs(60)),
            tcp_interval: Span(Duration::from_secs(15)),
            tcp_count: 4,
            http2_ping: Span(Duration::from_secs(30)),
            connect_timeout: Span(Duration::from_secs(10)),
            read_timeout: Span(Duration::from_secs(60)),
        }
    }
}

/// An HTTP proxy; https goes through it by CONNECT.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Proxy {
    /// URL of the proxy, e.g. `http://proxy.example:3128`.
    pub url: String,
    /// User name for the proxy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<SecretText>,
    /// Password for the proxy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<SecretText>,
    /// Hosts, domains (`.example`) and networks that are reached without the proxy.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub no_proxy: Vec<String>,
}

/// TLS settings; verification cannot be switched off.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Tls {
    /// The oldest TLS version.
    pub min_version: TlsVersion,
    /// PEM file of certificate authorities that are trusted instead of the system's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// PEM file with a client certificate and its key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_identity: Option<PathBuf>,
}

/// A TLS version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TlsVersion {
    /// TLS 1.2 (RFC 5246); only by this explicit key.
    #[serde(rename = "1.2")]
    V1_2,
    /// TLS 1.3 (RFC 8446).
    #[default]
    #[serde(rename = "1.3")]
    V1_3,
}

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
    /// JSON body of a POST; its strings are templates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<serde_json::Value>,
    /// JSONPath (RFC 9535) of the records in an answer.
    #[serde(default = "default_records")]
    pub records: String,
    /// Fields that identify a record.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub primary_key: Vec<String>,
    /// How to get from one page to the next; a single page by default.
    #[serde(default)]
    pub paginate: Paginate,
    /// JSONPath or `header NAME` of the number of records in all, for progress and for prefetching.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<String>,
    /// Parts of the stream that are read one after the other (or in lanes); one part by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition: Option<PartitionBy>,
    /// Parts read at the same time: partition i goes to lane i mod `lanes`.
    #[serde(default = "default_lanes")]
    pub lanes: u32,
    /// Declared types by field (dots for nested fields), e.g. `amount: decimal(12,2)`; other fields are inferred.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub types: BTreeMap<String, String>,
}

fn default_records() -> String {
    "$[*]".into()
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
    /// In the top level of the JSON body.
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

/// A cursor in the answer; the last page has none, or null, or an empty one.
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

/// A page number; the first page without records is the end, or the one that completes `total`.
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
    pub size: Option<u32>,
    /// Where the parameters go.
    #[serde(rename = "in")]
    pub place: ParamIn,
}

impl Default for NumberPages {
    fn default() -> Self {
        Self { param: "page".into(), start: 1, size_param: None, size: None, place: ParamIn::Query }
    }
}

/// Offset and limit; the first page without records is the end, or the one that completes `total`.
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
    pub limit: u32,
    /// Where the parameters go.
    #[serde(default, rename = "in")]
    pub place: ParamIn,
}

fn default_offset_param() -> String {
    "offset".into()
}

fn default_limit_param() -> String {
    "limit".into()
}

/// How a stream is cut into parts: a map with one key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PartitionBy {
    /// A fixed list of values; each is `{{ partition.value }}` in its part's templates.
    List(ListPartitions),
}

/// A fixed list of values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListPartitions {
    /// The values, in the order in which the parts are read.
    pub values: Vec<String>,
}

/// Where files go: a map with one key that names the kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Destination {
    /// A directory on this machine.
    Local(LocalDestination),
}

/// A directory on this machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LocalDestination {
    /// The directory; created if it is missing.
    pub root: PathBuf,
    /// Permission bits of the files.
    #[serde(default = "default_mode")]
    pub mode: Mode,
}

fn default_mode() -> Mode {
    Mode(0o640)
}

/// A configured job: streams of one source, to one or more destinations, in a format.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Export {
    /// Name of the source.
    pub source: Name,
    /// Streams of the source; all of them by default.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub streams: Vec<Name>,
    /// Names of the destinations.
    pub to: Vec<Name>,
    /// File format; CSV by default.
    #[serde(default)]
    pub format: Format,
    /// Target size of a file.
    #[serde(default = "default_chunk_size")]
    pub chunk_size: Size,
    /// Parameters that a run may set, for `{{ param.NAME }}` in the source's templates.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub params: BTreeMap<Name, Param>,
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
    pub attempts: u32,
}

fn default_chunk_size() -> Size {
    Size(50_000_000)
}

fn default_attempts() -> u32 {
    3
}

/// A file format: a map with one key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// Apache Parquet.
    Parquet(ParquetFormat),
    /// CSV (RFC 4180) with a header line.
    Csv(TextFormat),
    /// One JSON record per line, as the source wrote it.
    Ndjson(TextFormat),
    /// One JSON array of the records, as the source wrote them.
    Json(TextFormat),
}

impl Default for Format {
    fn default() -> Self {
        Self::Csv(TextFormat::default())
    }
}

impl Format {
    /// The word for `--format` and the API.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Parquet(_) => "parquet",
            Self::Csv(_) => "csv",
            Self::Ndjson(_) => "ndjson",
            Self::Json(_) => "json",
        }
    }

    /// The format of a word, with default settings.
    pub fn from_word(word: &str) -> Option<Self> {
        Some(match word {
            "parquet" => Self::Parquet(ParquetFormat::default()),
            "csv" => Self::Csv(TextFormat::default()),
            "ndjson" => Self::Ndjson(TextFormat::default()),
            "json" => Self::Json(TextFormat::default()),
            _ => return None,
        })
    }

    /// The ending of a segment's file name.
    pub fn extension(&self) -> String {
        match self {
            Self::Parquet(_) => "parquet".into(),
            Self::Csv(f) | Self::Ndjson(f) | Self::Json(f) => {
                let end = match f.compression {
                    TextCompression::None => "",
                    TextCompression::Gzip => ".gz",
                    TextCompression::Zstd => ".zst",
                };
                format!("{}{end}", self.word())
            }
        }
    }
}

/// Settings of Parquet files.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ParquetFormat {
    /// Compression of the column chunks.
    pub compression: ParquetCompression,
    /// Most rows of a row group.
    pub row_group_rows: u32,
}

impl Default for ParquetFormat {
    fn default() -> Self {
        Self { compression: ParquetCompression::Zstd, row_group_rows: 122_880 }
    }
}

/// Compression of Parquet column chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ParquetCompression {
    /// Not compressed.
    None,
    /// Snappy.
    Snappy,
    /// gzip, level 5.
    Gzip,
    /// Zstandard, level 1.
    Zstd,
}

/// Settings of CSV, NDJSON and JSON files.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TextFormat {
    /// Compression of the whole file.
    pub compression: TextCompression,
}

/// Compression of a text file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TextCompression {
    /// Not compressed.
    #[default]
    None,
    /// gzip, level 5.
    Gzip,
    /// Zstandard, level 1.
    Zstd,
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
    /// Part of the records read, 0 to 1.
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
