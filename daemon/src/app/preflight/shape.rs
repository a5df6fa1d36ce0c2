//! The columns that the first page gives, and what of it would not fit.

use super::read::Asked;
use super::steps::{Found, Steps};
use crate::config::settings::{Format, Stream};
use crate::formats;
use crate::ledger::Ledger;
use crate::model::schema::{Schema, Type};
use crate::record::convert::{Converted, Plan};
use crate::record::infer::Sample;
use crate::record::page::Page;
use std::collections::BTreeMap;

/// Columns that are named; the others are counted.
const NAMED: usize = 8;

/// Looks at a page as a task would.
pub async fn look(
    steps: &mut Steps,
    asked: &Asked<'_>,
    page: Option<Page>,
    (ledger, format): (Option<&Ledger>, &Format),
) {
    let Some(page) = page.filter(|page| !page.records.is_empty()) else {
        steps.skip(asked.subject, "schema", "there is no record to look at");
        return;
    };
    let work = async {
        let last = match ledger {
            None => None,
            Some(ledger) => ledger.last_schema(asked.export.as_str(), asked.stream.as_str()).await.ok().flatten(),
        };
        let last = last.map(|last| last.observed.iter().fold(last.schema.clone(), |schema, seen| schema.merge(seen)));
        let (settings, format) = (asked.settings.clone(), format.clone());
        let judged = tokio::task::spawn_blocking(move || judge(&settings, &format, &page, last.as_ref())).await;
        let found = judged.map_err(|error| Found::fail(error.to_string(), ""))??;
        Ok((found, ()))
    };
    steps.make(asked.subject, "schema", work).await;
}

fn judge(stream: &Stream, format: &Format, page: &Page, last: Option<&Schema>) -> Result<Found, Found> {
    let mut declared = BTreeMap::new();
    for (field, text) in &stream.types {
        let kind = Type::parse(text).map_err(|why| Found::fail(format!("types.{field}: {why}"), ""))?;
        declared.insert(field.clone(), kind);
    }
    let mut sample = Sample::new(&declared);
    sample.add(page);
    let schema = sample.finish(last);
    let converted = Plan::new(&schema, formats::layout(format)).convert(page);
    Ok(told(stream, &schema, &converted))
}

fn told(stream: &Stream, schema: &Schema, converted: &Converted) -> Found {
    let named: Vec<String> =
        schema.fields.iter().take(NAMED).map(|field| format!("{} {}", field.name, word(&field.kind))).collect();
    let more = match schema.fields.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(", and {more} more"),
    };
    let count = schema.fields.len();
    let columns = if count == 1 { "column" } else { "columns" };
    let mut text = format!("{count} {columns}: {}{more}", named.join(", "));
    let counts = &converted.counts;
    if let Some(rejected) = converted.rejected.first() {
        let (bad, of) = (counts.rejected, counts.read);
        text.push_str(&format!("; {bad} of {of} records would be rejected, the first because {}", rejected.reason));
        return Found::warn(
            text,
            "`records` should lead to objects; max_rejected says how many rejected ones are borne",
        );
    }
    let missing = stream.primary_key.iter().find(|field| !has(schema, field));
    if let Some(field) = missing {
        return Found::warn(text, format!("no record has the field {field:?} of primary_key: check its name"));
    }
    if counts.rescued > 0 {
        text.push_str(&format!("; {} values do not fit their column and would go to _rescued", counts.rescued));
        return Found::warn(text, "nothing is lost; declare the column's type in `types` if another one is meant");
    }
    Found::ok(text)
}

/// Whether the schema has a field; dots lead into objects.
fn has(schema: &Schema, path: &str) -> bool {
    fn find(fields: &[crate::model::schema::Field], path: &str) -> bool {
        fields.iter().any(|field| {
            let rest = path.strip_prefix(field.name.as_str());
            match (rest, &field.kind) {
                (Some(""), _) => true,
                (Some(rest), Type::Struct(inner)) => rest.strip_prefix('.').is_some_and(|rest| find(inner, rest)),
                _ => false,
            }
        })
    }
    find(&schema.fields, path)
}

/// The word of a type, as it would be declared.
fn word(kind: &Type) -> String {
    match kind {
        Type::Unknown => "null".into(),
        Type::Boolean => "boolean".into(),
        Type::Integer => "integer".into(),
        Type::Float => "float".into(),
        Type::String => "string".into(),
        Type::Timestamp => "timestamp".into(),
        Type::Date => "date".into(),
        Type::Time => "time".into(),
        Type::Decimal { precision, scale } => format!("decimal({precision},{scale})"),
        Type::Binary => "binary".into(),
        Type::Json => "json".into(),
        Type::List(item) => format!("list({})", word(item)),
        Type::Struct(_) => "object".into(),
    }
}
