//! What differs between two schemas, field by field.

use super::{Field, Schema, Type};
use std::fmt;

/// A field that is not the same in two schemas. Nested fields have paths: `address.city`, `items[].price`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    /// Only the newer one has it.
    Added(String, Type),
    /// Only the older one has it.
    Removed(String, Type),
    /// Its type was the first and is the second.
    Changed(String, Type, Type),
}

impl Difference {
    /// Whether the newer type holds everything that the older one did.
    pub fn widens(&self) -> bool {
        matches!(self, Self::Changed(_, from, to) if from.merge(to) == *to)
    }
}

/// The differences, in the order of the newer schema, what is gone last on each level.
pub fn diff(older: &Schema, newer: &Schema) -> Vec<Difference> {
    let mut found = Vec::new();
    fields("", (&older.fields, &newer.fields), &mut found);
    found
}

fn fields(around: &str, (older, newer): (&[Field], &[Field]), found: &mut Vec<Difference>) {
    let path = |field: &Field| format!("{around}{}", field.name);
    for field in newer {
        match older.iter().find(|old| old.name == field.name) {
            Some(old) => kinds(&path(field), (&old.kind, &field.kind), found),
            None => found.push(Difference::Added(path(field), field.kind.clone())),
        }
    }
    for field in older.iter().filter(|old| !newer.iter().any(|field| field.name == old.name)) {
        found.push(Difference::Removed(path(field), field.kind.clone()));
    }
}

fn kinds(path: &str, (older, newer): (&Type, &Type), found: &mut Vec<Difference>) {
    match (older, newer) {
        (older, newer) if older == newer => {}
        (Type::Struct(older), Type::Struct(newer)) => fields(&format!("{path}."), (older, newer), found),
        (Type::List(older), Type::List(newer)) => kinds(&format!("{path}[]"), (older, newer), found),
        (older, newer) => found.push(Difference::Changed(path.to_owned(), older.clone(), newer.clone())),
    }
}

impl fmt::Display for Type {
    /// The word that declares it, where there is one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("unknown"),
            Self::Boolean => f.write_str("boolean"),
            Self::Integer => f.write_str("integer"),
            Self::Float => f.write_str("float"),
            Self::String => f.write_str("string"),
            Self::Timestamp => f.write_str("timestamp"),
            Self::Date => f.write_str("date"),
            Self::Time => f.write_str("time"),
            Self::Decimal { precision, scale } => write!(f, "decimal({precision},{scale})"),
            Self::Binary => f.write_str("binary"),
            Self::Json => f.write_str("json"),
            Self::List(item) => write!(f, "list({item})"),
            Self::Struct(_) => f.write_str("object"),
        }
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
    fn differences_are_named_by_path() {
        use Type as T;
        let object = |fields: &[(&str, T)]| T::Struct(schema(fields).fields);
        let list = |kind: T| T::List(Box::new(kind));
        let old = schema(&[
            ("same", T::Date),
            ("wide", T::Integer),
            ("narrow", T::Float),
            ("items", list(object(&[("price", T::Integer), ("gone", T::Date)]))),
            ("left", list(T::Json)),
        ]);
        let new = schema(&[
            ("wide", T::Float),
            ("narrow", T::Integer),
            ("items", list(object(&[("price", T::Json), ("more", object(&[]))]))),
            ("same", T::Date),
        ]);
        let found = diff(&old, &new);
        let widens: Vec<bool> = found.iter().map(Difference::widens).collect();
        use Difference::{Added, Changed, Removed};
        assert_eq!(
            found,
            [
                Changed("wide".into(), T::Integer, T::Float),
                Changed("narrow".into(), T::Float, T::Integer),
                Changed("items[].price".into(), T::Integer, T::Json),
                Added("items[].more".into(), object(&[])),
                Removed("items[].gone".into(), T::Date),
                Removed("left".into(), list(T::Json)),
            ]
        );
        assert_eq!(widens, [true, false, true, false, false, false]);
        assert_eq!(diff(&old, &old), []);
    }

    #[test]
    fn a_type_is_shown_as_it_is_declared() {
        for word in [
            "boolean",
            "integer",
            "float",
            "string",
            "timestamp",
            "date",
            "time",
            "decimal(12,2)",
            "binary",
            "json",
            "list(list(date))",
        ] {
            assert_eq!(Type::parse(word).unwrap().to_string(), word);
        }
    }
}
