//! How the fields of a schema become columns of a layout.

use crate::model::schema::{Field, RESCUED, Schema, Type};
use arrow_schema::{DataType, Field as ArrowField, FieldRef, Fields, SchemaRef, TimeUnit};
use std::collections::HashMap;
use std::sync::Arc;

/// The form in which a file format takes records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Columns with structs and lists (Parquet).
    Columns,
    /// Columns of scalars; everything nested is JSON text (CSV).
    Flat,
    /// Records as the source wrote them, without the white space between tokens (NDJSON, JSON).
    Lines,
}

/// How pages of one schema are converted to one layout. Made once for a task, shared by its threads.
#[derive(Debug)]
pub struct Plan {
    pub(super) layout: Layout,
    pub(super) root: ObjectPlan,
    arrow: SchemaRef,
}

impl Plan {
    /// The plan for a schema and a layout.
    pub fn new(schema: &Schema, layout: Layout) -> Self {
        let (root, mut fields) = match layout {
            Layout::Lines => (ObjectPlan::default(), Vec::new()),
            Layout::Columns | Layout::Flat => {
                let columns = schema.fields.iter().filter(|field| field.name != RESCUED);
                ObjectPlan::new(columns, layout == Layout::Columns)
            }
        };
        fields.push(Arc::new(ArrowField::new(RESCUED, DataType::Utf8, true)));
        Self { layout, root, arrow: Arc::new(arrow_schema::Schema::new(fields)) }
    }

    /// The columns of every batch, all nullable; the last one is always [`RESCUED`].
    pub fn arrow_schema(&self) -> &SchemaRef {
        &self.arrow
    }
}

/// The members of an object that have columns.
#[derive(Debug, Default)]
pub struct ObjectPlan {
    pub members: Vec<Member>,
    by_name: HashMap<Vec<u8>, usize>,
}

/// One member.
#[derive(Debug)]
pub struct Member {
    pub name: String,
    /// Its key as a record has it, quotes included; empty if it has to be escaped.
    pub quoted: Vec<u8>,
    pub kind: Kind,
}

/// What a column holds.
#[derive(Debug)]
pub enum Kind {
    /// Only nulls.
    Unknown,
    Boolean,
    Integer,
    Float,
    Text,
    Timestamp,
    Date,
    Time,
    Decimal {
        precision: u8,
        scale: i8,
    },
    Binary,
    /// Any value, as JSON text.
    Json,
    /// Objects without members, as JSON text, because no column format knows them.
    Empty,
    List(FieldRef, Box<Kind>),
    Struct(Fields, ObjectPlan),
}

impl ObjectPlan {
    fn new<'f>(fields: impl Iterator<Item = &'f Field>, nested: bool) -> (Self, Vec<FieldRef>) {
        let mut plan = Self::default();
        let mut columns = Vec::new();
        for field in fields {
            let (kind, data_type) = Kind::new(&field.kind, nested);
            let plain = field.name.bytes().all(|byte| byte >= 0x20 && byte != b'"' && byte != b'\\');
            let quoted = if plain { format!("\"{}\"", field.name).into_bytes() } else { Vec::new() };
            plan.by_name.insert(field.name.clone().into_bytes(), plan.members.len());
            plan.members.push(Member { name: field.name.clone(), quoted, kind });
            columns.push(Arc::new(ArrowField::new(&field.name, data_type, true)));
        }
        (plan, columns)
    }

    /// The member of this name.
    pub fn find(&self, name: &[u8]) -> Option<usize> {
        self.by_name.get(name).copied()
    }
}

impl Kind {
    fn new(kind: &Type, nested: bool) -> (Self, DataType) {
        match kind {
            Type::Unknown => (Self::Unknown, DataType::Utf8),
            Type::Boolean => (Self::Boolean, DataType::Boolean),
            Type::Integer => (Self::Integer, DataType::Int64),
            Type::Float => (Self::Float, DataType::Float64),
            Type::String => (Self::Text, DataType::Utf8),
            Type::Timestamp => (Self::Timestamp, DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into()))),
            Type::Date => (Self::Date, DataType::Date32),
            Type::Time => (Self::Time, DataType::Time64(TimeUnit::Microsecond)),
            Type::Decimal { precision, scale } => {
                (Self::Decimal { precision: *precision, scale: *scale }, DataType::Decimal128(*precision, *scale))
            }
            Type::Binary => (Self::Binary, DataType::Binary),
            Type::List(item) if nested => {
                let (kind, data_type) = Self::new(item, nested);
                // The name that the Parquet specification gives it.
                let field = Arc::new(ArrowField::new("element", data_type, true));
                (Self::List(Arc::clone(&field), Box::new(kind)), DataType::List(field))
            }
            Type::Struct(fields) if nested && fields.is_empty() => (Self::Empty, DataType::Utf8),
            Type::Struct(fields) if nested => {
                let (plan, columns) = ObjectPlan::new(fields.iter(), nested);
                let columns = Fields::from(columns);
                (Self::Struct(columns.clone(), plan), DataType::Struct(columns))
            }
            Type::Json | Type::List(_) | Type::Struct(_) => (Self::Json, DataType::Utf8),
        }
    }
}
