//! The dry run of an export's schema: one page of each stream, asked like a task would, and nothing stored.

use super::engine::{AppEngine, streams_of};
use super::params::{check_params, with_defaults};
use crate::base::clock;
use crate::base::error::Chain;
use crate::base::ids::Name;
use crate::config::settings::{self, Config, Export, Format};
use crate::control::SchemaAsk;
use crate::formats::words;
use crate::ledger::Ledger;
use crate::ledger::rows::LastSchema;
use crate::model::schema::diff::{Difference, diff};
use crate::model::schema::{Field, Schema, Type};
use crate::queue::handle::Refusal;
use crate::record::convert::{Converted, Data, Layout, Plan};
use crate::record::infer::Sample;
use crate::record::page::Page;
use crate::record::rules::Rules;
use crate::sources::Source;
use arrow_array::cast::AsArray as _;
use saas_export_api::{SchemaColumn, SchemaMisfit, SchemaReport, StreamSchema, plural};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// The longest a dry run may take, all streams together; a task would wait longer for a slow source.
const LIMIT: Duration = Duration::from_secs(60);

/// Reasons of rejected records that are told.
const MAX_REASONS: usize = 5;

/// Columns that are told of one stream.
const MAX_COLUMNS: usize = 10_000;

/// Fetches the first page of each stream and says what a task would make of it.
pub async fn dry_run(engine: Arc<AppEngine>, ledger: &Ledger, ask: SchemaAsk) -> Result<SchemaReport, Refusal> {
    let config = engine.config().borrow().clone();
    let unknown = || Refusal::NotFound(format!("there is no export {:?}", ask.export));
    let (name, export) = config.exports.get_key_value(ask.export.as_str()).ok_or_else(unknown)?;
    check_params(&export.params, &ask.params)?;
    let format = match ask.format.as_deref() {
        Some(word) if word != export.format.word() => Format::from_word(word)
            .ok_or_else(|| Refusal::Invalid(format!("{word:?} is not a format: use {}", Format::WORDS)))?,
        _ => export.format.clone(),
    };
    let streams = wanted(export, &config, ask.stream.as_deref())?;
    let source = source(engine, export, &ask.params).await?;
    let end = clock::monotonic() + LIMIT;
    let mut report = SchemaReport { export: name.to_string(), format: format.word().into(), streams: Vec::new() };
    for stream in streams {
        let left = end.saturating_duration_since(clock::monotonic());
        let look = Look { config: &config, name, export, format: &format, stream: &stream, source: &source };
        let late = || Err(format!("no page came within the {} s of a dry run", LIMIT.as_secs()));
        let looked = tokio::time::timeout(left, look.look(ledger)).await.unwrap_or_else(|_| late());
        let failed = |error| StreamSchema { stream: stream.to_string(), error: Some(error), ..StreamSchema::default() };
        report.streams.push(looked.unwrap_or_else(failed));
    }
    Ok(report)
}

fn wanted(export: &Export, config: &Config, only: Option<&str>) -> Result<Vec<Name>, Refusal> {
    let mut streams = streams_of(export, config);
    if let Some(only) = only {
        let names = streams.iter().map(Name::as_str).collect::<Vec<_>>().join(", ");
        streams.retain(|stream| stream.as_str() == only);
        if streams.is_empty() {
            return Err(Refusal::NotFound(format!("the export has no stream {only:?}: it has {names}")));
        }
    }
    Ok(streams)
}

/// The export's source, with its shared budget of requests.
async fn source(engine: Arc<AppEngine>, export: &Export, params: &BTreeMap<String, String>) -> Result<Source, Refusal> {
    let given: Vec<_> = params.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
    let params = with_defaults(&export.params, &given);
    let config = engine.config().borrow().clone();
    let name = export.source.clone();
    let build = move || match config.sources.get(&name) {
        Some(settings::Source::Rest(rest)) => engine
            .source(&name, rest, params)
            .map_err(|error| Refusal::Invalid(format!("the source cannot be used: failed to {}", Chain(&error)))),
        None => Err(Refusal::NotFound(format!("there is no source {name}"))),
    };
    // It reads files of certificates.
    let built = tokio::task::spawn_blocking(build).await;
    built.map_err(|error| Refusal::Unavailable(error.to_string()))?
}

/// A stream that is looked at.
struct Look<'a> {
    config: &'a Config,
    name: &'a Name,
    export: &'a Export,
    format: &'a Format,
    stream: &'a Name,
    source: &'a Source,
}

impl Look<'_> {
    async fn look(&self, ledger: &Ledger) -> Result<StreamSchema, String> {
        let settings::Source::Rest(rest) =
            self.config.sources.get(&self.export.source).ok_or_else(|| "its source is gone".to_owned())?;
        let settings = rest.streams.get(self.stream).ok_or_else(|| "it is gone".to_owned())?;
        let rules =
            Rules::new(settings, &self.export.schema).map_err(|error| format!("failed to {}", Chain(&error)))?;
        let last = ledger.last_schema(self.name.as_str(), self.stream.as_str()).await;
        let last = last.map_err(|error| format!("failed to {}", Chain(&error)))?;
        let page = self
            .source
            .first_page(self.stream, clock::now())
            .await
            .map_err(|error| format!("failed to {}", Chain(&*error)))?;
        let notes = self.source.stats().notes(self.stream.as_str());
        let (stream, format) = (self.stream.to_string(), self.format.clone());
        // A page may be large, and this thread answers others.
        let told = tokio::task::spawn_blocking(move || tell(stream, &format, (&rules, last), page, notes)).await;
        told.map_err(|error| error.to_string())
    }
}

fn tell(
    stream: String,
    format: &Format,
    (rules, last): (&Rules, Option<LastSchema>),
    page: Option<Page>,
    mut notes: Vec<String>,
) -> StreamSchema {
    let mut sample = Sample::default();
    page.iter().for_each(|page| sample.add(page));
    let known = last.as_ref().map(|last| (&last.schema, last.observed.as_slice()));
    let next = rules.of_task(known, &sample.schema());
    let against = last.as_ref().map_or(&next, |last| &last.schema);
    let misfits = page.as_ref().map(|page| misfits(against, page)).unwrap_or_default();
    let mut rejected = 0;
    if let Some(page) = &page {
        let converted = rules.plan(&next, crate::formats::layout(format)).convert(page, None);
        rejected = converted.counts.rejected;
        notes.extend(reasons(&converted));
    }
    if page.is_none() {
        notes.push("the first part of the stream has no page".to_owned());
    }
    let mut columns = columns(format, &next, last.as_ref().map(|last| &last.schema));
    if columns.len() > MAX_COLUMNS {
        let more = columns.len() - MAX_COLUMNS;
        notes.push(format!("not shown: {more} more {}", plural(more, "column")));
        columns.truncate(MAX_COLUMNS);
    }
    let records = page.map_or(0, |page| page.records.len() as u64);
    let version = last.map(|last| last.version);
    StreamSchema { stream, records, version, columns, misfits, rejected, notes, error: None }
}

/// Why records would be rejected, the most frequent reason first.
fn reasons(converted: &Converted) -> Vec<String> {
    let mut counted: BTreeMap<&str, u64> = BTreeMap::new();
    for rejected in &converted.rejected {
        *counted.entry(rejected.reason.as_str()).or_default() += 1;
    }
    let mut counted: Vec<_> = counted.into_iter().collect();
    counted.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let told = counted.iter().take(MAX_REASONS).map(|(reason, count)| format!("rejected ({count}): {reason}"));
    let fails = converted.failed.iter().map(|failed| format!("a task would fail: {}", failed.reason));
    fails.chain(told).collect()
}

/// The values of a page that a schema has no place for, by field.
fn misfits(schema: &Schema, page: &Page) -> Vec<SchemaMisfit> {
    let Data::Batch(batch) = Plan::new(schema, Layout::Columns).convert(page, None).data else { return Vec::new() };
    let rescued = batch.columns().last().and_then(|column| column.as_string_opt::<i32>());
    let mut counted: BTreeMap<String, u64> = BTreeMap::new();
    for text in rescued.into_iter().flatten().flatten() {
        let kept: BTreeMap<String, String> = serde_json::from_str(text).unwrap_or_default();
        for path in kept.keys() {
            *counted.entry(field_of(path)).or_default() += 1;
        }
    }
    let mut known = Vec::new();
    leaves("", &schema.fields, &mut |field, _| known.push(field));
    let why = |field: &String| if known.contains(field) { "type" } else { "new" };
    counted.into_iter().map(|(field, values)| SchemaMisfit { why: why(&field).into(), field, values }).collect()
}

/// The field of a rescued value: its path without the numbers of elements and repetitions.
fn field_of(path: &str) -> String {
    let mut field = String::new();
    let mut chars = path.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(c) if c.is_ascii_digit() => break,
                Some(c) => field.push(c),
                None => {}
            },
            '[' => {
                field.push_str("[]");
                while chars.next().is_some_and(|c| c != ']') {}
            }
            c => field.push(c),
        }
    }
    field
}

/// Tells every field with its path, objects and lists before what is in them.
fn leaves(around: &str, fields: &[Field], tell: &mut impl FnMut(String, &Type)) {
    for field in fields {
        inside(&format!("{around}{}", field.name), &field.kind, tell);
    }
}

fn inside(path: &str, kind: &Type, tell: &mut impl FnMut(String, &Type)) {
    tell(path.to_owned(), kind);
    match kind {
        Type::Struct(fields) => leaves(&format!("{path}."), fields, tell),
        Type::List(item) => inside(&format!("{path}[]"), item, tell),
        _ => {}
    }
}

fn columns(format: &Format, schema: &Schema, last: Option<&Schema>) -> Vec<SchemaColumn> {
    let mut before: BTreeMap<String, String> = BTreeMap::new();
    for difference in last.map(|last| diff(last, schema)).unwrap_or_default() {
        match difference {
            Difference::Added(field, _) => before.insert(field, "new".into()),
            Difference::Changed(field, from, _) => before.insert(field, from.to_string()),
            Difference::Removed(..) => None,
        };
    }
    let mut columns = Vec::new();
    let mut tell = |field: String, kind: &Type| {
        let before = before.get(&field).cloned();
        columns.push(SchemaColumn { kind: kind.to_string(), column: words::column(format, kind), before, field });
    };
    match crate::formats::layout(format) {
        Layout::Columns => leaves("", &schema.fields, &mut tell),
        // Elsewhere nothing inside a field is a column.
        Layout::Flat | Layout::Lines => {
            schema.fields.iter().for_each(|field| tell(field.name.clone(), &field.kind));
        }
    }
    columns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rescued_paths_name_their_field() {
        for (path, field) in [
            ("a", "a"),
            ("items[12].price", "items[].price"),
            (r"a\.b", "a.b"),
            (r"a\2", "a"),
            (r"a\[0].b", "a[0].b"),
            ("l[0][1]", "l[][]"),
        ] {
            assert_eq!(field_of(path), field, "{path}");
        }
    }

    #[test]
    fn a_page_is_told_against_the_last_version() {
        let text = "version: 1
sources: { s: { rest: { base_url: https://a.example, streams: { x: { path: /x } } } } }
destinations: { d: { local: { root: /srv/d } } }
exports: { e: { source: s, to: [d], schema: { type_changes: quarantine } } }
";
        let config = crate::config::parse(text, "f").unwrap();
        let settings::Source::Rest(rest) = &config.sources["s"];
        let rules = Rules::new(&rest.streams["x"], &config.exports["e"].schema).unwrap();
        let field = |name: &str, kind| Field { name: name.into(), kind };
        let item = Type::Struct(vec![field("n", Type::Integer)]);
        let fields = vec![field("id", Type::Integer), field("l", Type::List(Box::new(item)))];
        let last = LastSchema { schema: Schema { fields }, version: 3, observed: vec![] };
        let page =
            Page::of(&[r#"{"id":"x","l":[{"n":1},{"n":2,"m":3}]}"#, r#"{"id":2,"new":true,"l":[]}"#, r#"{"id":3}"#]);
        let format = Format::from_word("parquet").unwrap();
        let told = tell("x".into(), &format, (&rules, Some(last)), Some(page), vec![]);
        assert_eq!((told.records, told.version, told.rejected), (3, Some(3), 1));
        let misfits: Vec<_> = told.misfits.iter().map(|m| (m.field.as_str(), m.values, m.why.as_str())).collect();
        assert_eq!(misfits, [("id", 1, "type"), ("l[].m", 1, "new"), ("new", 1, "new")]);
        let columns: Vec<_> =
            told.columns.iter().map(|c| (c.field.as_str(), c.column.as_str(), c.before.as_deref())).collect();
        assert_eq!(
            columns,
            [
                ("id", "INT64", None),
                ("l", "LIST", None),
                ("l[]", "STRUCT", None),
                ("l[].n", "INT64", None),
                ("l[].m", "INT64", Some("new")),
                ("new", "BOOLEAN", Some("new")),
            ]
        );
        assert!(told.notes[0].starts_with("rejected (1): its field \"id\""), "{:?}", told.notes);
    }
}
