//! What a field is called in the files of a format.

use crate::config::settings::Format;
use crate::model::schema::Type;

/// The column of a field of this type, for a person.
pub fn column(format: &Format, kind: &Type) -> String {
    match format {
        Format::Parquet(_) => parquet(kind),
        Format::Avro(_) => avro(kind),
        Format::Csv(_) => csv(kind).to_owned(),
        Format::Ndjson(_) | Format::Json(_) => "as the source writes it".to_owned(),
    }
}

fn parquet(kind: &Type) -> String {
    let word = match kind {
        Type::Unknown => "STRING (only nulls so far)",
        Type::Boolean => "BOOLEAN",
        Type::Integer => "INT64",
        Type::Float => "DOUBLE",
        Type::String => "STRING",
        Type::Timestamp => "TIMESTAMP(MICROS, UTC)",
        Type::Date => "DATE",
        Type::Time => "TIME(MICROS)",
        Type::Decimal { precision, scale } => return format!("DECIMAL({precision}, {scale})"),
        Type::Binary => "BYTE_ARRAY",
        Type::Json => "STRING (JSON text)",
        Type::List(_) => "LIST",
        Type::Struct(fields) if fields.is_empty() => "STRING (JSON text)",
        Type::Struct(_) => "STRUCT",
    };
    word.to_owned()
}

fn avro(kind: &Type) -> String {
    let word = match kind {
        Type::Unknown => "string (only nulls so far)",
        Type::Boolean => "boolean",
        Type::Integer => "long",
        Type::Float => "double",
        Type::String => "string",
        Type::Timestamp => "long (timestamp-micros)",
        Type::Date => "int (date)",
        Type::Time => "long (time-micros)",
        Type::Decimal { precision, scale } => return format!("bytes (decimal {precision}, {scale})"),
        Type::Binary => "bytes",
        Type::Json => "string (JSON text)",
        Type::List(_) => "array",
        Type::Struct(fields) if fields.is_empty() => "string (JSON text)",
        Type::Struct(_) => "record",
    };
    word.to_owned()
}

fn csv(kind: &Type) -> &'static str {
    match kind {
        Type::Unknown => "empty (only nulls so far)",
        Type::Boolean => "true or false",
        Type::Integer | Type::Float | Type::Decimal { .. } => "number",
        Type::String => "text",
        Type::Timestamp => "RFC 3339 in UTC",
        Type::Date => "YYYY-MM-DD",
        Type::Time => "HH:MM:SS",
        Type::Binary => "base64",
        Type::Json | Type::List(_) | Type::Struct(_) => "JSON text",
    }
}
