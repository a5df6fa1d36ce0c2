//! Why nothing is sent to a source, in words for people.

use super::limit::{Held, Why};
use saas_export_api::plural;

/// Why nothing is sent, for people.
pub fn held_reason(source: &str, held: &Held) -> String {
    match held.why {
        Why::Turn => format!("source {source} keeps to its pace (`rate`)"),
        Why::Asked => format!("source {source} asks to wait (Retry-After)"),
        Why::Refused => format!("source {source} answers 429; it is asked again after a pause"),
        Why::Server => format!("source {source} has nothing left in its window, as its rate-limit headers say"),
        Why::PerMinute(limit) => {
            format!("source {source} has had its {} of this minute (`rate.per_minute`)", requests(limit))
        }
        Why::PerHour(limit) => {
            format!("source {source} has had its {} of this hour (`rate.per_hour`)", requests(limit))
        }
    }
}

fn requests(limit: impl std::fmt::Display + Copy + PartialEq + From<u8>) -> String {
    format!("{limit} {}", plural(limit, "request"))
}
