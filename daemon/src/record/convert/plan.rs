//! How the fields of a schema become columns of a layout.

use super::fit::{Fit, React};
use super::memory::Shelf;
use crate::model::schema::{Field, RESCUED, Schema, Type};
use crate::record::rules::Checker;
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
    /// What is done with what does not fit.
    pub(super) fit: Fit,
    /// The columns that lines are compared with, where somebody wants to know whether they fit.
    pub(super) shadow: Option<Box<Plan>>,
    /// What every record is checked with, and what is done with the invalid ones.
    pub(super) checker: Option<(Arc<Checker>, React)>,
    /// Memory for the columns of the next pages.
    pub(super) shelf: Shelf,
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
        let arrow = Arc::new(arrow_schema::Schema::new(fields));
        Self { layout, root, arrow, fit: Fit::default(), shadow: None, checker: None, shelf: Shelf::default() }
    }

    /// The same plan, which does something with what does not fit `schema`. Lines fit anywhere; so that they are looked at,
    /// too, they are converted to columns beside.
    #[must_use]
    pub fn governed(mut self, schema: &Schema, fit: Fit) -> Self {
        self.fit = fit;
        if self.layout == Layout::Lines && fit != Fit::default() {
            self.shadow = Some(Box::new(Self { fit, ..Self::new(schema, Layout::Columns) }));
        }
        self
    }

    /// The same plan, which also checks every record.
    #[must_use]
    pub fn checked(mut self, checker: Option<Arc<Checker>>, invalid: React) -> Self {
        self.checker = checker.map(|checker| (checker, invalid));
        self
    }

    /// The columns of every batch, all nullable; the last one is always [`RESCUED`].
    pub fn arrow_schema(&self) -> &SchemaRef {
        &self.arrow
    }
}

/// The members of an object that have columns.
#[derive(Debug, Default)]
pub struct ObjectPlan {
    pub names: Vec<String>,
    pub kinds: Vec<Kind>,
    /// The keys as a record has them, quotes included, one after the other; empty where one has to be escaped.
    keys: Vec<u8>,
    /// Where each key starts, and the end.
    starts: Vec<usize>,
    by_name: HashMap<Vec<u8>, usize>,
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
            plan.starts.push(plan.keys.len());
            if field.name.bytes().all(|byte| byte >= 0x20 && byte != b'"' && byte != b'\\') {
                plan.keys.extend_from_slice(format!("\"{}\"", field.name).as_bytes());
            }
            plan.by_name.insert(field.name.clone().into_bytes(), plan.names.len());
            plan.names.push(field.name.clone());
            plan.kinds.push(kind);
            columns.push(Arc::new(ArrowField::new(&field.name, data_type, true)));
        }
        plan.starts.push(plan.keys.len());
        (plan, columns)
    }

    /// The key of a member as a record has it; empty if it has to be escaped, and behind the last member.
    #[inline]
    pub fn key(&self, member: usize) -> &[u8] {
        match self.starts.get(member..member + 2) {
            Some([start, end]) => self.keys.get(*start..*end).unwrap_or_default(),
            _ => &[],
        }
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
