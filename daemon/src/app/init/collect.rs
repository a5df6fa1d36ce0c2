//! The collections of a document: GET operations that answer with a list of objects.

use super::document::{Document, Records};
use super::words::folded;
use serde_json::Value;

/// Collections that are taken; a document with more is cut, and the comments say so.
pub const MAX_STREAMS: usize = 600;

/// A parameter of an operation.
#[derive(Clone, Copy)]
pub struct Param<'a> {
    /// Its name.
    pub name: &'a str,
    /// Whether it must be given.
    pub required: bool,
    /// Its schema, references followed.
    pub schema: &'a Value,
    /// What it is for.
    pub about: &'a str,
}

/// A GET operation that answers with a list.
pub struct Operation<'a> {
    /// Its path, as the document writes it.
    pub path: &'a str,
    /// What it is for.
    pub about: &'a str,
    /// Its query parameters.
    pub query: Vec<Param<'a>>,
    /// Names of its path parameters, in the order of the path.
    pub places: Vec<&'a str>,
    /// Schema of its answer.
    pub answer: &'a Value,
    /// Where the records are in it.
    pub records: Records<'a>,
    /// Names of the headers of its answer, folded.
    pub headers: Vec<String>,
}

/// Every collection, in the order of the document, and how many more there were.
pub fn collections<'a>(document: &Document<'a>) -> (Vec<Operation<'a>>, usize) {
    let mut found = Vec::new();
    let mut more = 0;
    for (path, item) in document.at(&["paths"]).as_object().into_iter().flatten() {
        let Some(operation) = operation(document, path, document.resolve(item)) else { continue };
        if found.len() < MAX_STREAMS { found.push(operation) } else { more += 1 }
    }
    (found, more)
}

fn operation<'a>(document: &Document<'a>, path: &'a str, item: &'a Value) -> Option<Operation<'a>> {
    let get = item.get("get")?;
    if !path.starts_with('/')
        || path.contains(['?', '#', ' ', '\\'])
        || get.get("deprecated") == Some(&Value::Bool(true))
    {
        return None;
    }
    let places = places(path)?;
    let responses = get.get("responses")?.as_object()?;
    let good = |status: &&String| status.starts_with('2') || *status == "default";
    let status = ["200", "2XX", "2xx"].iter().find(|status| responses.contains_key(**status));
    let status = status.map_or_else(|| responses.keys().find(good).cloned(), |status| Some((*status).to_owned()))?;
    let response = document.resolve(responses.get(&status)?);
    let answer = document.json(response.get("content")?.as_object()?)?.get("schema")?;
    let last = path.rsplit('/').find(|part| !part.is_empty() && !part.starts_with('{')).unwrap_or_default();
    let records = document.records(answer, last)?;
    // A path that ends in a parameter is one thing, even if its answer wraps it in a list.
    if path.trim_end_matches('/').ends_with('}') && records.path != "$[*]" {
        return None;
    }
    let headers = response.get("headers").and_then(Value::as_object);
    let headers = headers.into_iter().flatten().map(|(name, _)| folded(name)).collect();
    let about = ["summary", "description"].iter().find_map(|key| get.get(*key)?.as_str()).unwrap_or_default();
    let query = query(document, get, item);
    Some(Operation { path, about, query, places, answer, records, headers })
}

/// The query parameters: those of the operation win over those of the path.
fn query<'a>(document: &Document<'a>, get: &'a Value, item: &'a Value) -> Vec<Param<'a>> {
    const NULL: &Value = &Value::Null;
    let mut found: Vec<Param<'a>> = Vec::new();
    for list in [get, item].iter().filter_map(|of| of.get("parameters")?.as_array()) {
        for param in list.iter().map(|param| document.resolve(param)) {
            let text = |key: &str| param.get(key).and_then(Value::as_str).unwrap_or_default();
            let (name, place) = (text("name"), text("in"));
            if place != "query" || name.is_empty() || found.iter().any(|known| known.name == name) {
                continue;
            }
            let required = param.get("required") == Some(&Value::Bool(true));
            let schema = param.get("schema").map_or(NULL, |schema| document.resolve(schema));
            found.push(Param { name, required, schema, about: text("description") });
        }
    }
    found
}

/// The names between braces in a path; `None` where the braces do not match.
fn places(path: &str) -> Option<Vec<&str>> {
    let mut found = Vec::new();
    let mut rest = path;
    while let Some((before, tail)) = rest.split_once('{') {
        let (name, after) = tail.split_once('}')?;
        if before.contains('}') || name.is_empty() || name.contains('{') {
            return None;
        }
        found.push(name);
        rest = after;
    }
    (!rest.contains('}')).then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn braces_must_match() {
        assert_eq!(places("/a/{b}/c/{d}.json"), Some(vec!["b", "d"]));
        assert_eq!(places("/a"), Some(vec![]));
        for bad in ["/a/{b", "/a/b}", "/{}/x", "/{a{b}}"] {
            assert_eq!(places(bad), None, "{bad}");
        }
    }
}
