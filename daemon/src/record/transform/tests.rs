//! Each step by itself, and all of them against the same work done on trees of values.

use super::*;
use crate::base::secret::Secret;
use crate::config::settings::{AnyValue, FlattenField, HashFields, MaskFields};
use crate::config::transform::path;
use crate::config::units::SecretText;
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

struct Pepper;

impl Resolve for Pepper {
    fn resolve(&self, text: &str) -> Result<Secret, String> {
        if text == "${PEPPER}" { Ok(Secret::new("pepper")) } else { Err("auth.env has no such name".into()) }
    }
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
}

fn add(pairs: &[(&str, Value)]) -> TransformStep {
    TransformStep::Add(pairs.iter().map(|(name, value)| ((*name).to_owned(), AnyValue(value.clone()))).collect())
}

fn flatten(field: &str) -> TransformStep {
    TransformStep::Flatten(FlattenField { field: field.into(), separator: "_".into() })
}

fn hash(fields: &[&str], key: Option<&str>) -> TransformStep {
    TransformStep::Hash(HashFields { fields: names(fields), key: key.map(|key| SecretText(key.into())) })
}

fn mask(fields: &[&str], keep_last: Option<u32>) -> TransformStep {
    TransformStep::Mask(MaskFields { fields: names(fields), keep_first: None, keep_last, fixed: None })
}

/// One record after the steps.
fn one(steps: &[TransformStep], record: &str) -> String {
    let transform = Transform::compile(steps, &Pepper).unwrap().unwrap();
    let body = format!("[{record}]");
    let end = body.len() as u32 - 1;
    let page = transform.page(body.as_bytes(), std::slice::from_ref(&(1..end))).unwrap();
    assert_eq!(page.records, std::slice::from_ref(&(0..page.body.len() as u32)));
    String::from_utf8(page.body.to_vec()).unwrap()
}

#[test]
fn what_is_not_touched_stays_byte_for_byte() {
    let record = r#"{ "a" : 1.0e0 ,"b":[1, 2 ,{"c" : "\u00e9"}],  "d":{ } , "n": -0 }"#;
    for step in [
        TransformStep::Drop(names(&["x", "d.x", "b.x"])),
        TransformStep::Rename(map(&[("x", "y")])),
        TransformStep::Cast(map(&[("x", "integer")])),
        flatten("x"),
        hash(&["x"], None),
        mask(&["b.x"], None),
        add(&[("x.y", json!(1))]),
        TransformStep::Select(names(&["a", "b", "d", "n"])),
    ] {
        assert_eq!(one(&[step], record), record);
    }
}

#[test]
fn members_go_wherever_they_stand() {
    let drop = |fields: &[&str], record| one(&[TransformStep::Drop(names(fields))], record);
    assert_eq!(drop(&["a"], r#"{"a":1}"#), "{}");
    assert_eq!(drop(&["a"], r#"{"a":1,"b":2}"#), r#"{"b":2}"#);
    assert_eq!(drop(&["a", "b"], r#"{"a":1 , "b":2, "c":3}"#), r#"{ "c":3}"#);
    assert_eq!(drop(&["b"], r#"{"a":1, "b":2,"c":3}"#), r#"{"a":1,"c":3}"#);
    assert_eq!(drop(&["c"], r#"{"a":1,"b":2,"c":3}"#), r#"{"a":1,"b":2}"#);
    assert_eq!(drop(&["a"], r#"{"a":1,"b":2,"\u0061":3}"#), r#"{"b":2}"#, "escaped and repeated keys are found");
    assert_eq!(drop(&["l.x"], r#"{"l":[{"x":1},[{"x":2,"y":3}],4]}"#), r#"{"l":[{},[{"y":3}],4]}"#);
    let select = |fields: &[&str], record| one(&[TransformStep::Select(names(fields))], record);
    assert_eq!(select(&["b.c", "d"], r#"{"a":1,"b":{"c":2,"x":3},"d":4}"#), r#"{"b":{"c":2},"d":4}"#);
    assert_eq!(select(&["b.c"], r#"{"b":"alice"}"#), r#"{"b":null}"#, "nothing of it was selected");
    assert_eq!(select(&["b.c"], r#"{"b":[{"c":1},2]}"#), r#"{"b":[{"c":1},null]}"#);
}

#[test]
fn names_are_settled_the_same_way_wherever_members_stand() {
    let rename = TransformStep::Rename(map(&[("old", "new")]));
    assert_eq!(one(std::slice::from_ref(&rename), r#"{"new":1,"old":2}"#), r#"{"new":2}"#);
    assert_eq!(one(std::slice::from_ref(&rename), r#"{"old":2,"new":1}"#), r#"{"new":2}"#);
    assert_eq!(one(&[rename], r#"{"new":1,"o":2}"#), r#"{"new":1,"o":2}"#);
    let swap = TransformStep::Rename(map(&[("a", "b"), ("b", "a")]));
    assert_eq!(one(&[swap], r#"{"a":1,"b":2}"#), r#"{"b":1,"a":2}"#);
    let nested = TransformStep::Rename(map(&[("l.x", "y\"z"), ("l", "m")]));
    assert_eq!(one(&[nested], r#"{"l":[{"x":1}]}"#), r#"{"m":[{"y\"z":1}]}"#);
    assert_eq!(one(&[add(&[("a", json!({"b": [1]}))])], r#"{ "a":1, "c":2 }"#), r#"{ "c":2 ,"a":{"b":[1]}}"#);
    assert_eq!(one(&[add(&[("a", json!("x"))])], "{ }"), r#"{ "a":"x"}"#);
    assert_eq!(
        one(&[add(&[("o.a", json!(0))])], r#"{"o":[{},{"b":1},2],"p":{}}"#),
        r#"{"o":[{"a":0},{"b":1,"a":0},2],"p":{}}"#
    );
    let flat = |record| one(&[flatten("a")], record);
    assert_eq!(flat(r#"{"x":0,"a":{"b":1,"c":{"d":[{}]}},"y":2}"#), r#"{"x":0,"a_b":1,"a_c_d":[{}],"y":2}"#);
    assert_eq!(flat(r#"{"a_b":0,"a":{"b":1},"a_b_c":2,"a_b":3}"#), r#"{"a_b":1,"a_b_c":2}"#);
    assert_eq!(flat(r#"{"a":{"b_c":1,"b":{"c":2}}}"#), r#"{"a_b_c":2}"#, "the last one counts");
    assert_eq!(flat(r#"{"a":{},"b":1}"#), r#"{"b":1}"#);
    assert_eq!(flat(r#"{"a":[1],"a_b":1}"#), r#"{"a":[1],"a_b":1}"#);
    assert_eq!(
        one(&[flatten("l.a")], r#"{"l":[{"a":{"b\n":1}},{"a":null}]}"#),
        r#"{"l":[{"a_b\u000a":1},{"a":null}]}"#
    );
}

#[test]
fn hidden_values_are_hidden_in_every_shape() {
    let masked = |record| one(&[mask(&["p"], Some(2))], record);
    assert_eq!(masked(r#"{"p":"12345"}"#), r#"{"p":"***45"}"#);
    assert_eq!(masked(r#"{"p":12345}"#), r#"{"p":"***45"}"#);
    assert_eq!(masked(r#"{"p":"12"}"#), r#"{"p":"**"}"#, "what would be kept whole is masked whole");
    assert_eq!(masked(r#"{"p":"\u00e4\u00f6\u00fc\""}"#), r#"{"p":"**ü\""}"#);
    assert_eq!(masked(r#"{"p":[null,true,{"x":"y"},["abc"]]}"#), r#"{"p":[null,"***","***",["*bc"]]}"#);
    assert_eq!(masked(r#"{"\u0070":"12345","p":"67890"}"#), r#"{"\u0070":"***45","p":"***90"}"#);
    assert_eq!(masked(r#""alice""#), "null", "a record that is no object is not looked into");
    assert_eq!(one(&[mask(&["p"], None)], r#"{"p":"x"}"#), r#"{"p":"***"}"#);
    let sha = |record| one(&[hash(&["p"], None)], record);
    assert_eq!(sha(r#"{"p":"abc"}"#), sha(r#"{"p":"\u0061bc"}"#));
    assert_eq!(sha(r#"{"p":"7"}"#), sha(r#"{"p":7}"#));
    assert_eq!(sha(r#"{"p":{ "a": 1 }}"#), sha(r#"{"p":{"a":1}}"#));
    assert_ne!(sha(r#"{"p":"abc"}"#), one(&[hash(&["p"], Some("${PEPPER}"))], r#"{"p":"abc"}"#));
    for lone in [r#"{"p":"alice\ud800"}"#, r#"{"p":"\udc00alice"}"#] {
        assert!(!sha(lone).contains("alice") && !one(&[mask(&["p"], Some(2))], lone).contains("alice"));
    }
    let bad = Transform::compile(&[add(&[("a", json!(1))]), hash(&["p"], Some("${NOPE}"))], &Pepper).unwrap_err();
    assert_eq!(bad.index, 1);
}

#[test]
fn casts_that_lose_are_told() {
    let steps = [TransformStep::Cast(map(&[("a", "integer"), ("b", "string")]))];
    let transform = Transform::compile(&steps, &Pepper).unwrap().unwrap();
    let body = br#"{"a":"1","b":1}{"a":"x","b":null}"#;
    let page = transform.page(body, &[0..15, 15..33]).unwrap();
    assert_eq!(&page.body[..], br#"{"a":1,"b":"1"}{"a":"x","b":null}"#);
    assert_eq!(page.stayed, [0]);
    assert!(transform.note(0).contains("\"a\" to integer"), "{}", transform.note(0));
    assert!(Transform::compile(&[], &Pepper).unwrap().is_none());
}

/// The same steps on trees of values, which are the measure of what the text is rewritten to.
mod tree {
    use super::*;

    pub fn apply(step: &TransformStep, value: &mut Value) {
        match step {
            TransformStep::Select(fields) => {
                let paths: Vec<_> = fields.iter().map(|field| path(field).unwrap()).collect();
                let paths: Vec<&[String]> = paths.iter().map(Vec::as_slice).collect();
                select(value, &paths);
            }
            TransformStep::Drop(fields) => {
                for field in fields {
                    at_parent(value, &path(field).unwrap(), &mut |object, name| drop(object.shift_remove(name)));
                }
            }
            TransformStep::Rename(names) => {
                let (old, new) = names.iter().next().unwrap();
                at_parent(value, &path(old).unwrap(), &mut |object, name| {
                    if object.contains_key(name) {
                        let members = std::mem::take(object);
                        for (key, value) in members {
                            if key == name {
                                object.insert(new.clone(), value);
                            } else if key != *new {
                                object.insert(key, value);
                            }
                        }
                    }
                });
            }
            TransformStep::Add(constants) => {
                for (field, constant) in constants {
                    at_parent(value, &path(field).unwrap(), &mut |object, name| {
                        object.shift_remove(name);
                        object.insert(name.to_owned(), constant.0.clone());
                    });
                }
            }
            TransformStep::Flatten(flat) => {
                at_parent(value, &path(&flat.field).unwrap(), &mut |object, name| {
                    if object.get(name).is_some_and(Value::is_object) {
                        flatten(object, name, &flat.separator);
                    }
                });
            }
            TransformStep::Cast(_) => unreachable!("has tests of its own"),
            TransformStep::Hash(hash) => {
                for field in &hash.fields {
                    at_parent(value, &path(field).unwrap(), &mut |object, name| {
                        if let Some(value) = object.get_mut(name) {
                            each(value, &mut |value| Value::String(sha256(value)));
                        }
                    });
                }
            }
            TransformStep::Mask(mask) => {
                for field in &mask.fields {
                    at_parent(value, &path(field).unwrap(), &mut |object, name| {
                        if let Some(value) = object.get_mut(name) {
                            each(value, &mut |_| Value::String("***".into()));
                        }
                    });
                }
            }
        }
    }

    fn at_parent(value: &mut Value, path: &[String], work: &mut impl FnMut(&mut Map<String, Value>, &str)) {
        match (value, path) {
            (Value::Array(items), _) => items.iter_mut().for_each(|item| at_parent(item, path, work)),
            (Value::Object(object), [name]) => work(object, name),
            (Value::Object(object), [name, rest @ ..]) => {
                if let Some(inner) = object.get_mut(name) {
                    at_parent(inner, rest, work);
                }
            }
            _ => {}
        }
    }

    fn select(value: &mut Value, paths: &[&[String]]) {
        match value {
            Value::Array(items) => items.iter_mut().for_each(|item| select(item, paths)),
            Value::Object(object) => {
                let members = std::mem::take(object);
                for (key, mut value) in members {
                    let inside: Vec<&[String]> =
                        paths.iter().filter(|path| path[0] == key).map(|path| &path[1..]).collect();
                    if inside.is_empty() {
                        continue;
                    }
                    if inside.iter().all(|path| !path.is_empty()) {
                        select(&mut value, &inside);
                    }
                    object.insert(key, value);
                }
            }
            other => *other = Value::Null,
        }
    }

    fn flatten(object: &mut Map<String, Value>, name: &str, separator: &str) {
        fn collect(prefix: &str, separator: &str, value: Value, out: &mut Vec<(String, Value)>) {
            match value {
                Value::Object(object) => {
                    for (key, value) in object {
                        collect(&format!("{prefix}{separator}{key}"), separator, value, out);
                    }
                }
                value => out.push((prefix.to_owned(), value)),
            }
        }
        let members = std::mem::take(object);
        let mut flat = Vec::new();
        collect(name, separator, members[name].clone(), &mut flat);
        for (key, value) in members {
            if key == name {
                for (index, (key, value)) in flat.iter().enumerate() {
                    if !flat[index + 1..].iter().any(|(later, _)| later == key) {
                        object.insert(key.clone(), value.clone());
                    }
                }
            } else if !flat.iter().any(|(flat, _)| *flat == key) {
                object.insert(key, value);
            }
        }
    }

    fn each(value: &mut Value, change: &mut impl FnMut(&Value) -> Value) {
        match value {
            Value::Null => {}
            Value::Array(items) => items.iter_mut().for_each(|item| each(item, change)),
            other => *other = change(other),
        }
    }

    fn sha256(value: &Value) -> String {
        use sha2::Digest as _;
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        sha2::Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

fn key() -> impl Strategy<Value = String> {
    prop_oneof![Just("a"), Just("b"), Just("c"), Just("a_b"), Just("ü\"\\"), Just("")].prop_map(str::to_owned)
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        "[a-z\"\\\\\u{1}ü€]{0,4}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::vec((key(), inner), 0..5).prop_map(|members| members.into_iter().collect()),
        ]
    })
}

fn field() -> impl Strategy<Value = String> {
    prop_oneof![Just("a"), Just("b"), Just("a.b"), Just("b.a"), Just("a.b.c"), Just("c"), Just("a_b")]
        .prop_map(str::to_owned)
}

fn step() -> impl Strategy<Value = TransformStep> {
    prop_oneof![
        prop::collection::vec(field(), 1..3).prop_map(TransformStep::Select),
        prop::collection::vec(field(), 1..3).prop_map(TransformStep::Drop),
        (field(), "[abc]").prop_map(|(old, new)| TransformStep::Rename([(old, new)].into())),
        (field(), any::<u8>()).prop_map(|(name, value)| add(&[(&name, json!(value))])),
        field().prop_map(|field| flatten(&field)),
        field().prop_map(|field| hash(&[&field], None)),
        field().prop_map(|field| mask(&[&field], None)),
    ]
}

proptest! {
    #[test]
    fn the_text_becomes_what_the_tree_becomes(
        members in prop::collection::vec((key(), value()), 0..6),
        steps in prop::collection::vec(step(), 1..5),
        pretty: bool,
    ) {
        let record: Value = members.into_iter().collect();
        let text = if pretty { serde_json::to_string_pretty(&record).unwrap() } else { record.to_string() };
        let got = one(&steps, &text);
        let mut want = record;
        steps.iter().for_each(|step| tree::apply(step, &mut want));
        let got: Value = serde_json::from_str(&got).map_err(|error| TestCaseError::fail(format!("{error}: {got}")))?;
        // In the same order, too.
        prop_assert_eq!(got.to_string(), want.to_string());
    }

    #[test]
    fn selecting_twice_is_selecting_once(
        members in prop::collection::vec((key(), value()), 0..6),
        fields in prop::collection::vec(field(), 1..4),
    ) {
        let select = [TransformStep::Select(fields)];
        let once = one(&select, &members.into_iter().collect::<Value>().to_string());
        prop_assert_eq!(one(&select, &once), once);
    }

    #[test]
    fn no_text_makes_it_panic(text in "[\\[\\]{}\":,\\\\ab1u.]{0,40}", steps in prop::collection::vec(step(), 1..3)) {
        let transform = Transform::compile(&steps, &Pepper).unwrap().unwrap();
        let _ = transform.page(text.as_bytes(), std::slice::from_ref(&(0..text.len() as u32)));
    }
}
