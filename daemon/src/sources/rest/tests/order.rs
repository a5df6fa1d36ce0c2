//! Counted pages of a list that changes between requests: what is a shift, and what only looks like one.

use super::*;
use crate::base::error::{Classify as _, ErrorClass};
use crate::model::offset::PageCursor;
use crate::net::http::tests::server::{Got, Reply, Server};
use std::sync::Mutex;

/// What happens to a list before the n-th request (from 1) is answered.
type Change = fn(&mut Vec<u64>, usize);

/// A list of ids that changes.
struct List {
    ids: Vec<u64>,
    change: Change,
    /// What is answered behind the last record; an empty page where it is 200.
    behind: u16,
    /// Requests that are answered like one behind the last record.
    stray: &'static [usize],
    /// What else a record holds, by id and number of the request.
    more: fn(u64, usize) -> Value,
    /// How many records it says there are, by their number and that of the request.
    total: fn(usize, usize) -> usize,
}

impl List {
    fn of(len: u64) -> Self {
        Self {
            ids: (0..len).collect(),
            change: |_, _| {},
            behind: 200,
            stray: &[],
            more: |_, _| json!({}),
            total: |len, _| len,
        }
    }

    fn answer(&mut self, got: &Got, request: usize) -> Reply {
        (self.change)(&mut self.ids, request);
        let at = got.number("offset").or(got.number("page").map(|page| (page - 1) * 10)).unwrap() as usize;
        if self.stray.contains(&request) || (at >= self.ids.len() && self.behind != 200) {
            return Reply::status(self.behind, &[], "{}");
        }
        let record = |id: &u64| with(json!({ "id": id }), (self.more)(*id, request));
        let data: Vec<Value> = self.ids.iter().skip(at).take(10).map(record).collect();
        Reply::json(&json!({ "data": data, "total": (self.total)(self.ids.len(), request) }))
    }
}

/// A change before the `$n`-th request.
macro_rules! at {
    ($n:literal, $ids:ident => $change:expr) => {
        |$ids, request| {
            if request == $n {
                $change;
            }
        }
    };
}

/// What reading the list gives: its ids, or how a shift was noticed, or another error's text; and the notes of the report.
async fn outcome(list: List, stream: Value, from: Option<Offset>) -> (Result<Vec<u64>, String>, String) {
    let (result, notes, _) = counted(list, stream, from).await;
    (result, notes)
}

/// The same, with the number of requests.
async fn counted(list: List, stream: Value, from: Option<Offset>) -> (Result<Vec<u64>, String>, String, usize) {
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
    (result, source.stats().notes("orders").join("; "), server.got().len())
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
        let vanish: Change = at!(3, ids => ids.drain(..10));
        shift(List { behind, change: vanish, ..List::of(25) }, offset(), "the page before it").await;
        // One vanishes, and the only record of the third page slips onto the second.
        let slip: Change = at!(3, ids => ids.remove(3));
        shift(List { behind, change: slip, ..List::of(21) }, paged(), "page 2 has other records").await;
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
    assert!(text.contains("`sources.shop.rest.streams.orders.paginate.offset.overlap: false`"), "{text}");
    let plain = json!({ "paginate": { "offset": { "limit": 10 } } });
    let (_, text) = failure(&source(&server.url, plain, json!({}))).await;
    assert!(text.contains("set `sources.shop.rest.streams.orders.paginate.offset.overlap: false`"), "{text}");
}

#[tokio::test]
async fn what_comes_at_the_end_is_no_shift() {
    let one: [Change; 4] = [
        at!(2, ids => ids.push(ids.len() as u64)),
        at!(3, ids => ids.push(ids.len() as u64)),
        at!(4, ids => ids.push(ids.len() as u64)),
        at!(5, ids => ids.push(ids.len() as u64)),
    ];
    for change in one {
        for stream in [paged(), offset()] {
            let (result, _) = outcome(List { change, ..List::of(25) }, stream, None).await;
            let ids = result.unwrap();
            assert!(ids.len() >= 25 && ids.iter().copied().eq(0..ids.len() as u64), "{ids:?}");
        }
    }
    // Enough for another page: those that the short page took in meanwhile must not be left out, whatever is known.
    let many: Change = at!(4, ids => ids.extend(25..45));
    let total_apart = json!({ "paginate": { "page": { "size_param": "size", "size": 10 } } });
    for stream in [paged(), with(total_apart, json!({ "primary_key": ["id"] }))] {
        shift(List { change: many, ..List::of(25) }, stream, "page 3 has other records").await;
    }
}

#[tokio::test]
async fn pages_of_any_size_are_soon_not_looked_at_any_more() {
    let server = Server::start(|got, _| {
        let page = got.number("page").unwrap();
        let data: Vec<Value> =
            (0..10).filter(|n| page == 1 || (n + page) % 7 != 0).map(|n| json!({ "id": page * 10 + n })).collect();
        Reply::json(&json!({ "data": if page > 30 { vec![] } else { data } }))
    })
    .await;
    let stream = json!({ "primary_key": ["id"], "paginate": { "page": {} } });
    let pages = read(open_all(&source(&server.url, stream, json!({ "rate": { "concurrency": 1 } })))).await;
    assert!(pages.len() == 31 && server.got().len() <= 31 + 3, "{}", server.got().len());
}

#[tokio::test]
async fn one_failure_is_no_end_that_anybody_has_told() {
    // The pages are of different sizes, so that a short one before it says little.
    for paginate in [
        json!({ "page": {} }),
        json!({ "offset": { "limit": 10, "overlap": false } }),
        json!({ "offset": { "limit": 10 } }),
    ] {
        let server = Server::start(|got, before| {
            let at = got.number("offset").or(got.number("page").map(|page| (page - 1) * 10)).unwrap();
            let size = if got.number("page").is_some() && at == 20 { 7 } else { 10 };
            let data: Vec<Value> = (at..95.min(at + size)).map(|id| json!({ "id": id })).collect();
            if before == 3 || data.is_empty() {
                Reply::status(404, &[], "{}")
            } else {
                Reply::json(&json!({ "data": data }))
            }
        })
        .await;
        let stream = json!({ "primary_key": ["id"], "paginate": paginate });
        let mut pages = open_all(&source(&server.url, stream, json!({ "rate": { "concurrency": 1 } })));
        let mut all = Vec::new();
        let ended = loop {
            match pages.next().await {
                Ok(Some(page)) => all.push(page),
                Ok(None) => break true,
                Err(_) => break false,
            }
        };
        // Either the failure is told, or everything is there; never an end in the middle.
        assert!(!ended || ids(&all).last() == Some(&94), "{paginate}: {:?}", ids(&all));
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
    let (went, came): (Change, Change) = (at!(2, ids => ids.remove(3)), at!(2, ids => ids.insert(0, 99)));
    for change in [went, came] {
        let (result, _) = outcome(List { change, ..List::of(60) }, paged(), Some(from.clone())).await;
        assert_eq!(result, Err("page 3 has other records than before".to_owned()));
    }
    let key_only = json!({ "primary_key": ["id"], "paginate": { "page": {} } });
    let (result, _) = outcome(List { change: came, ..List::of(60) }, key_only, Some(from.clone())).await;
    assert!(result.is_err_and(|reason| reason.contains("`primary_key` was on a page before")));
    let (result, _) = outcome(List::of(60), paged(), Some(from)).await;
    assert_eq!(result, Ok((30..60).collect()));
}

#[tokio::test]
async fn after_a_resume_offsets_that_do_not_overlap_are_compared_too() {
    let stream = keyed(json!({ "offset": { "limit": 10, "overlap": false } }));
    let server = Server::start(|got, _| List::of(45).answer(got, 1)).await;
    let pages = read(open_all(&source(&server.url, stream.clone(), json!({})))).await;
    for page in &pages[..5] {
        let from = page.offset_after.clone();
        let (result, _) = outcome(List::of(45), stream.clone(), Some(from.clone())).await;
        assert_eq!(result, Ok((from.records..45).collect()));
        let came: Change = at!(1, ids => ids.insert(0, 99));
        let (result, _) = outcome(List { change: came, ..List::of(45) }, stream.clone(), Some(from)).await;
        assert!(result.is_err_and(|reason| reason.contains("has other records than before")));
    }
}

#[tokio::test]
async fn a_resume_behind_the_last_page_finds_the_end_as_an_undisturbed_run_does() {
    let sized = json!({ "page": { "size_param": "size", "size": 10 } });
    for stream in [
        json!({ "paginate": sized }),
        json!({ "paginate": { "page": {} } }),
        keyed(json!({ "offset": { "limit": 10 } })),
    ] {
        let list = || List { behind: 404, ..List::of(25) };
        let server = Server::start(move |got, _| list().answer(got, 1)).await;
        let pages = read(open_all(&source(&server.url, stream.clone(), json!({})))).await;
        let from = pages[pages.len() - 2].offset_after.clone();
        assert_eq!((from.records, from.cursor != PageCursor::End), (25, true), "{stream}");
        assert_eq!(outcome(list(), stream.clone(), Some(from)).await.0, Ok(vec![]), "{stream}");
    }
}

#[tokio::test]
async fn a_restless_total_costs_little() {
    let list = List { total: |len, request| len + request, ..List::of(300) };
    let (result, notes, requests) = counted(list, paged(), None).await;
    assert_eq!(result, Ok((0..300).collect()));
    assert!(notes.contains("it shows no shifts") && requests < 31 + 30, "{requests} requests: {notes}");
}

#[tokio::test]
async fn records_that_change_by_themselves_are_no_shift() {
    let volatile: fn(u64, usize) -> Value = |_, request| json!({ "signed": request });
    for paginate in [json!({ "offset": { "limit": 10 } }), json!({ "page": {} })] {
        let keyless = json!({ "paginate": paginate, "total": "$.total" });
        let append: Change = at!(3, ids => ids.push(ids.len() as u64));
        let list = List { more: volatile, change: append, ..List::of(35) };
        let notes = whole(list, keyless.clone(), 36).await;
        assert!(notes.contains("`sources.shop.rest.streams.orders.primary_key`"), "{notes}");
        // Where they keep still a shift is one.
        let insert: Change = at!(3, ids => ids.insert(0, 99));
        shift(List { change: insert, ..List::of(35) }, keyless.clone(), "page ").await;
        // Also where they go on moving while somebody looks.
        let inserts: Change = |ids, request| {
            if request >= 3 {
                ids.insert(0, 100 + request as u64)
            }
        };
        shift(List { change: inserts, ..List::of(35) }, keyless, "page ").await;
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
    let list = List { change: at!(2, ids => ids.insert(0, 99)), ..List::of(19) };
    let (result, _) = outcome(list, offset(), Some(from)).await;
    assert!(result.is_err_and(|reason| reason.contains("does not begin with the last record")));
}

#[tokio::test]
async fn an_api_that_pages_no_deeper_is_told_and_no_shift() {
    // Offset and limit together may not exceed ninety; without overlaps the last page would just fit.
    let server = Server::start(|got, _| match got.number("offset").unwrap() {
        at if at + 10 > 90 => Reply::status(400, &[], "{}"),
        at => Reply::json(&json!({ "data": (at..89.min(at + 10)).map(|id| json!({ "id": id })).collect::<Vec<_>>() })),
    })
    .await;
    let stream = json!({ "primary_key": ["id"], "paginate": { "offset": { "limit": 10, "end_status": [400] } } });
    let (_, text) = failure(&source(&server.url, stream.clone(), json!({}))).await;
    assert!(text.contains("pages no deeper") && text.contains("overlap: false"), "{text}");
    let apart = with(stream, json!({ "paginate": { "offset": { "overlap": false } } }));
    assert_eq!(ids(&read(open_all(&source(&server.url, apart, json!({})))).await), (0..89).collect::<Vec<_>>());
}

#[tokio::test]
async fn an_api_that_does_not_heed_the_offset_is_told() {
    for len in [10, 7] {
        let server = Server::start(move |_, _| {
            Reply::json(&json!({ "data": (0..len).map(|id| json!({ "id": id })).collect::<Vec<_>>() }))
        })
        .await;
        let (_, text) = failure(&source(&server.url, offset(), json!({}))).await;
        assert!(text.contains("page 2 has the same records as the page before it"), "{len}: {text}");
    }
}
