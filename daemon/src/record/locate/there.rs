//! What an answer has where its records were looked for: names alone, never a value, and not many.

use super::path::Step;
use super::walk::without_mark;
use crate::record::json::{JsonError, Scanner};
use saas_export_api::plural;

/// Keys that are named; the others are counted.
const MAX_KEYS: usize = 12;

/// Characters of a key that is named.
const MAX_KEY: usize = 40;

/// In words, what the last place on the way down `steps` has; `body` has passed as JSON.
pub fn what_is_there(body: &[u8], steps: &[Step]) -> String {
    describe(body, steps).unwrap_or_default()
}

fn describe(body: &[u8], steps: &[Step]) -> Result<String, JsonError> {
    let (mut value, mut place) = (without_mark(body), String::from("$"));
    for step in steps {
        let Some((inner, text)) = child(value, step)? else { break };
        value = inner;
        place.push_str(&text);
    }
    Ok(format!("; {place} is {}", kind(value)?))
}

/// The value one step further down, and that step as it is written.
fn child<'a>(value: &'a [u8], step: &Step) -> Result<Option<(&'a [u8], String)>, JsonError> {
    let mut scanner = Scanner::new(value);
    let mut found = None;
    match (scanner.skip_whitespace(), step) {
        (b'{', Step::Name(name)) => {
            each_member(&mut scanner, |key, value| {
                if key == name {
                    found = Some((value, format!(".{}", short(key))));
                }
            })?;
        }
        (b'[', Step::Index(index)) => {
            let mut at = 0;
            each_element(&mut scanner, |value| {
                if at == *index {
                    found = Some((value, format!("[{index}]")));
                }
                at += 1;
            })?;
        }
        _ => {}
    }
    Ok(found)
}

/// What a value is; of an object the names of its members.
fn kind(value: &[u8]) -> Result<String, JsonError> {
    let mut scanner = Scanner::new(value);
    Ok(match scanner.skip_whitespace() {
        b'{' => {
            let (mut keys, mut count) = (Vec::new(), 0);
            each_member(&mut scanner, |key, _| {
                count += 1;
                if keys.len() < MAX_KEYS {
                    keys.push(short(key));
                }
            })?;
            match count - keys.len() {
                _ if count == 0 => "an object without keys".to_owned(),
                0 => format!("an object with the keys {}", keys.join(", ")),
                more => format!("an object with the keys {} and {more} more", keys.join(", ")),
            }
        }
        b'[' => {
            let mut count = 0_usize;
            each_element(&mut scanner, |_| count += 1)?;
            match count {
                0 => "an empty array".to_owned(),
                count => format!("an array of {count} {}", plural(count, "element")),
            }
        }
        b'"' => "a text".to_owned(),
        b'n' => "null".to_owned(),
        b't' | b'f' => "true or false".to_owned(),
        _ => "a number".to_owned(),
    })
}

fn each_member<'a>(scanner: &mut Scanner<'a>, mut then: impl FnMut(&str, &'a [u8])) -> Result<(), JsonError> {
    if !scanner.open(b'{')? {
        return Ok(());
    }
    let mut scratch = Vec::new();
    loop {
        let key = scanner.key()?;
        let key = key.decode(&mut scratch).unwrap_or(key.raw);
        let key = String::from_utf8_lossy(key).into_owned();
        scanner.skip_whitespace();
        let value = scanner.skip_value()?;
        then(&key, scanner.slice(value));
        if !scanner.more(b'}')? {
            return Ok(());
        }
    }
}

fn each_element<'a>(scanner: &mut Scanner<'a>, mut then: impl FnMut(&'a [u8])) -> Result<(), JsonError> {
    if !scanner.open(b'[')? {
        return Ok(());
    }
    loop {
        scanner.skip_whitespace();
        let value = scanner.skip_value()?;
        then(scanner.slice(value));
        if !scanner.more(b']')? {
            return Ok(());
        }
    }
}

/// A key as a message may have it: one line, and not long.
fn short(key: &str) -> String {
    let visible = |c: char| if c.is_control() { ' ' } else { c };
    if key.chars().count() <= MAX_KEY {
        return key.chars().map(visible).collect();
    }
    key.chars().take(MAX_KEY - 1).map(visible).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::locate::path::Path;
    use proptest::prelude::*;

    fn there(body: &str, path: &str) -> String {
        what_is_there(body.as_bytes(), &Path::parse(path).unwrap().steps)
    }

    #[test]
    fn keys_are_named_and_values_never() {
        let body = r#"{"result": {"rows": [{"id": "s3cret"}], "co\u0075nt": 1}, "ok": true}"#;
        assert_eq!(there(body, "$.data"), "; $ is an object with the keys result, ok");
        assert_eq!(there(body, "$.result.items[*]"), "; $.result is an object with the keys rows, count");
        assert_eq!(there(body, "$.result.rows[3].x"), "; $.result.rows is an array of 1 element");
        assert_eq!(there(body, "$.ok.x"), "; $.ok is true or false");
        for (body, kind) in [
            ("{}", "an object without keys"),
            ("[]", "an empty array"),
            ("7", "a number"),
            ("null", "null"),
            ("\"s3cret\"", "a text"),
        ] {
            assert_eq!(there(body, "$.data"), format!("; $ is {kind}"));
        }
    }

    #[test]
    fn few_keys_and_short_ones() {
        let members: Vec<String> = (0..500).map(|n| format!("\"{n}{}\": 1", "x".repeat(n))).collect();
        let text = there(&format!("\u{feff}{{{}}}", members.join(",")), "$.data");
        assert!(text.len() < 500 && text.ends_with("and 488 more"), "{text}");
        assert!(there("{\"a\\n\\u001b[31m\": 1}", "$.b").ends_with("keys a  [31m"));
    }

    proptest! {
        #[test]
        fn any_json_is_survived(body in r#"[\[\]{}",:a0n \\]{0,30}"#, path in r#"\$(\.[ab]|\[[01]\]){0,3}"#) {
            let text = there(&body, &path);
            prop_assert!(text.len() < 1000);
        }
    }
}
