//! Finding records and cursors in an answer.

use super::*;
use proptest::prelude::*;
use serde_json::{Value, json};
use serde_json_path::JsonPath;

fn texts(body: &str, records: &str, values: &[&str]) -> Result<(Vec<String>, Vec<Option<String>>), LocateError> {
    let found = Locator::new(records, values).unwrap().locate(body.as_bytes())?;
    let text = |range: Range<u32>| body[range.start as usize..range.end as usize].to_owned();
    Ok((found.records.into_iter().map(text).collect(), found.values.into_iter().map(|v| v.map(text)).collect()))
}

fn records(body: &str, path: &str) -> Result<Vec<String>, LocateError> {
    texts(body, path, &[]).map(|(records, _)| records)
}

#[test]
fn records_and_values_in_one_pass() {
    let body = r#" {"a":{"next" : "k\n" ,"list":[ {"x": 1.0} , null,[2]]},"total":3,"data":[]} "#;
    let (records, values) =
        texts(body, "$.a.list", &["$.a.next", "$['total']", "$.a.list[0].x", "$.none", "$.a"]).unwrap();
    assert_eq!(records, [r#"{"x": 1.0}"#, "null", "[2]"]);
    let values: Vec<_> = values.iter().map(Option::as_deref).collect();
    assert_eq!(values[..4], [Some(r#""k\n""#), Some("3"), Some("1.0"), None]);
    assert_eq!(values[4].unwrap(), r#"{"next" : "k\n" ,"list":[ {"x": 1.0} , null,[2]]}"#);
}

#[test]
fn white_space_counts_only_between_the_tokens_of_a_record() {
    let compact = |body: &str, path: &str| Locator::new(path, &[]).unwrap().locate(body.as_bytes()).unwrap().compact;
    for body in [r#" { "d" : [ {"a":"x y","b":[1,2]} , [] ] } "#, "{\"d\":[]}", r#"{"n": 1,"d":[{"a":"\n "}]}"#] {
        assert!(compact(body, "$.d"), "{body}");
        assert!(compact(body, "$.d[*]"), "{body}");
    }
    for record in
        [r#"{"a": 1}"#, r#"{"a" :1}"#, r#"{ "a":1}"#, r#"{"a":1 }"#, "[1, 2]", "{ }", "[\n]", r#"{"a":[{"b":{ }}]}"#]
    {
        assert!(!compact(&format!(r#"{{"d":[{{"a":1}},{record}]}}"#), "$.d"), "{record}");
        assert!(!compact(&format!(r#"{{"d":{{"x":{record}}}}}"#), "$.d[*]"), "{record}");
    }
    assert!(!compact(r#"{"d":{"a": 1}}"#, "$.d") && compact(r#"{"d": {"a":1}}"#, "$.d"));
    // Found in a tree, it is not known.
    assert!(!compact(r#"{"d":[{"a":1}]}"#, "$.d[?@.a == 1]"));
}

#[test]
fn what_counts_as_records() {
    let none: Vec<String> = vec![];
    assert_eq!(records("[1,{}]", "$").unwrap(), ["1", "{}"]);
    assert_eq!(records("[1,{}]", "$[*]").unwrap(), ["1", "{}"]);
    assert_eq!(records(r#"{"id":1}"#, "$").unwrap(), [r#"{"id":1}"#]);
    assert_eq!(records(r#"{"d":{"id":1}}"#, "$.d").unwrap(), [r#"{"id":1}"#]);
    assert_eq!(records(r#"{"d":{"k":{"id":1},"l":2}}"#, "$.d[*]").unwrap(), [r#"{"id":1}"#, "2"]);
    for path in ["$.d", "$.d[*]", "$.d.*", "$['d']"] {
        assert_eq!(records(r#"{"d":null}"#, path).unwrap(), none, "{path}");
        assert_eq!(records(r#"{"d":[]}"#, path).unwrap(), none, "{path}");
        let missing = |there: &str| Err(LocateError::Missing { path: path.into(), there: format!("; $ is {there}") });
        assert_eq!(records(r#"{"e":[{}]}"#, path), missing("an object with the keys e"));
        assert_eq!(records("[]", path), missing("an empty array"));
        assert_eq!(records("null", path), missing("null"));
    }
    assert_eq!(records(r#"{"d":[1],"d":[2]}"#, "$.d").unwrap(), ["2"]);
    assert_eq!(texts(r#"{"d":{"v":1},"d":{}}"#, "$", &["$.d.v"]).unwrap().1, [None]);
    assert_eq!(records("\u{feff}[{}]", "$").unwrap(), ["{}"]);
    assert_eq!(records(r#"{"\u0064":[7]}"#, "$.d").unwrap(), ["7"]);
}

#[test]
fn paths_that_need_a_tree_keep_the_text() {
    let body = "\u{feff}{\"g\":[{\"items\":[ {\"n\":1e400} ,2]},{\"items\":[\"\\ud800\"]}],\"a.b\":[1.50]}";
    assert_eq!(records(body, "$.g[*].items").unwrap(), [r#"{"n":1e400}"#, "2", r#""\ud800""#]);
    assert_eq!(records(body, "$.g[?@.items[0].n].items[*]").unwrap().len(), 2);
    assert_eq!(records(body, "$.g[?@.none].items[*]").unwrap(), Vec::<String>::new());
    assert_eq!(records(body, "$.g[1:].items[*]").unwrap(), [r#""\ud800""#]);
    assert_eq!(records(body, "$..items[*]").unwrap().len(), 3);
    assert_eq!(records(body, "$['a.b'][-1]").unwrap(), ["1.50"]);
    assert_eq!(
        texts(body, "$.g", &["$['a.b'][-1]", "$['a.b']", "$.g[9:].x"]).unwrap().1[..2],
        [Some("1.50".into()), Some("[1.50]".into())]
    );
    let there = "; $ is an object with the keys g, a.b".to_owned();
    assert_eq!(records(body, "$.x[*].items"), Err(LocateError::Missing { path: "$.x[*].items".into(), there }));
    assert!(matches!(records("[1", "$[::2]"), Err(LocateError::Json(_))));
}

#[test]
fn errors_name_the_place_and_no_data() {
    let locate = |body: &[u8]| Locator::new("$.a", &[]).unwrap().locate(body).unwrap_err();
    assert_eq!(locate(b"{\"a\":[]}x").to_string(), "read the answer as JSON");
    assert_eq!(
        locate(b"{\"a\":[]}x"),
        LocateError::Json(Scanner::new(b"x").error(crate::record::json::Problem::Rest)).at(8)
    );
    assert_eq!(
        locate(b"\xEF\xBB\xBF{\"a\":[]}x"),
        LocateError::Json(Scanner::new(b"x").error(crate::record::json::Problem::Rest)).at(11)
    );
    assert!(matches!(locate(b"{\"a\":[1,2"), LocateError::Json(_)));
    assert!(matches!(locate(b"{\"a\":[],\"b\":01}"), LocateError::Json(_)));
    assert_eq!(locate(b"{\"a\":\"\xFF\"}"), LocateError::Utf8(6));
    let error = Locator::new("$.a[", &[]).unwrap_err();
    assert!(error.to_string().starts_with("read the path \"$.a[\": "), "{error}");
    assert!(Locator::new("$", &["data"]).is_err());
}

impl LocateError {
    fn at(self, offset: usize) -> Self {
        match self {
            Self::Json(error) => Self::Json(JsonError { offset, ..error }),
            other => other,
        }
    }
}

#[test]
fn text_of_scalars() {
    for (raw, text) in
        [("\"a\\u0041é\"", Some("aAé")), ("\"x\"", Some("x")), ("12.50", Some("12.50")), ("-1", Some("-1"))]
            .into_iter()
            .chain(["", "\"\"", "null", "true", "{}", "[1]", "\"\\ud800\""].map(|raw| (raw, None)))
    {
        assert_eq!(text_of(raw.as_bytes()).as_deref(), text, "{raw}");
    }
}

fn tree() -> impl Strategy<Value = Value> {
    let leaf =
        prop_oneof![Just(json!(null)), any::<i32>().prop_map(Value::from), "[a-c\"\\\\é]{0,3}".prop_map(Value::from)];
    leaf.prop_recursive(4, 40, 5, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            proptest::collection::hash_map("[a-c]", inner, 0..4).prop_map(|m| Value::Object(m.into_iter().collect())),
        ]
    })
}

proptest! {
    /// The library is the oracle of every path, whichever way it is answered.
    #[test]
    fn finds_what_the_library_finds(
        value in tree(),
        path in r#"\$(\.[a-c]|\['[a-c]'\]|\[[0-2]\]){0,3}(\[\*\]|\.\*|\.\.a|\[1:\]|\[-1\]|)"#,
        pretty: bool,
    ) {
        let body = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.unwrap();
        let query = JsonPath::parse(&path).unwrap();
        let nodes: Vec<Value> = query.query(&value).all().into_iter().cloned().collect();
        let every = path.ends_with("[*]") || path.ends_with(".*");
        let parsed = |text: &String| serde_json::from_str::<Value>(text).unwrap();
        match texts(&body, &path, &[&path]) {
            Ok((records, values)) => {
                let direct = Path::parse(&path).unwrap().direct;
                let expected: Vec<Value> = nodes.iter().flat_map(|node| match node {
                    Value::Array(list) if !every => list.clone(),
                    Value::Null if direct && !every => vec![],
                    other => vec![other.clone()],
                }).collect();
                prop_assert_eq!(records.iter().map(parsed).collect::<Vec<_>>(), expected);
                prop_assert_eq!(values[0].as_ref().map(parsed), nodes.first().cloned());
            }
            Err(LocateError::Missing { .. }) => prop_assert!(nodes.is_empty()),
            Err(other) => prop_assert!(false, "{other:?}"),
        }
    }
}
