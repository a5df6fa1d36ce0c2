//! The columns that the first page gives, and what of it would not fit.

use super::read::Asked;
use super::steps::{Found, Steps};
use crate::base::error::Chain;
use crate::config::settings::{Export, Stream};
use crate::formats;
use crate::ledger::Ledger;
use crate::ledger::rows::LastSchema;
use crate::model::schema::{Schema, Type};
use crate::record::convert::Converted;
use crate::record::infer::Sample;
use crate::record::page::Page;
use crate::record::rules::Rules;
use saas_export_api::plural;

/// Columns that are named; the others are counted.
const NAMED: usize = 8;

/// Looks at a page as a task would.
pub async fn look(
    steps: &mut Steps,
    asked: &Asked<'_>,
    page: Option<Page>,
    (ledger, export): (Option<&Ledger>, &Export),
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
        let (settings, export) = (asked.settings.clone(), export.clone());
        let judged = tokio::task::spawn_blocking(move || judge(&settings, &export, &page, last)).await;
        let found = judged.map_err(|error| Found::fail(error.to_string(), ""))??;
        Ok((found, ()))
    };
    steps.make(asked.subject, "schema", work).await;
}

fn judge(stream: &Stream, export: &Export, page: &Page, last: Option<LastSchema>) -> Result<Found, Found> {
    let rules = Rules::new(stream, &export.schema).map_err(|error| Found::fail(Chain(&error).to_string(), ""))?;
    let mut sample = Sample::default();
    sample.add(page);
    let known = last.as_ref().map(|last| (&last.schema, last.observed.as_slice()));
    let schema = rules.of_task(known, &sample.schema());
    let converted = rules.plan(&schema, formats::layout(&export.format)).convert(page, None);
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
    let columns = plural(count, "column");
    let mut text = format!("{count} {columns}: {}{more}", named.join(", "));
    let counts = &converted.counts;
    if let Some(rejected) = converted.rejected.first() {
        let (bad, of) = (counts.rejected, counts.read);
        text.push_str(&format!(
            "; {bad} of {of} {} would be rejected, the first because {}",
            plural(of, "record"),
            rejected.reason
        ));
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
        let (rescued, values) = (counts.rescued, plural(counts.rescued, "value"));
        text.push_str(&format!("; {rescued} {values} would go to _rescued, not fitting the column"));
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
