//! Builds the tree of values that paths with wildcards, slices and filters are asked of.

use crate::record::json::{JsonError, Scanner, Text};
use serde_json::{Map, Number, Value};

/// The tree of a body. What a tree cannot hold becomes something near it, because only the places of nodes are taken from
/// it, never their values: lone surrogates become U+FFFD, numbers beyond f64 become null.
pub fn build(body: &[u8]) -> Result<Value, JsonError> {
    let mut scanner = Scanner::new(super::walk::without_mark(body));
    let value = value(&mut scanner)?;
    scanner.end()?;
    Ok(value)
}

// Recursion is bounded: the scanner refuses what is nested too deep.
fn value(scanner: &mut Scanner) -> Result<Value, JsonError> {
    Ok(match scanner.skip_whitespace() {
        b'{' => {
            let mut map = Map::new();
            if scanner.open(b'{')? {
                loop {
                    let key = text(scanner.key()?);
                    map.insert(key, value(scanner)?);
                    if !scanner.more(b'}')? {
                        break;
                    }
                }
            }
            Value::Object(map)
        }
        b'[' => {
            let mut list = Vec::new();
            if scanner.open(b'[')? {
                loop {
                    list.push(value(scanner)?);
                    if !scanner.more(b']')? {
                        break;
                    }
                }
            }
            Value::Array(list)
        }
        b'"' => Value::String(text(scanner.string()?)),
        b't' => scanner.word(b"true").map(|()| Value::Bool(true))?,
        b'f' => scanner.word(b"false").map(|()| Value::Bool(false))?,
        b'n' => scanner.word(b"null").map(|()| Value::Null)?,
        _ => serde_json::from_slice::<Number>(scanner.number()?).map_or(Value::Null, Value::Number),
    })
}

fn text(token: Text) -> String {
    let mut scratch = Vec::new();
    let bytes = token.decode(&mut scratch).unwrap_or(token.raw);
    String::from_utf8_lossy(bytes).into_owned()
}
