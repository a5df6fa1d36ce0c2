//! Where a numbered list ends: never by a total, never by going round in a circle, and never beyond the bytes allowed.

use super::server::{Got, Reply, Server};
use super::*;
use crate::base::error::{Classify as _, ErrorClass};
use std::time::Duration;

fn list(got: &Got, size: u64, records: u64) -> Vec<Value> {
    let from = match got.number("offset") {
        Some(offset) => offset,
        None => (got.number("page").unwrap() - 1) * size,
    };
    (from..(from + size).min(records)).map(|id| json!({ "id": id })).collect()
}

fn offset(limit: u64) -> Value {
    json!({ "offset": { "limit": limit } })
}

#[tokio::test]
async fn a_total_never_ends_a_list() {
    // Capped below what there is; the page's own count; more than there is; as text with commas; an object; none.
    type Case = (fn(usize) -> Value, Option<(u64, u64)>, bool);
    let totals: [Case; 6] = [
        (|_| json!(20), None, false),
        (|page| json!(page), None, false),
        (|_| json!("80"), Some((50, 80)), false),
        (|_| json!("1,000"), None, true),
        (|_| json!({ "value": 50 }), None, true),
        (|_| Value::Null, None, false),
    ];
    for (total, shortfall, noted) in totals {
        for paginate in [json!({ "page": {} }), offset(10)] {
            for concurrency in [1, 8] {
                let server = Server::start(move |got, _| {
                    let data = list(got, 10, 50);
                    Reply::json(&json!({ "total": total(data.len()), "data": data }))
                })
                .await;
                let stream = json!({ "paginate": paginate, "total": "$.total" });
                let source = source(&server.url, stream, json!({ "rate": { "concurrency": concurrency } }));
                let pages = read(open_all(&source)).await;
                assert_eq!(ids(&pages), (0..50).collect::<Vec<_>>(), "{:?}", total(10));
                assert_eq!(pages.last().unwrap().shortfall(), shortfall, "{:?}", total(10));
                assert!(pages[..5].iter().all(|page| page.shortfall().is_none()), "only the end tells");
                let notes = source.stats().notes("orders");
                assert_eq!(notes.len(), usize::from(noted), "{notes:?}");
                assert!(
                    notes.iter().all(|note| note.contains("`sources.shop.rest.streams.orders.total`")),
                    "{notes:?}"
                );
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreadable_total_does_not_slow_the_reading_down() {
    let server = Server::start(|got, _| {
        Reply::Late(
            Duration::from_millis(30),
            Box::new(Reply::json(&json!({ "total": "1,000", "data": list(got, 1, 90) }))),
        )
    })
    .await;
    let stream = json!({ "paginate": { "page": {} }, "total": "$.total" });
    let mut pages = open_all(&source(&server.url, stream, json!({ "rate": { "concurrency": 8 } })));
    for _ in 0..4 {
        pages.next().await.unwrap().unwrap();
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(server.got().len(), 12, "four are taken, eight run ahead");
}

#[tokio::test]
async fn an_empty_page_in_the_middle_is_told_as_a_shortfall() {
    let server = Server::start(|got, _| {
        let data = if got.number("page") == Some(3) { vec![] } else { list(got, 10, 50) };
        Reply::json(&json!({ "total": 50, "data": data }))
    })
    .await;
    let stream = json!({ "paginate": { "page": {} }, "total": "$.total" });
    let pages = read(open_all(&source(&server.url, stream, json!({})))).await;
    assert_eq!(pages.last().unwrap().shortfall(), Some((20, 50)));
}

#[tokio::test]
async fn an_api_that_repeats_a_page_for_ever_is_refused() {
    let apart = json!({ "offset": { "limit": 10, "overlap": false } });
    for paginate in [json!({ "page": {} }), apart] {
        for concurrency in [1, 8] {
            // One that does not know the parameter, and one that repeats its last page beyond the end.
            for last in [1, 4] {
                let server = Server::start(move |got, _| {
                    let page = got.number("offset").map_or_else(|| got.number("page").unwrap() - 1, |at| at / 10);
                    let data: Vec<Value> = (0..10).map(|n| json!({ "id": page.min(last - 1) * 10 + n })).collect();
                    // What surrounds the records differs, and does not count.
                    Reply::json(&json!({ "asked": page, "data": data }))
                })
                .await;
                let rest = json!({ "rate": { "concurrency": concurrency } });
                let source = source(&server.url, json!({ "paginate": paginate }), rest);
                let (error, text) = failure(&source).await;
                assert_eq!(error.class(), ErrorClass::Data);
                assert!(
                    text.contains(&format!("page {} has the same records as the page before it", last + 1)),
                    "{text}"
                );
                assert!(text.contains("`streams.orders.paginate.") && text.contains("another paginator"), "{text}");
                assert!(server.got().len() < 30, "{} requests", server.got().len());
            }
        }
    }
}

#[tokio::test]
async fn an_end_status_is_no_end_of_the_first_page_and_a_total_still_counts() {
    let server = Server::start(|got, _| match got.number("page") {
        Some(1..=3) => Reply::json(&json!({ "data": list(got, 10, 50), "total": 50 })),
        _ => Reply::status(400, &[], "{}"),
    })
    .await;
    let stream = json!({ "paginate": { "page": { "end_status": [400] } }, "total": "$.total" });
    let all = source(&server.url, stream.clone(), json!({}));
    let pages = read(open_all(&all)).await;
    assert_eq!((pages.len(), pages[3].shortfall()), (4, Some((30, 50))));
    let first = Server::start(|_, _| Reply::status(400, &[], "{}")).await;
    let (error, _) = failure(&source(&first.url, stream, json!({}))).await;
    assert_eq!(error.class(), ErrorClass::Config);
}

#[tokio::test]
async fn a_capped_limit_costs_no_request_in_vain() {
    // Four at most, whatever is asked for.
    let server = Server::start(|got, _| Reply::json(&json!({ "total": 80, "data": list(got, 4, 80) }))).await;
    let stream = json!({ "paginate": offset(100), "total": "$.total" });
    let pages = read(open_all(&source(&server.url, stream, json!({ "rate": { "concurrency": 8 } })))).await;
    assert_eq!(ids(&pages), (0..80).collect::<Vec<_>>());
    assert_eq!(server.got().len(), pages.len());
}

#[tokio::test]
async fn after_a_wrong_guess_one_page_at_a_time_is_asked_for() {
    // Every page has another size, so that each guess is wrong.
    let server = Server::start(|got, _| {
        let at = got.number("offset").unwrap();
        let size = at % 7 + 1;
        Reply::Late(Duration::from_millis(2), Box::new(Reply::json(&json!({ "data": list(got, size, 60) }))))
    })
    .await;
    let source = source(&server.url, json!({ "paginate": offset(10) }), json!({ "rate": { "concurrency": 16 } }));
    let pages = read(open_all(&source)).await;
    assert_eq!(ids(&pages), (0..60).collect::<Vec<_>>());
    // A page of one record overlaps wholly: it takes three.
    assert!(server.got().len() <= pages.len() * 5 / 2, "{} requests for {} pages", server.got().len(), pages.len());
}

#[tokio::test]
async fn pages_read_ahead_stay_within_their_bytes() {
    let server = Server::start(|got, _| {
        let data: Vec<Value> =
            list(got, 1, 40).into_iter().map(|one| with(one, json!({ "pad": "x".repeat(10_000) }))).collect();
        Reply::json(&json!({ "data": data }))
    })
    .await;
    // The page that is wanted next always comes; of the others only what fits.
    for (bytes, ahead) in [(0, 1), (15_000, 1), (35_000, 3), (1_000_000, 16)] {
        let before = server.got().len();
        let source =
            source(&server.url, json!({ "paginate": { "page": {} } }), json!({ "rate": { "concurrency": 16 } }));
        let mut pages = open_all(&source).within(bytes);
        for _ in 0..6 {
            pages.next().await.unwrap().unwrap();
        }
        tokio::time::sleep(Duration::from_millis(150)).await;
        assert_eq!(server.got().len() - before, 6 + ahead, "{bytes} bytes");
        let rest = read(pages).await;
        assert_eq!(ids(&rest), (6..40).collect::<Vec<_>>(), "{bytes} bytes");
    }
}
