//! The server against clients that do not mean well, over a real socket.

use super::*;
use crate::control::server::serve_within;
use crate::host::socket::ControlSocket;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

const QUICK: Duration = Duration::from_millis(200);

struct Server {
    fixture: Fixture,
    path: PathBuf,
    served: tokio::task::JoinHandle<()>,
}

impl Server {
    async fn start(limits: Limits) -> Self {
        let fixture = Fixture::new().await;
        let path = fixture._dir.path().join("control.sock");
        let socket = ControlSocket::bind(&path).await.unwrap();
        let (state, stop) = (fixture.state.clone(), fixture.stop.clone());
        let served = tokio::spawn(async move { serve_within(&socket.listener, state, stop, limits).await });
        Self { fixture, path, served }
    }

    async fn connect(&self) -> UnixStream {
        UnixStream::connect(&self.path).await.unwrap()
    }

    /// Sends bytes and gives back all that is answered until the server closes.
    async fn raw(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect().await;
        let _ = stream.write_all(bytes).await;
        read_to_close(&mut stream).await
    }
}

async fn read_to_close(stream: &mut UnixStream) -> String {
    let mut answer = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut answer)).await;
    let _ = read.expect("the server closes");
    String::from_utf8_lossy(&answer).into_owned()
}

fn limits() -> Limits {
    Limits { head_timeout: QUICK, body_timeout: QUICK, ..Limits::default() }
}

#[tokio::test]
async fn curl_and_old_clients_are_served_and_any_host_is_fine() {
    let server = Server::start(limits()).await;
    let answer = server.raw(b"GET /v1 HTTP/1.0\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.0 200 OK"), "{answer}");
    let answer = server.raw(b"GET /v1 HTTP/1.1\r\nHost: evil.example:99\r\nConnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.contains("\"type\":\"sync\""), "{answer}");
}

#[tokio::test]
async fn a_browser_is_refused() {
    let server = Server::start(limits()).await;
    let answer = server
        .raw(b"POST /v1/pause HTTP/1.1\r\nHost: localhost\r\nOrigin: https://evil.example\r\nConnection: close\r\n\r\n")
        .await;
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
    assert!(server.fixture.told().is_empty());
}

#[tokio::test]
async fn a_large_body_is_refused_unread() {
    let server = Server::start(Limits { body_bytes: 1000, ..limits() }).await;
    let head = "POST /v1/exports/shop/run HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n";
    let declared = server.raw(format!("{head}Content-Length: 5000000\r\n\r\n{{").as_bytes()).await;
    assert!(declared.starts_with("HTTP/1.1 413"), "{declared}");
    let chunk = "x".repeat(1001);
    let chunked =
        server.raw(format!("{head}Transfer-Encoding: chunked\r\n\r\n3e9\r\n{chunk}\r\n0\r\n\r\n").as_bytes()).await;
    assert!(chunked.starts_with("HTTP/1.1 413"), "{chunked}");
    assert!(server.fixture.told().is_empty());
}

#[tokio::test]
async fn a_large_head_is_refused() {
    let server = Server::start(limits()).await;
    let answer = server.raw(format!("GET /v1 HTTP/1.1\r\nX: {}\r\n\r\n", "y".repeat(20_000)).as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
}

#[tokio::test]
async fn slow_clients_lose_their_connection() {
    let server = Server::start(limits()).await;
    let mut idle = server.connect().await;
    let mut head = server.connect().await;
    head.write_all(b"GET /v1 HTTP/1.1\r\nHo").await.unwrap();
    let mut body = server.connect().await;
    body.write_all(b"POST /v1/exports/shop/run HTTP/1.1\r\nHost: l\r\nContent-Length: 9\r\nConnection: close\r\n\r\n{")
        .await
        .unwrap();
    assert!(!read_to_close(&mut idle).await.contains("200"));
    assert!(!read_to_close(&mut head).await.contains("200"));
    let answer = read_to_close(&mut body).await;
    assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("\"timeout\""), "{answer}");
    assert!(server.fixture.told().is_empty());
}

#[tokio::test]
async fn an_answered_connection_may_not_idle_for_ever() {
    let server = Server::start(limits()).await;
    let mut stream = server.connect().await;
    stream.write_all(b"GET /v1 HTTP/1.1\r\nHost: l\r\n\r\n").await.unwrap();
    assert!(read_to_close(&mut stream).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn one_user_cannot_take_every_connection() {
    let server = Server::start(Limits { per_uid: 2, head_timeout: Duration::from_secs(5), ..limits() }).await;
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut stream = server.connect().await;
        stream.write_all(b"GET /v1 HTTP/1.1\r\nHost: l\r\n\r\n").await.unwrap();
        let mut some = [0_u8; 12];
        stream.read_exact(&mut some).await.unwrap();
        held.push(stream);
    }
    let answer = server.raw(b"").await;
    assert!(answer.starts_with("HTTP/1.1 429") && answer.contains("too_many"), "{answer}");
    drop(held);
    for _ in 0..50 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        if server.raw(b"GET /v1 HTTP/1.0\r\n\r\n").await.starts_with("HTTP/1.0 200") {
            return;
        }
    }
    panic!("closed connections are not given back");
}

#[tokio::test]
async fn what_is_no_http_is_refused_and_the_next_one_served() {
    let server = Server::start(limits()).await;
    for garbage in [&b"\0\xff\x16\x03\x01"[..], b"hello\r\n\r\n", b"GET /v1 HTTP/9.9\r\n\r\n", b"GET  HTTP/1.1\r\n\r\n"]
    {
        let answer = server.raw(garbage).await;
        assert!(!answer.contains(" 200 "), "{answer}");
    }
    for path in ["*", "http://evil.example/v1/nowhere", "/v1/../v1/nowhere", "//v1", "/v1/%2e%2e"] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: l\r\nConnection: close\r\n\r\n");
        let answer = server.raw(request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 40"), "{path}: {answer}");
    }
    assert!(server.raw(b"GET /v1 HTTP/1.0\r\n\r\n").await.contains("200 OK"));
}

#[tokio::test]
async fn a_daemon_that_goes_down_answers_who_waits() {
    let server = Server::start(limits()).await;
    let task = server.fixture.task().await;
    let mut stream = server.connect().await;
    let wait = format!("GET /v1/tasks/{task}/wait?timeout=60 HTTP/1.1\r\nHost: l\r\n\r\n");
    stream.write_all(wait.as_bytes()).await.unwrap();
    let mut follower = server.connect().await;
    follower.write_all(b"GET /v1/events?follow HTTP/1.1\r\nHost: l\r\n\r\n").await.unwrap();
    tokio::time::sleep(QUICK).await;
    server.fixture.stop.cancel();
    let answer = read_to_close(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("going down"), "{answer}");
    assert!(read_to_close(&mut follower).await.starts_with("HTTP/1.1 200"));
    tokio::time::timeout(Duration::from_secs(5), server.served).await.expect("the server ends").unwrap();
    assert!(UnixStream::connect(&server.path).await.is_err());
}

#[tokio::test]
async fn who_reads_nothing_holds_nothing() {
    let server = Server::start(Limits { write_timeout: QUICK, ..limits() }).await;
    let task = super::downloads::published_endless(&server.fixture).await;
    let mut stream = server.connect().await;
    let head = format!("GET /v1/tasks/{task}/files/orders/part-0-000009.csv HTTP/1.1\r\nHost: localhost\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let end = clock::monotonic() + Duration::from_secs(10);
    let mut begun = false;
    while !begun || READ.load(Ordering::SeqCst) > 0 {
        begun |= READ.load(Ordering::SeqCst) > 0;
        assert!(clock::monotonic() < end, "the content is still held (begun: {begun})");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let answer = read_to_close(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 200") && !answer.ends_with("\r\n0\r\n\r\n"), "it breaks off, and looks so");
}
