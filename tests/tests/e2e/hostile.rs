//! A server that means harm: everything ends in a clear error within its limit, and our credentials stay ours.
//!
//! What a server may say about where to go next is in `origins.rs`, too; https → http needs a TLS server, and is a unit test.

use crate::compare::walk;
use base64::Engine as _;
use flate2::Compression;
use flate2::write::GzEncoder;
use saas_export_tests::harness::bed::{Bed, PATIENCE};
use saas_export_tests::harness::config;
use saas_export_tests::harness::daemon::Daemon;
use saas_export_tests::hostile::{Hostile, answer, trickle};
use serde_json::{Value, json};
use std::io::Write as _;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// In every slot of a credential, another one.
const CANARIES: [&str; 3] = ["canary-bearer-7Yq/+1", "canary-header-9Wd=22", "canary-query-4Kx&33"];

/// The largest body that is taken, in all these tests.
const MAX_BODY: &str = "1MB";

type Trick = Arc<dyn Fn(&str, usize, &mut TcpStream) -> std::io::Result<()> + Send + Sync>;

/// The sources of one hostile server: one for each kind of credential, with short limits.
fn bed(home: &Hostile, stream: &Value, more: &Value) -> Bed {
    let mut bed = Bed::with_records(1);
    bed.auth_env = format!("A='{}'\nB='{}'\nC='{}'\n", CANARIES[0], CANARIES[1], CANARIES[2]);
    let logins = [
        ("bearer", json!({ "bearer": { "token": "${A}" } })),
        ("header", json!({ "api_key": { "header": "X-Api-Key", "value": "${B}" } })),
        ("query", json!({ "api_key": { "query": "api_key", "value": "${C}" } })),
    ];
    bed.config["exports"] = json!({});
    bed.config["sources"] = json!({});
    for (name, auth) in logins {
        let mut source = config::source(&home.origin(), "", &auth, &json!({ "orders": stream }));
        let rest = &mut source["rest"];
        rest["max_body"] = MAX_BODY.into();
        rest["retry"] = json!({ "attempts": 2, "initial": "1ms", "max": "5ms" });
        rest["keep_alive"] = json!({ "read_timeout": "400ms", "answer_timeout": "900ms" });
        for (key, value) in more.as_object().into_iter().flatten() {
            rest[key.as_str()] = value.clone();
        }
        bed.config["sources"][name] = source;
        let mut export = config::export(name, "orders", "ndjson", "1MB");
        export["attempts"] = 1.into();
        bed.export(name, export);
    }
    bed
}

fn cursor_stream() -> Value {
    json!({
        "path": "/orders", "records": "$.data[*]", "primary_key": ["id"],
        "paginate": { "cursor": { "from": "$.next", "param": "cursor" } },
    })
}

fn url_stream() -> Value {
    json!({ "path": "/orders", "records": "$.data[*]", "paginate": { "next_url": { "from": "$.next" } } })
}

/// Runs every export to its failure, which must come within `limit` and hold one of `words`; then looks for the canaries
/// everywhere. `others` must not have seen any.
#[track_caller]
fn fails(bed: &Bed, what: &str, words: &[&str], others: &[&Hostile]) {
    let daemon = bed.start();
    let started = Instant::now();
    let ids = ["bearer", "header", "query"].map(|name| (name, daemon.run(name)));
    for (name, id) in &ids {
        let detail = daemon.wait_for(id, &["failed"], PATIENCE);
        let reason = detail["task"]["reason"].as_str().unwrap_or_default();
        assert!(words.iter().any(|word| reason.contains(word)), "{what}, {name}: {reason}");
    }
    let took = started.elapsed();
    assert!(took < Duration::from_secs(20), "{what} took {took:?}");
    assert!(daemon.peak_memory() < 300_000_000, "{what}: {} bytes", daemon.peak_memory());
    assert_silent(bed, daemon, what);
    for other in others {
        for head in other.heads() {
            assert_eq!(found(head.as_bytes()), None, "{what}: {head}");
        }
    }
}

/// The canaries as they are, in base64 and as a URL writes them.
fn forms() -> Vec<String> {
    let base64 = base64::engine::general_purpose::STANDARD_NO_PAD;
    let form = |text: &&str| {
        let encoded: String = url::form_urlencoded::byte_serialize(text.as_bytes()).collect();
        // A base64 of something around it has another beginning; three shifts of the middle find it wherever it stands.
        let shifted = (0..3).map(|shift| base64.encode(&text.as_bytes()[4 + shift..16]));
        let shifted = shifted.map(|text| text[..12].to_owned());
        shifted.chain([(*text).to_owned(), encoded]).collect::<Vec<_>>()
    };
    CANARIES.iter().flat_map(form).collect()
}

fn found(bytes: &[u8]) -> Option<String> {
    forms().into_iter().find(|form| bytes.windows(form.len()).any(|window| window == form.as_bytes()))
}

/// No canary is in what the daemon said, in what its API answers, or in any file that it wrote.
#[track_caller]
fn assert_silent(bed: &Bed, daemon: Daemon, what: &str) {
    let mut said = daemon.stderr();
    for path in ["/v1/status", "/v1/tasks", "/v1/exports", "/v1/config/check"] {
        said.push_str(&daemon.get(path).to_string());
    }
    let events = daemon.ask("GET", "/v1/events?since=0", "").unwrap();
    assert_eq!(events.status, 200, "{}", events.json());
    said.push_str(&String::from_utf8_lossy(&events.body));
    for name in ["bearer", "header", "query"] {
        let shown = bed.ctl(&["offsets", "show", name]);
        said.push_str(&(shown.stdout + &shown.stderr));
    }
    assert_eq!(found(said.as_bytes()), None, "{what}: {said}");
    daemon.kill();
    for file in walk(bed.dir()).iter().filter(|path| !path.ends_with("auth.env")) {
        let bytes = std::fs::read(file).unwrap_or_default();
        assert_eq!(found(&bytes), None, "{what}: {}", file.display());
    }
}

fn start(trick: Trick) -> Hostile {
    Hostile::start(move |head, n, stream| trick(head, n, stream)).unwrap()
}

fn page(id: usize, next: &str) -> Vec<u8> {
    let body = json!({ "data": [{ "id": id }], "next": next }).to_string();
    answer("200 OK", &[("content-type", "application/json"), ("set-cookie", "track=1; Path=/")], body.as_bytes())
}

#[test]
fn next_urls_and_redirects_lead_nowhere_else() {
    let other = start(Arc::new(|_, _, stream| stream.write_all(&page(9, ""))));
    let at = other.addr;
    for link in [
        format!("http://{at}/orders"),
        format!("//{at}/orders"),
        format!("http://HOME@{at}/orders"),
        format!("//HOME@{at}/orders"),
        format!("http://@{at}/orders"),
        format!("\\\\{at}\\orders"),
        format!("http:\\\\{at}/orders"),
        format!("ftp://{at}/orders"),
    ] {
        let to = link.clone();
        let home = start(Arc::new(move |head: &str, n, stream: &mut TcpStream| {
            let host =
                head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("host: ").map(str::to_owned));
            let to = to.replace("HOME", &host.unwrap_or_default());
            // The first of each three by a next URL, the others by redirects.
            match n % 3 {
                0 => stream.write_all(&page(n, &to)),
                1 => stream.write_all(&answer("307 Temporary Redirect", &[("location", &to)], b"")),
                _ => stream.write_all(&answer("302 Found", &[("location", &to)], b"")),
            }
        }));
        fails(&bed(&home, &url_stream(), &json!({})), &link, &["URL"], &[&other]);
    }
    assert_eq!(other.heads().len(), 0, "nobody was asked");
}

#[test]
fn a_server_that_repeats_our_credentials_is_not_quoted() {
    let repeat: Trick = Arc::new(|head, n, stream| {
        let own: Vec<&str> =
            head.split([' ', '\r', '\n', '?', '&', '=']).filter(|word| word.contains("canary")).collect();
        let own = own.first().copied().unwrap_or_default().to_owned();
        if n % 2 == 0 {
            let body = json!({ "message": format!("the token {own} is not known"), "error": own }).to_string();
            stream.write_all(&answer("422 Unprocessable", &[("x-echo", &own)], body.as_bytes()))
        } else {
            stream.write_all(&page(n, &format!("/orders?token={own}&page={n}")))
        }
    });
    let home = start(repeat);
    let words = ["422", "credential of ours", "comes again"];
    fails(&bed(&home, &url_stream(), &json!({})), "echo", &words, &[]);
}

#[test]
fn bodies_without_end_end_at_max_body() {
    let announced: Trick = Arc::new(|_, _, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10000000000\r\n\r\n{\"data\": [")?;
        let block = [b' '; 65_536];
        (0..160_000).try_for_each(|_| stream.write_all(&block))
    });
    let chunked: Trick = Arc::new(|_, _, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")?;
        let chunk = [b"10000\r\n".as_slice(), &[b' '; 65_536], b"\r\n"].concat();
        (0..160_000).try_for_each(|_| stream.write_all(&chunk))
    });
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    let block = vec![b' '; 1 << 20];
    (0..200).for_each(|_| gzip.write_all(&block).unwrap());
    let packed = answer("200 OK", &[("content-encoding", "gzip")], &gzip.finish().unwrap());
    let bomb: Trick = Arc::new(move |_, _, stream| stream.write_all(&packed));
    for (what, trick) in [("10 GB announced", announced), ("10 GB in chunks", chunked), ("a gzip bomb", bomb)] {
        let home = start(trick);
        fails(&bed(&home, &url_stream(), &json!({})), what, &["larger than 1MB"], &[]);
        assert!(home.heads().len() <= 3, "{what}: what is too large is not asked for again");
    }
}

#[test]
fn a_refusal_without_end_is_cut() {
    let endless: Trick = Arc::new(|_, _, stream| {
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\ntransfer-encoding: chunked\r\n\r\n")?;
        let chunk = [b"10000\r\n".as_slice(), &[b'x'; 65_536], b"\r\n"].concat();
        (0..160_000).try_for_each(|_| stream.write_all(&chunk))
    });
    let home = start(endless);
    fails(&bed(&home, &url_stream(), &json!({})), "an endless refusal", &["400"], &[]);
}

#[test]
fn heads_that_flood_are_refused_at_once() {
    let many: Trick = Arc::new(|_, _, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\n")?;
        (0..100_000).try_for_each(|n| stream.write_all(format!("x-flood-{n}: {n}\r\n").as_bytes()))
    });
    let huge: Trick = Arc::new(|_, _, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nx-flood: ")?;
        let block = [b'a'; 65_536];
        (0..1000).try_for_each(|_| stream.write_all(&block))
    });
    let informal: Trick = Arc::new(|_, _, stream| {
        loop {
            stream.write_all(b"HTTP/1.1 102 Processing\r\n\r\n")?;
            std::thread::sleep(Duration::from_millis(1));
        }
    });
    for (what, trick, words) in [
        ("many headers", many, ["head of the answer is too large", "head of the answer"]),
        ("a huge header", huge, ["head of the answer is too large", "head of the answer"]),
        ("interim answers without end", informal, ["nothing came for", "not complete after"]),
    ] {
        let home = start(trick);
        fails(&bed(&home, &url_stream(), &json!({})), what, &words, &[]);
    }
}

#[test]
fn slowness_ends_at_the_time_limits() {
    let silent: Trick = Arc::new(|_, _, _| {
        std::thread::sleep(Duration::from_secs(5));
        Ok(())
    });
    let head: Trick = Arc::new(|_, _, stream| {
        let head = b"HTTP/1.1 200 OK\r\nx-slow: ".iter().copied().chain(std::iter::repeat(b'a'));
        trickle(stream, head, Duration::from_millis(50))
    });
    let body: Trick = Arc::new(|_, _, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n")?;
        trickle(stream, std::iter::repeat(b' '), Duration::from_millis(50))
    });
    let refusal: Trick = Arc::new(|_, _, stream| {
        stream.write_all(b"HTTP/1.1 500 Oops\r\ncontent-length: 1000000\r\n\r\n")?;
        trickle(stream, std::iter::repeat(b' '), Duration::from_millis(50))
    });
    for (what, trick) in
        [("silence", silent), ("a slow head", head), ("a slow body", body), ("a slow refusal", refusal)]
    {
        let home = start(trick);
        fails(&bed(&home, &url_stream(), &json!({})), what, &["nothing came for", "not complete after"], &[]);
    }
}

#[test]
fn pages_without_end_end() {
    // Ever new cursors and records; ever new cursors to the same records; and a cursor of a megabyte.
    let fresh: Trick = Arc::new(|_, n, stream| stream.write_all(&page(n, &format!("c{n}"))));
    let same: Trick = Arc::new(|_, n, stream| stream.write_all(&page(1, &format!("c{n}"))));
    let long: Trick = Arc::new(|_, n, stream| stream.write_all(&page(n, &"c".repeat(500_000))));
    for (what, trick, word) in [
        ("fresh pages", fresh, "`streams.orders.max_pages`"),
        ("the same page", same, "has the same records as the page before it"),
        ("a huge cursor", long, "is longer than"),
    ] {
        let home = start(trick);
        let mut stream = cursor_stream();
        stream["max_pages"] = 30.into();
        fails(&bed(&home, &stream, &json!({})), what, &[word], &[]);
        let heads = home.heads();
        assert!(heads.len() <= 3 * 31, "{what}: {} requests", heads.len());
        assert!(heads.iter().all(|head| !head.to_ascii_lowercase().contains("\r\ncookie:")), "no cookie is kept");
    }
}
