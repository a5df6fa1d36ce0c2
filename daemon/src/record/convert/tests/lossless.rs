//! The proof that columns and rescued texts together give back every value of every record.

use super::*;
use crate::record::json::JsonError;
use crate::record::scalar;
use arrow_schema::DataType;
use proptest::prelude::*;

/// A JSON value whose numbers are compared as decimals. Nulls in objects are left out, as in columns.
#[derive(Clone, Debug, PartialEq)]
enum Tree {
    Null,
    Boolean(bool),
    Number(String),
    Text(String),
    List(Vec<Tree>),
    Object(BTreeMap<String, Tree>),
    Instant(i64),
    Day(i32),
}

fn tree(raw: &[u8]) -> Tree {
    read(&mut Scanner::new(raw)).unwrap()
}

fn read(scanner: &mut Scanner) -> Result<Tree, JsonError> {
    let text = |t: crate::record::json::Text| {
        let bytes = t.decode(&mut Vec::new()).map(<[u8]>::to_vec).unwrap_or(t.raw.to_vec());
        String::from_utf8(bytes).unwrap()
    };
    Ok(match scanner.skip_whitespace() {
        b'{' => {
            let mut members = BTreeMap::new();
            let mut more = scanner.open(b'{')?;
            while more {
                let key = text(scanner.key()?);
                let value = read(scanner)?;
                if value != Tree::Null {
                    members.insert(key, value);
                }
                more = scanner.more(b'}')?;
            }
            Tree::Object(members)
        }
        b'[' => {
            let mut items = Vec::new();
            let mut more = scanner.open(b'[')?;
            while more {
                items.push(read(scanner)?);
                more = scanner.more(b']')?;
            }
            Tree::List(items)
        }
        b'"' => Tree::Text(text(scanner.string()?)),
        b't' => scanner.word(b"true").map(|()| Tree::Boolean(true))?,
        b'f' => scanner.word(b"false").map(|()| Tree::Boolean(false))?,
        b'n' => scanner.word(b"null").map(|()| Tree::Null)?,
        _ => Tree::Number(plain_decimal(std::str::from_utf8(scanner.number()?).unwrap())),
    })
}

/// The same text for the same number: digits without zeros around them, and a power of ten.
fn plain_decimal(token: &str) -> String {
    let (mantissa, power) = token.split_once(['e', 'E']).unwrap_or((token, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let sign = if whole.starts_with('-') { "-" } else { "" };
    let digits = format!("{}{fraction}", whole.trim_start_matches('-'));
    let kept = digits.trim_end_matches('0');
    let power = power.parse::<i64>().unwrap() - fraction.len() as i64 + (digits.len() - kept.len()) as i64;
    let kept = kept.trim_start_matches('0');
    if kept.is_empty() { format!("{sign}0") } else { format!("{sign}{kept}e{power}") }
}

/// What a column says, given what the source said at this place (to know JSON text from text).
fn cell(array: &dyn Array, row: usize, is_json: &Type) -> Tree {
    if array.is_null(row) {
        return Tree::Null;
    }
    match (array.data_type(), is_json) {
        (DataType::Boolean, _) => Tree::Boolean(array.as_boolean().value(row)),
        (DataType::Int64, _) => Tree::Number(plain_decimal(&array.as_primitive::<Int64Type>().value(row).to_string())),
        (DataType::Float64, _) => {
            Tree::Number(plain_decimal(&format!("{:e}", array.as_primitive::<Float64Type>().value(row))))
        }
        (DataType::Timestamp(..), _) => Tree::Instant(array.as_primitive::<TimestampMicrosecondType>().value(row)),
        (DataType::Date32, _) => Tree::Day(array.as_primitive::<Date32Type>().value(row)),
        (DataType::Utf8, Type::String) => Tree::Text(array.as_string::<i32>().value(row).to_owned()),
        (DataType::Utf8, _) => tree(array.as_string::<i32>().value(row).as_bytes()),
        (DataType::List(_), Type::List(item)) => {
            let items = array.as_list::<i32>().value(row);
            Tree::List((0..items.len()).map(|at| cell(&items, at, item)).collect())
        }
        (DataType::Struct(_), Type::Struct(fields)) => {
            let object = array.as_struct();
            let members = fields.iter().zip(object.columns()).map(|(f, c)| (f.name.clone(), cell(c, row, &f.kind)));
            Tree::Object(members.filter(|(_, value)| *value != Tree::Null).collect())
        }
        other => panic!("{other:?}"),
    }
}

/// Puts a rescued value back to its path.
fn put(at: &mut Tree, path: &str, value: Tree) {
    let mut name = String::new();
    let mut rest = path.chars();
    if path.is_empty() {
        *at = value;
        return;
    }
    if let Some(index) = path.strip_prefix('[') {
        let (index, rest) = index.split_once(']').unwrap();
        let Tree::List(items) = at else { panic!("no list at {path}") };
        return put(&mut items[index.parse::<usize>().unwrap()], rest.strip_prefix('.').unwrap_or(rest), value);
    }
    let rest = loop {
        let before = rest.as_str();
        match rest.next() {
            Some('\\') => name.push(rest.next().unwrap()),
            Some('.') => break rest.as_str(),
            Some('[') | None => break before,
            Some(c) => name.push(c),
        }
    };
    let Tree::Object(members) = at else { panic!("no object at {path}") };
    put(members.entry(name).or_insert(Tree::Null), rest, value);
}

fn same(written: &Tree, kept: &Tree) -> bool {
    match (written, kept) {
        (Tree::Text(text), Tree::Instant(instant)) => scalar::timestamp(text.as_bytes()) == Some(*instant),
        (Tree::Text(text), Tree::Day(day)) => scalar::date(text.as_bytes()) == Some(*day),
        (Tree::List(a), Tree::List(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Tree::Object(a), Tree::Object(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.0 == b.0 && same(a.1, b.1))
        }
        (a, b) => a == b,
    }
}

fn number() -> impl Strategy<Value = String> {
    prop_oneof![
        (-5i64..5).prop_map(|v| v.to_string()),
        any::<i64>().prop_map(|v| v.to_string()),
        "-?(0|[1-9][0-9]{0,3})\\.[0-9]{1,4}",
        "-?(0|[1-9][0-9]{0,20})(\\.[0-9]{1,18})?([eE][+-]?[0-9]{1,2})?",
        "-?1e-?[0-9]{3}",
        any::<f64>().prop_filter("finite", |v| v.is_finite()).prop_map(|v| format!("{v:?}")),
    ]
}

fn instant() -> impl Strategy<Value = String> {
    "2024-0[1-9]-1[0-9]T0[0-9]:00:00(\\.[0-9]{1,7})?(Z|\\+01:00)".prop_map(|v| format!("\"{v}\""))
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        ".{0,12}".prop_map(|v| serde_json::to_string(&v).unwrap()),
        Just("\"\\u00e9\\ud83d\\ude00\\n\"".to_owned()),
        Just("\"\\ud800\"".to_owned()),
    ]
}

fn any_value() -> BoxedStrategy<String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        any::<bool>().prop_map(|v| v.to_string()),
        "2024-0[1-9]-1[0-9]".prop_map(|v| format!("\"{v}\"")),
        number(),
        instant(),
        text(),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| prop_oneof![list(inner.clone()), object(inner.boxed())]).boxed()
}

fn list(value: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    proptest::collection::vec(value, 0..4).prop_map(|v| format!("[ {} ]", v.join(" , ")))
}

/// An object whose members mostly hold one kind of value each, so that columns of every type meet values that just miss.
fn object(value: BoxedStrategy<String>) -> impl Strategy<Value = String> {
    let mostly =
        |usual: BoxedStrategy<String>| prop_oneof![1 => Just("null".to_owned()), 8 => usual, 1 => value.clone()];
    let member = |name: &'static str, value: BoxedStrategy<String>| {
        (proptest::bool::weighted(0.7), mostly(value)).prop_map(move |(there, value)| there.then_some((name, value)))
    };
    let members = (
        member("n", number().boxed()),
        member("t", instant().boxed()),
        member("s", text().boxed()),
        member("l", list(number()).boxed()),
        member("o", value.clone().prop_map(|v| format!("{{\"x\":{v}}}")).boxed()),
        member("a.b", value.clone().boxed()),
        member("c[0]\\", value.clone().boxed()),
        member("_rescued", value.clone().boxed()),
    );
    let members =
        members.prop_map(|m| [m.0, m.1, m.2, m.3, m.4, m.5, m.6, m.7].into_iter().flatten().collect::<Vec<_>>());
    members.prop_shuffle().prop_map(|members| {
        let member = |(name, value): &(&str, String)| format!("{}:{value}", serde_json::to_string(name).unwrap());
        format!("{{{}}}", members.iter().map(member).collect::<Vec<_>>().join(", "))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn nothing_is_lost(
        sample in proptest::collection::vec(object(any_value()), 0..4),
        records in proptest::collection::vec(object(any_value()), 1..6),
        flat: bool,
    ) {
        let sample: Vec<&str> = sample.iter().map(String::as_str).collect();
        let records: Vec<&str> = records.iter().map(String::as_str).collect();
        let schema = inferred(&sample);
        let plan = Arc::new(Plan::new(&schema, if flat { Layout::Flat } else { Layout::Columns }));
        let converted = plan.convert(&Page::of(&records), None);
        prop_assert!(converted.rejected.is_empty());
        let body = format!("{{\"data\": [{}], \"more\": 1}}", records.join(" , "));
        let made = eager(&plan, "$.data[*]", &body).unwrap().converted;
        prop_assert_eq!(format!("{:?}", made), format!("{converted:?}"));
        let Data::Batch(batch) = converted.data else { panic!() };
        prop_assert_eq!(batch.num_rows(), records.len());
        let mut count = 0;
        for (row, record) in records.iter().enumerate() {
            let mut kept = Tree::Object(BTreeMap::new());
            for (field, column) in schema.fields.iter().zip(batch.columns()) {
                let kind = match field.kind {
                    Type::List(_) | Type::Struct(_) if flat => &Type::Json,
                    ref kind => kind,
                };
                let value = cell(column, row, kind);
                if let (Tree::Object(members), true) = (&mut kept, value != Tree::Null) {
                    members.insert(field.name.clone(), value);
                }
            }
            if let Some(text) = rescued(&batch)[row].as_deref() {
                for (path, raw) in serde_json::from_str::<serde_json::Map<_, _>>(text).unwrap() {
                    count += 1;
                    let raw = raw.as_str().unwrap().to_owned();
                    put(&mut kept, &path, tree(raw.as_bytes()));
                }
            }
            prop_assert!(same(&tree(record.as_bytes()), &kept), "{}\n{:?}\n{:?}", record, kept, rescued(&batch)[row]);
        }
        prop_assert_eq!(converted.counts.rescued, count);
        // The next task's schema knows all that this one did not.
        if let Some(observed) = converted.observed {
            let next = schema.merge(&observed);
            let observed = Plan::new(&next, plan.layout).convert(&Page::of(&records), None).observed.unwrap_or_default();
            prop_assert_eq!(next.merge(&observed), next);
        }
        let again = plan.convert(&Page::of(&records), None);
        prop_assert!(matches!(again.data, Data::Batch(other) if other == batch));
    }
}
