//! Writes a JSON body with the page's parameters in it, each as the JSON text that it came as.

use serde_json::{Map, Value};

/// A parameter: the keys that lead to it, and its JSON text.
pub type Put<'a> = (&'a [String], &'a str);

/// The body with the parameters in it. Maps on their way are made where there are none; what stands in their place goes.
pub fn compose(body: &Value, parameters: &[Put<'_>]) -> String {
    let mut text = String::new();
    write(&mut text, Some(body), parameters);
    text
}

fn write(text: &mut String, under: Option<&Value>, parameters: &[Put<'_>]) {
    if let Some((_, json)) = parameters.iter().find(|(path, _)| path.is_empty()) {
        return text.push_str(json);
    }
    if parameters.is_empty() {
        return text.push_str(&under.unwrap_or(&Value::Null).to_string());
    }
    let none = Map::new();
    let fields = under.and_then(Value::as_object).unwrap_or(&none);
    let mut keys: Vec<&str> = fields.keys().map(String::as_str).collect();
    for key in parameters.iter().filter_map(|(path, _)| path.first()) {
        if !keys.contains(&key.as_str()) {
            keys.push(key);
        }
    }
    for (position, key) in keys.iter().enumerate() {
        text.push(if position == 0 { '{' } else { ',' });
        text.push_str(&Value::from(*key).to_string());
        text.push(':');
        let below = parameters.iter().filter_map(|(path, json)| match path.split_first() {
            Some((first, rest)) if first == key => Some((rest, *json)),
            _ => None,
        });
        write(text, fields.get(*key), &below.collect::<Vec<_>>());
    }
    text.push('}');
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn parameters_lie_where_their_paths_lead() {
        let path = |text: &str| text.split('.').map(str::to_owned).collect::<Vec<_>>();
        let (after, size, deep) = (path("variables.after"), path("size"), path("new.deep"));
        let body = json!({ "query": "q\n", "variables": { "first": 9, "after": null }, "new": "replaced" });
        let text = compose(&body, &[(&after, "12345678901234567890123"), (&size, "5"), (&deep, "[1.50,\"x\"]")]);
        assert_eq!(
            text,
            r#"{"query":"q\n","variables":{"first":9,"after":12345678901234567890123},"new":{"deep":[1.50,"x"]},"size":5}"#
        );
        assert_eq!(compose(&body, &[]), body.to_string());
        assert_eq!(compose(&json!({}), &[(&size, "\"a\"")]), r#"{"size":"a"}"#);
    }
}
