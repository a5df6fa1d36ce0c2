//! Where a numbered list ends: never by a total, never by going round in a circle, and never beyond the bytes allowed.

use super::*;
use crate::base::error::{Classify as _, ErrorClass};
use crate::net::http::tests::server::{Got, Reply, Server};
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
    // Behind an answer that is late as many again may be asked for.
    let asked = server.got().len();
    assert!((12..=20).contains(&asked), "four are taken, eight and more run ahead: {asked}");
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
    // A page of one record overlaps wholly: it takes three, and on a busy machine another guess is out before an answer is in.
    assert!(server.got().len() <= pages.len() * 4, "{} requests for {} pages", server.got().len(), pages.len());
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
        tokio::time::sleep(Duration::from_millis(400)).await;
        let asked = server.got().len() - before;
        // All that may start has started: what is not alone is paced at first. Where bytes are no limit it is the connections;
        // on a busy machine one is free again before its page is counted.
        let exact = bytes < 1_000_000;
        assert!(asked == 6 + ahead || !exact && asked == 7 + ahead, "{bytes} bytes: {asked}");
        let rest = read(pages).await;
        assert_eq!(ids(&rest), (6..40).collect::<Vec<_>>(), "{bytes} bytes");
    }
}

#[tokio::test]
async fn a_page_smaller_than_asked_for_is_no_end() {
    // Seven at most, whatever is asked for, and no total.
    for paginate in [json!({ "page": { "size_param": "size", "size": 100 } }), offset(100)] {
        for concurrency in [1, 8] {
            let server = Server::start(|got, _| Reply::json(&json!({ "data": list(got, 7, 50) }))).await;
            let source =
                source(&server.url, json!({ "paginate": paginate }), json!({ "rate": { "concurrency": concurrency } }));
            assert_eq!(ids(&read(open_all(&source)).await), (0..50).collect::<Vec<_>>());
        }
    }
}

#[tokio::test]
async fn an_api_that_starts_again_behind_its_last_page_is_refused() {
    for paginate in [json!({ "page": {} }), json!({ "offset": { "limit": 10, "overlap": false } })] {
        for concurrency in [1, 8] {
            let server = Server::start(|got, _| {
                let page = got.number("offset").map_or_else(|| got.number("page").unwrap() - 1, |at| at / 10) % 5;
                Reply::json(&json!({ "data": (0..10).map(|n| json!({ "id": page * 10 + n })).collect::<Vec<_>>() }))
            })
            .await;
            let stream = json!({ "paginate": paginate, "primary_key": ["id"] });
            let (error, text) =
                failure(&source(&server.url, stream, json!({ "rate": { "concurrency": concurrency } }))).await;
            assert_eq!(error.class(), ErrorClass::Data);
            assert!(text.contains("page 6 has a record whose `primary_key` was on a page before it"), "{text}");
            assert!(server.got().len() < 40, "{} requests", server.got().len());
        }
    }
    // The cursor is another one each time; only the records tell.
    let server = Server::start(|_, before| {
        let page = before as u64 % 3;
        Reply::json(&json!({ "data": [{ "id": page }], "next": format!("fresh{before}") }))
    })
    .await;
    let stream = json!({ "primary_key": ["id"], "paginate": { "cursor": { "from": "$.next", "param": "cursor" } } });
    let (_, text) = failure(&source(&server.url, stream, json!({}))).await;
    assert!(text.contains("starts again"), "{text}");
    assert!(server.got().len() < 15, "{} requests", server.got().len());
}

/// Pages of ten, and behind the last one this answer.
async fn refusing(records: u64, status: u16, body: &'static str) -> Server {
    Server::start(move |got, _| {
        let data = list(got, 10, records);
        let first = got.number("page") == Some(1) || got.number("offset") == Some(0);
        if data.is_empty() && !first {
            return Reply::status(status, &[], body);
        }
        Reply::json(&json!({ "total": records, "data": data }))
    })
    .await
}

#[tokio::test]
async fn a_refusal_behind_all_that_the_total_promises_is_the_end() {
    for paginate in [json!({ "page": {} }), offset(10)] {
        for (status, concurrency) in [(404, 1), (404, 8), (400, 1), (400, 8), (422, 4), (416, 4), (410, 4)] {
            let server = refusing(50, status, "{}").await;
            let stream = json!({ "paginate": paginate, "total": "$.total" });
            let pages =
                read(open_all(&source(&server.url, stream, json!({ "rate": { "concurrency": concurrency } })))).await;
            assert_eq!(ids(&pages), (0..50).collect::<Vec<_>>(), "{status}");
        }
    }
    // A round one may be where the API stops to count, and what refuses may be how deep it pages; a short page tells that.
    for (records, size) in [(200, 10), (200, 15)] {
        let server = Server::start(move |got, _| {
            let data = list(got, size, records);
            if data.is_empty() {
                Reply::status(400, &[], "{}")
            } else {
                Reply::json(&json!({ "total": records, "data": data }))
            }
        })
        .await;
        let of = source(&server.url, json!({ "paginate": { "page": {} }, "total": "$.total" }), json!({}));
        if size == 15 {
            assert_eq!(read(open_all(&of)).await.len(), 15);
        } else {
            let (_, text) = failure(&of).await;
            assert!(text.contains("end_status: [400]"), "{text}");
        }
    }
    // Before that it is none, and the error says so.
    let server = Server::start(|got, _| match got.number("page") {
        Some(1..=3) => Reply::json(&json!({ "data": list(got, 10, 50), "total": 50 })),
        _ => Reply::status(404, &[], "{}"),
    })
    .await;
    let stream = json!({ "paginate": { "page": {} }, "total": "$.total" });
    let (_, text) = failure(&source(&server.url, stream, json!({}))).await;
    assert!(text.contains("more records than came so far") && !text.contains("end_status"), "{text}");
}

#[tokio::test]
async fn without_a_total_only_a_shorter_page_before_makes_not_found_the_end() {
    for paginate in [json!({ "page": { "size_param": "size", "size": 10 } }), offset(10)] {
        for concurrency in [1, 8] {
            let rest = || json!({ "rate": { "concurrency": concurrency } });
            let stream = || json!({ "paginate": paginate });
            for records in [7, 47, 55] {
                if paginate["page"].is_object() && records == 55 {
                    continue; // Only where pages overlap does the last one have nothing else.
                }
                let server = refusing(records, 404, "{}").await;
                let of = source(&server.url, stream(), rest());
                assert_eq!(ids(&read(open_all(&of)).await), (0..records).collect::<Vec<_>>());
                let notes = of.stats().notes("orders");
                assert!(notes.len() == 1 && notes[0].contains("taken for the last one"), "{notes:?}");
            }
            // A full page before it; and a status that may as well mean that nothing is paged any deeper.
            for (records, status) in [(50, 404), (47, 400)] {
                if paginate["offset"].is_object() && status == 404 {
                    continue; // The last page that overlaps is never full.
                }
                let server = refusing(records, status, "{}").await;
                let (_, text) = failure(&source(&server.url, stream(), rest())).await;
                assert!(text.contains(&format!(".end_status: [{status}]`")), "{text}");
            }
        }
    }
}

#[tokio::test]
async fn a_rule_can_say_that_a_refusal_is_the_end_and_the_error_tells_which() {
    let body = r#"{"code": "rest_post_invalid_page_number", "message": "beyond", "data": {"status": 400}}"#;
    for concurrency in [1, 8] {
        let server = refusing(50, 400, body).await;
        let rest = json!({ "rate": { "concurrency": concurrency } });
        let (_, text) = failure(&source(&server.url, json!({ "paginate": { "page": {} } }), rest.clone())).await;
        let rule = "{ status: [400], json: $.code, equals: rest_post_invalid_page_number, then: empty }";
        assert!(text.contains(rule), "{text}");
        assert!(text.contains("the page of \"/orders\" at page=6"), "{text}");
        let rule =
            json!({ "status": [400], "json": "$.code", "equals": "rest_post_invalid_page_number", "then": "empty" });
        let ruled = source(&server.url, json!({ "paginate": { "page": {} }, "answers": [rule] }), rest);
        assert_eq!(ids(&read(open_all(&ruled)).await), (0..50).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn a_request_that_makes_something_is_no_page() {
    let made = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(0));
    let server = Server::start({
        let made = made.clone();
        move |_, _| {
            let id = made.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            Reply::status(201, &[], &json!({ "data": [{ "id": id }] }).to_string())
        }
    })
    .await;
    let stream = json!({ "method": "POST", "paginate": { "page": { "in": "body" } }, "max_pages": 50 });
    let (error, text) = failure(&source(&server.url, stream.clone(), json!({}))).await;
    assert_eq!(error.class(), ErrorClass::Config);
    assert!(text.contains("answered 201 Created: this request makes something new; is it a search?"), "{text}");
    assert_eq!(made.load(std::sync::atomic::Ordering::SeqCst), 1, "not one more than it takes to know");
    // A search that answers so, too.
    let search = Server::start(|got, _| {
        let page = got.json()["page"].as_u64().unwrap();
        let data: Vec<Value> = if page < 4 { vec![json!({ "id": page })] } else { vec![] };
        Reply::status(201, &[], &json!({ "data": data }).to_string())
    })
    .await;
    let ruled = with(stream, json!({ "answers": [{ "status": [201], "then": "page" }] }));
    assert_eq!(ids(&read(open_all(&source(&search.url, ruled, json!({})))).await), [1, 2, 3]);
}

#[tokio::test]
async fn what_is_only_accepted_is_no_page_and_no_content_is_an_empty_one() {
    let later = |_: &Got, before: usize| match before {
        0 | 1 => Reply::status(202, &[], "{}"),
        _ => Reply::json(&json!({ "data": [{ "id": 7 }] })),
    };
    let server = Server::start(later).await;
    let (error, text) = failure(&source(&server.url, json!({}), json!({}))).await;
    assert_eq!((error.class(), server.got().len()), (ErrorClass::Config, 1));
    assert!(text.contains("202 Accepted") && text.contains("{ status: [202], then: retry }"), "{text}");
    let server = Server::start(later).await;
    let ruled = source(&server.url, json!({ "answers": [{ "status": [202], "then": "retry" }] }), json!({}));
    assert_eq!(ids(&read(open_all(&ruled)).await), [7]);
    for paginate in [json!({ "none": {} }), json!({ "page": {} }), json!({ "cursor": { "from": "$.n", "param": "c" } })]
    {
        let server = Server::start(|_, _| Reply::status(204, &[], "")).await;
        let pages =
            read(open_all(&source(&server.url, json!({ "method": "POST", "paginate": paginate }), json!({})))).await;
        assert_eq!((pages.len(), ids(&pages).len()), (1, 0));
    }
}
