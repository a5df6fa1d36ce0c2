//! What will be written: the source, its streams with their lines, and what was refused.

use super::auth::{Auth, auth};
use super::collect::{Operation, Param, collections};
use super::document::Document;
use super::words::{folded, line, quoted, scalar, value};
use super::{names, paginate, parents};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Parameters by which an API gives only what changed.
const SINCE: [&str; 14] = [
    "updatedsince",
    "modifiedsince",
    "updatedafter",
    "modifiedafter",
    "changedsince",
    "lastmodifiedsince",
    "updatedatmin",
    "updatedatgte",
    "updatedatgt",
    "updatedfrom",
    "since",
    "createdsince",
    "createdafter",
    "starttime",
];
/// Fields that say when a record changed.
const CHANGED: [&str; 14] = [
    "updatedat",
    "updated",
    "lastmodified",
    "lastmodifiedat",
    "lastmodifieddate",
    "modifiedat",
    "modified",
    "dateupdated",
    "datemodified",
    "lastupdated",
    "updatedon",
    "updateddate",
    "createdat",
    "created",
];
/// Fields that identify a record.
const KEYS: [&str; 6] = ["id", "uuid", "guid", "gid", "sid", "key"];

/// A configuration before it is written.
pub struct Draft {
    /// Title and version of the document.
    pub title: String,
    /// Name of the source.
    pub source: String,
    /// The API's URL.
    pub base_url: String,
    /// Remarks about the URL.
    pub checks: Vec<String>,
    /// Credentials.
    pub auth: Auth,
    /// Why the credentials cannot be used as they are.
    pub auth_refused: Option<String>,
    /// The streams, in the order of the document.
    pub streams: Vec<Stream>,
    /// Collections that found no place.
    pub more: usize,
}

/// A stream before it is written.
pub struct Stream {
    /// Its name.
    pub name: String,
    /// What it is.
    pub about: String,
    /// Its settings, a line each.
    pub lines: Vec<String>,
    /// Parameters that a run must give.
    pub params: BTreeSet<String>,
    /// Why it is left out.
    pub refused: Option<String>,
}

impl Draft {
    /// What a document says.
    pub fn of(document: &Document<'_>, source: Option<&str>) -> Self {
        let text = |keys: &[&str]| document.at(keys).as_str().unwrap_or_default();
        let title = text(&["info", "title"]);
        let source = source.map_or_else(|| names::source(title), str::to_owned);
        let (base_url, checks) = base_url(document);
        let (operations, more) = collections(document);
        let mut taken = BTreeSet::new();
        let named: BTreeMap<&str, String> =
            operations.iter().map(|operation| (operation.path, names::stream(operation.path, &mut taken))).collect();
        let streams = (0..operations.len()).filter_map(|index| stream(document, &operations, index, &named)).collect();
        Self {
            title: line(&format!("{title} {}", text(&["info", "version"]))),
            auth: auth(document, &source),
            auth_refused: None,
            source,
            base_url,
            checks,
            streams,
            more,
        }
    }

    /// Leaves out what a mistake at `path` is about; whether that was news.
    pub fn refuse(&mut self, path: &str, why: &str) -> bool {
        let mut keys = path.split('.').skip(3);
        match (keys.next(), keys.next()) {
            (Some("auth"), _) if self.auth_refused.is_none() => {
                self.auth_refused = Some(line(why));
                true
            }
            (Some("streams"), Some(name)) => {
                let stream = self.streams.iter_mut().find(|stream| stream.name == name && stream.refused.is_none());
                stream.is_some_and(|stream| stream.refused.replace(line(why)).is_none())
            }
            _ => false,
        }
    }
}

/// The first server's URL, made absolute and bare.
fn base_url(document: &Document<'_>) -> (String, Vec<String>) {
    let server = document.at(&["servers"]).get(0);
    let mut url = server.and_then(|server| server.get("url")?.as_str()).unwrap_or_default().to_owned();
    let mut checks = Vec::new();
    for (name, variable) in server.and_then(|server| server.get("variables")?.as_object()).into_iter().flatten() {
        let default = variable.get("default").and_then(Value::as_str).unwrap_or_default();
        url = url.replace(&format!("{{{name}}}"), default);
        checks.push(format!("{} is {} here", line(name), line(&quoted(default))));
    }
    let good = url::Url::parse(&url).ok().filter(|url| {
        matches!(url.scheme(), "http" | "https")
            && url.query().is_none()
            && url.username().is_empty()
            && !url.as_str().contains(['{', '}'])
    });
    match good {
        Some(url) => (url.as_str().trim_end_matches('/').to_owned(), checks),
        None => {
            let path: String =
                url.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '/' | '-' | '_' | '.')).collect();
            let path = if url.starts_with('/') { path.trim_end_matches('/').to_owned() } else { String::new() };
            checks.push("the document names no server that can be used: write its URL".into());
            (format!("https://api.example.com{path}"), checks)
        }
    }
}

fn stream(
    document: &Document<'_>,
    all: &[Operation<'_>],
    index: usize,
    named: &BTreeMap<&str, String>,
) -> Option<Stream> {
    let operation = all.get(index)?;
    let filled = parents::fill(document, all, index, named);
    let pages = paginate::pages(document, operation);
    let mut params: BTreeSet<String> = filled.params.iter().cloned().collect();
    let mut query = pages.query;
    for param in
        operation.query.iter().filter(|param| param.required && !pages.used.iter().any(|used| used == param.name))
    {
        if !query.iter().any(|(name, _)| name == param.name) {
            query.push((param.name.to_owned(), given(param, &mut params)));
        }
    }
    let mut lines = vec![format!("path: {}", value(&filled.path))];
    if !query.is_empty() {
        let pairs: Vec<String> = query
            .iter()
            .map(|(name, text)| format!("{}: {}", scalar(name), quoted(&text.replace("${", "$${"))))
            .collect();
        lines.push(format!("query: {{ {} }}", pairs.join(", ")));
    }
    let guessed = if operation.records.guessed { "   # check: the answer has more than one list" } else { "" };
    lines.push(format!("records: {}{guessed}", quoted(&operation.records.path)));
    let fields = document.fields(operation.records.item);
    match KEYS.iter().find(|key| fields.contains(key)) {
        Some(key) => lines.push(format!("primary_key: [{key}]   # check: guessed by its name")),
        None => lines.push("# check: primary_key: [which field identifies a record?]".into()),
    }
    match pages.line {
        Some(line) => lines.push(line),
        None => lines
            .push("# check: no paginator was recognised, so that one page is all; `paginate` says otherwise".into()),
    }
    lines.extend(pages.total);
    lines.extend(filled.partition.map(|line| format!("{line}   # check: guessed by the path")));
    lines.extend(incremental(operation, &fields));
    let about = format!("{} ({})", line(operation.about), operation.path);
    let name = named.get(operation.path)?.clone();
    Some(Stream { name, about: line(&about), lines, params, refused: None })
}

/// A value for a parameter that must be given: the document's own, else a parameter of the run.
fn given(param: &Param<'_>, params: &mut BTreeSet<String>) -> String {
    let of = |key: &str| param.schema.get(key);
    let first = of("enum").and_then(|words| words.get(0));
    match of("default").or(first).or(of("example")) {
        Some(Value::String(text)) => text.clone(),
        Some(other @ (Value::Number(_) | Value::Bool(_))) => other.to_string(),
        _ => {
            let word = names::word(param.name);
            let text = format!("{{{{ param.{word} }}}}");
            params.insert(word);
            text
        }
    }
}

/// A hint at reading only what changed.
fn incremental(operation: &Operation<'_>, fields: &[&str]) -> Option<String> {
    let param = SINCE.iter().find_map(|word| operation.query.iter().find(|param| folded(param.name) == *word))?;
    let field = CHANGED.iter().find_map(|word| fields.iter().find(|field| folded(field) == *word));
    let field = field.copied().unwrap_or("which_field");
    Some(format!(
        "# check: incremental: {{ cursor_field: {}, param: {}, start: 2024-01-01T00:00:00Z }}   reads only what changed",
        scalar(&line(field)),
        scalar(&line(param.name))
    ))
}
