//! What goes wrong on the way is tried again within its limits, or told in words that help and hide every secret.

use super::*;
use crate::base::clock;
use crate::base::error::{Classify as _, ErrorClass};
use crate::net::http::tests::server::{Got, Reply, Server};
use std::sync::atomic::Ordering;
use std::time::Duration;

const PAGES: u64 = 6;

fn page(got: &Got) -> Reply {
    let page = got.number("page").unwrap();
    let data = if page <= PAGES { vec![json!({ "id": page, "text": "x".repeat(3000) })] } else { vec![] };
    Reply::json(&json!({ "data": data }))
}

fn paged() -> Value {
    json!({ "paginate": { "page": {} } })
}

/// Every page fails once with `fault`, and then comes.
async fn flaky(fault: impl Fn(&Got) -> Reply + Send + Sync + 'static, rest: Value) -> (RestSource, Vec<Page>) {
    let failed = std::sync::Mutex::new(std::collections::BTreeSet::new());
    let server = Server::start(
        move |got, _| {
            if failed.lock().unwrap().insert(got.number("page")) { fault(got) } else { page(got) }
        },
    )
    .await;
    let source = source(&server.url, paged(), rest);
    let pages = read(open_all(&source)).await;
    assert_eq!(ids(&pages), (1..=PAGES).collect::<Vec<_>>());
    (source, pages)
}

#[tokio::test]
async fn what_may_pass_is_tried_again() {
    for concurrency in [1, 4] {
        // A pace that is learnt from refusals would make this slow; here only the tries count.
        let rest = || json!({ "rate": { "concurrency": concurrency, "adaptive": false } });
        for status in [408, 425, 429, 500, 502, 503, 504, 599] {
            let (source, _) = flaky(move |_| Reply::status(status, &[], "{}"), rest()).await;
            assert!(source.stats().retries.load(Ordering::Relaxed) > PAGES, "{status}");
        }
        flaky(|got| Reply::CutAfter(1000, Box::new(page(got))), rest()).await;
        flaky(|got| Reply::CutAfter(0, Box::new(page(got))), rest()).await;
        flaky(|_| Reply::Reset, rest()).await;
        // A body that is whole for HTTP and cut for JSON; and one that is no JSON at all.
        flaky(|_| Reply::status(200, &[], "{\"data\": [{\"id\": 1}, {\"i"), rest()).await;
        flaky(|_| Reply::status(200, &[], ""), rest()).await;
        flaky(|_| Reply::status(200, &[("content-encoding", "gzip")], "no gzip"), rest()).await;
    }
}

#[tokio::test]
async fn silence_ends_at_the_read_timeout() {
    let rest = || json!({ "keep_alive": { "read_timeout": "100ms" }, "rate": { "concurrency": 8 } });
    flaky(|_| Reply::Stall, rest()).await;
    flaky(|got| Reply::StallAfter(1000, Box::new(page(got))), rest()).await;
    let server = Server::start(|_, _| Reply::Stall).await;
    let retry = json!({ "keep_alive": { "read_timeout": "50ms" }, "retry": { "attempts": 2 } });
    let (error, text) = failure(&source(&server.url, paged(), retry)).await;
    assert_eq!(error.class(), ErrorClass::Transient);
    assert!(text.contains("nothing came for 50ms (`keep_alive.read_timeout`)"), "{text}");
    assert_eq!(server.got().len(), 2);
}

#[tokio::test]
async fn both_forms_of_retry_after_hold_the_whole_source_back() {
    let (now, then) = ("Sun, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:39 GMT");
    for headers in [vec![("retry-after", "2")], vec![("retry-after", then), ("date", now)]] {
        let at = Arc::new(std::sync::Mutex::new(Vec::new()));
        let seen = at.clone();
        let server = Server::start(move |got, n| {
            seen.lock().unwrap().push(clock::monotonic());
            if n == 2 { Reply::status(429, &headers, "{}") } else { page(got) }
        })
        .await;
        let source = source(&server.url, paged(), json!({}));
        let mut waiting = source.stats().waiting();
        let reading = tokio::spawn(read(open_all(&source)));
        let shown = waiting.wait_for(Option::is_some).await.unwrap().clone().unwrap();
        assert_eq!(shown.reason, "source shop asks to wait (Retry-After)");
        let left = shown.until.unwrap().duration_since(clock::now());
        assert!(left.as_millis() > 500 && left.as_millis() < 2500, "{left:?}");
        assert_eq!(ids(&reading.await.unwrap()), (1..=PAGES).collect::<Vec<_>>());
        assert_eq!(*waiting.borrow(), None);
        let stats = source.stats();
        assert_eq!((stats.throttled.load(Ordering::Relaxed), stats.retries.load(Ordering::Relaxed)), (1, 1));
        let at = at.lock().unwrap();
        let longest = at.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
        assert!(longest >= Duration::from_millis(1950), "{longest:?}");
    }
}

#[tokio::test]
async fn a_long_wait_is_left_to_the_queue() {
    let server = Server::start(|_, _| Reply::status(429, &[("retry-after", "7200")], "{}")).await;
    let (error, text) = failure(&source(&server.url, paged(), json!({}))).await;
    assert_eq!(error.class(), ErrorClass::Throttled(Duration::from_secs(7200)));
    assert!(text.contains("`sources.shop.rest.rate`") && text.contains("429"), "{text}");
    assert_eq!(server.got().len(), 1);
}

#[tokio::test]
async fn tries_of_a_request_and_retries_of_a_task_end() {
    let server = Server::start(|_, _| Reply::status(503, &[], "{}")).await;
    let (error, text) = failure(&source(&server.url, paged(), json!({ "retry": { "attempts": 3 } }))).await;
    assert_eq!((error.class(), server.got().len()), (ErrorClass::Transient, 3), "{text}");

    let server = Server::start(|_, _| Reply::status(503, &[], "{}")).await;
    let few = source(&server.url, paged(), json!({ "retry": { "attempts": 100, "per_task": 7 } }));
    let (_, text) = failure(&few).await;
    assert_eq!(server.got().len(), 8);
    assert!(
        text.contains("all 7 retries of the task are used up (`retry.per_task`): the server answered 503"),
        "{text}"
    );
    let (_, text) = failure(&few).await;
    assert_eq!(server.got().len(), 9, "the budget is the task's: {text}");
    failure(&few.for_task(params(&[]))).await;
    assert_eq!(server.got().len(), 17, "another task has its own");
}

#[tokio::test]
async fn a_reset_on_a_kept_connection_does_not_count() {
    let server = Server::start(|got, _| if got.on_connection == 1 { Reply::Reset } else { page(got) }).await;
    let rest = json!({ "retry": { "attempts": 1, "per_task": 0 }, "rate": { "concurrency": 1 } });
    let source = source(&server.url, paged(), rest);
    assert_eq!(ids(&read(open_all(&source)).await), (1..=PAGES).collect::<Vec<_>>());
    assert_eq!(source.stats().retries.load(Ordering::Relaxed), 0);
    assert!(server.got().iter().any(|got| got.on_connection == 1), "a connection was kept, and reset");

    let server =
        Server::start(|_, n| if n == 0 { Reply::json(&json!({ "data": [{ "id": 1 }] })) } else { Reply::Reset });
    let server = server.await;
    let post = json!({ "method": "POST", "paginate": { "page": {} } });
    let rest = json!({ "retry": { "attempts": 1 }, "rate": { "concurrency": 1 } });
    failure(&super::source(&server.url, post, rest)).await;
    assert_eq!(server.got().len(), 2, "a POST is not sent again for nothing");
}

#[tokio::test]
async fn what_no_retry_mends_fails_at_once_and_says_what_to_do() {
    let words = [
        (400, ErrorClass::Config, "`sources.shop.rest.streams.orders.query`"),
        (401, ErrorClass::Auth, "`sources.shop.rest.auth`"),
        (403, ErrorClass::Auth, "no right to this stream"),
        (404, ErrorClass::Config, "`sources.shop.rest.streams.orders.path`"),
        (405, ErrorClass::Config, "`sources.shop.rest.streams.orders.method`"),
        (410, ErrorClass::Config, "`sources.shop.rest.streams.orders.path`"),
        (418, ErrorClass::Config, "`sources.shop.rest.streams.orders`"),
        (422, ErrorClass::Config, "`sources.shop.rest.streams.orders.query`"),
    ];
    for (status, class, hint) in words {
        let server = Server::start(move |got, _| {
            // A server that repeats everything it was sent.
            let message = format!("no\u{1b}[31m: {} {:?} {}", got.target, got.headers, "y".repeat(500));
            Reply::status(status, &[], &json!({ "message": message }).to_string())
        })
        .await;
        let rest = json!({
            "auth": { "api_key": { "query": "key", "value": "${TOKEN}" } },
            "headers": { "x-token": "Token ${TOKEN}", "authorization": "Basic ${TOKEN}" },
        });
        let stream = json!({ "paginate": { "page": {} }, "query": { "who": "q-${TOKEN}" } });
        let (error, text) = failure(&source(&server.url, stream, rest)).await;
        assert_eq!(error.class(), class, "{text}");
        assert_eq!(server.got().len(), 1, "{text}");
        assert!(server.got()[0].text().contains(CANARY), "the server did get it");
        for part in ["ask source shop", hint, &status.to_string(), "and says \"no [31m: "] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert!(text.len() < 600 && !text.contains('\u{1b}'), "{text}");
    }
}

#[tokio::test]
async fn advice_about_the_end_is_for_pages_behind_the_first() {
    let server = Server::start(|got, _| match got.number("page") {
        Some(3) => Reply::status(404, &[], ""),
        _ => page(got),
    });
    let server = server.await;
    let (_, text) = failure(&source(&server.url, paged(), json!({}))).await;
    let key = "`sources.shop.rest.streams.orders.paginate.page.end_status: [404]`";
    assert!(text.contains(key) && text.contains("behind its last page"), "{text}");
    let first = Server::start(|_, _| Reply::status(404, &[], "")).await;
    let (_, text) = failure(&source(&first.url, paged(), json!({}))).await;
    assert!(!text.contains("end_status"), "{text}");
}

#[tokio::test]
async fn an_answer_that_trickles_ends_at_its_own_time_out() {
    let slow = |got: &Got| Reply::Trickle(Duration::from_millis(40), Box::new(page(got)));
    let rest = json!({ "keep_alive": { "read_timeout": "5s", "answer_timeout": "150ms" } });
    flaky(slow, rest.clone()).await;
    let server = Server::start(move |got, _| slow(got)).await;
    let (error, text) = failure(&source(&server.url, paged(), with(rest, json!({ "retry": { "attempts": 2 } })))).await;
    assert_eq!((error.class(), server.got().len()), (ErrorClass::Transient, 2));
    assert!(text.contains("not complete after 150ms (`keep_alive.answer_timeout`)"), "{text}");
}

#[tokio::test]
async fn redirects_wait_for_their_turn() {
    let server = Server::start(|got, _| match got.path.as_str() {
        "/orders" => Reply::status(307, &[("location", "/two")], ""),
        "/two" => Reply::status(307, &[("location", "/three")], ""),
        _ => Reply::json(&json!({ "data": [{ "id": 1 }] })),
    })
    .await;
    let source = source(&server.url, json!({}), json!({ "rate": { "per_second": 10.0 } }));
    let start = clock::monotonic();
    read(open_all(&source)).await;
    assert_eq!(server.got().len(), 3);
    assert!(clock::since(start) >= Duration::from_millis(170), "{:?}", clock::since(start));
}

#[tokio::test]
async fn the_servers_words_are_only_taken_from_a_message() {
    for (body, says) in [
        (r#"{"error":"wrong key"}"#, "\"wrong key\""),
        (r#"{"error":{"message":"wrong key","customer":"Ms Private"}}"#, "\"wrong key\""),
        (r#"{"customers":["Ms Private"]}"#, "404 Not Found"),
        ("<html>Ms Private</html>", "404 Not Found"),
    ] {
        let packed = (vec![("content-encoding", "zstd".to_owned())], zstd::encode_all(body.as_bytes(), 3).unwrap());
        for (headers, body) in [(vec![], body.as_bytes().to_vec()), packed] {
            let reply = move || Reply::Answer { status: 404, headers: headers.clone(), body: body.clone() };
            let server = Server::start(move |_, _| reply()).await;
            let (_, text) = failure(&source(&server.url, paged(), json!({}))).await;
            assert!(text.ends_with(says) && !text.contains("Private"), "{text}");
        }
    }
}

#[tokio::test]
async fn a_path_that_finds_nothing_is_a_mistake_of_the_configuration() {
    let server = Server::start(|_, _| Reply::json(&json!({ "items": [] }))).await;
    let (_, text) = failure(&source(&server.url, paged(), json!({}))).await;
    assert!(text.ends_with("nothing at $.data[*]; $ is an object with the keys items"), "{text}");
    assert_eq!(server.got().len(), 1);
}

#[tokio::test]
async fn a_page_for_people_is_told_as_such() {
    let page = "<html>We will be back soon, Ms Private</html>";
    let server = Server::start(move |_, _| Reply::status(200, &[("content-type", "text/html; charset=x")], page)).await;
    let (error, text) = failure(&source(&server.url, paged(), json!({ "retry": { "attempts": 2 } }))).await;
    assert_eq!((error.class(), server.got().len()), (ErrorClass::Transient, 2));
    assert!(text.ends_with("(it calls itself \"text/html\")") && !text.contains("Private"), "{text}");
}

#[tokio::test]
async fn nobody_there_is_told_after_the_retries() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let (error, text) = failure(&source(&url, paged(), json!({ "retry": { "attempts": 2 } }))).await;
    assert_eq!(error.class(), ErrorClass::Transient);
    assert!(text.contains(&format!("no connection to {url}")), "{text}");
}

#[tokio::test]
async fn an_error_can_be_followed_by_another_try() {
    let server = Server::start(|got, n| if n == 1 { Reply::status(404, &[], "") } else { page(got) }).await;
    let source = source(&server.url, paged(), json!({ "rate": { "concurrency": 1 } }));
    let mut pages = open_all(&source);
    let mut all = vec![pages.next().await.unwrap().unwrap()];
    assert!(pages.next().await.is_err());
    all.extend(read(pages).await);
    assert_eq!(ids(&all), (1..=PAGES).collect::<Vec<_>>());
}

#[tokio::test]
async fn errors_name_the_page_and_what_is_there() {
    let server = Server::start(|got, _| match got.number("page") {
        Some(3) => Reply::status(200, &[], " \n"),
        _ => page(got),
    })
    .await;
    let of = json!({ "path": "/{{ param.p }}", "paginate": { "page": {} } });
    let mut pages = open_all(&source(&server.url, of, json!({})).for_task(params(&[("p", "s3cret")])));
    let text = loop {
        if let Err(error) = pages.next().await {
            break Chain(&error).to_string();
        }
    };
    assert!(text.contains("the page of \"/{{ param.p }}\" at page=3") && text.contains("the body is empty"), "{text}");
    assert!(!text.contains("s3cret"), "{text}");
    // A server that repeats a credential as a key.
    let answer = json!({ "result": { "items": ["s3cret"], CANARY: 1 } }).to_string();
    let server = Server::start(move |_, _| Reply::status(200, &[], &answer)).await;
    let rest = json!({ "auth": { "bearer": { "token": "${TOKEN}" } } });
    let (_, text) = failure(&source(&server.url, json!({ "records": "$.result.rows[*]" }), rest)).await;
    assert!(text.contains("nothing at $.result.rows[*]; $.result is an object with the keys items, "), "{text}");
    assert!(text.contains("ask source shop for \"/orders\"") && !text.contains("s3cret"), "{text}");
}

#[tokio::test]
async fn a_redirect_that_is_not_followed_says_what_to_write() {
    let post = json!({ "method": "POST" });
    for (status, to, words) in [
        (301, "/orders/?key=1", "orders/: write that in `base_url` and `path`"),
        (302, "https://api.example/v2/orders", "It leads to https://api.example/v2/orders: write that"),
        (307, "", "does not say where to"),
    ] {
        let headers = [("location", to)];
        let headers = if to.is_empty() { vec![] } else { headers.to_vec() };
        let server = Server::start(move |_, _| Reply::status(status, &headers, "")).await;
        let (error, text) = failure(&source(&server.url, post.clone(), json!({}))).await;
        assert_eq!(error.class(), ErrorClass::Config);
        assert!(text.contains(words) && text.contains(&status.to_string()) && !text.contains("key=1"), "{text}");
    }
    let server = Server::start(|_, _| Reply::status(301, &[("location", "https://api.example/orders")], "")).await;
    let (_, text) = failure(&source(&server.url, json!({}), json!({}))).await;
    assert!(text.contains("`sources.shop.rest.allowed_origins: [\"https://api.example:443\"]`"), "{text}");
    assert!(text.contains("write it in `sources.shop.rest.base_url`"), "{text}");
}
