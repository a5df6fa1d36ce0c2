//! A small HTTP/1.1 server whose every answer, fault and silence a test decides.

use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Got {
    pub method: String,
    /// As in the request line: with the query, absolute for a proxy.
    pub target: String,
    pub path: String,
    pub query: BTreeMap<String, String>,
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
    /// Position on its connection, from 0.
    pub on_connection: usize,
}

impl Got {
    pub fn number(&self, param: &str) -> Option<u64> {
        self.query.get(param).map(|text| text.parse().unwrap())
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// All of it, for searching.
    pub fn text(&self) -> String {
        format!("{self:?} {}", String::from_utf8_lossy(&self.body))
    }
}

/// What to do with a request.
pub enum Reply {
    /// Answer.
    Answer { status: u16, headers: Vec<(&'static str, String)>, body: Vec<u8> },
    /// Answer after a while.
    Late(Duration, Box<Reply>),
    /// Announce the whole body, send this many bytes of it and reset the connection.
    CutAfter(usize, Box<Reply>),
    /// Announce the whole body, send this many bytes of it and nothing more.
    StallAfter(usize, Box<Reply>),
    /// Send the body byte by byte, with this pause after each.
    Trickle(Duration, Box<Reply>),
    /// Reset the connection without an answer.
    Reset,
    /// Say nothing, keep the connection.
    Stall,
}

impl Reply {
    pub fn json(value: &Value) -> Self {
        Self::Answer { status: 200, headers: vec![], body: value.to_string().into_bytes() }
    }

    pub fn status(status: u16, headers: &[(&'static str, &str)], body: &str) -> Self {
        let headers = headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        Self::Answer { status, headers, body: body.into() }
    }

    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        if let Self::Answer { headers, .. } = &mut self {
            headers.push((name, value.to_owned()));
        }
        self
    }
}

type Handler = dyn Fn(&Got, usize) -> Reply + Send + Sync;

/// A running server; it ends with the test's runtime.
pub struct Server {
    pub url: String,
    log: Arc<Mutex<Vec<Got>>>,
}

impl Server {
    /// Answers each request by `handler`, which also gets the number of requests before it.
    pub async fn start(handler: impl Fn(&Got, usize) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let log = Arc::new(Mutex::new(Vec::new()));
        let (handler, seen): (Arc<Handler>, _) = (Arc::new(handler), log.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, handler.clone(), seen.clone()));
            }
        });
        Self { url, log }
    }

    /// The requests so far.
    pub fn got(&self) -> Vec<Got> {
        self.log.lock().unwrap().clone()
    }
}

async fn serve(mut stream: TcpStream, handler: Arc<Handler>, log: Arc<Mutex<Vec<Got>>>) {
    stream.set_nodelay(true).unwrap();
    for on_connection in 0.. {
        let Some(got) = receive(&mut stream, on_connection).await else { return };
        let before = {
            let mut log = log.lock().unwrap();
            log.push(got.clone());
            log.len() - 1
        };
        let mut reply = handler(&got, before);
        let (mut cut, mut stall, mut pause) = (None, false, None);
        loop {
            match reply {
                Reply::Late(wait, inner) => {
                    tokio::time::sleep(wait).await;
                    reply = *inner;
                }
                Reply::CutAfter(bytes, inner) => {
                    cut = Some(bytes);
                    reply = *inner;
                }
                Reply::StallAfter(bytes, inner) => {
                    (cut, stall) = (Some(bytes), true);
                    reply = *inner;
                }
                Reply::Trickle(between, inner) => {
                    pause = Some(between);
                    reply = *inner;
                }
                Reply::Stall => std::future::pending().await,
                Reply::Reset => return reset(&stream),
                Reply::Answer { status, headers, body } => {
                    let mut head = format!("HTTP/1.1 {status} Some\r\ncontent-length: {}\r\n", body.len());
                    headers.iter().for_each(|(name, value)| head += &format!("{name}: {value}\r\n"));
                    stream.write_all(format!("{head}\r\n").as_bytes()).await.unwrap_or_default();
                    if let Some(pause) = pause {
                        for byte in &body {
                            if stream.write_all(&[*byte]).await.is_err() {
                                return;
                            }
                            tokio::time::sleep(pause).await;
                        }
                        break;
                    }
                    let sent = &body[..cut.unwrap_or(body.len()).min(body.len())];
                    stream.write_all(sent).await.unwrap_or_default();
                    if stall {
                        std::future::pending::<()>().await;
                    }
                    if cut.is_some() {
                        // The bytes sent so far should arrive before the reset does.
                        tokio::time::sleep(Duration::from_millis(20)).await;
                        return reset(&stream);
                    }
                    break;
                }
            }
        }
    }
}

fn reset(stream: &TcpStream) {
    stream.set_zero_linger().unwrap();
}

async fn receive(stream: &mut TcpStream, on_connection: usize) -> Option<Got> {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        bytes.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(bytes).unwrap();
    let mut lines = head.lines();
    let mut first = lines.next()?.split(' ').map(str::to_owned);
    let (method, target) = (first.next()?, first.next()?);
    let headers: BTreeMap<_, _> =
        lines.filter_map(|l| l.split_once(": ")).map(|(n, v)| (n.to_lowercase(), v.to_owned())).collect();
    let mut body = vec![0; headers.get("content-length").map_or(0, |length| length.parse().unwrap())];
    stream.read_exact(&mut body).await.ok()?;
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let (path, query) = (path.to_owned(), url::form_urlencoded::parse(query.as_bytes()).into_owned().collect());
    Some(Got { method, target, path, query, headers, body, on_connection })
}
