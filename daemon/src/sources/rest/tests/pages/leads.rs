//! Where an answer says itself what comes next, that is asked for as soon as it may be, and not before.

use super::*;
use std::collections::BTreeSet;
use std::sync::Mutex;

#[tokio::test]
async fn the_next_cursor_is_asked_for_while_a_page_is_used() {
    let server = Server::start(|got, _| api(got)).await;
    let (_, stream) = cases().swap_remove(0);
    let mut pages = open_all(&source(&server.url, stream, rest(4)));
    let first = pages.next().await.unwrap().unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(server.got().len(), 2, "one page ahead, and no more");
    assert_eq!(first.offset_after.pages, 1);
}

#[tokio::test]
async fn headers_that_lead_on_are_followed_while_their_body_is_still_coming() {
    for (case, stream) in cases().into_iter().filter(|(case, _)| ["cursor", "header cursor", "link"].contains(case)) {
        let server = Server::start(|got, _| Reply::StallAfter(10, Box::new(api(got)))).await;
        for (concurrency, ahead) in [(1, 0), (4, usize::from(case != "cursor"))] {
            let before = server.got().len();
            let mut pages = open_all(&source(&server.url, stream.clone(), rest(concurrency)));
            assert!(tokio::time::timeout(Duration::from_millis(200), pages.next()).await.is_err());
            let asked = server.got().len() - before;
            assert_eq!(asked, 1 + ahead, "{case}: nothing is known of the first page but where it leads");
        }
        // Each answer is cut the first time, when the request that it led to is out.
        let seen = Mutex::new(BTreeSet::new());
        let server = Server::start(move |got, _| match seen.lock().unwrap().insert(got.target.clone()) {
            true => Reply::CutAfter(10, Box::new(api(got))),
            false => api(got),
        })
        .await;
        let pages = read(open_all(&source(&server.url, stream, rest(4)))).await;
        assert_eq!(ids(&pages), (0..TOTAL).collect::<Vec<_>>(), "{case}");
        let got = server.got();
        assert_eq!(got.len(), 20, "{case}: each of ten pages twice");
        assert_eq!(got[0].target == got[1].target, case == "cursor", "the next one is out before the first is cut");
    }
}

#[tokio::test]
async fn headers_of_what_may_be_a_refusal_are_not_followed_and_a_lead_waits_for_a_connection() {
    let (_, link) = cases().into_iter().find(|(case, _)| *case == "link").unwrap();
    let rule = json!({ "answers": [{ "status": [200], "json": "$.slow", "equals": true, "then": "retry" }] });
    for (status, more) in [(202, json!({})), (201, json!({})), (200, rule.clone())] {
        let headers = [("Link", "</link?cursor=t5>; rel=next")];
        let server = Server::start(move |_, _| Reply::StallAfter(3, Box::new(Reply::status(status, &headers, "[{}]"))));
        let server = server.await;
        let mut pages = open_all(&source(&server.url, with(link.clone(), more), rest(4)));
        assert!(tokio::time::timeout(Duration::from_millis(200), pages.next()).await.is_err());
        assert_eq!(server.got().len(), 1, "{status}");
    }
    let server = Server::start(|got, _| api(got)).await;
    let ruled = source(&server.url, with(link.clone(), rule), rest(4));
    assert_eq!(ids(&read(open_all(&ruled)).await), (0..TOTAL).collect::<Vec<_>>());
    // The fifth page says where it leads while both connections are taken, by its own body and by that of the fourth.
    let slow = |got: &Got, _| match got.query.get("cursor").map(String::as_str) {
        Some("t15") => Reply::Trickle(Duration::from_millis(2), Box::new(api(got))),
        Some("t20") => Reply::StallAfter(10, Box::new(api(got))),
        _ => api(got),
    };
    let server = Server::start(slow).await;
    let mut pages = open_all(&source(&server.url, link, rest(2)));
    for _ in 0..4 {
        pages.next().await.unwrap().unwrap();
    }
    assert!(tokio::time::timeout(Duration::from_millis(500), pages.next()).await.is_err());
    let asked: Vec<_> = server.got().iter().filter_map(|got| got.query.get("cursor").cloned()).collect();
    assert_eq!(asked.get(..5).unwrap(), ["t5", "t10", "t15", "t20", "t25"]);
}
