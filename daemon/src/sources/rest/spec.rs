//! A stream as it is configured, compiled once: templates, paths, paginator. Nothing here depends on a task.

use super::auth::{Shared, is_open};
use super::checksum::Sum;
use super::incremental::Bounds;
use super::paginate::{Pager, Place};
use super::peek::Peek;
use super::split::Split;
use super::template::{Templates, Text};
use crate::auth::fixed::header;
use crate::base::ids::hex;
use crate::base::secret::Resolve;
use crate::config::settings::{Method, OnShift, Paginate, ParamIn, Stream, TotalMismatch};
use crate::net::judge::Judge;
use crate::net::mask::Mask;
use crate::record::identity::Identity;
use crate::record::locate::Locator;
use crate::record::transform::Transform;
use http::HeaderName;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use std::sync::Arc;
use url::Url;

/// A place in the settings that cannot be used.
#[derive(Debug, PartialEq, Eq)]
pub struct At {
    /// Key path.
    pub key: String,
    /// What is wrong with it.
    pub reason: String,
}

impl At {
    /// A place and what is wrong with it.
    pub fn new(key: &str, reason: &str) -> Self {
        Self { key: key.to_owned(), reason: reason.to_owned() }
    }

    /// The same place, seen from further up.
    pub fn below(self, prefix: &str) -> Self {
        Self { key: format!("{prefix}.{}", self.key), reason: self.reason }
    }
}

/// A compiled stream.
#[derive(Debug)]
pub struct StreamSpec {
    /// GET or POST.
    pub method: http::Method,
    /// `base_url`.
    pub base: Url,
    /// Path below it.
    pub path: Text,
    /// The same as it is configured, for messages.
    pub path_template: String,
    /// Query of the first request.
    pub query: Vec<(String, Text)>,
    /// Headers of every request of the stream.
    pub headers: Vec<(HeaderName, Text)>,
    /// JSON body.
    pub body: Option<Body>,
    /// What all requests of the source carry.
    pub shared: Arc<Shared>,
    /// The compiled templates.
    pub templates: Templates,
    /// Finds records, cursor and total.
    pub locator: Locator,
    /// Where the total stands.
    pub total: Option<Place>,
    /// From one page to the next.
    pub pager: Pager,
    /// Where the next page is looked up before an answer is read; `None` where nothing says it.
    pub peek: Option<Peek>,
    /// The checksum that an answer has in a way of its own.
    pub sum: Option<Sum>,
    /// Whether the standard digests in headers are compared.
    pub digests: bool,
    /// How newer records are asked for.
    pub incremental: Option<Bounds>,
    /// What answers mean where their status alone does not say it.
    pub judge: Option<Arc<dyn Judge>>,
    /// Whether a field tells one record from another.
    pub keyed: bool,
    /// The most pages of a partition.
    pub max_pages: u64,
    /// Whether fewer records than the source said are an error.
    pub exact_total: bool,
    /// Tells records apart where pages are counted, so that a shift of the pages is noticed; `None` where that is of no
    /// interest.
    pub identity: Option<Identity>,
    /// What is done with each record before anything else sees it.
    pub transform: Option<Transform>,
    /// See [`fingerprint`].
    pub fingerprint: String,
    /// How it is cut into partitions.
    pub split: Split,
}

/// A JSON body whose strings are templates.
#[derive(Debug)]
pub enum Body {
    /// A template.
    Text(Text),
    /// Anything without templates in it.
    Plain(Value),
    /// An array.
    List(Vec<Body>),
    /// An object.
    Object(Vec<(String, Body)>),
}

impl StreamSpec {
    /// Compiles the settings of a stream; its secrets go into `mask`.
    pub fn compile(
        stream: &Stream,
        base: &Url,
        shared: &Shared,
        secrets: &dyn Resolve,
        mask: &mut Mask,
    ) -> Result<Self, At> {
        let mut templates = Templates::default();
        let path = templates.path(&stream.path).map_err(|reason| At::new("path", &reason))?;
        let mut headers = Vec::new();
        for (name, text) in &stream.headers {
            let at = |reason: String| At::new(&format!("headers.{name}"), &reason);
            let (key, _) = header(name, "", false).map_err(at)?;
            headers.push((key, templates.secret_text(&text.0, secrets, mask).map_err(at)?));
        }
        let mut query = Vec::new();
        for (name, text) in &stream.query {
            let text = templates.secret_text(&text.0, secrets, mask);
            query.push((name.clone(), text.map_err(|reason| At::new(&format!("query.{name}"), &reason))?));
        }
        let mut compile = |body| Body::compile(body, "body", &mut |text| templates.secret_text(text, secrets, mask));
        let body = stream.body.as_ref().map(&mut compile).transpose()?;
        let watched = stream.on_shift == OnShift::Restart;
        let (pager, mut paths) = Pager::compile(&stream.paginate, watched)?;
        let identity = (watched && pager.addressable()).then(|| Identity::new(&stream.primary_key, pager.overlaps()));
        let total = stream.total.as_deref().map(|text| Place::compile(text, &mut paths));
        let total = total.transpose().map_err(|reason| At::new("total", &reason))?;
        let sum = stream.checksum.as_ref().map(|settings| Sum::compile(settings, &mut paths)).transpose()?.flatten();
        let digests = stream.checksum.as_ref().is_none_or(|settings| !settings.ignore_standard);
        let method = match stream.method {
            Method::Get => http::Method::GET,
            Method::Post => http::Method::POST,
        };
        let asks_in_body = stream.incremental.as_ref().is_some_and(|incremental| incremental.place == ParamIn::Body);
        if method == http::Method::GET && (body.is_some() || pager.in_body() || asks_in_body) {
            let key = if body.is_some() { "body" } else { "paginate" };
            return Err(At::new(key, "only a POST has a body: set `method: POST`"));
        }
        if pager.in_body() && !matches!(stream.body, None | Some(Value::Object(_))) {
            return Err(At::new("body", "an object is needed, because `paginate` puts its values in it"));
        }
        let split = Split::compile(stream.partition.as_ref())?;
        let locator = Locator::new(&stream.records, &paths.iter().map(String::as_str).collect::<Vec<_>>())
            .map_err(|error| At::new("records", &error.to_string()))?;
        let incremental = stream.incremental.as_ref().map(Bounds::compile).transpose()?;
        let transform = Transform::compile(&stream.transform, secrets)
            .map_err(|bad| At::new(&format!("transform[{}]", bad.index), &bad.reason))?;
        let fingerprint = fingerprint(stream);
        let (base, shared) = (base.clone(), Arc::new(shared.clone()));
        let (keyed, max_pages) = (!stream.primary_key.is_empty(), stream.max_pages.max(1));
        let path_template = stream.path.clone();
        // Only what may be asked twice is asked on a guess.
        let peek = Peek::of(&pager, &paths).filter(|_| method == http::Method::GET);
        let (exact_total, judge) = (stream.total_mismatch == TotalMismatch::Fail, None);
        #[rustfmt::skip]
        let spec = Self {
            method, base, path, path_template, query, headers, body, shared, templates, locator, total, pager, peek, sum, digests, incremental, judge, keyed,
            max_pages, exact_total, identity, transform, fingerprint, split,
        };
        Ok(spec)
    }

    /// The stream with response rules.
    #[must_use]
    pub fn judged_by(self, judge: Option<Arc<dyn Judge>>) -> Self {
        Self { judge, ..self }
    }
}

impl Body {
    fn compile(value: &Value, key: &str, text: &mut impl FnMut(&str) -> Result<Text, String>) -> Result<Self, At> {
        Ok(match value {
            Value::String(source) => Self::Text(text(source).map_err(|reason| At::new(key, &reason))?),
            Value::Array(items) => {
                Self::List(items.iter().map(|item| Self::compile(item, key, text)).collect::<Result<_, _>>()?)
            }
            Value::Object(fields) => {
                let mut compiled = Vec::new();
                for (name, value) in fields {
                    compiled.push((name.clone(), Self::compile(value, &format!("{key}.{name}"), text)?));
                }
                Self::Object(compiled)
            }
            plain => Self::Plain(plain.clone()),
        })
    }

    /// Whether a secret is in it.
    pub fn is_secret(&self) -> bool {
        match self {
            Self::Text(text) => text.is_secret(),
            Self::Plain(_) => false,
            Self::List(items) => items.iter().any(Self::is_secret),
            Self::Object(fields) => fields.iter().any(|(_, value)| value.is_secret()),
        }
    }

    /// The body, with every string rendered by `text`.
    pub fn render<E>(&self, text: &impl Fn(&Text) -> Result<String, E>) -> Result<Value, E> {
        Ok(match self {
            Self::Text(template) => Value::String(text(template)?),
            Self::Plain(value) => value.clone(),
            Self::List(items) => Value::Array(items.iter().map(|item| item.render(text)).collect::<Result<_, _>>()?),
            Self::Object(fields) => {
                let mut object = Map::new();
                for (name, value) in fields {
                    object.insert(name.clone(), value.render(text)?);
                }
                Value::Object(object)
            }
        })
    }
}

/// What makes an offset of the stream usable: SHA-256 of method, path, paginator, primary key, records path, cursor field,
/// of how that one is read, of how it is cut into partitions and of its transformation, in hex.
pub fn fingerprint(stream: &Stream) -> String {
    let mut paginate = stream.paginate.clone();
    // How the end is told changes no page in front of it.
    match &mut paginate {
        Paginate::Page(pages) => pages.end_status.clear(),
        Paginate::Offset(pages) => {
            pages.end_status.clear();
            // A place is the number of records before it, whichever of them are asked for once more.
            pages.overlap = true;
        }
        Paginate::None {} | Paginate::Cursor(_) | Paginate::NextUrl(_) | Paginate::Link(_) => {}
    }
    let cursor_field = stream.incremental.as_ref().map(|incremental| &incremental.cursor_field);
    let parts = (&stream.method, &stream.path, &paginate, &stream.primary_key, &stream.records, cursor_field);
    // These types hold nothing that JSON cannot write.
    let mut text = serde_json::to_vec(&parts).unwrap_or_default();
    if let Some(partition) = &stream.partition {
        text.extend(serde_json::to_vec(partition).unwrap_or_default());
    }
    if !stream.transform.is_empty() {
        text.extend(serde_json::to_vec(&stream.transform).unwrap_or_default());
    }
    if let Some(incremental) = &stream.incremental {
        // A mark means another point of time where its records are read in another way.
        if incremental.cursor_format.is_some() || incremental.timezone != "UTC" {
            let how = (&incremental.cursor_format, &incremental.timezone);
            text.extend(serde_json::to_vec(&how).unwrap_or_default());
        }
    }
    hex(&Sha256::digest(&text))
}

/// Whether a header of a stream may travel to any listed origin.
pub fn travels(name: &HeaderName, text: &Text) -> bool {
    is_open(name) && !text.is_secret()
}
