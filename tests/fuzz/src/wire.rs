//! What comes over sockets: answers of sources, and requests of clients.

use super::CANARY;
use clap::Parser as _;
use saas_export_daemon::app::cli::Cli;
use saas_export_daemon::auth::{Place, Registry};
use saas_export_daemon::base::error::Chain;
use saas_export_daemon::base::ids::Name;
use saas_export_daemon::base::secret::{Resolve, Secret};
use saas_export_daemon::config::settings::Rest;
use saas_export_daemon::model::offset::{LaneId, Offset};
use saas_export_daemon::net::limit::Limiter;
use saas_export_daemon::sources::Cut;
use saas_export_daemon::sources::rest::RestSource;
use serde_json::json;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;
use tokio::runtime::Runtime;

/// Pages that a stream may have here.
const PAGES: u64 = 40;
/// Paginators, one stream each.
const STREAMS: [&str; 6] = ["none", "cursor", "next", "link", "page", "offset"];
/// How long any one input may take before that is a finding.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long a client waits for an answer to what may be no request.
const AWHILE: Duration = Duration::from_millis(3);

/// A server on loopback that answers with what it is told to.
struct Peer {
    /// What it answers, in turn and over again.
    answers: Mutex<Vec<Vec<u8>>>,
    asked: AtomicUsize,
    origin: String,
}

/// The server that is configured, and one that is not.
static PEER: LazyLock<(&Peer, &Peer)> = LazyLock::new(|| (Peer::start(false), Peer::start(true)));

impl Peer {
    fn start(foreign: bool) -> &'static Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let origin = format!("http://{}", listener.local_addr().expect("its address"));
        let peer: &Self = Box::leak(Box::new(Self { answers: Mutex::default(), asked: AtomicUsize::new(0), origin }));
        std::thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                peer.answer(connection, foreign);
            }
        });
        peer
    }

    fn answer(&self, mut connection: TcpStream, foreign: bool) {
        let _ = connection.set_read_timeout(Some(Duration::from_secs(1)));
        let (mut request, mut piece) = (Vec::new(), [0; 4096]);
        while !request.windows(4).any(|end| end == b"\r\n\r\n") && request.len() < 1 << 20 {
            match connection.read(&mut piece) {
                Ok(read @ 1..) => request.extend_from_slice(&piece[..read]),
                _ => return,
            }
        }
        if foreign && String::from_utf8_lossy(&request).contains(CANARY) {
            // A panic in this thread would not end the run.
            eprintln!("a credential went elsewhere: {}", String::from_utf8_lossy(&request));
            std::process::abort();
        }
        let nth = self.asked.fetch_add(1, Ordering::Relaxed);
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let answer = answers.get(nth % answers.len().max(1)).cloned().unwrap_or_default();
        let _ = connection.write_all(&answer);
        let _ = connection.shutdown(Shutdown::Write);
    }

    /// Whether an answer may ask the client to wait, which it then does for as long as it is told.
    fn asks_to_wait(&self) -> bool {
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner).concat();
        let text = String::from_utf8_lossy(&answers).to_ascii_lowercase();
        text.contains("retry-after") || text.contains("ratelimit") || text.contains("rate-limit")
    }

    fn tell(&self, answers: Vec<Vec<u8>>) {
        self.asked.store(0, Ordering::Relaxed);
        *self.answers.lock().unwrap_or_else(PoisonError::into_inner) = answers;
    }
}

struct Token;

impl Resolve for Token {
    fn resolve(&self, text: &str) -> Result<Secret, String> {
        Ok(Secret::new(text.replace("${TOKEN}", CANARY)))
    }
}

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime")
});

/// A source of its own for each input: what an answer says of the pace must not hold up the next.
fn source() -> RestSource {
    let stream = |paginate: serde_json::Value| json!({ "path": "/x", "records": "$.data[*]", "paginate": paginate, "max_pages": PAGES });
    let settings: Rest = serde_json::from_value(json!({
        "base_url": PEER.0.origin,
        "auth": { "bearer": { "token": "${TOKEN}" } },
        "allowed_origins": [PEER.1.origin],
        "retry": { "attempts": 2, "initial": "1ms", "max": "1ms" },
        "keep_alive": { "read_timeout": "2s", "connect_timeout": "2s" },
        "max_body": "1MB",
        "streams": {
            "none": stream(json!({ "none": {} })),
            "cursor": stream(json!({ "cursor": { "from": "$.next", "param": "c" } })),
            "next": stream(json!({ "next_url": { "from": "$.next" } })),
            "link": stream(json!({ "link": {} })),
            "page": stream(json!({ "page": { "param": "page", "start": 1 } })),
            "offset": stream(json!({ "offset": { "limit": 2 } })),
        },
    }))
    .expect("settings");
    let limiter = Arc::new(Limiter::new(&settings.rate));
    let place = Place { state_dir: std::env::temp_dir(), state_key: None };
    let name = Name::new("shop").expect("a name");
    RestSource::new(name, &settings, &Token, limiter, &Registry::new(place)).expect("a source")
}

/// Reads a stream to its end or an error: both come in time, and neither shows the token.
fn read(stream: &str) {
    let source = source();
    let name = Name::new(stream).expect("a name");
    let cut = Cut::at("2024-01-03T00:00:00Z".parse().expect("a time"));
    let read = async {
        let partitions = Arc::new(source.partitions(&name, &cut)?);
        let mut pages = source.open(&name, partitions, LaneId { lane: 0, of: 1 }, Offset::start(0))?.one_page();
        let mut count = 0;
        while let Some(page) = pages.next().await? {
            assert!(!format!("{:?}", page.offset_after).contains(CANARY), "the token is in an offset");
            count += 1;
            assert!(count <= PAGES, "more pages than `max_pages`");
        }
        Ok::<_, saas_export_daemon::sources::rest::RestError>(())
    };
    let patience = if PEER.0.asks_to_wait() { Duration::from_secs(1) } else { PATIENCE };
    let Ok(ended) = RUNTIME.block_on(async { tokio::time::timeout(patience, read).await }) else {
        assert!(patience < PATIENCE, "it does not come to an end");
        return;
    };
    if let Err(error) = ended {
        let said = format!("{} {error:?}", Chain(&error));
        assert!(!said.contains(CANARY), "the token is shown: {said}");
    }
}

/// One input at a time: all of them have the same peers.
static TURN: Mutex<()> = Mutex::new(());

/// The bytes of one HTTP answer, head and all.
pub fn answers(data: &[u8]) {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    PEER.0.tell(vec![data.to_vec()]);
    read("none");
}

/// Pages that lead on. The first byte chooses the paginator; then each line `Link: …` or body is an answer. `{here}` and
/// `{there}` stand for the origin that is configured, and for another.
pub fn paging(data: &[u8]) {
    let Some((first, rest)) = data.split_first() else { return };
    let Ok(text) = std::str::from_utf8(rest) else { return };
    let text = text.replace("{here}", &PEER.0.origin).replace("{there}", &PEER.1.origin);
    let answer = |line: &str| {
        let (link, body) = if line.starts_with("Link:") { (line, "{\"data\":[{}]}") } else { ("X-None: 1", line) };
        let length = body.len();
        format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n{link}\r\n\r\n{body}")
    };
    let answers: Vec<Vec<u8>> = text.split('\n').take(8).map(|line| answer(line).into_bytes()).collect();
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    PEER.0.tell(answers.clone());
    PEER.1.tell(answers);
    read(STREAMS[usize::from(*first) % STREAMS.len()]);
}

/// The control socket of a daemon in this process.
static SOCKET: LazyLock<PathBuf> = LazyLock::new(|| {
    let dir = Box::leak(Box::new(tempfile::tempdir().expect("a directory"))).path();
    let (socket, config, env) = (dir.join("s"), dir.join("config.yaml"), dir.join("auth.env"));
    let settings = json!({
        "version": 1,
        "daemon": { "state_dir": dir.join("state"), "socket": socket },
        "sources": { "shop": { "rest": { "base_url": "http://127.0.0.1:9", "retry": { "attempts": 1 },
            "streams": { "orders": { "path": "/orders", "records": "$[*]" } } } } },
        "destinations": { "lake": { "local": { "root": dir.join("lake") } } },
        "exports": { "shop": { "source": "shop", "streams": ["orders"], "to": ["lake"], "format": { "csv": {} } } },
    });
    // JSON is YAML.
    std::fs::write(&config, settings.to_string()).expect("written");
    std::fs::write(&env, "").expect("written");
    std::fs::set_permissions(&env, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("closed");
    let arg = |path: &PathBuf| path.display().to_string();
    let cli = Cli::parse_from(["saas-export-daemon", "--config", &arg(&config), "--auth-env", &arg(&env)]);
    // A fuzzer's own main does not ignore it, as Rust's does.
    let pipe = tokio::signal::unix::SignalKind::pipe();
    RUNTIME.block_on(async { tokio::signal::unix::signal(pipe).map(std::mem::forget) }).expect("a handler");
    std::thread::spawn(move || {
        RUNTIME.block_on(saas_export_daemon::app::run(&cli, RUNTIME.handle()));
        eprintln!("the daemon has ended");
        std::process::abort();
    });
    let ready = (0..4000).any(|_| {
        std::thread::sleep(Duration::from_millis(5));
        UnixStream::connect(&socket).is_ok()
    });
    assert!(ready, "no daemon");
    socket
});

/// Bytes on the control socket, in two pieces. What is answered is HTTP, and the daemon still answers others.
pub fn control(data: &[u8]) {
    static SENT: AtomicU64 = AtomicU64::new(0);
    let (one, two) = data.split_at(data.len() / 2);
    let said = ask(&[one, two], AWHILE);
    assert!(said.is_empty() || said.starts_with(b"HTTP/1."), "{:?}", String::from_utf8_lossy(&said));
    if SENT.fetch_add(1, Ordering::Relaxed).is_multiple_of(64) {
        let said = ask(&[b"GET /v1/status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"], PATIENCE);
        assert!(said.starts_with(b"HTTP/1.1 200"), "{:?}", String::from_utf8_lossy(&said));
    }
}

/// Sends the pieces and reads until the daemon closes, or has been silent for so long; then we close first.
fn ask(pieces: &[&[u8]], silent: Duration) -> Vec<u8> {
    let mut said = Vec::new();
    let mut socket = UnixStream::connect(&*SOCKET).expect("the daemon takes connections");
    for piece in pieces {
        if socket.write_all(piece).is_err() {
            break;
        }
    }
    let _ = socket.set_read_timeout(Some(silent));
    let mut piece = [0; 4096];
    while let Ok(read @ 1..) = socket.read(&mut piece) {
        said.extend_from_slice(&piece[..read]);
    }
    said
}
