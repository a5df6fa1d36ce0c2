//! The JSON body of a request; a mistake in it is named with its line, column and field.

use super::reply::Failure;
use serde::de::DeserializeOwned;

/// Reads a document.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(bytes).map_err(|error| {
        // Where the text is no JSON or ends early, its fields are not to be trusted.
        let field = if error.is_data() { field_at(bytes, error.line(), error.column()) } else { String::new() };
        let message = error.to_string();
        let what = message.split(" at line ").next().unwrap_or_default();
        let place = format!("line {}, column {}", error.line(), error.column());
        let field = if field.is_empty() { String::new() } else { format!(", field {field}") };
        Failure::invalid(format!("the body is not what this path takes: {place}{field}: {what}"))
    })
}

/// One level of nesting on the way to a place in a document.
enum Level {
    Object(String),
    Array(usize),
}

/// The path of the field at a place, e.g. `streams.orders.lanes[0].offset`; empty at the top. `column` counts bytes
/// from 1, as serde_json does.
fn field_at(bytes: &[u8], line: usize, column: usize) -> String {
    let start: usize = bytes.split(|byte| *byte == b'\n').take(line.saturating_sub(1)).map(|l| l.len() + 1).sum();
    let end = (start + column.saturating_sub(1)).min(bytes.len());
    let mut levels: Vec<Level> = Vec::new();
    let mut text = String::new();
    let mut at = 0;
    while let Some(byte) = bytes.get(at).filter(|_| at < end) {
        match byte {
            b'"' => {
                let length = string_length(bytes.get(at + 1..).unwrap_or_default());
                text = String::from_utf8_lossy(bytes.get(at + 1..at + 1 + length).unwrap_or_default()).into_owned();
                at += length + 1;
            }
            b':' => {
                if let Some(Level::Object(key)) = levels.last_mut() {
                    *key = std::mem::take(&mut text);
                }
            }
            b',' => match levels.last_mut() {
                Some(Level::Object(key)) => key.clear(),
                Some(Level::Array(index)) => *index += 1,
                None => {}
            },
            b'{' => levels.push(Level::Object(String::new())),
            b'[' => levels.push(Level::Array(0)),
            b'}' | b']' => drop(levels.pop()),
            _ => {}
        }
        at += 1;
    }
    show(&levels)
}

/// Bytes of a string up to its closing quote.
fn string_length(bytes: &[u8]) -> usize {
    let mut escaped = false;
    let end = bytes.iter().position(|byte| {
        let closes = *byte == b'"' && !escaped;
        escaped = *byte == b'\\' && !escaped;
        closes
    });
    end.unwrap_or(bytes.len())
}

fn show(levels: &[Level]) -> String {
    let mut path = String::new();
    for level in levels {
        match level {
            Level::Object(key) if key.is_empty() => {}
            Level::Object(key) if path.is_empty() => path.push_str(key),
            Level::Object(key) => path.push_str(&format!(".{key}")),
            Level::Array(index) => path.push_str(&format!("[{index}]")),
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use saas_export_api::{OffsetsDoc, Submit};

    fn message<T: DeserializeOwned>(text: &str) -> String {
        decode::<T>(text.as_bytes()).err().expect("refused").error.message
    }

    #[test]
    fn a_mistake_is_named_with_its_place() {
        let error = message::<Submit>("{\n  \"params\": {\"region\": 5}\n}");
        assert!(error.contains("line 2, column 24, field params.region: invalid type: integer `5`"), "{error}");
        let error = message::<Submit>("{\"params\": [1]}");
        assert!(error.contains("field params: invalid type: sequence"), "{error}");
        let error = message::<Submit>("{\"parms\": {}}");
        assert!(error.contains("unknown field `parms`, expected one of `params`, `format`"), "{error}");
        let error = message::<Submit>("{\"params\": {}");
        assert!(error.contains("line 1, column 13: EOF"), "{error}");
        let error = message::<Submit>("");
        assert!(error.contains("line 1, column 0: EOF"), "{error}");
    }

    #[test]
    fn nested_lists_are_counted() {
        let text = r#"{"export":"e","task":"t","streams":{"or\"ders":{"lanes":[{"lane":0,"revision":0,"offset":
            {"partition":0,"cursor":"start","pages":0,"records":0,"partition_records":0}},{"lane":"1"}]}}}"#;
        let error = message::<OffsetsDoc>(text);
        assert!(error.contains(r#"field streams.or\"ders.lanes[1].lane: invalid type"#), "{error}");
    }

    proptest! {
        #[test]
        fn no_body_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode::<OffsetsDoc>(&bytes);
            let _ = decode::<Submit>(&bytes);
        }

        #[test]
        fn no_place_makes_it_panic(text in "[\\[\\]{}\":,\\\\a1\n]{0,80}", line in 0_usize..9, column in 0_usize..90) {
            field_at(text.as_bytes(), line, column);
            let _ = decode::<OffsetsDoc>(text.as_bytes());
        }
    }
}
