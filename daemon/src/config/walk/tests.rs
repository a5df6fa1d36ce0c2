//! The walk on its own: what serde would refuse, the walk refuses first, and what it mends, serde takes.

use super::*;
use crate::config::settings::Config;
use proptest::prelude::*;
use serde_json::json;

fn good() -> Value {
    let text = include_str!("../../../../tests/fixtures/config/good-everything.yaml");
    crate::config::load::document(text, "f").map_err(|problems| problems.to_string()).unwrap().value
}

/// Every place of a value.
fn places(value: &Value, path: String, all: &mut Vec<String>) {
    all.push(path.clone());
    match value {
        Value::Object(map) => map.iter().for_each(|(key, inner)| {
            places(inner, format!("{path}/{}", key.replace('~', "~0").replace('/', "~1")), all);
        }),
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(index, inner)| places(inner, format!("{path}/{index}"), all));
        }
        _ => {}
    }
}

fn wrong_values() -> impl Strategy<Value = Value> {
    prop::sample::select(vec![
        json!(null),
        json!(true),
        json!(0),
        json!(-1),
        json!(1.5),
        json!(1e300),
        json!(u64::MAX),
        json!(""),
        json!("x"),
        json!("a b"),
        json!("50MB"),
        json!("10s"),
        json!([]),
        json!(["x"]),
        json!([null]),
        json!({}),
        json!({"x": 1}),
        json!({"rest": null}),
        json!({"parquet": {}}),
        json!({"none": {}, "link": {}}),
    ])
}

#[test]
fn a_good_document_passes_unchanged() {
    let walked = walk(&good());
    assert_eq!(walked.mistakes, []);
    assert_eq!(walked.value, good());
    assert_eq!(walked.replaced, []);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn walk_and_serde_agree(spots in prop::collection::vec((any::<prop::sample::Index>(), wrong_values()), 1..4)) {
        let mut value = good();
        for (index, wrong) in spots {
            let mut all = Vec::new();
            places(&value, String::new(), &mut all);
            let place = all.get(index.index(all.len())).unwrap().clone();
            *value.pointer_mut(&place).unwrap() = wrong;
        }
        let walked = walk(&value);
        let taken = serde_json::from_value::<Config>(value);
        prop_assert!(walked.mistakes.is_empty() <= taken.is_ok(), "serde refuses what the walk lets pass: {:?}", taken);
        let mended = serde_json::from_value::<Config>(walked.value.clone());
        prop_assert!(mended.is_ok(), "{:?} in {}", mended, walked.value);
    }
}
