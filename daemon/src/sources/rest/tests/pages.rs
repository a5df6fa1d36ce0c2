//! Every paginator, resumed anywhere and read by any number of connections, gives the same pages.

mod leads;

use super::*;
use crate::model::offset::PageCursor;
use crate::net::http::tests::server::{Got, Reply, Server};
use std::time::Duration;

const TOTAL: u64 = 47;
const SIZE: u64 = 5;

fn records(from: u64, most: u64) -> Vec<Value> {
    (from..(from + most).min(TOTAL)).map(|id| json!({ "id": id })).collect()
}

/// Speaks every paginator: the path says which.
fn api(got: &Got) -> Reply {
    let body = if got.body.is_empty() { json!({}) } else { got.json() };
    let given = |name: &str| {
        let inside = body.get(name).map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned));
        got.query.get(name).cloned().or(inside)
    };
    let number = |name: &str| given(name).map(|text| text.parse::<u64>().unwrap());
    let host = &got.headers["host"];
    let token = |at: u64| (at < TOTAL).then(|| format!("t{at}"));
    let at = given("cursor").map_or(0, |token| token.trim_start_matches('t').parse().unwrap());
    match got.path.as_str() {
        "/cursor" => Reply::json(&json!({ "data": records(at, SIZE), "next": token(at + SIZE) })),
        "/empty_cursor" => {
            Reply::json(&json!({ "data": records(at, SIZE), "next": token(at + SIZE).unwrap_or_default() }))
        }
        "/header_cursor" => {
            let reply = Reply::json(&json!({ "data": records(at, SIZE) }));
            token(at + SIZE).map_or(Reply::json(&json!({ "data": records(at, SIZE) })), |t| reply.header("X-Next", &t))
        }
        "/number_cursor" => {
            let at = number("cursor").unwrap_or(0);
            let next = if at + SIZE < TOTAL { json!(at + SIZE) } else { Value::Null };
            Reply::json(&json!({ "data": records(at, SIZE), "next": next }))
        }
        "/next" | "/relative" => {
            let next = token(at + SIZE).map(|t| match got.path.as_str() {
                "/next" => format!("http://{host}/next?cursor={t}&key=echoed"),
                _ => format!("?cursor={t}"),
            });
            Reply::json(&json!({ "data": records(at, SIZE), "next": next }))
        }
        "/link" => {
            let reply = Reply::json(&json!({ "data": records(at, SIZE) }));
            let Some(t) = token(at + SIZE) else { return reply.header("Link", "</link>; rel=\"first\"") };
            reply.header("Link", &format!("</link>; rel=first, </link?cursor={t}>; rel=\"x next\""))
        }
        "/page" => {
            let at = number("page").map_or(0, |page| page - 1) * SIZE;
            Reply::json(&json!({ "data": records(at, SIZE), "total": TOTAL }))
        }
        "/ends" => {
            let at = number("page").map_or(0, |page| page - 1) * SIZE;
            if at >= TOTAL { Reply::status(404, &[], "") } else { Reply::json(&json!({ "data": records(at, SIZE) })) }
        }
        "/numbers" => {
            // Takes numbers alone, as an API with types does.
            let at = body["page"].get("after").map_or(0, |after| after.as_u64().unwrap());
            let next = if at + SIZE < TOTAL { json!(at + SIZE) } else { Value::Null };
            Reply::json(&json!({ "data": records(at, SIZE), "next": next }))
        }
        "/offset" => {
            // Never more than 4, whatever is asked for, every 3rd page only 2.
            let at = number("skip").unwrap();
            let most = number("take").unwrap().min(4);
            let most = if at.is_multiple_of(3) { 2 } else { most };
            Reply::json(&json!({ "data": records(at, most), "total": TOTAL.to_string() })).header("X-Total", "47")
        }
        other => panic!("{other}"),
    }
}

fn cases() -> Vec<(&'static str, Value)> {
    let cursor = |from: &str, param: &str| json!({ "cursor": { "from": from, "param": param } });
    vec![
        ("cursor", json!({ "path": "/cursor", "paginate": cursor("$.next", "cursor") })),
        ("empty cursor", json!({ "path": "/empty_cursor", "paginate": cursor("$.next", "cursor") })),
        ("header cursor", json!({ "path": "/header_cursor", "paginate": cursor("header X-Next", "cursor") })),
        ("number cursor", json!({ "path": "/number_cursor", "paginate": cursor("$.next", "cursor") })),
        (
            "cursor in the body",
            json!({ "path": "/cursor", "method": "POST", "body": { "filter": "all" },
                "paginate": { "cursor": { "from": "$.next", "param": "cursor", "in": "body" } } }),
        ),
        ("next url", json!({ "path": "/next", "paginate": { "next_url": { "from": "$.next" } } })),
        ("relative", json!({ "path": "/relative", "paginate": { "next_url": { "from": "$.next" } } })),
        ("link", json!({ "path": "/link", "paginate": { "link": {} } })),
        ("page", json!({ "path": "/page", "paginate": { "page": {} } })),
        (
            "number cursor deep in the body",
            json!({ "path": "/numbers", "method": "POST", "body": { "page": { "size": 5 } },
                "paginate": { "cursor": { "from": "$.next", "param": "page.after", "in": "body" } } }),
        ),
        ("page with an end status", json!({ "path": "/ends", "paginate": { "page": { "end_status": [400, 404] } } })),
        ("page with total", json!({ "path": "/page", "paginate": { "page": {} }, "total": "$.total" })),
        ("page in the body", json!({ "path": "/page", "method": "POST", "paginate": { "page": { "in": "body" } } })),
        (
            "offset",
            json!({ "path": "/offset",
                "paginate": { "offset": { "param": "skip", "limit_param": "take", "limit": 4 } } }),
        ),
        (
            "offset with total",
            json!({ "path": "/offset", "total": "header X-Total",
                "paginate": { "offset": { "param": "skip", "limit_param": "take", "limit": 100 } } }),
        ),
    ]
}

fn rest(concurrency: u32) -> Value {
    json!({ "rate": { "concurrency": concurrency }, "query": { "key": "${TOKEN}", "v": "2" } })
}

type Flat = Vec<(Vec<u8>, Offset, Offset, Option<u64>)>;

fn flat(pages: &[Page]) -> Flat {
    let one = |page: &Page| {
        let records = page.raw_records().collect::<Vec<_>>().join(&b'\n');
        (records, page.offset_before.clone(), page.offset_after.clone(), page.total)
    };
    pages.iter().map(one).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_paginator_gives_every_record_once_for_any_concurrency() {
    // Answers overtake one another.
    let server = Server::start(|got, n| Reply::Late(Duration::from_millis(n as u64 * 7 % 5), Box::new(api(got)))).await;
    for (case, stream) in cases() {
        let mut first: Option<Flat> = None;
        for concurrency in [1, 4, 16] {
            // Requests that were given up may still arrive in the next round: each round is marked.
            let run = format!("{case} {concurrency}");
            let source =
                source(&server.url, stream.clone(), with(rest(concurrency), json!({ "query": { "run": run } })));
            let pages = read(open_all(&source)).await;
            assert_eq!(ids(&pages), (0..TOTAL).collect::<Vec<_>>(), "{case}");
            let end = &pages.last().unwrap().offset_after;
            assert_eq!((&end.cursor, end.records, end.pages), (&PageCursor::End, TOTAL, pages.len() as u64), "{case}");
            let flat = flat(&pages);
            assert_eq!(first.get_or_insert_with(|| flat.clone()), &flat, "{case} with {concurrency} connections");
            let asked = server.got().iter().filter(|got| got.query["run"] == run).count();
            let in_vain = asked - pages.len();
            // Short pages make guesses of an offset paginator void; that is not asking past the end.
            if case == "page with total" || !(case.starts_with("page") || case.starts_with("offset")) {
                assert_eq!(in_vain, 0, "{case} with {concurrency} connections");
            } else if case == "page" {
                assert!(in_vain < concurrency as usize, "{case}: {in_vain} in vain of {concurrency}");
            }
        }
    }
    for got in server.got() {
        assert_eq!(got.query.get("key").map(String::as_str), Some(CANARY), "{}", got.target);
        assert_eq!(got.query.get("v").map(String::as_str), Some("2"), "{}", got.target);
        assert_eq!(got.target.matches("key=").count(), 1, "{}", got.target);
    }
}

#[tokio::test]
async fn resuming_anywhere_gives_exactly_the_rest() {
    let server = Server::start(|got, _| api(got)).await;
    for (case, stream) in cases() {
        let source = source(&server.url, stream, rest(4));
        let whole = flat(&read(open_all(&source)).await);
        for (done, page) in whole.iter().enumerate() {
            let text = serde_json::to_string(&page.2).unwrap();
            assert!(!text.contains("c4nary"), "{case}: a secret would be stored: {text}");
            let from: Offset = serde_json::from_str(&text).unwrap();
            let rest = flat(&read(open(&source, LaneId { lane: 0, of: 1 }, from)).await);
            assert_eq!(rest, whole[done + 1..], "{case} after page {done}");
        }
    }
}

#[tokio::test]
async fn a_dropped_call_loses_nothing_and_asks_nothing_twice() {
    let server = Server::start(|got, _| Reply::Late(Duration::from_millis(8), Box::new(api(got)))).await;
    for (case, stream) in cases() {
        let source = source(&server.url, stream, rest(4));
        let whole = flat(&read(open_all(&source)).await);
        let asked = server.got().len();
        let (mut pages, mut seen, mut dropped) = (open_all(&source), Vec::new(), 0);
        loop {
            match tokio::time::timeout(Duration::from_millis(3), pages.next()).await {
                Err(_) => dropped += 1,
                Ok(Ok(Some(page))) => seen.push(page),
                Ok(Ok(None)) => break,
                Ok(Err(error)) => panic!("{error}"),
            }
        }
        assert!(dropped >= 1, "{case}");
        assert_eq!(flat(&seen), whole, "{case}");
        let again = server.got().len() - asked;
        if !case.starts_with("page") && !case.starts_with("offset") {
            assert_eq!(again, whole.len(), "{case}");
        }
    }
}

#[tokio::test]
async fn lanes_deal_the_partitions_in_order() {
    let server = Server::start(|got, _| {
        let part: u64 = got.path.rsplit('/').next().unwrap().parse().unwrap();
        let page = got.number("page").unwrap();
        let data = if page <= part { vec![json!({ "id": part * 100 + page, "q": got.query["q"] })] } else { vec![] };
        Reply::json(&json!({ "data": data }))
    })
    .await;
    let stream = json!({
        "path": "/parts/{{ partition.value }}", "query": { "q": "{{ param.q }}-{{ partition.value }}" },
        "partition": { "list": { "values": ["3", "0", "2", "1", "4"] } }, "paginate": { "page": {} },
    });
    let source = source(&server.url, stream, json!({})).for_task(params(&[("q", "a b&c=1")]));
    let expected = [vec![301, 302, 303, 201, 202, 401, 402, 403, 404], vec![101]];
    for lane in [0, 1_u32] {
        let id = LaneId { lane, of: 2 };
        let whole = read(open(&source, id, Offset::start(lane))).await;
        assert_eq!(ids(&whole), expected[lane as usize]);
        let end = &whole.last().unwrap().offset_after;
        assert_eq!((end.partition, &end.cursor), (if lane == 0 { 4 } else { 3 }, &PageCursor::End));
        for (done, page) in whole.iter().enumerate() {
            let rest = read(open(&source, id, page.offset_after.clone())).await;
            assert_eq!(flat(&rest), flat(&whole[done + 1..]));
        }
    }
    assert!(server.got().iter().all(|got| got.query["q"].starts_with("a b&c=1-")));
    let none = open(&source, LaneId { lane: 6, of: 7 }, Offset::start(6));
    assert!(read(none).await.is_empty(), "a lane without partitions is at its end");
    let partitions = Arc::new(partitions(&source).unwrap());
    let wrong = source.open(&name("orders"), partitions, LaneId { lane: 1, of: 2 }, Offset::start(2));
    assert!(wrong.is_err(), "partition 2 is not lane 1's");
}

#[tokio::test]
async fn requests_run_ahead_within_the_concurrency_and_never_past_the_total() {
    let server = Server::start(|got, _| Reply::Late(Duration::from_millis(20), Box::new(api(got)))).await;
    let stream = json!({ "path": "/page", "paginate": { "page": {} }, "total": "$.total" });
    let source = source(&server.url, stream, rest(4));
    let mut pages = open_all(&source);
    for _ in 0..3 {
        pages.next().await.unwrap().unwrap();
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    let asked: Vec<_> = server.got().iter().map(|got| got.number("page").unwrap()).collect();
    assert_eq!(asked.len(), 7, "three pages are taken, four wait: {asked:?}");
    drop(pages);
    let all = read(open_all(&source)).await;
    assert_eq!(all.len(), 11, "ten with records, and the empty one that is the end");
    assert!(server.got().iter().all(|got| got.number("page").unwrap() <= 11));
}

#[tokio::test]
async fn pages_that_lead_round_in_a_circle_are_refused() {
    let server = Server::start(|got, n| {
        let next = match got.path.as_str() {
            "/same" => "stuck".to_owned(),
            "/circle" => format!("c{}", n % 7),
            "/url" => got.target.clone(),
            "/long" => "x".repeat(20_000),
            "/secret" => format!("/secret/{}/2", CANARY.replace(['/', '+'], "-").replace('-', "%2F")),
            other => panic!("{other}"),
        };
        Reply::json(&json!({ "data": [{ "id": n }], "next": next }))
    })
    .await;
    let cursor = json!({ "cursor": { "from": "$.next", "param": "c" } });
    let url = json!({ "next_url": { "from": "$.next" } });
    for (path, paginate, says) in [
        ("/same", &cursor, "the cursor \"stuck\" comes again"),
        ("/circle", &cursor, "comes again"),
        ("/url", &url, "/url\" comes again"),
        ("/long", &cursor, "xxx…\" is longer than"),
    ] {
        let stream = json!({ "path": path, "paginate": paginate, "query": { "q": "private-words" } });
        let (error, text) = failure(&source(&server.url, stream, json!({}))).await;
        assert_eq!(crate::base::error::Classify::class(&error), crate::base::error::ErrorClass::Data);
        assert!(text.contains(says) && text.len() < 300, "{text}");
        assert!(!text.contains("private-words"), "{text}");
        assert!(text.starts_with("find the next page of source shop: "), "{text}");
    }
}

#[tokio::test]
async fn templates_and_settings_that_cannot_be_used_are_named() {
    let server = Server::start(|_, _| Reply::json(&json!({ "data": [] }))).await;
    for (stream, key) in [
        (json!({ "path": "/{{ param.x" }), "streams.orders.path"),
        (json!({ "records": "data" }), "streams.orders.records"),
        (json!({ "headers": { "x": "${NONE}" } }), "streams.orders.headers.x"),
        (json!({ "headers": { "a b": "x" } }), "streams.orders.headers.a b"),
        (json!({ "body": {} }), "streams.orders.body"),
        (json!({ "partition": { "list": { "values": [] } } }), "streams.orders.partition"),
        (
            json!({ "paginate": { "cursor": { "from": "header a b", "param": "c" } } }),
            "streams.orders.paginate.cursor.from",
        ),
    ] {
        let error = try_source(&server.url, stream, json!({})).unwrap_err().to_string();
        assert!(error.contains(&format!("`sources.shop.rest.{key}")), "{error}");
    }
    for (path, values, says) in [
        ("/{{ param.x }}", &[][..], "streams.orders.path`: the template has no value"),
        ("/{{ param.x }}/y", &[("x", "..")], "a part of the path is `.` or `..`"),
    ] {
        let source = source(&server.url, json!({ "path": path }), json!({})).for_task(params(values));
        let partitions = Arc::new(partitions(&source).unwrap());
        let lane = LaneId { lane: 0, of: 1 };
        let error = source.open(&name("orders"), partitions, lane, Offset::start(0)).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
    assert!(server.got().is_empty());
}

#[tokio::test]
async fn bodies_are_rendered_and_an_empty_answer_has_no_records() {
    let server = Server::start(|_, _| Reply::status(204, &[], "")).await;
    let body = json!({ "filter": [{ "region": "{{ param.region }}" }], "n": 3, "all": true });
    let source = source(&server.url, json!({ "method": "POST", "body": body }), json!({}))
        .for_task(params(&[("region", "\"eu\"")]));
    let pages = read(open_all(&source)).await;
    assert_eq!((pages.len(), pages[0].records.len()), (1, 0));
    let got = &server.got()[0];
    assert_eq!(got.json(), json!({ "filter": [{ "region": "\"eu\"" }], "n": 3, "all": true }));
    assert_eq!((got.method.as_str(), got.headers["content-type"].as_str()), ("POST", "application/json"));
    assert!(got.headers["user-agent"].starts_with("saas-export-daemon/"));
    assert_eq!(got.headers["accept-encoding"].split(',').count(), 3, "{:?}", got.headers);
}

#[test]
fn the_fingerprint_is_of_what_an_offset_depends_on() {
    let of = |over: Value| {
        let mut stream = json!({ "path": "/a", "records": "$.d[*]", "primary_key": ["id"] });
        merge(&mut stream, over);
        super::super::fingerprint(&serde_json::from_value(stream).unwrap())
    };
    let plain = of(json!({}));
    assert_eq!(plain.len(), 64);
    assert_eq!(of(json!({ "lanes": 4, "types": { "a": "date" }, "total": "$.t" })), plain);
    for over in [
        json!({ "path": "/b" }),
        json!({ "method": "POST" }),
        json!({ "records": "$.e[*]" }),
        json!({ "primary_key": ["no"] }),
        json!({ "paginate": { "page": {} } }),
    ] {
        assert_ne!(of(over.clone()), plain, "{over}");
    }
    let page = |end: Value| of(json!({ "paginate": { "page": { "end_status": end } } }));
    assert_eq!(page(json!([404])), page(json!([])), "how the end is told changes no page");
}
