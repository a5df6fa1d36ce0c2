//! The sample's token server: OAuth 2.0 grants, consent without people, sessions; every secret that it gives out or wants has
//! `canary` in it, and it counts what it was asked.

mod assertion;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::HeaderMap;
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

/// The client's id; it has every character that an encoding could get wrong.
pub const CLIENT_ID: &str = "client :%/+ é";
/// The client's secret.
pub const CLIENT_SECRET: &str = "canary-client &=+%:\"ü";
/// The refresh token that is good from the beginning.
pub const FIRST_REFRESH: &str = "canary-refresh-0";
/// Who begins a session.
pub const SESSION_USER: &str = "session-user";
/// By which password.
pub const SESSION_PASSWORD: &str = "canary-pass word\"ü";
/// Issuer of the assertions that are taken.
pub const ASSERTION_ISSUER: &str = "service@sample.example";

/// How refresh tokens are replaced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rotation {
    /// They stay.
    #[default]
    Never,
    /// A new one each time; the old one is good until the new one is used.
    Graceful,
    /// A new one each time; the old one is gone at once.
    Strict,
}

/// What the next answer is, instead of a token.
#[derive(Clone, Debug)]
pub enum Trouble {
    /// This status, and a JSON error.
    Status(u16),
    /// 429 with Retry-After, in seconds.
    Throttle(u64),
    /// A redirect (307) to here.
    Redirect(String),
    /// Half a minute of silence.
    Silence,
}

/// A token request, as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// `grant_type`, or the name of another endpoint.
    pub grant: String,
    /// How the client showed itself: `basic`, `body` or `none`.
    pub client: &'static str,
    /// `scope`.
    pub scope: String,
    /// The status of the answer.
    pub status: u16,
}

/// An answer.
#[derive(Debug, Default)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// More headers.
    pub headers: Vec<(&'static str, String)>,
    /// JSON.
    pub body: String,
    /// How long it is withheld.
    pub wait: Duration,
}

#[derive(Clone, Debug)]
struct Access {
    until: Option<Instant>,
    uses: Option<u64>,
}

/// The token server; tests steer it by its fields.
#[derive(Debug, Default)]
pub struct Issuer {
    /// How long a token lives; without, for ever, and nothing is said of it.
    pub lifetime: Option<Duration>,
    /// How many requests a token is good for; without, any number.
    pub uses: Option<u64>,
    /// How refresh tokens are replaced.
    pub rotation: Rotation,
    /// What the next answers of the token endpoint are.
    pub trouble: VecDeque<Trouble>,
    /// Every token request so far.
    pub asked: Vec<Asked>,
    /// Every token, code and assertion so far.
    pub seen: Vec<String>,
    /// Sessions ended.
    pub logouts: u64,
    /// Polls of a device code before somebody agrees.
    pub pending: u32,
    access: BTreeMap<String, Access>,
    refresh: BTreeMap<String, Option<String>>,
    codes: BTreeMap<String, (String, String)>,
    count: u64,
}

impl Issuer {
    /// A server that knows the first refresh token.
    pub fn new() -> Self {
        Self { refresh: [(FIRST_REFRESH.to_owned(), None)].into(), pending: 1, ..Self::default() }
    }

    /// Takes every access token and session back.
    pub fn revoke_access(&mut self) {
        self.access.clear();
    }

    /// Takes every refresh token back, and gives this one out instead.
    pub fn replace_refresh(&mut self, token: &str) {
        self.refresh = [(token.to_owned(), None)].into();
    }

    /// Requests with this grant that brought a token.
    pub fn granted(&self, grant: &str) -> usize {
        self.asked.iter().filter(|asked| asked.grant == grant && asked.status == 200).count()
    }

    /// Whether a request with this access token is let in; counts its use.
    pub fn admits(&mut self, token: &str) -> bool {
        let Some(access) = self.access.get_mut(token) else { return false };
        if access.until.is_some_and(|until| Instant::now() >= until) || access.uses == Some(0) {
            return false;
        }
        access.uses = access.uses.map(|uses| uses - 1);
        true
    }

    fn name(&mut self, kind: &str) -> String {
        self.count += 1;
        let name = format!("canary-{kind}-{}", self.count);
        self.seen.push(name.clone());
        name
    }

    fn access(&mut self, kind: &str) -> String {
        let token = self.name(kind);
        let until = self.lifetime.map(|lifetime| Instant::now() + lifetime);
        self.access.insert(token.clone(), Access { until, uses: self.uses });
        token
    }

    /// Answers a request below `/_issuer`, or to an API's own `/login`.
    pub fn answer(&mut self, method: &str, target: &str, headers: &HeaderMap, body: &[u8]) -> Reply {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        match (method, path) {
            ("POST", "/_issuer/token") => self.token(headers, &form(body)),
            ("POST", "/_issuer/device") => self.device(headers, &form(body)),
            ("GET", "/_issuer/authorize") => self.authorize(&form(query.as_bytes())),
            ("POST", path) if path.ends_with("/login") => self.login(body),
            ("DELETE", path) if path.ends_with("/login") => {
                self.logouts += u64::from(headers.contains_key("x-session") || headers.contains_key("cookie"));
                json(200, serde_json::json!({}))
            }
            _ => json(404, serde_json::json!({ "error": "no such endpoint" })),
        }
    }

    fn token(&mut self, headers: &HeaderMap, form: &BTreeMap<String, String>) -> Reply {
        let client = client(headers, form);
        let grant = form.get("grant_type").cloned().unwrap_or_default();
        let scope = form.get("scope").cloned().unwrap_or_default();
        let reply = match self.trouble.pop_front() {
            Some(trouble) => trouble.reply(),
            None => self.grant(client, &grant, form),
        };
        let client = client.unwrap_or("wrong");
        self.asked.push(Asked { grant, client, scope, status: reply.status });
        reply
    }

    fn grant(&mut self, client: Option<&'static str>, grant: &str, form: &BTreeMap<String, String>) -> Reply {
        let text = |name: &str| form.get(name).map(String::as_str).unwrap_or_default();
        let jwt = grant == "urn:ietf:params:oauth:grant-type:jwt-bearer";
        if client.is_none() || (client == Some("none") && !jwt) {
            return refusal(401, "invalid_client", CLIENT_SECRET);
        }
        match grant {
            "client_credentials" => self.tokens(None),
            "refresh_token" => {
                let old = text("refresh_token").to_owned();
                // What it replaced is gone once it is used.
                match self.refresh.get(&old).cloned() {
                    None => return refusal(400, "invalid_grant", &old),
                    Some(Some(before)) => drop(self.refresh.remove(&before)),
                    Some(None) => {}
                }
                self.tokens(Some(old))
            }
            _ if jwt => {
                self.seen.push(text("assertion").to_owned());
                match assertion::check(text("assertion"), &self.seen[..self.seen.len() - 1]) {
                    Ok(()) => self.tokens(None),
                    Err(why) => refusal(400, "invalid_grant", why),
                }
            }
            "authorization_code" => {
                let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(text("code_verifier")));
                match self.codes.remove(text("code")) {
                    Some((wanted, redirect)) if wanted == challenge && redirect == text("redirect_uri") => {
                        self.tokens(Some(String::new()))
                    }
                    _ => refusal(400, "invalid_grant", "the code, its verifier or its redirect_uri is wrong"),
                }
            }
            "urn:ietf:params:oauth:grant-type:device_code" => {
                if self.pending > 0 {
                    self.pending -= 1;
                    return refusal(400, "authorization_pending", "");
                }
                match self.codes.remove(text("device_code")) {
                    Some(_) => self.tokens(Some(String::new())),
                    None => refusal(400, "expired_token", ""),
                }
            }
            _ => refusal(400, "unsupported_grant_type", ""),
        }
    }

    /// An access token, and a refresh token where there was one before (an empty one at a login).
    fn tokens(&mut self, before: Option<String>) -> Reply {
        let mut answer = serde_json::json!({ "access_token": self.access("access"), "token_type": "Bearer" });
        if let Some(lifetime) = self.lifetime {
            answer["expires_in"] = lifetime.as_secs_f64().into();
        }
        if let Some(old) = before.filter(|old| old.is_empty() || self.rotation != Rotation::Never) {
            let fresh = self.name("refresh");
            answer["refresh_token"] = fresh.as_str().into();
            let graceful = self.rotation == Rotation::Graceful;
            if !graceful {
                self.refresh.remove(&old);
            }
            self.refresh.insert(fresh, graceful.then_some(old));
        }
        json(200, answer)
    }

    fn device(&mut self, headers: &HeaderMap, form: &BTreeMap<String, String>) -> Reply {
        if !matches!(client(headers, form), Some("basic" | "body")) {
            return refusal(401, "invalid_client", "");
        }
        let code = self.name("device");
        self.codes.insert(code.clone(), Default::default());
        let place = "https://sample.example/device";
        json(
            200,
            serde_json::json!({
                "device_code": code, "user_code": "WDJB-MJHT", "verification_uri": place, "expires_in": 60, "interval": 1,
            }),
        )
    }

    /// Agrees at once, as a person would in a browser.
    fn authorize(&mut self, query: &BTreeMap<String, String>) -> Reply {
        let text = |name: &str| query.get(name).map(String::as_str).unwrap_or_default();
        let good = text("response_type") == "code"
            && text("client_id") == CLIENT_ID
            && text("code_challenge_method") == "S256"
            && text("redirect_uri").starts_with("http://127.0.0.1:");
        if !good {
            return refusal(400, "invalid_request", "");
        }
        let code = self.name("code");
        self.codes.insert(code.clone(), (text("code_challenge").to_owned(), text("redirect_uri").to_owned()));
        let state: String = url::form_urlencoded::byte_serialize(text("state").as_bytes()).collect();
        let location = format!("{}?code={code}&state={state}", text("redirect_uri"));
        Reply { status: 302, headers: vec![("location", location)], ..Reply::default() }
    }

    fn login(&mut self, body: &[u8]) -> Reply {
        let wanted = serde_json::json!({ "login": { "user": SESSION_USER, "password": SESSION_PASSWORD } });
        let right = serde_json::from_slice::<serde_json::Value>(body).is_ok_and(|body| body == wanted);
        let status = if right { 200 } else { 403 };
        self.asked.push(Asked { grant: "session".into(), client: "none", scope: String::new(), status });
        if !right {
            return refusal(403, "wrong", SESSION_PASSWORD);
        }
        let token = self.access("session");
        let headers = vec![("x-session", token.clone()), ("set-cookie", format!("sid={token}; Path=/; HttpOnly"))];
        Reply { headers, ..json(200, serde_json::json!({ "data": { "session": token } })) }
    }
}

impl Trouble {
    fn reply(self) -> Reply {
        let failed = |status| json(status, serde_json::json!({ "message": "out of order" }));
        match self {
            Self::Status(status) => failed(status),
            Self::Throttle(seconds) => Reply { headers: vec![("retry-after", seconds.to_string())], ..failed(429) },
            Self::Redirect(to) => Reply { status: 307, headers: vec![("location", to)], ..Reply::default() },
            Self::Silence => Reply { wait: Duration::from_secs(30), ..failed(500) },
        }
    }
}

/// How a client showed itself; none if it did so wrongly.
fn client(headers: &HeaderMap, form: &BTreeMap<String, String>) -> Option<&'static str> {
    let basic = headers.get("authorization").and_then(|value| value.to_str().ok()?.strip_prefix("Basic "));
    let pair = (form.get("client_id"), form.get("client_secret"));
    match (basic, pair) {
        (Some(basic), (None, None)) => {
            let text = String::from_utf8(STANDARD.decode(basic).ok()?).ok()?;
            let (id, secret) = text.split_once(':')?;
            let decode = |text: &str| {
                url::form_urlencoded::parse(format!("x={text}").as_bytes()).next().map(|x| x.1.into_owned())
            };
            (decode(id)? == CLIENT_ID && decode(secret)? == CLIENT_SECRET).then_some("basic")
        }
        (None, (Some(id), Some(secret))) => (id == CLIENT_ID && secret == CLIENT_SECRET).then_some("body"),
        (None, (None, None)) => Some("none"),
        _ => None,
    }
}

fn form(body: &[u8]) -> BTreeMap<String, String> {
    url::form_urlencoded::parse(body).into_owned().collect()
}

fn json(status: u16, body: serde_json::Value) -> Reply {
    Reply { status, body: body.to_string(), ..Reply::default() }
}

/// A refusal that repeats what it should not: servers do.
fn refusal(status: u16, code: &str, said: &str) -> Reply {
    json(status, serde_json::json!({ "error": code, "error_description": format!("refused: {said}") }))
}
