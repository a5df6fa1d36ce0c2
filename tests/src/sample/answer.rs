//! From a request to its answer: read it, check credentials, let the faults have their say, compose the page.

use super::auth;
use super::body::{PageBody, Step};
use super::control;
use super::data::{Data, REGIONS};
use super::faults::{Kind, Verdict};
use super::routes::{self, Around, Ask, Limits, Pager, Params, Refused};
use super::server::{Options, State};
use super::truth::PageKey;
use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The largest body of a request that is read.
const MAX_REQUEST_BODY: usize = 1 << 20;

/// A request under way, for the oracle; over when dropped, also when the client goes away while it waits.
struct UnderWay(Arc<State>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut truth = self.0.truth();
        truth.under_way = truth.under_way.saturating_sub(1);
    }
}

/// An answer without a page.
fn short(state: &Arc<State>, status: u16, json: impl Into<Bytes>) -> Response<PageBody> {
    let mut response = Response::new(PageBody::whole(state.clone(), json));
    *response.status_mut() = http::StatusCode::from_u16(status).unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert("content-type", http::HeaderValue::from_static("application/json"));
    response
}

fn refused(state: &Arc<State>, (status, why): Refused) -> Response<PageBody> {
    short(state, status, format!("{{\"error\":\"{why}\"}}"))
}

/// Answers a request.
pub async fn answer(state: Arc<State>, connection: Arc<OwnedFd>, request: Request<Incoming>) -> Response<PageBody> {
    let (head, body) = request.into_parts();
    let path = head.uri.path().to_owned();
    let control = path.starts_with("/_control/");
    let issuing = path.starts_with("/_issuer/") || path.ends_with("/v2/login");
    let mut bytes = Bytes::new();
    if control || issuing || routes::wants_body(&path) {
        match Limited::new(body, MAX_REQUEST_BODY).collect().await {
            Ok(whole) => bytes = whole.to_bytes(),
            Err(_) => return refused(&state, (413, "the body is too large")),
        }
    }
    if control {
        let (status, json) = control::answer(&state, &head.method, &path, &bytes);
        return short(&state, status, json);
    }
    if auth::split(&path).2.starts_with(super::table::PREFIX) {
        return rows(&state, &head, &path).await;
    }
    if issuing {
        return issue(&state, &head, &bytes).await;
    }
    let mut params = routes::query_params(head.uri.query().unwrap_or_default());
    if routes::wants_body(&path) {
        match routes::body_params(&bytes) {
            Ok(more) => params.extend(more),
            Err(why) => return refused(&state, why),
        }
    }
    let Options { seed, page_size, max_page, accounts, .. } = state.options;
    let limits = Limits { seed, page_size, max_page, accounts };
    let param = |name: &str| params.get(name).map(String::as_str);
    let shown = auth::Shown { headers: &head.headers, key: param("api_key"), session: param("session") };
    if shown.any() {
        state.truth().with_credentials += 1;
    }
    let ask = match routes::read(&head.method, &path, &params, limits) {
        Ok(ask) => ask,
        Err(why) => {
            state.truth().misdirected += 1;
            return refused(&state, why);
        }
    };
    if !shown.suffices(ask.auth, &mut state.issuer()) {
        state.truth().unauthorized += 1;
        return refused(&state, (401, "credentials are missing or wrong"));
    }
    page(state, connection, &head, &ask, &params).await
}

/// Answers with rows of the collection that changes. Of the faults it knows the pace, delays and statuses.
async fn rows(state: &Arc<State>, head: &http::request::Parts, path: &str) -> Response<PageBody> {
    let (prefix, kind, path_of_table) = auth::split(path);
    let shown = auth::Shown { headers: &head.headers, key: None, session: None };
    if !shown.suffices(kind, &mut state.issuer()) {
        return refused(state, (401, "credentials are missing or wrong"));
    }
    let verdict = state.rules().judge(path, 0, Instant::now());
    tokio::time::sleep(verdict.wait).await;
    if let Some(status) = verdict.fault.and_then(|fault| fault.status) {
        return short(state, status, r#"{"error":"a fault"}"#);
    }
    while state.table().holds() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let host = head.headers.get("host").and_then(|host| host.to_str().ok()).unwrap_or_default();
    let (origin, query) = (format!("http://{host}{prefix}"), head.uri.query().unwrap_or_default());
    let (status, json) = state.table().answer(&origin, path_of_table, query);
    short(state, status, json)
}

/// Answers as the token server.
pub async fn issue(state: &Arc<State>, head: &http::request::Parts, body: &[u8]) -> Response<PageBody> {
    let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
    let reply = state.issuer().answer(head.method.as_str(), target, &head.headers, body);
    tokio::time::sleep(reply.wait).await;
    let mut response = short(state, reply.status, reply.body);
    for (name, value) in reply.headers {
        put(response.headers_mut(), name, &value);
    }
    response
}

/// Counts a page's request, lets the faults have their say, and answers.
async fn page(
    state: Arc<State>,
    connection: Arc<OwnedFd>,
    head: &http::request::Parts,
    ask: &Ask,
    params: &Params,
) -> Response<PageBody> {
    let data = state.data();
    let total = if ask.pager == Pager::Accounts { state.options.accounts } else { ask.view.len(data.records) };
    let len = total.saturating_sub(ask.start).min(ask.limit);
    let key = PageKey { pager: ask.pager.name(), view: ask.view, start: ask.start };
    let verdict = state.rules().judge(&ask.path, ask.start, Instant::now());
    {
        let mut truth = state.truth();
        truth.requests += 1;
        truth.under_way += 1;
        truth.most_at_once = truth.most_at_once.max(truth.under_way);
        let page = truth.pages.entry(key).or_default();
        page.records = len;
        page.asked += 1;
        if let Some(fault) = &verdict.fault {
            *truth.faults.entry(fault.kind).or_default() += 1;
        }
    }
    let under_way = UnderWay(state.clone());
    if !verdict.wait.is_zero() {
        tokio::time::sleep(verdict.wait).await;
    }
    let mut body = PageSpec { state: &state, data, ask, params, len, total, key, verdict: &verdict };
    let response = match body.without_page(&head.uri).await {
        Some(response) => response,
        None => body.with_page(connection, &head.headers),
    };
    drop(under_way);
    response
}

/// Everything an answer is made of.
struct PageSpec<'a> {
    state: &'a Arc<State>,
    data: Data,
    ask: &'a Ask,
    params: &'a Params,
    len: u64,
    total: u64,
    key: PageKey,
    verdict: &'a Verdict,
}

impl PageSpec<'_> {
    fn kind(&self) -> Option<Kind> {
        self.verdict.fault.as_ref().map(|fault| fault.kind)
    }

    /// Faults that leave no page to send.
    async fn without_page(&mut self, uri: &http::Uri) -> Option<Response<PageBody>> {
        let fault = self.verdict.fault.as_ref()?;
        let seconds = fault.seconds.unwrap_or(1);
        let mut response = match fault.kind {
            Kind::Throttle | Kind::ThrottleDate | Kind::Limit => refused(self.state, (429, "too many requests")),
            Kind::ErrorBody => {
                let wait = fault.ms.map(|ms| format!(r#","retry_after_ms":{ms}"#)).unwrap_or_default();
                short(self.state, 200, format!(r#"{{"ok":false,"error":"not now"{wait}}}"#))
            }
            Kind::Status => refused(self.state, (fault.status.unwrap_or(500), "a fault was asked for")),
            Kind::BehindEnd if self.len == 0 => refused(self.state, (fault.status.unwrap_or(404), "no such page")),
            Kind::Html => short(self.state, 200, "<!doctype html><title>We'll be back soon</title>"),
            Kind::Redirect => short(self.state, 307, ""),
            Kind::Stall => {
                let time = fault.ms.map_or(Duration::from_secs(3_155_760_000), Duration::from_millis);
                tokio::time::sleep(time).await;
                return None;
            }
            _ => return None,
        };
        self.tell(response.headers_mut());
        let header = match fault.kind {
            Kind::Limit if fault.seconds.is_some() => ("retry-after", seconds.to_string()),
            Kind::Throttle => ("retry-after", seconds.to_string()),
            Kind::ThrottleDate => ("retry-after", http_date(seconds)),
            Kind::Html => ("content-type", "text/html".into()),
            Kind::Redirect => {
                let target = uri.path_and_query().map_or("/", |path| path.as_str());
                ("location", format!("{}{target}", fault.to.as_deref().unwrap_or_default()))
            }
            _ => return Some(response),
        };
        put(response.headers_mut(), header.0, &header.1);
        Some(response)
    }

    /// The page itself, as the faults leave it.
    fn with_page(&self, connection: Arc<OwnedFd>, headers: &HeaderMap) -> Response<PageBody> {
        let options = &self.state.options;
        let own = headers.get("host").and_then(|host| host.to_str().ok()).map(|host| format!("http://{host}"));
        let origin = options.next_origin.clone().or(own).unwrap_or_default();
        let end = self.ask.start + self.len;
        let next = match self.kind() {
            Some(Kind::RepeatedCursor) => Some(self.ask.start),
            _ => (end < self.total).then_some(end),
        };
        let total = match &self.verdict.fault {
            Some(fault) if fault.kind == Kind::CappedTotal => self.total.min(fault.after.unwrap_or_default()),
            _ => self.total,
        };
        let around = Around { next, total, seed: options.seed, origin: &origin };
        let envelope = self.ask.envelope(self.params, &around);
        let gzip = options.gzip
            && headers.get("accept-encoding").is_some_and(|v| v.as_bytes().windows(4).any(|w| w == b"gzip"));
        let mut parts = vec![envelope.before.into(), self.array(), Bytes::from(envelope.after)];
        if gzip {
            parts = vec![compress(&parts)];
        }
        let digest = options.digests.then(|| content_digest(&parts));
        if self.kind() == Some(Kind::Damaged) {
            parts = vec![damaged(parts.concat())];
        }
        let (steps, announced) = self.steps(parts, connection);
        let mut response = Response::new(PageBody::new(self.state.clone(), steps, announced));
        put(response.headers_mut(), "content-type", "application/json; charset=utf-8");
        if gzip {
            put(response.headers_mut(), "content-encoding", "gzip");
        }
        if let Some(digest) = digest {
            put(response.headers_mut(), "content-digest", &digest);
        }
        for (name, value) in envelope.headers {
            put(response.headers_mut(), name, &value);
        }
        self.tell(response.headers_mut());
        response
    }

    /// What is left of the limit's window.
    fn tell(&self, headers: &mut HeaderMap) {
        let Some((limit, left, end)) = self.verdict.window else { return };
        put(headers, "x-ratelimit-limit", &limit.to_string());
        put(headers, "x-ratelimit-remaining", &left.to_string());
        put(headers, "x-ratelimit-reset", &end.to_string());
    }

    fn array(&self) -> Bytes {
        let (start, len) = match self.kind() {
            Some(Kind::SamePage) => (0, self.total.min(self.ask.limit)),
            _ => (self.ask.start, self.len),
        };
        if self.ask.pager == Pager::Accounts {
            return accounts(start, len).into();
        }
        let array = self.state.cache.array(&self.data, self.ask.view, start, len);
        match self.kind() {
            Some(Kind::InvalidUtf8) => {
                let mut bytes = array.to_vec();
                let note = bytes.windows(8).position(|window| window == b"\"note\":\"");
                if let Some(byte) = note.and_then(|at| bytes.get_mut(at + 9)) {
                    *byte = 0xff;
                }
                bytes.into()
            }
            Some(Kind::NonObject) => {
                let sane = array.get(1..).unwrap_or_default();
                [b"[42,\"text\",null,[1,2],".as_slice(), sane].concat().into()
            }
            _ => array,
        }
    }

    fn steps(&self, parts: Vec<Bytes>, connection: Arc<OwnedFd>) -> (Vec<Step>, u64) {
        let whole: u64 = parts.iter().map(|part| part.len() as u64).sum();
        let cut = matches!(self.kind(), Some(Kind::Reset | Kind::StallBody | Kind::TruncatedJson));
        if !cut {
            let data = parts.into_iter().filter(|part| !part.is_empty()).map(Step::Data);
            return (data.chain([Step::Served(self.key)]).collect(), whole);
        }
        let all: Bytes = parts.concat().into();
        let (first, rest) = (all.slice(..all.len() / 2), all.slice(all.len() / 2..));
        // Long enough for the first half to leave before the reset overtakes it.
        let moment = Some(Duration::from_millis(5));
        match self.kind() {
            Some(Kind::Reset) => (vec![Step::Data(first), Step::Wait(moment), Step::Reset(connection)], whole),
            Some(Kind::StallBody) => {
                let time = self.verdict.fault.as_ref().and_then(|fault| fault.ms).map(Duration::from_millis);
                (vec![Step::Data(first), Step::Wait(time), Step::Data(rest), Step::Served(self.key)], whole)
            }
            _ => {
                let half = first.len() as u64;
                (vec![Step::Data(first)], half)
            }
        }
    }
}

/// Accounts as the API writes them.
fn accounts(start: u64, len: u64) -> String {
    let account = |k: u64| {
        let region = REGIONS[(k % 3) as usize];
        serde_json::json!({ "id": k + 1, "owner": { "slug": routes::account_name(k) }, "region": region }).to_string()
    };
    format!("[{}]", (start..start + len).map(account).collect::<Vec<_>>().join(","))
}

fn put(headers: &mut HeaderMap, name: &'static str, value: &str) {
    if let Ok(value) = http::HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// The digest of a body as it is sent (RFC 9530).
fn content_digest(parts: &[Bytes]) -> String {
    use base64::Engine as _;
    use sha2::Digest as _;
    let digest = sha2::Sha256::digest(parts.concat());
    format!("sha-256=:{}:", base64::engine::general_purpose::STANDARD.encode(digest))
}

/// The same page with another id in its middle.
fn damaged(mut body: Vec<u8>) -> Bytes {
    let middle = body.len() / 2;
    let id = body.get(middle..).and_then(|rest| rest.windows(5).position(|window| window == b"\"id\":"));
    if let Some(digit) = id.and_then(|at| body.get_mut(middle + at + 5)) {
        *digit = if *digit == b'9' { b'8' } else { *digit + 1 };
    }
    body.into()
}

fn compress(parts: &[Bytes]) -> Bytes {
    use std::io::Write as _;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    for part in parts {
        let _ = encoder.write_all(part);
    }
    encoder.finish().unwrap_or_default().into()
}

/// An HTTP-date (RFC 9110, section 5.6.7) some seconds from now.
fn http_date(seconds: u64) -> String {
    let then = jiff::Timestamp::now() + Duration::from_secs(seconds);
    then.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}
