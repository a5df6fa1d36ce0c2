//! `schema` and `schema diff`.

use super::{resolve, typed};
use crate::args::{Compare, Schema};
use crate::client::{Client, encode};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::human;
use crate::out::{Colour, Out};
use crate::table::{Cell, Table};
use hyper::Method;
use saas_export_api::{SchemaDiff, SchemaReport, StreamSchema};
use serde_json::Value;

/// The dry run, or a comparison.
pub async fn schema(args: Schema, client: &Client, out: Out) -> Result<Exit, Failure> {
    if let Some(Compare::Diff { older, newer }) = args.diff {
        return diff(&older, newer.as_deref(), client, out).await;
    }
    let mut query = Vec::new();
    let single = [("stream", args.stream), ("format", args.format)];
    query.extend(single.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
    query.extend(args.params.into_iter().map(|(name, value)| (format!("param.{name}"), value)));
    let query: Vec<String> = query.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
    let mut path = format!("/v1/exports/{}/schema", encode(args.export.as_deref().unwrap_or_default()));
    if !query.is_empty() {
        path.push('?');
        path.push_str(&query.join("&"));
    }
    let document: Value = client.patient(Method::GET, &path, None).await?;
    let report: SchemaReport = typed(document.clone())?;
    if out.json {
        out.document(&document)?;
    } else {
        for stream in &report.streams {
            tell(stream, out)?;
        }
    }
    let broken: Vec<&str> =
        report.streams.iter().filter(|stream| stream.error.is_some()).map(|stream| stream.stream.as_str()).collect();
    if broken.is_empty() {
        return Ok(Exit::Ok);
    }
    Err(Failure::new(Exit::Failed, format!("no page of {}", human::clean(&broken.join(", ")))))
}

/// One stream: what it is, its columns, and what does not fit.
fn tell(stream: &StreamSchema, out: Out) -> Result<(), Failure> {
    let version = stream.version.map_or_else(|| "no version yet".to_owned(), |version| format!("version {version}"));
    let name = human::clean(&stream.stream);
    let records = human::many(stream.records, "record");
    out.data(&format!("{name}: {records} in the first page, {version} in the ledger\n"))?;
    if let Some(error) = &stream.error {
        out.data(&format!("  {}\n", Colour::Red.paint(&human::clean(error), out.colours)))?;
        return Ok(());
    }
    let mut table = Table::new(&["FIELD", "TYPE", "COLUMN", "BEFORE"]);
    for column in &stream.columns {
        let before = column
            .before
            .as_deref()
            .map_or_else(Cell::default, |before| Cell::coloured(human::clean(before), Colour::Yellow));
        table.row([
            human::clean(&column.field).into(),
            human::clean(&column.kind).into(),
            human::clean(&column.column).into(),
            before,
        ]);
    }
    if !table.is_empty() {
        out.data(&table.render(out.colours, out.width))?;
    }
    for misfit in &stream.misfits {
        let why = match misfit.why.as_str() {
            "new" => "the schema does not have the field",
            _ => "the column does not take them",
        };
        let field = human::clean(&misfit.field);
        out.data(&format!("would be rescued: {} of {field}: {why}\n", human::many(misfit.values, "value")))?;
    }
    if stream.rejected > 0 {
        out.data(&format!("would be rejected: {}\n", human::many(stream.rejected, "record")))?;
    }
    for note in &stream.notes {
        out.data(&format!("note: {}\n", human::clean(note)))?;
    }
    Ok(out.data("\n")?)
}

async fn diff(older: &str, newer: Option<&str>, client: &Client, out: Out) -> Result<Exit, Failure> {
    let path = match newer {
        Some(newer) => format!("/v1/tasks/{}/schema/diff/{}", encode(older), encode(newer)),
        None => match resolve(older, client).await? {
            path if path.starts_with("/v1/exports/") => format!("{path}/schema/diff"),
            _ => {
                return Err(Failure::usage("a task is compared with another one")
                    .hint("schema diff TASK TASK, or schema diff EXPORT"));
            }
        },
    };
    let document: Value = client.get(&path).await?;
    let found: SchemaDiff = typed(document.clone())?;
    if out.json {
        out.document(&document)?;
        return Ok(Exit::Ok);
    }
    let mut table = Table::new(&["STREAM", "CHANGE", "FIELD", "FROM", "TO"]);
    for stream in &found.streams {
        for field in &stream.fields {
            let colour = match field.change.as_str() {
                "added" => Colour::Green,
                "removed" => Colour::Red,
                _ => Colour::Yellow,
            };
            let kind = |kind: &Option<String>| Cell::from(human::clean(kind.as_deref().unwrap_or_default()));
            table.row([
                human::clean(&stream.stream).into(),
                Cell::coloured(human::clean(&field.change), colour),
                human::clean(&field.field).into(),
                kind(&field.from),
                kind(&field.to),
            ]);
        }
        if stream.older.is_none() != stream.newer.is_none() {
            let which =
                if stream.older.is_none() { "only the newer task has it" } else { "only the older task has it" };
            table.row([
                human::clean(&stream.stream).into(),
                which.into(),
                Cell::default(),
                Cell::default(),
                Cell::default(),
            ]);
        }
    }
    if table.is_empty() {
        out.say(&format!("no field differs between {} and {}", human::clean(&found.older), human::clean(&found.newer)));
    } else {
        out.data(&table.render(out.colours, out.width))?;
    }
    Ok(Exit::Ok)
}
