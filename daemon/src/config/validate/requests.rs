//! What a request is made of: headers, paths, JSONPaths, names of parameters.

use super::Check;
use super::auth::{auth_headers, auth_param};
use crate::config::param::body_path;
use crate::config::path::KeyPath;
use crate::config::problem::Mistake;
use crate::config::settings::Auth;
use crate::config::units::{SecretText, shown};
use http::HeaderName;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Headers that belong to the connection or to the way answers are read.
const OWN_HEADERS: [&str; 10] = [
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
    "keep-alive",
    "upgrade",
    "te",
    "trailer",
    "accept-encoding",
    "range",
];
/// Headers whose value is always a secret.
const SECRET_HEADERS: [&str; 3] = ["authorization", "proxy-authorization", "cookie"];

impl Check<'_> {
    pub(super) fn headers(&mut self, path: &KeyPath, headers: &BTreeMap<String, SecretText>, auth: Option<&Auth>) {
        let mut seen = BTreeSet::new();
        let taken = auth_headers(auth);
        for (name, value) in headers {
            let here = path.key(name);
            self.header_name(&here, name);
            let lower = name.to_ascii_lowercase();
            if SECRET_HEADERS.contains(&lower.as_str()) {
                self.kept_apart(&here, value);
            }
            if taken.contains(&lower) {
                self.wrong(Mistake::key(&here, "is set by auth").hint("remove one of them"));
            }
            if value.0.contains(|c: char| c.is_control()) {
                self.wrong(Mistake::value(&here, "holds a line end or another control character"));
            }
            if !seen.insert(lower) {
                self.wrong(Mistake::key(&here, "is there twice: upper and lower case are the same in a header"));
            }
        }
    }

    pub(super) fn header_name(&mut self, path: &KeyPath, name: &str) {
        let Ok(header) = HeaderName::from_bytes(name.as_bytes()) else {
            self.wrong(Mistake::key(path, "is not a header name").hint("use letters, digits and -"));
            return;
        };
        if OWN_HEADERS.contains(&header.as_str()) {
            self.wrong(Mistake::key(path, "is set by the daemon itself").hint("remove it"));
        }
    }

    /// Query parameters that every request carries.
    pub(super) fn query(&mut self, path: &KeyPath, query: &BTreeMap<String, SecretText>, auth: Option<&Auth>) {
        let taken = auth_param(auth);
        for name in query.keys() {
            if name.is_empty() {
                self.wrong(Mistake::key(&path.key(name), "is not the name of a parameter"));
            }
            if taken == Some(name.as_str()) {
                self.wrong(Mistake::key(&path.key(name), "is set by auth").hint("remove one of them"));
            }
        }
    }

    /// The path below the base URL.
    pub(super) fn request_path(&mut self, path: &KeyPath, text: &str) {
        let scheme =
            text.split_once("://").is_some_and(|(scheme, _)| scheme.chars().all(|c| c.is_ascii_alphanumeric()));
        let mistake = if scheme || text.starts_with("//") {
            Mistake::value(path, "must not be an absolute URL").hint("write only what follows base_url, e.g. /orders")
        } else if !text.is_empty() && !text.starts_with('/') {
            Mistake::value(path, "must begin with /").hint(format!("write {}", shown(&format!("/{text}"))))
        } else if text.contains(['#', '\\']) || text.contains(|c: char| c.is_control()) {
            Mistake::value(path, "must not hold #, \\ or control characters")
        } else if text.split(['/', '?']).any(|part| matches!(part, "." | "..")) {
            Mistake::value(path, "must not go up by \"..\" or stay by \".\"")
        } else {
            return;
        };
        self.wrong(mistake);
    }

    pub(super) fn json_path(&mut self, path: &KeyPath, text: &str) {
        if !text.starts_with('$') {
            let mistake = Mistake::value(path, "is not a JSONPath: it begins with $");
            self.wrong(match text.strip_prefix('.').unwrap_or(text) {
                "" => mistake.hint("write e.g. $.data[*]"),
                rest => mistake.hint(format!("did you mean {}?", shown(&format!("$.{rest}")))),
            });
        } else if let Err(error) = serde_json_path::JsonPath::parse(text) {
            let message = format!("is not a JSONPath (RFC 9535): {}", error.message());
            self.wrong(Mistake::value(path, message).hint(format!("at character {}", error.position() + 1)));
        }
    }

    /// A JSONPath or `header NAME`.
    pub(super) fn place_in_answer(&mut self, path: &KeyPath, text: &str) {
        match text.strip_prefix("header ") {
            Some(name) if HeaderName::from_bytes(name.trim().as_bytes()).is_err() => {
                self.wrong(Mistake::value(path, "is not a header name").hint("write e.g. header X-Total-Count"));
            }
            Some(_) => {}
            None => self.json_path(path, text),
        }
    }

    /// The name of a parameter that a paginator sets in the query.
    pub(super) fn query_param(&mut self, path: &KeyPath, name: &str, fixed: &Fixed<'_>) {
        if name.is_empty() || name.contains(|c: char| c.is_control()) {
            self.wrong(Mistake::value(path, "is not the name of a parameter"));
        }
        if fixed.query.iter().any(|query| query.contains_key(name)) {
            let mistake = Mistake::value(path, format!("{} is also under the key query", shown(name)));
            self.wrong(mistake.hint("remove it there: it is set here"));
        }
        if fixed.auth == Some(name) {
            let mistake = Mistake::value(path, format!("{} is also set by auth", shown(name)));
            self.wrong(mistake.hint("the API key and the page cannot have the same parameter"));
        }
    }

    /// The place of a parameter that a paginator sets in the body.
    pub(super) fn body_param(&mut self, path: &KeyPath, text: &str, body: Option<&Value>) {
        let Some(keys) = body_path(text) else {
            let mistake = Mistake::value(path, "is no place in the body");
            self.wrong(mistake.hint("write a key, a path like variables.after, or a pointer like /variables/after"));
            return;
        };
        let mut inside = body;
        for key in keys.iter().take(keys.len() - 1) {
            inside = inside.and_then(|value| value.get(key));
            if inside.is_some_and(|value| !value.is_object()) {
                let message = format!("leads through {}, which is no map in the body", shown(key));
                self.wrong(Mistake::value(path, message));
                return;
            }
        }
    }
}

/// What every request's query has already.
pub(super) struct Fixed<'a> {
    /// The keys `query`.
    pub(super) query: [&'a BTreeMap<String, SecretText>; 2],
    /// The parameter that carries the API key.
    pub(super) auth: Option<&'a str>,
}
