//! Credentials: the security schemes of a document in the words of a source's `auth`.

use super::document::Document;
use super::names;
use super::words::{line, quoted, scalar};
use serde_json::Value;

/// How requests are authenticated.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Auth {
    /// The line `auth: …`; none where nothing fits.
    pub line: Option<String>,
    /// Names of the secrets that it needs.
    pub secrets: Vec<String>,
    /// Remarks.
    pub checks: Vec<String>,
}

/// The scheme that is simplest to use from a daemon; the others are named.
pub fn auth(document: &Document<'_>, source: &str) -> Auth {
    let schemes = document.at(&["components", "securitySchemes"]).as_object();
    let mut found: Vec<(u8, &String, Auth)> = schemes
        .into_iter()
        .flatten()
        .filter_map(|(name, scheme)| {
            let (rank, auth) = of_scheme(document.resolve(scheme), source)?;
            Some((rank, name, auth))
        })
        .collect();
    found.sort_by_key(|(rank, ..)| *rank);
    let others: Vec<String> = found.iter().skip(1).map(|(_, name, _)| line(name)).collect();
    let mut auth = match found.into_iter().next() {
        Some((_, _, auth)) => auth,
        None => {
            let token = names::secret(source, "token");
            let example = format!("auth: {{ bearer: {{ token: \"${{{token}}}\" }} }}");
            Auth {
                checks: vec![format!("the document names no credentials; if the API wants some, e.g. {example}")],
                ..Auth::default()
            }
        }
    };
    if !others.is_empty() {
        auth.checks.push(format!("the API also knows: {}", others.join(", ")));
    }
    auth
}

fn of_scheme(scheme: &Value, source: &str) -> Option<(u8, Auth)> {
    let text = |key: &str| scheme.get(key).and_then(Value::as_str).unwrap_or_default();
    let secret = |what: &str| names::secret(source, what);
    let one = |line: String, secrets: Vec<String>| Auth { line: Some(line), secrets, checks: Vec::new() };
    match (text("type"), text("scheme").to_lowercase().as_str(), text("in")) {
        ("http", "bearer", _) => {
            let token = secret("token");
            Some((0, one(format!("auth: {{ bearer: {{ token: \"${{{token}}}\" }} }}"), vec![token])))
        }
        ("http", "basic", _) => {
            let (user, password) = (secret("user"), secret("password"));
            let line = format!("auth: {{ basic: {{ username: \"${{{user}}}\", password: \"${{{password}}}\" }} }}");
            Some((2, one(line, vec![user, password])))
        }
        ("apiKey", _, place @ ("header" | "query")) => {
            let key = secret("key");
            let name = scalar(text("name"));
            let mut auth = one(format!("auth: {{ api_key: {{ {place}: {name}, value: \"${{{key}}}\" }} }}"), vec![key]);
            if text("name").eq_ignore_ascii_case("authorization") {
                auth.checks.push("the value may need a word in front of it, such as Bearer or Token".into());
            }
            Some((if place == "header" { 1 } else { 3 }, auth))
        }
        ("oauth2", ..) => oauth2(scheme.get("flows")?, source).map(|auth| (4, auth)),
        _ => None,
    }
}

fn oauth2(flows: &Value, source: &str) -> Option<Auth> {
    let machine = flows.get("clientCredentials");
    let flow = machine.or_else(|| flows.get("authorizationCode")).or_else(|| flows.get("password"))?;
    let url = |key: &str| flow.get(key).and_then(Value::as_str);
    let token_url = quoted(url("tokenUrl")?);
    let (id, secret) = (names::secret(source, "client_id"), names::secret(source, "client_secret"));
    let client = format!("client_id: \"${{{id}}}\", client_secret: \"${{{secret}}}\"");
    let scopes: Vec<String> =
        flow.get("scopes").and_then(Value::as_object).into_iter().flatten().map(|(name, _)| quoted(name)).collect();
    let scopes = if scopes.is_empty() { String::new() } else { format!(", scopes: [{}]", scopes.join(", ")) };
    let mut auth = Auth { secrets: vec![id, secret], ..Auth::default() };
    let grant = if machine.is_some() {
        "{ client_credentials: {} }".to_owned()
    } else {
        let first = names::secret(source, "refresh_token");
        let grant = format!("{{ refresh_token: {{ token: \"${{{first}}}\" }} }}");
        auth.secrets.push(first);
        auth.checks
            .push("which scopes are needed? `saas-export-daemon auth login` gets the first refresh token".into());
        grant
    };
    let authorize = url("authorizationUrl").map(|url| format!(", authorize_url: {}", quoted(url))).unwrap_or_default();
    auth.line =
        Some(format!("auth: {{ oauth2: {{ token_url: {token_url}{authorize}, {client}{scopes}, grant: {grant} }} }}"));
    Some(auth)
}
