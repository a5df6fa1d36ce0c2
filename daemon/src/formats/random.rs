//! Schemas and records that nobody thought of, for the tests of the formats.

use crate::model::schema::{Field, Schema, Type};
use arrow_array::cast::AsArray as _;
use arrow_array::{Array, types};
use arrow_schema::DataType;
use proptest::prelude::*;
use serde_json::{Map, Value};

/// A schema, and records for it: most values fit, some are null, some are not there.
pub fn data() -> impl Strategy<Value = (Schema, Vec<String>)> {
    let fields = proptest::collection::btree_map("[a-c_\\-. é1]{0,3}", kind(), 1..5);
    fields.prop_flat_map(|fields| {
        let schema = Schema { fields: fields.into_iter().map(|(name, kind)| Field { name, kind }).collect() };
        let records = proptest::collection::vec(object(&schema.fields), 0..30);
        (Just(schema), records.prop_map(|records| records.iter().map(Value::to_string).collect()))
    })
}

fn kind() -> impl Strategy<Value = Type> {
    let words =
        ["boolean", "integer", "float", "string", "timestamp", "date", "time", "decimal(38,4)", "binary", "json"];
    let leaf = prop::sample::select(words.to_vec()).prop_map(|word| Type::parse(word).unwrap());
    leaf.prop_recursive(2, 8, 3, |inner| {
        let fields = proptest::collection::btree_map("[a-b -]{0,2}", inner.clone(), 0..3);
        prop_oneof![
            inner.prop_map(|kind| Type::List(Box::new(kind))),
            fields.prop_map(|fields| {
                Type::Struct(fields.into_iter().map(|(name, kind)| Field { name, kind }).collect())
            }),
        ]
    })
}

fn object(fields: &[Field]) -> BoxedStrategy<Value> {
    let members: Vec<_> = fields.iter().map(|field| proptest::option::of(value(&field.kind))).collect();
    let names: Vec<String> = fields.iter().map(|field| field.name.clone()).collect();
    let object = move |values: Vec<Option<Value>>| {
        let members = names.iter().zip(values).filter_map(|(name, value)| Some((name.clone(), value?)));
        Value::Object(members.collect::<Map<_, _>>())
    };
    members.prop_map(object).boxed()
}

fn value(kind: &Type) -> BoxedStrategy<Value> {
    let fits: BoxedStrategy<Value> = match kind {
        Type::Boolean => any::<bool>().prop_map(Value::from).boxed(),
        Type::Integer => any::<i64>().prop_map(Value::from).boxed(),
        Type::Float => (-1e300..1e300).prop_map(|float: f64| Value::from(float)).boxed(),
        Type::Timestamp => (1u32..9999, 0u32..1_000_000)
            .prop_map(|(year, micros)| format!("{year:04}-02-03T04:05:06.{micros:06}Z").into())
            .boxed(),
        Type::Date => (1u32..9999, 1u32..13).prop_map(|(y, m)| format!("{y:04}-{m:02}-28").into()).boxed(),
        Type::Time => (0u32..24, 0u32..60).prop_map(|(h, m)| format!("{h:02}:{m:02}:59.25").into()).boxed(),
        Type::Decimal { .. } => "-?[1-9][0-9]{0,20}\\.[0-9]{1,4}".prop_map(Value::from).boxed(),
        Type::Binary => prop::sample::select(vec!["", "AQI=", "////"]).prop_map(Value::from).boxed(),
        Type::List(item) => proptest::collection::vec(value(item), 0..4).prop_map(Value::from).boxed(),
        Type::Struct(fields) => object(fields),
        _ => "\\PC{0,9}".prop_map(Value::from).boxed(),
    };
    prop_oneof![8 => fits, 1 => Just(Value::Null), 1 => Just(Value::from("x"))].boxed()
}

/// A value for comparison, whatever its reader calls its type.
pub fn shown(array: &dyn Array, row: usize) -> String {
    if array.is_null(row) {
        return "null".into();
    }
    match array.data_type() {
        DataType::Boolean => array.as_boolean().value(row).to_string(),
        DataType::Int64 => array.as_primitive::<types::Int64Type>().value(row).to_string(),
        DataType::Float64 => format!("{:x}", array.as_primitive::<types::Float64Type>().value(row).to_bits()),
        DataType::Timestamp(..) => array.as_primitive::<types::TimestampMicrosecondType>().value(row).to_string(),
        DataType::Date32 => array.as_primitive::<types::Date32Type>().value(row).to_string(),
        DataType::Time64(_) => array.as_primitive::<types::Time64MicrosecondType>().value(row).to_string(),
        DataType::Decimal128(_, scale) => {
            format!("{} / {scale}", array.as_primitive::<types::Decimal128Type>().value(row))
        }
        DataType::Utf8 => format!("{:?}", array.as_string::<i32>().value(row)),
        DataType::Binary => format!("{:?}", array.as_binary::<i32>().value(row)),
        DataType::List(_) => {
            let items = array.as_list::<i32>().value(row);
            format!("{:?}", (0..items.len()).map(|item| shown(&items, item)).collect::<Vec<_>>())
        }
        DataType::Struct(_) => {
            let columns = array.as_struct().columns();
            format!("{{{:?}}}", columns.iter().map(|column| shown(column, row)).collect::<Vec<_>>())
        }
        other => panic!("{other} is written by no format"),
    }
}

/// The rows of batches, a text for each.
pub fn rows(batches: &[arrow_array::RecordBatch]) -> Vec<String> {
    let row = |batch: &arrow_array::RecordBatch, row| {
        format!("{:?}", batch.columns().iter().map(|column| shown(column, row)).collect::<Vec<_>>())
    };
    batches.iter().flat_map(|batch| (0..batch.num_rows()).map(|n| row(batch, n)).collect::<Vec<_>>()).collect()
}
