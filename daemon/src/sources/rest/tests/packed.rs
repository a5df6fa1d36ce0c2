//! Answers that come compressed: unpacked up to the limit, wherever that is done.

use super::*;
use crate::base::error::{Classify as _, ErrorClass};
use crate::base::pool::Pool;
use crate::net::http::tests::server::{Reply, Server};
use std::sync::atomic::Ordering;

#[tokio::test]
async fn a_bomb_stops_at_the_limit() {
    let bomb = zstd::encode_all(std::io::repeat(b' ').take_exactly(50_000_000), 3).unwrap();
    assert!(bomb.len() < 20_000);
    let server = Server::start(move |_, _| Reply::Answer {
        status: 200,
        headers: vec![("content-encoding", "zstd".to_owned())],
        body: bomb.clone(),
    })
    .await;
    let (error, text) = failure(&source(&server.url, json!({}), json!({ "max_body": "1MB" }))).await;
    assert_eq!(error.class(), ErrorClass::Data);
    assert!(text.contains("larger than 1MB after decompression (`max_body`)"), "{text}");
    assert_eq!(server.got().len(), 1, "the same body would come again");
    let server = Server::start(|_, _| Reply::status(200, &[], &"x".repeat(2000))).await;
    let (_, text) = failure(&source(&server.url, json!({}), json!({ "max_body": "1kB" }))).await;
    assert!(text.contains("`max_body`"), "{text}");
}

trait TakeExactly: std::io::Read + Sized {
    fn take_exactly(self, bytes: u64) -> std::io::Take<Self> {
        self.take(bytes)
    }
}
impl TakeExactly for std::io::Repeat {}

#[tokio::test]
async fn a_compressed_answer_is_read() {
    let body = zstd::encode_all(&b"{\"data\":[{\"id\":7}]}"[..], 3).unwrap();
    let server = Server::start(move |_, _| Reply::Answer {
        status: 200,
        headers: vec![("content-encoding", "zstd".to_owned())],
        body: body.clone(),
    })
    .await;
    let source = source(&server.url, json!({}), json!({}));
    assert_eq!(ids(&read(open_all(&source)).await), [7]);
    assert_eq!(source.stats().bytes.load(Ordering::Relaxed), 19);
}

#[tokio::test]
async fn an_answer_that_is_larger_than_it_seemed_is_unpacked_on_the_pool() {
    let body = [b"{\"data\":[{\"id\":7}]}", &vec![b' '; 100_000][..]].concat();
    let packed = zstd::encode_all(&body[..], 3).unwrap();
    assert!(packed.len() < 200);
    let headers = vec![("content-encoding", "zstd".to_owned())];
    let reply = move || Reply::Answer { status: 200, headers: headers.clone(), body: packed.clone() };
    let server = Server::start(move |_, _| reply()).await;
    for (max_body, whole) in [("1MB", true), ("100kB", false), ("1kB", false)] {
        let source = source(&server.url, json!({}), json!({ "max_body": max_body })).on(Pool::new(2));
        if whole {
            assert_eq!(ids(&read(open_all(&source)).await), [7]);
            assert_eq!(source.stats().bytes.load(Ordering::Relaxed), body.len() as u64);
        } else {
            let (_, text) = failure(&source).await;
            assert!(text.contains(&format!("larger than {max_body}")), "{text}");
        }
    }
}

/// Brotli (RFC 7932) without compression: one meta-block as it is, and an empty last one.
fn brotli(body: &[u8]) -> Vec<u8> {
    let head = (u32::try_from(body.len()).unwrap() - 1) << 4 | 1 << 20;
    [&head.to_le_bytes()[..3], body, &[3]].concat()
}

#[tokio::test]
async fn a_brotli_answer_is_read_and_counted_as_it_unfolds() {
    let reply =
        |body: Vec<u8>| Reply::Answer { status: 200, headers: vec![("content-encoding", "br".to_owned())], body };
    let server = Server::start(move |_, _| reply(brotli(b"{\"data\":[{\"id\":7}]}"))).await;
    let source = source(&server.url, json!({}), json!({}));
    assert_eq!(ids(&read(open_all(&source)).await), [7]);
    assert!(server.got()[0].headers["accept-encoding"].contains("br"));
    assert_eq!(source.stats().bytes.load(Ordering::Relaxed), 19);
    let large = Server::start(move |_, _| reply(brotli(&[b' '; 2000]))).await;
    let (_, text) = failure(&super::source(&large.url, json!({}), json!({ "max_body": "1kB" }))).await;
    assert!(text.contains("`max_body`"), "{text}");
    let cut = Server::start(move |_, _| reply(brotli(b"{}")[..4].to_vec())).await;
    let (error, _) = failure(&super::source(&cut.url, json!({}), json!({ "retry": { "attempts": 1 } }))).await;
    assert_eq!(error.class(), ErrorClass::Transient);
}
