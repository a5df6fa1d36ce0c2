//! Offsets and marks on the wire.

use crate::ledger::rows::LaneRow;
use crate::model::mark::{CursorKind, CursorValue};
use crate::model::offset::{Offset, PageCursor};
use saas_export_api as api;

/// Where a lane stands.
pub fn lane(row: &LaneRow) -> api::LaneOffset {
    let Offset { partition, cursor, pages, records, partition_records, tail } = &row.offset;
    let cursor = match cursor {
        PageCursor::Start => api::Cursor::Start,
        PageCursor::Token(token) => api::Cursor::Token(token.clone()),
        PageCursor::Url(url) => api::Cursor::Url(url.clone()),
        PageCursor::Page(page) => api::Cursor::Page(*page),
        PageCursor::Record(record) => api::Cursor::Record(*record),
        PageCursor::End => api::Cursor::End,
    };
    let (partition, pages, records, partition_records) = (*partition, *pages, *records, *partition_records);
    let offset = api::Offset { partition, cursor, pages, records, partition_records, tail: tail.clone() };
    api::LaneOffset { lane: row.lane, revision: row.revision, offset }
}

/// Where a lane shall stand.
pub fn offset(offset: api::Offset) -> Offset {
    let api::Offset { partition, cursor, pages, records, partition_records, tail } = offset;
    let cursor = match cursor {
        api::Cursor::Start => PageCursor::Start,
        api::Cursor::Token(token) => PageCursor::Token(token),
        api::Cursor::Url(url) => PageCursor::Url(url),
        api::Cursor::Page(page) => PageCursor::Page(page),
        api::Cursor::Record(record) => PageCursor::Record(record),
        api::Cursor::End => PageCursor::End,
    };
    Offset { partition, cursor, pages, records, partition_records, tail }
}

/// A mark.
pub fn mark(mark: &CursorValue) -> api::Mark {
    let text = mark.to_string();
    match mark.kind() {
        CursorKind::Number => api::Mark::Number(text),
        CursorKind::Instant => api::Mark::Instant(text),
        CursorKind::Text => api::Mark::Text(text),
    }
}

/// A mark as an operator gives it; `None` where the text is not of the kind.
pub fn mark_value(mark: &api::Mark) -> Option<CursorValue> {
    let (text, kind) = match mark {
        api::Mark::Number(text) => (text, CursorKind::Number),
        api::Mark::Instant(text) => (text, CursorKind::Instant),
        api::Mark::Text(text) => (text, CursorKind::Text),
    };
    CursorValue::parse_as(text, kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_go_out_and_come_in_unchanged() {
        let cursors = [
            PageCursor::Start,
            PageCursor::Token("t".into()),
            PageCursor::Url("https://a.example/?p=2".into()),
            PageCursor::Page(3),
            PageCursor::Record(4),
            PageCursor::End,
        ];
        for cursor in cursors {
            let tail = Some("0123456789abcdef".into());
            let there = Offset { partition: 1, cursor, pages: 2, records: 3, partition_records: 4, tail };
            let start = Offset::start(0);
            let row = LaneRow { lane: 0, revision: 7, start, offset: there.clone(), next_n: 0, done: false };
            let text = serde_json::to_string(&lane(&row)).unwrap();
            let back: api::LaneOffset = serde_json::from_str(&text).unwrap();
            assert_eq!((back.revision, offset(back.offset)), (7, there));
        }
    }
}
