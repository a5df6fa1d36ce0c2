//! Checksums that come with answers: a damaged body is asked for again, and is never taken.

use super::*;
use crate::base::error::{Classify as _, ErrorClass};
use crate::net::digest::Algorithm;
use crate::net::http::tests::server::{Got, Reply, Server};
use std::sync::atomic::{AtomicUsize, Ordering};

const GOOD: &[u8] = br#"{"data": [{"id":1}, {"id":2}], "sum": "SUM"}"#;

fn body(algorithm: Algorithm) -> Vec<u8> {
    let sum = crate::base::ids::hex(&algorithm.of(br#"[{"id":1}, {"id":2}]"#));
    String::from_utf8(GOOD.to_vec()).unwrap().replace("SUM", &sum).into_bytes()
}

/// A server whose answer number `damaged` has another id in it.
async fn server(headers: Vec<(&'static str, String)>, body: Vec<u8>, damaged: fn(usize) -> bool) -> Server {
    let count = AtomicUsize::new(0);
    Server::start(move |_: &Got, _| {
        let mut body = body.clone();
        if damaged(count.fetch_add(1, Ordering::SeqCst)) {
            let at = body.windows(5).position(|window| window == b"\"id\":").unwrap() + 5;
            body[at] = b'7';
        }
        Reply::Answer { status: 200, headers: headers.clone(), body }
    })
    .await
}

fn content_digest(body: &[u8]) -> Vec<(&'static str, String)> {
    use base64::Engine as _;
    let digest = base64::engine::general_purpose::STANDARD.encode(Algorithm::Sha256.of(body));
    vec![("content-digest", format!("sha-256=:{digest}:"))]
}

#[tokio::test]
async fn a_damaged_body_is_asked_for_again() {
    let cases = [
        (content_digest(GOOD), GOOD.to_vec(), json!({})),
        (
            vec![("x-checksum", crate::base::ids::hex(&Algorithm::Md5.of(GOOD)))],
            GOOD.to_vec(),
            json!({ "checksum": { "header": "X-Checksum", "algorithm": "md5" } }),
        ),
        (
            vec![],
            body(Algorithm::Crc32c),
            json!({ "checksum": { "field": "$.sum", "of": "$.data", "algorithm": "crc32c" } }),
        ),
        (vec![], body(Algorithm::Sha256), json!({ "checksum": { "field": "$.sum", "of": "$.data" } })),
    ];
    for (headers, body, stream) in cases {
        let once = server(headers.clone(), body.clone(), |n| n == 0).await;
        let healed = source(&once.url, stream.clone(), json!({}));
        assert_eq!(ids(&read(open_all(&healed)).await), [1, 2], "{stream}");
        assert_eq!(healed.stats().retries.load(Ordering::Relaxed), 1, "{stream}");

        let always = server(headers, body, |_| true).await;
        let (error, text) = failure(&source(&always.url, stream.clone(), json!({ "retry": { "attempts": 3 } }))).await;
        assert_eq!(error.class(), ErrorClass::Transient, "{stream}");
        assert!(text.contains("is not what"), "{text}");
        assert_eq!(always.got().len(), 3, "{text}");
    }
}

#[tokio::test]
async fn the_operator_can_say_that_digests_are_wrong_and_a_missing_checksum_is_told() {
    let wrong = server(content_digest(b"other"), GOOD.to_vec(), |_| false).await;
    let trusting = source(&wrong.url, json!({ "checksum": { "ignore_standard": true } }), json!({}));
    assert_eq!(ids(&read(open_all(&trusting)).await), [1, 2]);
    for checksum in [json!({ "header": "X-Checksum" }), json!({ "field": "$.gone", "of": "$.data" })] {
        let none = server(vec![], GOOD.to_vec(), |_| false).await;
        let (_, text) = failure(&source(&none.url, json!({ "checksum": checksum }), json!({}))).await;
        assert!(text.contains("is missing"), "{text}");
    }
}

#[tokio::test]
async fn the_digest_of_a_compressed_body_may_be_of_what_is_in_it_and_any_other_is_counted() {
    let packed = zstd::encode_all(GOOD, 3).unwrap();
    for (of, known) in [(&packed[..], 1), (GOOD, 1), (b"another form", 0)] {
        let mut headers = content_digest(of);
        headers.push(("content-encoding", "zstd".to_owned()));
        let server = server(headers, packed.clone(), |_| false).await;
        let source = source(&server.url, json!({}), json!({}));
        assert_eq!(ids(&read(open_all(&source)).await), [1, 2]);
        assert_eq!(source.stats().same.load(Ordering::Relaxed), known);
        assert_eq!(source.stats().uncompared().is_some_and(|note| note.contains('1')), known == 0);
        assert_eq!(source.stats().uncompared(), None);
    }
}

#[tokio::test]
async fn a_checksum_of_the_body_is_asked_for_without_compression() {
    let sum = vec![("x-checksum", crate::base::ids::hex(&Algorithm::Sha256.of(GOOD)))];
    let server = server(sum, GOOD.to_vec(), |_| false).await;
    let source = source(&server.url, json!({ "checksum": { "header": "X-Checksum" } }), json!({}));
    assert_eq!(ids(&read(open_all(&source)).await), [1, 2]);
    assert_eq!(server.got()[0].headers["accept-encoding"], "identity");
}
