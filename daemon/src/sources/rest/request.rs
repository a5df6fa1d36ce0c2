//! The requests of one partition: rendered once, then only the page's parameters change.

use super::body::compose;
use super::checksum::Sum;
use super::include::Include;
use super::incremental::Asked;
use super::paginate::{Pager, Param};
use super::spec::{At, Body, StreamSpec, travels};
use super::template::{Text, Values};
use crate::auth::fixed::header;
use crate::model::offset::PageCursor;
use crate::net::fetch::{Ask, Private};
use crate::net::judge::Judge;
use crate::net::query;
use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method};
use serde_json::{Map, Value};
use std::sync::Arc;
use url::Url;

/// The rendered requests of a partition.
#[derive(Debug)]
pub struct Request {
    method: Method,
    /// URL of the first page, without the page's parameters and without secrets.
    pub url: Url,
    headers: HeaderMap,
    body: Option<Value>,
    /// Parameters in the body of every request: path and JSON text.
    fixed: Vec<(Vec<String>, String)>,
    /// What belongs to the configured origin alone.
    pub private: Arc<Private>,
    /// Parameters of every request, also of one to a next URL.
    every: Vec<(String, String)>,
    /// Fields that each record gets.
    pub include: Option<Include>,
    judge: Option<Arc<dyn Judge>>,
    digests: bool,
}

impl Request {
    /// Renders the templates of a stream for one partition.
    pub fn render(spec: &StreamSpec, values: &Values, bounds: Asked) -> Result<Self, At> {
        let text = |key: &str, text: &Text| spec.templates.render(text, values).map_err(|reason| At::new(key, &reason));
        let path = text("path", &spec.path)?;
        let mut url = join(&spec.base, &path).map_err(|reason| At::new("path", reason))?;
        let shared = &spec.shared;
        let (mut headers, mut private) = (shared.headers.clone(), shared.private.clone());
        for (name, template) in &spec.headers {
            let key = format!("headers.{name}");
            let open = travels(name, template);
            let (name, value) =
                header(name.as_str(), &text(&key, template)?, !open).map_err(|reason| At::new(&key, &reason))?;
            headers.remove(&name);
            private.headers.remove(&name);
            let to = if open { &mut headers } else { &mut private.headers };
            to.insert(name, value);
        }
        let mut open_query = shared.query.clone();
        for (name, template) in &spec.query {
            let value = text(&format!("query.{name}"), template)?;
            open_query.retain(|(key, _)| key != name);
            private.query.retain(|(key, _)| key != name);
            let to = if template.is_secret() { &mut private.query } else { &mut open_query };
            to.push((name.clone(), value));
        }
        private.headers.extend(shared.credentials.headers.clone());
        private.query.extend(shared.credentials.query.iter().cloned());
        open_query.retain(|(key, _)| bounds.in_query.iter().all(|(name, _)| name != key));
        open_query.extend(bounds.in_query);
        private.names.extend(shared.credentials.names.iter().cloned());
        if !open_query.is_empty() {
            url.query_pairs_mut().extend_pairs(&open_query);
        }
        let mut body = spec.body.as_ref().map(|body| body.render(&|t| text("body", t))).transpose()?;
        if body.is_none() && (spec.pager.in_body() || !bounds.in_body.is_empty()) {
            body = Some(Value::Object(Map::new()));
        }
        if body.is_some() {
            headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static("application/json"));
        }
        if spec.sum.as_ref().is_some_and(Sum::of_body) {
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        }
        private.body = spec.body.as_ref().is_some_and(Body::is_secret);
        let (method, every) = (spec.method.clone(), shared.query.clone());
        let fixed = bounds.in_body;
        let (private, judge) = (Arc::new(private), spec.judge.clone());
        Ok(Self { method, url, headers, body, fixed, private, every, include: None, judge, digests: spec.digests })
    }

    /// The request for the page at `cursor`, from `overlap` records before it on; `None` where the cursor is not one of this paginator's.
    pub fn ask(&self, pager: &Pager, cursor: &PageCursor, overlap: u64) -> Option<Ask> {
        let parameters = pager.parameters(cursor, overlap)?;
        let mut url = match cursor {
            PageCursor::Url(next) => {
                let mut url = Url::parse(next).ok()?;
                for (name, value) in self.every.iter().filter(|(name, _)| !query::has(&url, name)).collect::<Vec<_>>() {
                    url.query_pairs_mut().append_pair(name, value);
                }
                url
            }
            _ => self.url.clone(),
        };
        let fixed = self.fixed.iter().map(|(path, json)| (path.as_slice(), json.as_str()));
        let (mut in_query, mut in_body) = (Vec::new(), fixed.collect::<Vec<_>>());
        for (param, text) in &parameters {
            match param {
                Param::Query(name) => in_query.push((name.as_str(), text.as_str())),
                Param::Body(path) => in_body.push((path.as_slice(), text.as_str())),
            }
        }
        if !in_query.is_empty() {
            query::strip(&mut url, |name| in_query.iter().any(|(param, _)| *param == name));
            url.query_pairs_mut().extend_pairs(in_query);
        }
        let body = self.body.as_ref().map(|body| Bytes::from(compose(body, &in_body)));
        Some(Ask {
            method: self.method.clone(),
            url,
            headers: self.headers.clone(),
            body,
            private: self.private.clone(),
            judge: self.judge.clone(),
            digests: self.digests,
        })
    }
}

/// Appends a path to the base. No part of the path may lead upwards: a parameter must not reach another endpoint.
fn join(base: &Url, path: &str) -> Result<Url, &'static str> {
    let plain = path.split(['?', '#']).next().unwrap_or_default();
    let dots = |segment: &str| matches!(segment.to_ascii_lowercase().replace("%2e", ".").as_str(), "." | "..");
    if plain.split('/').any(dots) {
        return Err("a part of the path is `.` or `..`");
    }
    if path.contains(['\\', '#']) || path.chars().any(char::is_control) {
        return Err("a backslash, `#` or control character is in the path");
    }
    let joined = match path.trim_start_matches('/') {
        "" => base.to_string(),
        path => format!("{}/{path}", base.as_str().trim_end_matches('/')),
    };
    Url::parse(&joined).map_err(|_| "the path does not make a URL")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_below_the_base() {
        let base = Url::parse("https://api.example/v2/").unwrap();
        for (path, url) in [
            ("/orders", "https://api.example/v2/orders"),
            ("orders/", "https://api.example/v2/orders/"),
            ("//evil.example/x", "https://api.example/v2/evil.example/x"),
            ("@evil.example", "https://api.example/v2/@evil.example"),
            ("https://evil.example/", "https://api.example/v2/https://evil.example/"),
            ("/a..b?x=../y", "https://api.example/v2/a..b?x=../y"),
            ("", "https://api.example/v2/"),
        ] {
            assert_eq!(join(&base, path).unwrap().as_str(), url, "{path}");
        }
        for bad in ["..", "/a/../b", "/a/%2E./b", "a/.%2e", "./a", "\\\\evil", "a#b", "a\nb"] {
            assert!(join(&base, bad).is_err(), "{bad}");
        }
    }
}
