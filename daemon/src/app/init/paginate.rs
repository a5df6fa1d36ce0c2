//! Recognises a paginator by the names of parameters, headers and fields.

use super::collect::{Operation, Param};
use super::document::{Document, member};
use super::words::{folded, quoted, scalar, value};
use serde_json::Value;

/// Records per page where the document names no most.
const USUAL_SIZE: u64 = 100;
/// Larger pages are slower than they are good for.
const LARGEST_SIZE: u64 = 1000;
/// Fields of an answer that are looked at.
const MAX_FIELDS: usize = 300;

const SIZES: [&str; 12] = [
    "perpage",
    "pagesize",
    "limit",
    "maxresults",
    "pagelimit",
    "itemsperpage",
    "pagelen",
    "top",
    "count",
    "size",
    "first",
    "maxitems",
];
const CURSORS: [&str; 17] = [
    "cursor",
    "pagecursor",
    "nextcursor",
    "startcursor",
    "pagetoken",
    "nextpagetoken",
    "nexttoken",
    "paginationtoken",
    "continuationtoken",
    "continue",
    "startingafter",
    "pageafter",
    "after",
    "marker",
    "bookmark",
    "scrollid",
    "token",
];
const NEXT_CURSORS: [&str; 18] = [
    "nextcursor",
    "nextpagecursor",
    "nextpagetoken",
    "nexttoken",
    "nextcontinuationtoken",
    "continuationtoken",
    "nextmarker",
    "nextstartingafter",
    "endcursor",
    "nextafter",
    "after",
    "nextkey",
    "continue",
    "bookmark",
    "scrollid",
    "cursor",
    "marker",
    "next",
];
const NEXT_URLS: [&str; 9] = [
    "nexturl",
    "nextpageurl",
    "nextlink",
    "odatanextlink",
    "linksnext",
    "linksnexthref",
    "pagingnext",
    "pagingnextlink",
    "paginationnexturl",
];
const OFFSETS: [&str; 8] =
    ["offset", "pageoffset", "skip", "startat", "startindex", "sysparmoffset", "start", "firstresult"];
const PAGES: [&str; 7] = ["page", "pagenumber", "pagenum", "pageno", "pageindex", "currentpage", "p"];
const TOTALS: [&str; 8] =
    ["total", "totalcount", "totalitems", "totalresults", "totalrecords", "totalsize", "totalelements", "numfound"];

/// A paginator as it is written, and what it already says.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Pages {
    /// The line `paginate: …`, with its remark; none where nothing was recognised.
    pub line: Option<String>,
    /// Query parameters that go with it.
    pub query: Vec<(String, String)>,
    /// Names of the parameters that it sets itself.
    pub used: Vec<String>,
    /// The line `total: …`.
    pub total: Option<String>,
}

/// A single value of an answer.
struct Field {
    path: String,
    /// Its name, and with the names above it, folded.
    name: String,
    full: String,
    kind: String,
    uri: bool,
}

/// The paginator of an operation.
pub fn pages(document: &Document<'_>, operation: &Operation<'_>) -> Pages {
    let mut fields = Vec::new();
    single_values(document, operation.answer, ("$", ""), 3, &mut fields);
    let mut pages = linked(operation, &fields)
        .or_else(|| cursor(document, operation, &fields))
        .or_else(|| counted(operation))
        .unwrap_or_default();
    let size = param(operation, &SIZES).filter(|size| !pages.used.iter().any(|used| used == size.name));
    if let (Some(size), Some(most)) = (size, size.and_then(|size| most(&size))) {
        pages.query.push((size.name.to_owned(), most.to_string()));
    }
    pages.total = total(operation, &fields);
    pages
}

/// A link in a header, or a URL in the body.
fn linked(operation: &Operation<'_>, fields: &[Field]) -> Option<Pages> {
    if operation.headers.iter().any(|name| name == "link") {
        return Some(Pages { line: Some("paginate: { link: {} }".into()), ..Pages::default() });
    }
    let text = |field: &&Field| field.kind == "string";
    let known = NEXT_URLS.iter().find_map(|word| {
        fields
            .iter()
            .filter(text)
            .find(|field| field.full == *word || field.name == *word || field.full.ends_with(word))
    });
    let beside =
        fields.iter().any(|field| matches!(field.name.as_str(), "previous" | "prev" | "prevpage" | "previouspage"));
    let plain = fields.iter().filter(text).find(|field| {
        matches!(field.name.as_str(), "next" | "nextpage")
            && (field.uri || (beside && param(operation, &CURSORS).is_none()))
    });
    let field = known.or(plain)?;
    let sure = if field.uri { "" } else { "   # check: is this a URL?" };
    let line = format!("paginate: {{ next_url: {{ from: {} }} }}{sure}", quoted(&field.path));
    Some(Pages { line: Some(line), ..Pages::default() })
}

/// A cursor that is given back.
fn cursor(document: &Document<'_>, operation: &Operation<'_>, fields: &[Field]) -> Option<Pages> {
    let param = param(operation, &CURSORS)?;
    let scalar_field = |field: &&Field| matches!(field.kind.as_str(), "string" | "integer" | "number" | "");
    let from =
        NEXT_CURSORS.iter().find_map(|word| fields.iter().filter(scalar_field).find(|field| field.name == *word));
    let used = vec![param.name.to_owned()];
    let name = scalar(param.name);
    let line =
        |from: &str, check: &str| format!("paginate: {{ cursor: {{ from: {}, param: {name} }} }}{check}", quoted(from));
    if let Some(field) = from {
        return Some(Pages { line: Some(line(&field.path, "")), used, ..Pages::default() });
    }
    // "After this one": the id of the last record leads on.
    let after = matches!(folded(param.name).as_str(), "startingafter" | "after" | "pageafter" | "marker");
    if after && document.fields(operation.records.item).contains(&"id") {
        let last = format!("{}[-1].id", operation.records.path.trim_end_matches("[*]"));
        let check = "   # check: the last record's id leads on";
        return Some(Pages { line: Some(line(&last, check)), used, ..Pages::default() });
    }
    None
}

/// An offset, or a page number.
fn counted(operation: &Operation<'_>) -> Option<Pages> {
    let size = param(operation, &SIZES);
    if let (Some(offset), Some(size)) = (param(operation, &OFFSETS), size) {
        let limit = most(&size);
        let check = if limit.is_some() { "" } else { "   # check: how many does a page hold at most?" };
        let limit = limit.unwrap_or(USUAL_SIZE);
        let (param, limit_param) = (scalar(offset.name), scalar(size.name));
        let line =
            format!("paginate: {{ offset: {{ param: {param}, limit_param: {limit_param}, limit: {limit} }} }}{check}");
        let used = vec![offset.name.to_owned(), size.name.to_owned()];
        return Some(Pages { line: Some(line), used, ..Pages::default() });
    }
    let page = param(operation, &PAGES)?;
    let number = |key: &str| page.schema.get(key).and_then(Value::as_u64);
    let start = if number("minimum") == Some(0) || number("default") == Some(0) { 0 } else { 1 };
    let mut used = vec![page.name.to_owned()];
    let size = size.and_then(|size| {
        let most = most(&size)?;
        used.push(size.name.to_owned());
        Some(format!(", size_param: {}, size: {most}", scalar(size.name)))
    });
    let start = if start == 1 { String::new() } else { format!(", start: {start}") };
    let line = format!("paginate: {{ page: {{ param: {}{start}{} }} }}", scalar(page.name), size.unwrap_or_default());
    Some(Pages { line: Some(line), used, ..Pages::default() })
}

fn total(operation: &Operation<'_>, fields: &[Field]) -> Option<String> {
    if operation.headers.iter().any(|name| name == "xtotalcount") {
        return Some("total: header X-Total-Count".into());
    }
    let number = |field: &&Field| matches!(field.kind.as_str(), "integer" | "number");
    let found = TOTALS.iter().find_map(|word| fields.iter().filter(number).find(|field| field.name == *word))?;
    Some(format!("total: {}", value(&found.path)))
}

/// The parameter whose name is among `words`, the first word first.
fn param<'a>(operation: &Operation<'a>, words: &[&str]) -> Option<Param<'a>> {
    words.iter().find_map(|word| operation.query.iter().find(|param| folded(param.name) == *word).copied())
}

/// The most records of a page: the schema's maximum, or what the description calls the maximum.
fn most(size: &Param<'_>) -> Option<u64> {
    let number = |key: &str| size.schema.get(key).and_then(Value::as_u64).filter(|number| *number > 0);
    let said = || {
        let about = size.about.to_lowercase();
        let after = about.split_once("max")?.1;
        let digits = after.split(|c: char| !c.is_ascii_digit()).find(|part| !part.is_empty())?;
        // Not a number that stands somewhere else in the text.
        (after.find(digits)? < 40).then(|| digits.parse::<u64>().ok()).flatten().filter(|number| *number > 0)
    };
    number("maximum").or_else(said).or_else(|| number("default")).map(|most| most.min(LARGEST_SIZE))
}

/// Every field of an answer that holds a single value and lies in objects alone.
fn single_values(
    document: &Document<'_>,
    schema: &Value,
    (path, full): (&str, &str),
    depth: usize,
    found: &mut Vec<Field>,
) {
    for (name, field) in document.shape(schema).fields {
        if found.len() >= MAX_FIELDS {
            return;
        }
        let shape = document.shape(field);
        let (path, full) = (member(path, name), format!("{full}{}", folded(name)));
        match shape.kind.as_str() {
            "object" if depth > 1 && !shape.fields.is_empty() => {
                single_values(document, field, (&path, &full), depth - 1, found);
            }
            "array" | "object" => {}
            kind => {
                let format = document.resolve(field).get("format").and_then(Value::as_str);
                let uri = format.is_some_and(|format| format.starts_with("uri") || format == "url");
                found.push(Field { path, name: folded(name), full, kind: kind.to_owned(), uri });
            }
        }
    }
}
