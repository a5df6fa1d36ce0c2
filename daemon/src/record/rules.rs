//! What a stream's schema may become in a task, and what is done with what does not fit it.

mod checker;
mod columns;

#[cfg(test)]
mod tests;

pub use checker::Checker;

use super::convert::{Fit, Layout, Plan, React};
use crate::base::error::{Classify, ErrorClass};
use crate::config::settings::{JsonSchemaText, Midway, OnInvalid, OnMisfit, SchemaPolicy, Stream, StreamSchema};
use crate::config::transform::cast_types;
use crate::model::schema::diff::{Difference, diff};
use crate::model::schema::{Freedom, Schema, Type};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Fields that one sentence of the report names.
const MAX_NAMED: usize = 10;

/// The rules of a stream within an export.
#[derive(Clone, Debug)]
pub struct Rules {
    policy: SchemaPolicy,
    /// Declared types, by path; they win over everything.
    types: BTreeMap<String, Type>,
    /// The columns of the stream's JSON Schema.
    declared: Option<Schema>,
    checker: Option<Arc<Checker>>,
}

/// A stream whose schema cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("use the schema of a stream: {0}")]
pub struct RulesError(String);

impl Classify for RulesError {
    fn class(&self) -> ErrorClass {
        ErrorClass::Config
    }
}

impl Rules {
    /// The rules of a stream.
    pub fn new(stream: &Stream, policy: &SchemaPolicy) -> Result<Self, RulesError> {
        let mut types = BTreeMap::new();
        // What is declared by name counts more than what a cast says.
        for (field, text) in cast_types(&stream.transform).iter().chain(&stream.types) {
            let kind = Type::parse(text).map_err(|why| RulesError(format!("the type of {field}: {why}")))?;
            types.insert(field.clone(), kind);
        }
        let (mut declared, mut checker) = (None, None);
        match &stream.schema {
            None => {}
            Some(StreamSchema::JsonSchema(JsonSchemaText::Inline(schema))) => {
                declared = Some(columns::columns(&schema.0));
                checker = Some(Arc::new(Checker::new(&schema.0).map_err(RulesError)?));
            }
            Some(StreamSchema::JsonSchema(JsonSchemaText::File(file))) => {
                return Err(RulesError(format!("{} was not read when the configuration was loaded", file.display())));
            }
        }
        Ok(Self { policy: policy.clone(), types, declared, checker })
    }

    /// What the policies let into a schema that is there already.
    fn freedom(&self) -> Freedom {
        let free = |policy| policy == OnMisfit::Evolve;
        Freedom { fields: free(self.policy.new_fields), types: free(self.policy.type_changes) }
    }

    /// The schema of a task. `last` is the ledger's newest version and what tasks have seen beside it; `seen` is what the
    /// sample shows. Where neither `last` nor a JSON Schema says what the schema is, the sample does.
    pub fn of_task(&self, last: Option<(&Schema, &[Schema])>, seen: &Schema) -> Schema {
        let known = last.map(|(schema, _)| schema).or(self.declared.as_ref());
        let base = last.map(|(schema, beside)| beside.iter().fold(schema.clone(), |all, seen| all.merge(seen)));
        let base = base.or_else(|| self.declared.clone()).unwrap_or_default();
        self.lay_down(known, &base.merge(seen))
    }

    /// The schema that holds what a task has seen beside its own, if the policies let it grow.
    pub fn widened(&self, schema: &Schema, beside: &Schema) -> Option<Schema> {
        let wide = self.lay_down(Some(schema), &schema.merge(beside));
        (wide != *schema).then_some(wide)
    }

    fn lay_down(&self, known: Option<&Schema>, wide: &Schema) -> Schema {
        let mut schema = known.map_or_else(|| wide.clone(), |known| known.govern(wide, self.freedom()));
        if let Some(declared) = &self.declared {
            schema.impose(declared);
        }
        schema.declare(&self.types);
        schema
    }

    /// Whether the stream is read again when the schema would have to grow.
    pub fn restarts(&self, layout: Layout) -> bool {
        self.policy.on_misfit == Midway::Restart && layout != Layout::Lines
    }

    /// How records are converted to a layout.
    pub fn plan(&self, schema: &Schema, layout: Layout) -> Plan {
        let react = |policy| match policy {
            OnMisfit::Evolve | OnMisfit::Freeze => React::Keep,
            OnMisfit::Quarantine => React::Reject,
            OnMisfit::Fail => React::Fail,
        };
        let fit = Fit { fields: react(self.policy.new_fields), types: react(self.policy.type_changes) };
        let invalid = match self.policy.invalid {
            OnInvalid::Quarantine => React::Reject,
            OnInvalid::Fail => React::Fail,
        };
        Plan::new(schema, layout).governed(schema, fit).checked(self.checker.clone(), invalid)
    }

    /// A sentence for the report about what the frozen schema kept out.
    pub fn kept_out(&self, schema: &Schema, beside: &Schema) -> Option<String> {
        let frozen = |difference: &Difference| match difference {
            Difference::Added(..) => self.policy.new_fields == OnMisfit::Freeze,
            Difference::Changed(..) => self.policy.type_changes == OnMisfit::Freeze,
            Difference::Removed(..) => false,
        };
        let found = diff(schema, &schema.merge(beside));
        let found: Vec<&Difference> = found.iter().filter(|difference| frozen(difference)).collect();
        if found.is_empty() {
            return None;
        }
        let shown = found.iter().take(MAX_NAMED).map(|difference| match difference {
            Difference::Added(field, kind) | Difference::Removed(field, kind) => format!("{field:?} (new, {kind})"),
            Difference::Changed(field, from, to) => format!("{field:?} ({from}, now also {to})"),
        });
        let shown = shown.collect::<Vec<_>>().join(", ");
        let more = found.len().saturating_sub(MAX_NAMED);
        let more = if more == 0 { String::new() } else { format!(" and {more} more") };
        Some(format!("the schema is frozen: {shown}{more} went to `_rescued`"))
    }
}
