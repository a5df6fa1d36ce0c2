//! Schemas that give way, stand firm or are laid down: how two of them become one.

use super::{Field, Schema, Type};

/// What a new schema may have that the old one has not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Freedom {
    /// Fields, at any depth.
    pub fields: bool,
    /// Other types of the fields that are there. A field of which only nulls were seen always may get its type.
    pub types: bool,
}

impl Schema {
    /// The part of `wide`, which holds what `self` holds and more, that `freedom` lets in.
    pub fn govern(&self, wide: &Self, freedom: Freedom) -> Self {
        Self { fields: govern_fields(&self.fields, &wide.fields, freedom) }
    }

    /// Lays `declared` down over what was seen: its types win, at any depth; fields that it does not know stay.
    pub fn impose(&mut self, declared: &Self) {
        impose_fields(&mut self.fields, &declared.fields);
    }
}

fn govern_fields(old: &[Field], wide: &[Field], freedom: Freedom) -> Vec<Field> {
    let known = |name: &str| old.iter().find(|field| field.name == name);
    let mut fields: Vec<Field> = Vec::with_capacity(wide.len());
    for field in wide {
        match known(&field.name) {
            Some(old) => fields.push(Field { kind: govern_type(&old.kind, &field.kind, freedom), ..field.clone() }),
            None if freedom.fields => fields.push(field.clone()),
            None => {}
        }
    }
    fields
}

fn govern_type(old: &Type, wide: &Type, freedom: Freedom) -> Type {
    match (old, wide) {
        (Type::Unknown, wide) => wide.clone(),
        (Type::Struct(old), Type::Struct(wide)) => Type::Struct(govern_fields(old, wide, freedom)),
        (Type::List(old), Type::List(wide)) => Type::List(Box::new(govern_type(old, wide, freedom))),
        (_, wide) if freedom.types => wide.clone(),
        (old, _) => old.clone(),
    }
}

fn impose_fields(fields: &mut Vec<Field>, declared: &[Field]) {
    for field in declared {
        match fields.iter_mut().find(|known| known.name == field.name) {
            Some(known) => impose_type(&mut known.kind, &field.kind),
            None => fields.push(field.clone()),
        }
    }
}

fn impose_type(kind: &mut Type, declared: &Type) {
    match (kind, declared) {
        (Type::Struct(fields), Type::Struct(declared)) => impose_fields(fields, declared),
        (Type::List(item), Type::List(declared)) => impose_type(item, declared),
        // A schema that says nothing of a field leaves it to what is seen.
        (_, Type::Unknown) => {}
        (kind, declared) => *kind = declared.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema(fields: &[(&str, Type)]) -> Schema {
        let field = |(name, kind): &(&str, Type)| Field { name: (*name).into(), kind: kind.clone() };
        Schema { fields: fields.iter().map(field).collect() }
    }

    fn object(fields: &[(&str, Type)]) -> Type {
        Type::Struct(schema(fields).fields)
    }

    #[test]
    fn only_what_is_free_comes_in() {
        use Type as T;
        let old = schema(&[("a", T::Integer), ("u", T::Unknown), ("o", object(&[("x", T::Date)]))]);
        let seen = schema(&[
            ("a", T::String),
            ("u", T::Float),
            ("o", object(&[("x", T::String), ("y", T::Date)])),
            ("n", T::Date),
        ]);
        let wide = old.merge(&seen);
        let free = |fields, types| old.govern(&wide, Freedom { fields, types });
        assert_eq!(free(true, true), wide);
        let frozen = schema(&[("a", T::Integer), ("u", T::Float), ("o", object(&[("x", T::Date)]))]);
        assert_eq!(free(false, false), frozen);
        let o = object(&[("x", T::Date), ("y", T::Date)]);
        assert_eq!(free(true, false), schema(&[("a", T::Integer), ("u", T::Float), ("o", o), ("n", T::Date)]));
        let o = object(&[("x", T::String)]);
        assert_eq!(free(false, true), schema(&[("a", T::Json), ("u", T::Float), ("o", o)]));
    }

    #[test]
    fn a_declared_schema_wins_where_it_speaks() {
        use Type as T;
        let mut seen = schema(&[("a", T::Integer), ("o", object(&[("x", T::Date)])), ("k", T::Date), ("s", T::Date)]);
        let declared =
            schema(&[("a", T::Float), ("o", object(&[("y", T::Time)])), ("k", T::Unknown), ("n", T::String)]);
        seen.impose(&declared);
        let o = object(&[("x", T::Date), ("y", T::Time)]);
        let want = schema(&[("a", T::Float), ("o", o), ("k", T::Date), ("s", T::Date), ("n", T::String)]);
        assert_eq!(seen, want);
    }
}
