//! Authentication: what each kind needs, and which headers and parameters it takes for itself.

use super::Check;
use crate::config::path::KeyPath;
use crate::config::problem::Mistake;
use crate::config::secrets;
use crate::config::settings::{ApiKey, Auth, Grant, JwtBearer, Oauth2, Session, SessionRequest};
use crate::config::units::SecretText;
use http::HeaderName;
use serde_json::Value;
use std::collections::BTreeMap;
use url::Url;

/// Parameters of token requests that the daemon sets itself.
const OWN_PARAMS: [&str; 12] = [
    "grant_type",
    "client_id",
    "client_secret",
    "scope",
    "refresh_token",
    "assertion",
    "code",
    "code_verifier",
    "code_challenge",
    "redirect_uri",
    "state",
    "device_code",
];

/// Signs of a body that holds a secret: keys under which a literal is a mistake.
const SECRET_KEYS: [&str; 6] = ["password", "passwd", "secret", "token", "api_key", "apikey"];

impl Check<'_> {
    pub(super) fn auth(&mut self, path: &KeyPath, base: &str, auth: &Auth) {
        match auth {
            Auth::Bearer(bearer) => self.kept_apart(&path.key("bearer").key("token"), &bearer.token),
            Auth::Basic(basic) => self.kept_apart(&path.key("basic").key("password"), &basic.password),
            Auth::ApiKey(key) => self.api_key(&path.key("api_key"), key),
            Auth::Headers(headers) => {
                let path = path.key("headers");
                if headers.is_empty() {
                    self.wrong(Mistake::key(&path, "there is no header"));
                }
                self.headers(&path, headers, None);
                for (name, value) in headers.iter().filter(|(name, _)| is_secret_key(&name.replace('-', "_"))) {
                    self.kept_apart(&path.key(name), value);
                }
            }
            Auth::Oauth2(oauth2) => self.oauth2(&path.key("oauth2"), base, oauth2),
            Auth::JwtBearer(jwt) => self.jwt_bearer(&path.key("jwt_bearer"), base, jwt),
            Auth::Session(session) => self.session(&path.key("session"), base, session),
        }
    }

    fn api_key(&mut self, path: &KeyPath, key: &ApiKey) {
        self.kept_apart(&path.key("value"), &key.value);
        match (&key.header, &key.query) {
            (Some(header), None) => self.header_name(&path.key("header"), header),
            (None, Some(param)) if param.is_empty() => self.wrong(Mistake::value(&path.key("query"), "is empty")),
            (None, Some(_)) => {}
            (Some(_), Some(_)) => self.wrong(Mistake::key(path, "only one of header and query may be there")),
            (None, None) => {
                let mistake = Mistake::key(path, "one of the keys header and query is missing");
                self.wrong(mistake.hint("write e.g. header: X-Api-Key"));
            }
        }
    }

    fn oauth2(&mut self, path: &KeyPath, base: &str, oauth2: &Oauth2) {
        self.endpoint(&path.key("token_url"), base, &oauth2.token_url);
        for (key, url) in [("authorize_url", &oauth2.authorize_url), ("device_url", &oauth2.device_url)] {
            if let Some(url) = url {
                self.endpoint(&path.key(key), base, url);
            }
        }
        self.client(path, oauth2.client_secret.as_ref());
        self.token_params(&path.key("params"), &oauth2.params);
        self.scopes(&path.key("scopes"), &oauth2.scopes);
        match &oauth2.grant {
            Grant::ClientCredentials {} => {
                if oauth2.client_secret.is_none() {
                    let mistake = Mistake::key(path, "the key \"client_secret\" is missing");
                    self.wrong(
                        mistake.hint("client credentials are id and secret; or write grant: { refresh_token: {} }"),
                    );
                }
            }
            Grant::RefreshToken(grant) => {
                let here = path.key("grant").key("refresh_token");
                if let Some(token) = &grant.token {
                    self.kept_apart(&here.key("token"), token);
                } else if oauth2.authorize_url.is_none() && oauth2.device_url.is_none() {
                    let mistake = Mistake::key(&here, "there is no token, and no way to get one");
                    self.wrong(mistake.hint("write token: \"${NAME}\", or device_url or authorize_url for auth login"));
                }
            }
        }
    }

    fn jwt_bearer(&mut self, path: &KeyPath, base: &str, jwt: &JwtBearer) {
        self.endpoint(&path.key("token_url"), base, &jwt.token_url);
        self.kept_apart(&path.key("key"), &jwt.key);
        self.client(path, jwt.client_secret.as_ref());
        if jwt.client_secret.is_some() && jwt.client_id.is_none() {
            self.wrong(Mistake::key(&path.key("client_secret"), "stands without client_id"));
        }
        self.token_params(&path.key("params"), &jwt.params);
        self.scopes(&path.key("scopes"), &jwt.scopes);
    }

    fn client(&mut self, path: &KeyPath, secret: Option<&SecretText>) {
        if let Some(secret) = secret {
            self.kept_apart(&path.key("client_secret"), secret);
        }
    }

    /// An endpoint that gets credentials. What it is sent must not be readable on the way, unless the API's own requests are
    /// or it never leaves this machine.
    fn endpoint(&mut self, path: &KeyPath, base: &str, text: &str) {
        let example = "write e.g. https://login.example.com/oauth/token";
        let Some(url) = super::sources::web_url(text) else {
            self.wrong(Mistake::value(path, "is not an absolute http or https URL").hint(example));
            return;
        };
        if !url.username().is_empty() || url.password().is_some() {
            self.wrong(Mistake::value(path, "must not hold a user name or password"));
        }
        if url.fragment().is_some() {
            self.wrong(Mistake::value(path, "must not have a fragment (#…)"));
        }
        let open = base.starts_with("http:");
        if url.scheme() == "http" && !open && !is_loopback(&url) {
            let mistake = Mistake::value(path, "would send credentials unencrypted");
            self.wrong(mistake.hint("write https; http is for this machine alone, or where base_url is http, too"));
        }
    }

    fn token_params(&mut self, path: &KeyPath, params: &BTreeMap<String, SecretText>) {
        for name in params.keys() {
            if OWN_PARAMS.contains(&name.as_str()) {
                self.wrong(Mistake::key(&path.key(name), "is set by the daemon itself").hint("remove it"));
            }
        }
    }

    fn scopes(&mut self, path: &KeyPath, scopes: &[String]) {
        for (index, scope) in scopes.iter().enumerate() {
            if scope.is_empty() || scope.contains(|c: char| c.is_whitespace() || c.is_control()) {
                let mistake = Mistake::value(&path.item(index), "is not one scope");
                self.wrong(mistake.hint("write a list: [ read, write ]"));
            }
        }
        self.repeated(path, scopes.iter().map(String::as_str));
    }

    fn session(&mut self, path: &KeyPath, base: &str, session: &Session) {
        self.session_request(&path.key("login"), base, &session.login);
        if let Some(logout) = &session.logout {
            self.session_request(&path.key("logout"), base, logout);
        }
        match session.token.strip_prefix("cookie ") {
            Some(name) if !is_cookie_name(name.trim()) => {
                self.wrong(Mistake::value(&path.key("token"), "is not the name of a cookie"));
            }
            Some(_) => {}
            None => self.place_in_answer(&path.key("token"), &session.token),
        }
        let carriers = [&session.header, &session.query, &session.cookie];
        if carriers.iter().filter(|carrier| carrier.is_some()).count() > 1 {
            self.wrong(Mistake::key(path, "only one of header, query and cookie may be there"));
        }
        if let Some(header) = &session.header {
            self.header_name(&path.key("header"), header);
        }
        if session.query.as_ref().is_some_and(String::is_empty) {
            self.wrong(Mistake::value(&path.key("query"), "is empty"));
        }
        if session.cookie.as_ref().is_some_and(|name| !is_cookie_name(name)) {
            self.wrong(Mistake::value(&path.key("cookie"), "is not the name of a cookie"));
        }
        if let Some(scheme) = &session.scheme {
            let here = path.key("scheme");
            if session.query.is_some() || session.cookie.is_some() {
                self.wrong(Mistake::key(&here, "a scheme stands only before a token in a header"));
            }
            if scheme.contains(|c: char| c.is_whitespace() || c.is_control()) {
                self.wrong(Mistake::value(&here, "is not one word").hint("write e.g. Bearer, or \"\" for none"));
            }
        }
    }

    fn session_request(&mut self, path: &KeyPath, base: &str, request: &SessionRequest) {
        match (&request.path, &request.url) {
            (Some(below), None) => self.request_path(&path.key("path"), below),
            (None, Some(url)) => self.endpoint(&path.key("url"), base, url),
            (Some(_), Some(_)) => self.wrong(Mistake::key(path, "only one of path and url may be there")),
            (None, None) => {
                let mistake = Mistake::key(path, "one of the keys path and url is missing");
                self.wrong(mistake.hint("write e.g. path: /login"));
            }
        }
        self.headers(&path.key("headers"), &request.headers, None);
        if request.body.is_some() && !request.form.is_empty() {
            self.wrong(Mistake::key(&path.key("form"), "only one of body and form may be there"));
        }
        for (key, map) in [("query", &request.query), ("form", &request.form)] {
            for (name, text) in map.iter().filter(|(name, _)| is_secret_key(name)) {
                self.kept_apart(&path.key(key).key(name), text);
            }
        }
        if let Some(body) = &request.body {
            self.session_body(&path.key("body"), body);
        }
    }

    /// The nesting is bounded: the value came through the loader.
    fn session_body(&mut self, path: &KeyPath, value: &Value) {
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    let here = path.key(name);
                    match value {
                        Value::String(text) if is_secret_key(name) => self.kept_apart(&here, &SecretText(text.clone())),
                        other => self.session_body(&here, other),
                    }
                }
            }
            Value::Array(items) => {
                items.iter().enumerate().for_each(|(index, item)| self.session_body(&path.item(index), item));
            }
            _ => {}
        }
    }

    /// A secret that is written down in the configuration itself would reach the ledger and every backup of it.
    pub(super) fn kept_apart(&mut self, path: &KeyPath, text: &SecretText) {
        let asks = !secrets::names(&text.0).is_empty() || secrets::parts(&text.0).is_err();
        if !text.0.is_empty() && !asks {
            let mistake = Mistake::value(path, "a secret must not be written here");
            self.wrong(mistake.hint("write \"${NAME}\" here and NAME=… in auth.env"));
        }
    }
}

fn is_secret_key(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRET_KEYS.iter().any(|key| name.contains(key))
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// A token of RFC 6265, section 4.1.1, which is one of RFC 9110.
fn is_cookie_name(name: &str) -> bool {
    HeaderName::from_bytes(name.as_bytes()).is_ok()
}

/// The headers that carry the credentials, in lower case.
pub(super) fn auth_headers(auth: Option<&Auth>) -> Vec<String> {
    let one = |name: &str| vec![name.to_ascii_lowercase()];
    match auth {
        Some(Auth::ApiKey(key)) => one(key.header.as_deref().unwrap_or_default()),
        Some(Auth::Headers(headers)) => headers.keys().map(|name| name.to_ascii_lowercase()).collect(),
        Some(Auth::Session(session)) => match (&session.header, &session.query, &session.cookie) {
            (Some(name), _, _) => one(name),
            (None, Some(_), _) => Vec::new(),
            (None, None, Some(_)) => one("cookie"),
            (None, None, None) => one("authorization"),
        },
        Some(Auth::Bearer(_) | Auth::Basic(_) | Auth::Oauth2(_) | Auth::JwtBearer(_)) => one("authorization"),
        None => Vec::new(),
    }
}

/// The query parameter that carries the credentials, if one does.
pub(super) fn auth_param(auth: Option<&Auth>) -> Option<&str> {
    match auth {
        Some(Auth::ApiKey(key)) => key.query.as_deref(),
        Some(Auth::Session(session)) => session.query.as_deref(),
        _ => None,
    }
}
