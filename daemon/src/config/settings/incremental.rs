//! What makes a stream incremental: the field that says how new a record is, and how the API is asked for newer ones.

use super::ParamIn;
use crate::config::units::Span;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Tasks after the first one read what is new or changed since the one before it. The boundary is read inclusively: a
/// record that was exported already is dropped only if its primary key and its whole content are the same.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Incremental {
    /// Field of the records that grows with each change, e.g. `updated_at`; dots for nested fields. Numbers, RFC 3339 times
    /// (without an offset they are those of `timezone`), days, or texts that sort by their bytes; one kind in a stream.
    pub cursor_field: String,
    /// What the cursor field holds, where that is not to be seen, or must not be taken for what it looks like: `rfc3339`;
    /// `epoch` (seconds), `epoch_ms`, `epoch_us`: numbers that are times, so that `format` may write them in another way;
    /// `number`; `text`, e.g. for digits whose leading zeros count; or a strftime format such as `%d.%m.%Y %H:%M:%S`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor_format: Option<String>,
    /// Parameter that takes the lower bound. Without it, and without `{{ incremental.start }}` in a template, the whole
    /// stream is read and older records are filtered out here. Where the API gives only what is later than the bound,
    /// `look_back` must be as long as its times are exact, e.g. `1s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub param: Option<String>,
    /// Parameter that takes the upper bound: the end of a back-fill, else the time at which the task was created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_param: Option<String>,
    /// Where the parameters go.
    #[serde(default, rename = "in")]
    pub place: ParamIn,
    /// Lower bound of the first task; the beginning of everything by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<String>,
    /// How times are written in requests: `rfc3339` (in UTC), `epoch` (seconds), `epoch_ms`, `epoch_us`, or a strftime format
    /// such as `%Y-%m-%d`, in `timezone`. Text beside the time may stand in it: `>=%Y-%m-%d`. Numbers that are read as such are
    /// written as such.
    #[serde(default = "default_format")]
    pub format: String,
    /// Time zone of times without an offset, in records, in requests, in `start` and in the bounds of a back-fill, e.g.
    /// `Europe/Paris`. Where its clocks are put back an hour comes twice, which needs `look_back: 1h` or longer.
    #[serde(default = "default_timezone")]
    pub timezone: String,
    /// Each task reads again from this long before the mark: for APIs where records appear late.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-minimum" = "1ms", "x-maximum" = "3650d"))]
    pub look_back: Option<Span>,
    /// The most records at the boundary (at the mark, and within `look_back` before it) that are remembered to tell
    /// repeated ones.
    #[serde(default = "default_max_boundary")]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub max_boundary: u32,
}

fn default_format() -> String {
    "rfc3339".into()
}

fn default_timezone() -> String {
    "UTC".into()
}

fn default_max_boundary() -> u32 {
    100_000
}
