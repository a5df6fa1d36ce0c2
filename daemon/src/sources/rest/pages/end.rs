//! What a request that failed means for its partition: that it is at its end, or an error that says where.

use super::order::{Doubt, Why};
use super::{PartitionPages, RestError};
use crate::model::offset::PageCursor;
use crate::net::error::FetchError;
use crate::net::judge::Verdict;
use crate::sources::rest::error::{Behind, Failed};
use crate::sources::rest::paginate::{Pager, Param};
use http::StatusCode;

/// Statuses with which APIs refuse a page behind the last one.
pub const BEHIND_END: [u16; 5] = [400, 404, 410, 416, 422];

/// Those of them that say that nothing is there. The others may as well refuse to page any deeper.
pub const NOTHING_THERE: [u16; 2] = [404, 416];

/// A total of so many, or a multiple of it (or a power of two, or 9,999 and its like), that a full page reaches may be where
/// the API stops to count and to page.
const ROUND: u64 = 100;

impl PartitionPages {
    /// Whether the API says by a failure that there are no more pages.
    pub(super) fn is_end(&self, error: &FetchError) -> bool {
        let FetchError::Status { status, .. } = error else { return error.verdict() == Some(Verdict::Empty) };
        self.reader.spec.pager.ends_with(&self.at.cursor, status.as_u16()) || self.is_behind(*status)
    }

    /// Whether the operator has said that such a failure is the end.
    pub(super) fn is_declared_end(&self, error: &FetchError) -> bool {
        let FetchError::Status { status, .. } = error else { return true };
        self.reader.spec.pager.ends_with(&self.at.cursor, status.as_u16())
    }

    /// Whether a refusal cannot be anything but the end. A total alone never ends a partition, for many an API caps it; but
    /// where it is reached, a refusal of the page behind it agrees with it. Without a total the page before has to be shorter
    /// than the others, and the report says what was concluded.
    fn is_behind(&self, status: StatusCode) -> bool {
        let status = status.as_u16();
        if !self.is_numbered() || !BEHIND_END.contains(&status) {
            return false;
        }
        if let Some(total) = self.run.total {
            let round =
                total.is_multiple_of(ROUND) || total.is_power_of_two() || (total + 1).is_multiple_of(10 * ROUND);
            let may_be_capped = round && !self.is_short();
            let ends = NOTHING_THERE.contains(&status) || !may_be_capped;
            return ends && self.at.partition_records >= total;
        }
        let alone = matches!(self.doubt, Doubt::End(Why::Alone));
        // Behind a resume nobody knows how long the other pages were.
        let unknown = self.run.read == 0 && self.reader.spec.pager.size().is_none();
        let ends = NOTHING_THERE.contains(&status) && (alone || unknown || self.is_short());
        if ends {
            let note = format!(
                "a page that is shorter than the others was taken for the last one, because the API answered {status} to the \
                 request for the next"
            );
            self.reader.fetcher.stats.note(self.reader.stream.as_str(), note);
        }
        ends
    }

    /// Whether the page at hand is behind the first one, and the daemon itself says which one it wants.
    fn is_numbered(&self) -> bool {
        self.reader.spec.pager.addressable() && self.at.cursor != PageCursor::Start
    }

    /// The error of the page at hand.
    pub(super) fn failed(&self, error: FetchError) -> RestError {
        if let Some(refused) = self.refuses_cursor(&error) {
            return refused;
        }
        let refused = matches!(&error, FetchError::Status { status, .. } if BEHIND_END.contains(&status.as_u16()));
        let behind = (refused && self.is_numbered()).then(|| Behind {
            kind: self.reader.spec.pager.kind(),
            before: self.run.total.is_some_and(|total| self.at.partition_records < total),
            overlaps: self.overlap() > 0,
        });
        let failed = Failed { stream: &self.reader.stream, place: self.place(), behind };
        RestError::read(&self.reader.source, failed, error)
    }

    /// Which page is at hand: the configured path, so that no value of a customer is in it, and what the paginator asks for.
    fn place(&self) -> String {
        let spec = &self.reader.spec;
        let path = &spec.path_template;
        let place = match (&self.at.cursor, &spec.pager) {
            (_, Pager::None) => format!("{path:?}"),
            (PageCursor::Start, _) => format!("the first page of {path:?}"),
            (cursor @ (PageCursor::Page(_) | PageCursor::Record(_)), _) => {
                let asked = spec.pager.parameters(cursor, self.overlap()).unwrap_or_default();
                let at = match asked.first() {
                    Some((Param::Query(name), number)) => format!(" at {name}={number}"),
                    Some((Param::Body(path), number)) => format!(" at {}={number}", path.join(".")),
                    None => String::new(),
                };
                format!("the page of {path:?}{at}")
            }
            (cursor, _) => match self.shown(cursor) {
                Some(shown) => format!("the page of {path:?} at {shown}"),
                None => format!("a page of {path:?}"),
            },
        };
        if self.others { format!("{place} in partition {}", self.at.partition) } else { place }
    }
}
