//! Many partitions in a lane: the next ones are read ahead, and nobody can tell from the pages.

use super::*;
use crate::base::clock;
use crate::net::http::tests::server::{Got, Reply, Server};
use std::time::Duration;

/// Pages of part `n`: none or a few, and one part in the middle is long.
fn pages_of(part: u64) -> u64 {
    if part == 20 { 30 } else { part % 4 }
}

/// A part by cursor, page or offset; two records a page, the last page has one.
fn api(got: &Got) -> Reply {
    let part: u64 = got.path.rsplit('/').next().unwrap().parse().unwrap();
    let (last, total) = (pages_of(part), (pages_of(part) * 2).saturating_sub(1));
    let at = got.number("cursor").or(got.number("page")).unwrap_or(0);
    let first = got.number("offset").unwrap_or(at * 2);
    let data: Vec<Value> = (first..total.min(first + 2)).map(|n| json!({ "id": part * 1000 + n })).collect();
    let next = (at + 1 < last).then_some(at + 1);
    Reply::json(&json!({ "data": data, "next": next, "total": total }))
}

fn stream(paginate: Value, parts: u64, total: bool) -> Value {
    let values: Vec<String> = (0..parts).map(|part| part.to_string()).collect();
    let mut stream = json!({ "path": "/parts/{{ partition.value }}", "partition": { "list": { "values": values } } });
    stream["paginate"] = paginate;
    if total {
        stream["total"] = "$.total".into();
    }
    stream
}

fn paginators() -> [Value; 4] {
    [
        json!({ "cursor": { "from": "$.next", "param": "cursor" } }),
        json!({ "page": { "start": 0 } }),
        json!({ "page": { "start": 0, "size_param": "per", "size": 2 } }),
        json!({ "offset": { "limit": 2 } }),
    ]
}

fn rest(concurrency: u32) -> Value {
    json!({ "rate": { "concurrency": concurrency, "adaptive": false } })
}

fn wanted(parts: u64) -> Vec<u64> {
    (0..parts).flat_map(|part| (0..(pages_of(part) * 2).saturating_sub(1)).map(move |n| part * 1000 + n)).collect()
}

#[tokio::test]
async fn any_concurrency_gives_the_same_pages_from_anywhere() {
    let server =
        Server::start(|got, n| Reply::Late(Duration::from_micros(n as u64 * 7919 % 3000), Box::new(api(got)))).await;
    for paginate in paginators() {
        for total in [false, true] {
            let flat = |pages: &[Page]| {
                pages
                    .iter()
                    .map(|page| (ids(std::slice::from_ref(page)), page.offset_after.clone(), page.total))
                    .collect::<Vec<_>>()
            };
            let whole = flat(&read(open_all(&source(&server.url, stream(paginate.clone(), 25, total), rest(1)))).await);
            for concurrency in [2, 16] {
                let source = source(&server.url, stream(paginate.clone(), 25, total), rest(concurrency));
                let pages = read(open_all(&source)).await;
                assert_eq!(ids(&pages), wanted(25), "{paginate}");
                assert_eq!(flat(&pages), whole, "{paginate} with {concurrency}");
                for done in (0..whole.len()).step_by(7) {
                    let from = whole[done].1.clone();
                    let rest = read(open(&source, LaneId { lane: 0, of: 1 }, from)).await;
                    assert_eq!(flat(&rest), whole[done + 1..], "{paginate} after page {done}");
                }
            }
        }
    }
}

#[tokio::test]
async fn a_dropped_call_asks_nothing_twice() {
    let server = Server::start(|got, _| Reply::Late(Duration::from_millis(4), Box::new(api(got)))).await;
    let [paginate, ..] = paginators();
    let mut pages = open_all(&source(&server.url, stream(paginate, 25, false), rest(8)));
    let mut seen = Vec::new();
    loop {
        match tokio::time::timeout(Duration::from_millis(1), pages.next()).await {
            Err(_) => {}
            Ok(page) => match page.unwrap() {
                Some(page) => seen.push(page),
                None => break,
            },
        }
    }
    assert_eq!(ids(&seen), wanted(25));
    assert_eq!(server.got().len(), seen.len());
}

/// How long a stream takes whose every answer takes 20 ms, and how many requests it needs.
async fn time(paginate: Value, parts: u64, concurrency: u32) -> (Duration, usize) {
    let server = Server::start(|got, _| Reply::Late(Duration::from_millis(20), Box::new(api(got)))).await;
    let started = clock::monotonic();
    let pages = read(open_all(&source(&server.url, stream(paginate, parts, false), rest(concurrency)))).await;
    assert_eq!(ids(&pages), wanted(parts));
    (clock::since(started), server.got().len())
}

#[tokio::test(flavor = "multi_thread")]
async fn short_partitions_are_read_side_by_side() {
    // Pages of two records that overlap are half as long as the others, and no longer short.
    let apart = json!({ "offset": { "limit": 2, "overlap": false } });
    let [cursor, page, sized, _] = paginators();
    for paginate in [cursor, page, sized, apart] {
        let (one, asked) = time(paginate.clone(), 20, 1).await;
        let (many, also) = time(paginate.clone(), 20, 16).await;
        assert!(many * 4 < one, "{paginate}: {many:?} with 16 connections, {one:?} with one");
        assert!(also <= asked + 5, "{paginate}: {also} requests with 16 connections, {asked} with one");
    }
}

#[tokio::test]
async fn what_is_read_ahead_stays_within_its_bytes_and_pages() {
    // Every part has a thousand pages of ten kilobytes.
    let server = Server::start(|got, _| {
        let at = got.number("cursor").unwrap_or(0);
        Reply::json(&json!({ "data": [{ "id": at, "pad": "x".repeat(10_000) }], "next": at + 1 }))
    })
    .await;
    for (bytes, most) in [(0, 3), (100_000, 12), (10_000_000, 16 * 8)] {
        let before = server.got().len();
        let [paginate, ..] = paginators();
        let mut pages = open_all(&source(&server.url, stream(paginate, 25, false), rest(16))).within(bytes);
        for _ in 0..20 {
            pages.next().await.unwrap().unwrap();
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let ahead = server.got().len() - before - 20;
        assert!(ahead <= most, "{bytes} bytes: {ahead} pages are read ahead");
    }
}

#[tokio::test]
async fn an_error_of_a_later_partition_comes_in_its_turn() {
    let server =
        Server::start(|got, _| if got.path.ends_with("/5") { Reply::status(400, &[], "") } else { api(got) }).await;
    let [paginate, ..] = paginators();
    let mut pages = open_all(&source(&server.url, stream(paginate, 25, false), rest(16)));
    let mut seen = Vec::new();
    let error = loop {
        match pages.next().await {
            Ok(page) => seen.push(page.unwrap()),
            Err(error) => break error,
        }
    };
    assert_eq!(ids(&seen), wanted(5));
    assert!(Chain(&error).to_string().contains("400"));
    assert!(pages.next().await.is_err(), "it is asked again, and refused again");
}

#[tokio::test]
async fn no_partitions_are_no_pages_and_included_fields_are_in_every_record() {
    let server = Server::start(|got, _| api(got)).await;
    let stream = json!({
        "path": "/parts/{{ parent.part }}", "paginate": { "page": { "start": 0 } },
        "partition": { "parent": { "stream": "parts", "values": { "part": "$.n" }, "include": { "part": "part" } } },
    });
    let more = json!({ "streams": { "parts": { "path": "/all" } } });
    let source = source(&server.url, stream, more);
    let parents = source.parents(&name("orders")).unwrap();
    assert_eq!((parents[0].stream.as_str(), parents[0].places.as_slice()), ("parts", &["$.n".to_owned()][..]));
    let mut rows = Partitions::new(parents[0].places.clone());
    let list = |rows: &Partitions| {
        let cut = Cut { parents: [(name("parts"), rows.clone())].into(), ..Cut::at(jiff::Timestamp::UNIX_EPOCH) };
        Arc::new(source.partitions(&name("orders"), &cut).unwrap())
    };
    let lane = LaneId { lane: 0, of: 1 };
    let none = source.open(&name("orders"), list(&rows), lane, Offset::start(0)).unwrap();
    assert!(read(none).await.is_empty());
    assert!(server.got().is_empty());
    rows.push(["\"3\""]).unwrap();
    let pages = read(source.open(&name("orders"), list(&rows), lane, Offset::start(0)).unwrap()).await;
    let first: Value = serde_json::from_slice(pages[0].raw_records().next().unwrap()).unwrap();
    assert_eq!(first, json!({ "part": "3", "id": 3000 }));
    assert_eq!(pages.iter().map(|page| page.records.len()).sum::<usize>(), 5);
}
