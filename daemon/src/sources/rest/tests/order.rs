//! Counted pages of a list that changes between requests: what is a shift, and what only looks like one.

use super::server::{Got, Reply, Server};
use super::*;
use crate::base::error::{Classify as _, ErrorClass};
use crate::model::offset::PageCursor;
use std::sync::Mutex;

/// A list of ids that is changed before the n-th request (from 1) is answered.
struct List {
    ids: Vec<u64>,
    change: (usize, fn(&mut Vec<u64>)),
    /// What is answered behind the last record; an empty page where it is 200.
    behind: u16,
    /// What else a record holds, by id and number of the request.
    more: fn(u64, usize) -> Value,
}

impl List {
    fn of(len: u64) -> Self {
        Self { ids: (0..len).collect(), change: (0, |_| {}), behind: 200, more: |_, _| json!({}) }
    }

    fn answer(&mut self, got: &Got, request: usize) -> Reply {
        if request == self.change.0 {
            (self.change.1)(&mut self.ids);
        }
        let at = got.number("offset").or(got.number("page").map(|page| (page - 1) * 10)).unwrap() as usize;
        if at >= self.ids.len() && self.behind != 200 {
            return Reply::status(self.behind, &[], "{}");
        }
        let data: Vec<Value> =
            self.ids.iter().skip(at).take(10).map(|id| with(json!({ "id": id }), (self.more)(*id, request))).collect();
        Reply::json(&json!({ "data": data, "total": self.ids.len() }))
    }
}

/// What reading the list gives: its ids, or how a shift was noticed, or another error's text; and the notes of the report.
async fn outcome(list: List, stream: Value, from: Option<Offset>) -> (Result<Vec<u64>, String>, String) {
    let list = Mutex::new((list, 0));
    let server = Server::start(move |got, _| {
        let (list, requests) = &mut *list.lock().unwrap();
        *requests += 1;
        list.answer(got, *requests)
    })
    .await;
    let source = source(&server.url, stream, json!({ "rate": { "concurrency": 1 } }));
    let mut pages = open(&source, LaneId { lane: 0, of: 1 }, from.unwrap_or(Offset::start(0)));
    let mut all = Vec::new();
    let result = loop {
        match pages.next().await {
            Ok(Some(page)) => all.push(page),
            Ok(None) => break Ok(ids(&all)),
            Err(super::super::RestError::Shifted { reason, .. }) => break Err(reason),
            Err(error) => break Err(Chain(&error).to_string()),
        }
    };
    (result, source.stats().notes("orders").join("; "))
}

fn keyed(paginate: Value) -> Value {
    json!({ "primary_key": ["id"], "total": "$.total", "paginate": paginate })
}

fn paged() -> Value {
    keyed(json!({ "page": { "end_status": [404] } }))
}

fn offset() -> Value {
    keyed(json!({ "offset": { "limit": 10, "end_status": [400, 404] } }))
}

async fn shift(list: List, stream: Value, says: &str) {
    let (result, _) = outcome(list, stream, None).await;
    let reason = result.expect_err(says);
    assert!(reason.contains(says), "{reason}");
}

async fn whole(list: List, stream: Value, wanted: u64) -> String {
    let (result, notes) = outcome(list, stream, None).await;
    assert_eq!(result, Ok((0..wanted).collect()));
    notes
}

#[tokio::test]
async fn an_end_told_by_a_failure_is_looked_at_too() {
    for behind in [200, 404] {
        // Ten in front vanish while 19 of 25 were read: what is left of the list lies in front of the next page.
        let vanish: fn(&mut Vec<u64>) = |ids| drop(ids.drain(..10));
        shift(List { behind, change: (3, vanish), ..List::of(25) }, offset(), "the page before it").await;
        // One vanishes, and the only record of the third page slips onto the second.
        let slip: fn(&mut Vec<u64>) = |ids| ids.retain(|id| *id != 3);
        shift(List { behind, change: (3, slip), ..List::of(21) }, paged(), "page 2 has other records").await;
        for len in [0, 1, 9, 10, 11, 19, 20, 25] {
            if len == 0 && behind == 404 {
                continue; // Of the first page that is no end.
            }
            whole(List { behind, ..List::of(len) }, paged(), len).await;
            whole(List { behind, ..List::of(len) }, offset(), len).await;
        }
    }
}

#[tokio::test]
async fn an_api_that_takes_only_multiples_is_told() {
    let server = Server::start(|got, _| match got.number("offset").unwrap() {
        at if at % 10 == 0 => {
            Reply::json(&json!({ "data": (at..at + 10).map(|id| json!({ "id": id })).collect::<Vec<_>>() }))
        }
        _ => Reply::status(400, &[], "{}"),
    })
    .await;
    let (error, text) = failure(&source(&server.url, offset(), json!({}))).await;
    assert_eq!(error.class(), ErrorClass::Data);
    assert!(text.contains("`streams.orders.paginate.offset.overlap: false`"), "{text}");
    let plain = json!({ "paginate": { "offset": { "limit": 10 } } });
    let (_, text) = failure(&source(&server.url, plain, json!({}))).await;
    assert!(text.contains("set `sources.shop.rest.streams.orders.paginate.offset.overlap: false`"), "{text}");
}

#[tokio::test]
async fn what_comes_at_the_end_is_no_shift() {
    for at in 2..=5 {
        let append: fn(&mut Vec<u64>) = |ids| ids.push(ids.len() as u64);
        for stream in [paged(), offset()] {
            let (result, _) = outcome(List { change: (at, append), ..List::of(25) }, stream, None).await;
            let ids = result.unwrap();
            assert!(ids.len() >= 25 && ids.iter().copied().eq(0..ids.len() as u64), "request {at}: {ids:?}");
        }
        // Enough for another page: those that the short page took in meanwhile must not be left out.
        let many: fn(&mut Vec<u64>) = |ids| ids.extend(25..45);
        let (result, _) = outcome(List { change: (at, many), ..List::of(25) }, paged(), None).await;
        let shifted = result.as_ref().is_err_and(|reason| reason.contains("page 3"));
        let before = [25, 45].iter().any(|len| result == Ok((0..*len).collect()));
        assert!(shifted || before, "request {at}: {result:?}");
        assert_eq!(shifted, at == 4, "request {at}");
    }
}

#[tokio::test]
async fn after_a_resume_the_page_that_was_compared_counts_like_any_other() {
    let first = outcome(List::of(60), paged(), None).await.0.unwrap();
    assert_eq!(first.len(), 60);
    let server = Server::start(|got, _| List::of(60).answer(got, 1)).await;
    let pages = read(open_all(&source(&server.url, paged(), json!({})))).await;
    let from = pages[2].offset_after.clone();
    assert_eq!(from.cursor, PageCursor::Page(4));
    // Page 3 is compared by the first request; the second one finds the list changed.
    for change in [(|ids| ids.retain(|id| *id != 3)) as fn(&mut Vec<u64>), |ids| ids.insert(0, 99)] {
        let list = List { change: (2, change), ..List::of(60) };
        let (result, _) = outcome(list, paged(), Some(from.clone())).await;
        assert_eq!(result, Err("page 3 has other records than before".to_owned()));
        let key_only = json!({ "primary_key": ["id"], "paginate": { "page": {} } });
        let list = List { change: (2, |ids| ids.insert(0, 99)), ..List::of(60) };
        let (result, _) = outcome(list, key_only, Some(from.clone())).await;
        assert!(result.is_err_and(|reason| reason.contains("`primary_key` was on a page before")));
    }
    let (result, _) = outcome(List::of(60), paged(), Some(from)).await;
    assert_eq!(result, Ok((30..60).collect()));
}

#[tokio::test]
async fn records_that_change_by_themselves_are_no_shift() {
    let volatile: fn(u64, usize) -> Value = |_, request| json!({ "signed": request });
    for paginate in [json!({ "offset": { "limit": 10 } }), json!({ "page": {} })] {
        let keyless = json!({ "paginate": paginate, "total": "$.total" });
        let append: fn(&mut Vec<u64>) = |ids| ids.push(ids.len() as u64);
        let list = List { more: volatile, change: (3, append), ..List::of(35) };
        let notes = whole(list, keyless.clone(), 36).await;
        assert!(notes.contains("`streams.orders.primary_key`"), "{notes}");
        // Where they keep still a shift is one.
        let insert: fn(&mut Vec<u64>) = |ids| ids.insert(0, 99);
        shift(List { change: (3, insert), ..List::of(35) }, keyless, "page ").await;
    }
    let list = List { more: volatile, ..List::of(35) };
    assert_eq!(whole(list, offset(), 35).await, "", "with a key only the key counts");
}

#[tokio::test]
async fn a_key_that_several_records_have_is_no_shift() {
    // The third and fourth record of a pair lie on two pages.
    let pairs: fn(u64, usize) -> Value = |id, _| json!({ "pair": id.div_ceil(2) });
    let stream = with(offset(), json!({ "primary_key": ["pair"] }));
    assert_eq!(whole(List { more: pairs, ..List::of(35) }, stream, 35).await, "");
}

#[tokio::test]
async fn a_record_that_is_pushed_behind_the_last_page_is_not_written_twice() {
    let server = Server::start(|got, _| List::of(19).answer(got, 1)).await;
    let pages = read(open_all(&source(&server.url, offset(), json!({})))).await;
    let from = pages[1].offset_after.clone();
    assert_eq!(from.cursor, PageCursor::Record(19));
    // The first request sees the last record alone; then another one comes in front.
    let list = List { change: (2, |ids| ids.insert(0, 99)), ..List::of(19) };
    let (result, _) = outcome(list, offset(), Some(from)).await;
    assert!(result.is_err_and(|reason| reason.contains("does not begin with the last record")));
}
