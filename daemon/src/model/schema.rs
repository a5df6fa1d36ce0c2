//! The logical schema of a stream: what its fields hold, whatever the file format makes of them.

pub mod diff;
mod govern;

pub use govern::Freedom;

use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};

/// Most top-level columns; further fields stay in [`RESCUED`]. Parquet keeps every column's metadata in memory.
pub const MAX_COLUMNS: usize = 5_000;

/// Most fields of a nested object; one with more is a map in disguise and is kept as text.
pub const MAX_NESTED_FIELDS: usize = 200;

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

impl Schema {
    /// The schema that holds what both hold: types only widen, the fields of `self` come first and keep their order, new
    /// ones follow in theirs.
    pub fn merge(&self, newer: &Self) -> Self {
        let mut fields = merge_fields(&self.fields, &newer.fields);
        fields.truncate(MAX_COLUMNS);
        Self { fields }
    }

    /// Sets declared types by path (dots lead into objects, also through lists). They win over what was seen. A declared
    /// field that was never seen is added at the end, unless what it should lie in is known not to be an object.
    pub fn declare(&mut self, declared: &BTreeMap<String, Type>) {
        for (path, kind) in declared {
            declare(&mut self.fields, path, kind);
        }
    }
}

fn merge_fields(older: &[Field], newer: &[Field]) -> Vec<Field> {
    let mut fields = older.to_vec();
    let known: HashMap<&str, usize> = older.iter().enumerate().map(|(at, field)| (field.name.as_str(), at)).collect();
    for field in newer {
        match known.get(field.name.as_str()).and_then(|at| fields.get_mut(*at)) {
            Some(old) => old.kind = old.kind.merge(&field.kind),
            None => fields.push(field.clone()),
        }
    }
    fields
}

fn declare(fields: &mut Vec<Field>, path: &str, kind: &Type) {
    if let Some(field) = fields.iter_mut().find(|field| field.name == path) {
        field.kind = kind.clone();
        return;
    }
    let parent = path.match_indices('.').find_map(|(at, _)| {
        let (name, rest) = (path.get(..at)?, path.get(at + 1..)?);
        Some((fields.iter().position(|field| field.name == name)?, rest))
    });
    if let Some((at, rest)) = parent {
        let mut inner = fields.get_mut(at).map(|field| &mut field.kind);
        while let Some(Type::List(item)) = inner {
            inner = Some(item);
        }
        match inner {
            Some(Type::Struct(fields)) => declare(fields, rest, kind),
            Some(unknown @ Type::Unknown) => {
                let mut fields = Vec::new();
                declare(&mut fields, rest, kind);
                *unknown = Type::Struct(fields);
            }
            _ => {}
        }
        return;
    }
    let (name, kind) = match path.split_once('.') {
        None => (path, kind.clone()),
        Some((name, rest)) => {
            let mut fields = Vec::new();
            declare(&mut fields, rest, kind);
            (name, Type::Struct(fields))
        }
    };
    fields.push(Field { name: name.to_owned(), kind });
}

impl Type {
    /// The narrowest type that holds what both hold; JSON text where there is no other.
    pub fn merge(&self, other: &Self) -> Self {
        use Type as T;
        match (self, other) {
            (a, b) if a == b => a.clone(),
            (T::Unknown, known) | (known, T::Unknown) => known.clone(),
            (T::Integer | T::Float | T::Decimal { .. }, T::Integer | T::Float | T::Decimal { .. }) => T::Float,
            (
                T::String | T::Timestamp | T::Date | T::Time | T::Binary,
                T::String | T::Timestamp | T::Date | T::Time | T::Binary,
            ) => T::String,
            (T::List(a), T::List(b)) => T::List(Box::new(a.merge(b))),
            (T::Struct(a), T::Struct(b)) => {
                let fields = merge_fields(a, b);
                if fields.len() > MAX_NESTED_FIELDS { T::Json } else { T::Struct(fields) }
            }
            _ => T::Json,
        }
    }

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

    fn schema(fields: &[(&str, Type)]) -> Schema {
        let field = |(name, kind): &(&str, Type)| Field { name: (*name).into(), kind: kind.clone() };
        Schema { fields: fields.iter().map(field).collect() }
    }

    #[test]
    fn types_only_widen() {
        use Type as T;
        let list = |kind: T| T::List(Box::new(kind));
        let object = |fields: &[(&str, T)]| T::Struct(schema(fields).fields);
        for (a, b, both) in [
            (T::Unknown, T::Date, T::Date),
            (T::Integer, T::Float, T::Float),
            (T::Timestamp, T::Date, T::String),
            (T::String, T::Integer, T::Json),
            (T::Json, T::Integer, T::Json),
            (T::Boolean, T::Integer, T::Json),
            (list(T::Unknown), list(T::Integer), list(T::Integer)),
            (list(T::Integer), T::Integer, T::Json),
            (object(&[]), object(&[("a", T::Date)]), object(&[("a", T::Date)])),
            (object(&[("a", T::Integer)]), object(&[("a", T::Float)]), object(&[("a", T::Float)])),
        ] {
            assert_eq!((a.merge(&b), b.merge(&a)), (both.clone(), both.clone()));
            assert_eq!((both.merge(&a), both.merge(&both)), (both.clone(), both.clone()));
        }
        let old = schema(&[("b", T::Integer), ("a", T::Unknown)]);
        let new = schema(&[("c", T::Date), ("a", T::Boolean)]);
        assert_eq!(old.merge(&new), schema(&[("b", T::Integer), ("a", T::Boolean), ("c", T::Date)]));
        let many = |from: usize| {
            Type::Struct((from..from + 150).map(|n| Field { name: n.to_string(), kind: T::Date }).collect())
        };
        assert_eq!(many(0).merge(&many(50)), many(0).merge(&many(50)));
        assert_eq!(many(0).merge(&many(51)), T::Json);
    }

    #[test]
    fn declared_types_win_at_any_depth() {
        use Type as T;
        let list = |kind: T| T::List(Box::new(kind));
        let object = |fields: &[(&str, T)]| T::Struct(schema(fields).fields);
        let mut seen = schema(&[
            ("a", T::Float),
            ("a.b", T::String),
            ("l", list(list(object(&[("x", T::Json)])))),
            ("u", T::Unknown),
        ]);
        let declared = [
            ("a", T::Decimal { precision: 9, scale: 2 }),
            ("a.b", T::Date),
            ("a.c", T::Date),
            ("l.x", T::Time),
            ("l.y", T::Time),
            ("new", T::Integer),
            ("n.o", T::Integer),
            ("n.p", T::Binary),
            ("u.v", T::Date),
        ];
        seen.declare(&declared.iter().map(|(path, kind)| ((*path).into(), kind.clone())).collect());
        let expected = schema(&[
            ("a", T::Decimal { precision: 9, scale: 2 }),
            ("a.b", T::Date),
            ("l", list(list(object(&[("x", T::Time), ("y", T::Time)])))),
            ("u", object(&[("v", T::Date)])),
            ("n", object(&[("o", T::Integer), ("p", T::Binary)])),
            ("new", T::Integer),
        ]);
        assert_eq!(seen, expected);
    }

    #[test]
    fn declared_types() {
        assert_eq!(Type::parse("decimal(12, 2)"), Ok(Type::Decimal { precision: 12, scale: 2 }));
        assert_eq!(Type::parse("list(list(date))").unwrap(), Type::List(Box::new(Type::List(Box::new(Type::Date)))));
        for bad in ["", "int", "decimal(0,0)", "decimal(39,1)", "decimal(3,4)", "list()", "list(", "decimal(a,b)"] {
            assert!(Type::parse(bad).is_err(), "{bad}");
        }
    }
}
