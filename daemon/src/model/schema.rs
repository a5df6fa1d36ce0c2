//! The logical schema of a stream: what its fields hold, whatever the file format makes of them.

use serde::{Deserialize, Serialize};

/// Name of the column that keeps what did not fit: a JSON object from field path to the original JSON text.
pub const RESCUED: &str = "_rescued";

/// The fields of a record, in column order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schema {
    /// The columns, in order of first appearance.
    pub fields: Vec<Field>,
}

/// One field; every field may be null.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Field {
    /// Name as in the record.
    pub name: String,
    /// What it holds.
    #[serde(rename = "type")]
    pub kind: Type,
}

/// What a field holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Type {
    /// Only nulls were seen. Stored as an empty text column; a value is rescued and decides the next task's type.
    Unknown,
    /// true and false.
    Boolean,
    /// 64-bit signed.
    Integer,
    /// IEEE 754 double; a decimal that it cannot give back is rescued.
    Float,
    /// Text.
    String,
    /// An instant, in microseconds (RFC 3339 with offset).
    Timestamp,
    /// A day (`YYYY-MM-DD`).
    Date,
    /// A time of day in microseconds (`HH:MM:SS[.ffffff]`); only when declared.
    Time,
    /// An exact decimal of at most 38 digits; only when declared.
    Decimal {
        /// Digits in all.
        precision: u8,
        /// Digits after the point.
        scale: i8,
    },
    /// Bytes, base64 in the source (RFC 4648); only when declared.
    Binary,
    /// Any JSON value, kept as text: for what is irregular.
    Json,
    /// An array of one type.
    List(Box<Type>),
    /// An object with known fields.
    Struct(Vec<Field>),
}

impl Type {
    /// Reads a declared type: `string`, `integer`, `float`, `boolean`, `timestamp`, `date`, `time`, `binary`, `json`,
    /// `decimal(12,2)`, `list(TYPE)`. The error says what is possible.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let inner = |name: &str| text.strip_prefix(name)?.trim_start().strip_prefix('(')?.strip_suffix(')');
        if let Some(args) = inner("decimal") {
            let (precision, scale) = args.split_once(',').unwrap_or((args, "0"));
            return match (precision.trim().parse::<u8>(), scale.trim().parse::<i8>()) {
                (Ok(precision @ 1..=38), Ok(scale)) if scale >= 0 && scale as u8 <= precision => {
                    Ok(Self::Decimal { precision, scale })
                }
                _ => Err(format!("{text:?}: a decimal has 1 to 38 digits, and no more of them after the point")),
            };
        }
        if let Some(item) = inner("list") {
            return Ok(Self::List(Box::new(Self::parse(item)?)));
        }
        Ok(match text {
            "string" => Self::String,
            "integer" => Self::Integer,
            "float" => Self::Float,
            "boolean" => Self::Boolean,
            "timestamp" => Self::Timestamp,
            "date" => Self::Date,
            "time" => Self::Time,
            "binary" => Self::Binary,
            "json" => Self::Json,
            _ => {
                return Err(format!(
                    "{text:?} is not a type: use string, integer, float, boolean, timestamp, date, time, binary, json, \
                     decimal(12,2) or list(TYPE)"
                ));
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn declared_types() {
        assert_eq!(Type::parse("decimal(12, 2)"), Ok(Type::Decimal { precision: 12, scale: 2 }));
        assert_eq!(Type::parse("list(list(date))").unwrap(), Type::List(Box::new(Type::List(Box::new(Type::Date)))));
        for bad in ["", "int", "decimal(0,0)", "decimal(39,1)", "decimal(3,4)", "list()", "list(", "decimal(a,b)"] {
            assert!(Type::parse(bad).is_err(), "{bad}");
        }
    }
}
