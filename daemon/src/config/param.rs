//! Places in JSON as operators name them: by key, dotted path, JSON pointer (RFC 6901), or JSONPath (RFC 9535).

/// The JSONPath of a field of a record that is named by a JSONPath already, or by its keys with dots between them.
pub fn record_path(text: &str) -> String {
    if text.starts_with('$') {
        return text.to_owned();
    }
    let step = |key: &str| format!("['{}']", key.replace('\\', "\\\\").replace('\'', "\\'"));
    std::iter::once("$".to_owned()).chain(text.split('.').map(step)).collect()
}

/// Where a paginator puts a parameter: the keys from the top of the body; `None` where the text names no place.
pub fn body_path(text: &str) -> Option<Vec<String>> {
    let path: Vec<String> = match text.strip_prefix('/') {
        Some(pointer) => pointer.split('/').map(unescape).collect::<Option<_>>()?,
        None => text.split('.').map(str::to_owned).collect(),
    };
    path.iter().all(|key| !key.is_empty()).then_some(path)
}

/// `~1` is `/` and `~0` is `~`; no other `~` may be in a pointer.
fn unescape(key: &str) -> Option<String> {
    let rest = key.replace("~0", "").replace("~1", "");
    (!rest.contains('~')).then(|| key.replace("~1", "/").replace("~0", "~"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn keys_paths_and_pointers() {
        for (text, path) in [
            ("after", vec!["after"]),
            ("variables.after", vec!["variables", "after"]),
            ("/variables/after", vec!["variables", "after"]),
            ("/a.b/~1c~0~01", vec!["a.b", "/c~~1"]),
        ] {
            assert_eq!(body_path(text).unwrap(), path, "{text}");
        }
        for bad in ["", "/", ".", "a.", "a..b", "/a//b", "/a~2", "/~"] {
            assert_eq!(body_path(bad), None, "{bad}");
        }
    }

    #[test]
    fn fields_of_records() {
        for (text, path) in
            [("id", "$['id']"), ("a.b-c", "$['a']['b-c']"), ("$.x[0]", "$.x[0]"), ("it's", "$['it\\'s']")]
        {
            assert_eq!(record_path(text), path);
            assert!(serde_json_path::JsonPath::parse(&record_path(text)).is_ok(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_keys_can_be_named_by_a_pointer(keys in prop::collection::vec("[a~/.01]{1,4}", 1..4)) {
            let pointer: String = keys.iter().map(|key| format!("/{}", key.replace('~', "~0").replace('/', "~1"))).collect();
            prop_assert_eq!(body_path(&pointer), Some(keys));
        }

        #[test]
        fn any_text_is_survived(text in "\\PC{0,20}") {
            let _ = body_path(&text);
        }
    }
}
