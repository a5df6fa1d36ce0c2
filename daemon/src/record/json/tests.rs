//! The scanner against a parser that builds values.

use super::*;
use proptest::prelude::*;
use serde_json::Value;

fn check(text: &[u8]) -> Result<(), JsonError> {
    let mut scanner = Scanner::new(text);
    scanner.skip_value()?;
    scanner.end()
}

/// Reads with the pull interface what serde_json reads, so that both can be compared.
fn build(scanner: &mut Scanner) -> Result<Value, JsonError> {
    let mut scratch = Vec::new();
    let mut text = |t: Text| t.decode(&mut scratch).map(|b| String::from_utf8(b.to_vec()).unwrap());
    Ok(match scanner.skip_whitespace() {
        b'{' => {
            let mut map = serde_json::Map::new();
            if scanner.open(b'{')? {
                loop {
                    let key = text(scanner.key()?)?;
                    map.insert(key, build(scanner)?);
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
                    list.push(build(scanner)?);
                    if !scanner.more(b']')? {
                        break;
                    }
                }
            }
            Value::Array(list)
        }
        b'"' => Value::String(text(scanner.string()?)?),
        b't' => scanner.word(b"true").map(|()| Value::Bool(true))?,
        b'f' => scanner.word(b"false").map(|()| Value::Bool(false))?,
        b'n' => scanner.word(b"null").map(|()| Value::Null)?,
        _ => serde_json::from_slice(scanner.number()?).unwrap(),
    })
}

#[test]
fn says_where_and_what() {
    for (text, expected) in [
        (&b"{\"a\":1 \"b\":2}"[..], "byte 7: expected ',' or '}'"),
        (b"[1 2]", "byte 3: expected ',' or ']'"),
        (b"{\"a\" 1}", "byte 5: expected ':'"),
        (b"{a:1}", "byte 1: expected a key"),
        (b"{\"a\":}", "byte 5: expected a value"),
        (b"[1,]", "byte 3: expected a value"),
        (b"{\"a\":1,}", "byte 7: expected a key"),
        (b"\"a\nb\"", "byte 2: a control character must be escaped"),
        (b"\"\\x\"", "byte 1: this escape does not exist"),
        (b"\"\\u12g4\"", "byte 1: this escape does not exist"),
        (b"1.", "byte 2: the text ends too early"),
        (b"1.x", "byte 2: expected a digit"),
        (b"01", "byte 1: expected the end"),
        (b"nul", "byte 0: expected a value"),
        (b"", "byte 0: the text ends too early"),
        (b"[", "byte 1: the text ends too early"),
        (b"\"abc", "byte 4: the text ends too early"),
        (b"1 1", "byte 2: expected the end"),
        (b"\0", "byte 0: expected a value"),
    ] {
        assert_eq!(check(text).unwrap_err().to_string(), expected, "{}", text.escape_ascii());
    }
}

#[test]
fn depth_is_bounded_however_a_value_is_read() {
    let nested = |n: usize| [vec![b'['; n], vec![b']'; n]].concat();
    assert_eq!(check(&nested(128)), Ok(()));
    assert_eq!(check(&nested(129)).unwrap_err().problem, Problem::Depth);
    let mixed = |n: usize| ["{\"a\":[".repeat(n / 2), "]}".repeat(n / 2)].concat();
    assert_eq!(check(mixed(128).as_bytes()), Ok(()));
    assert_eq!(check(mixed(130).as_bytes()).unwrap_err().problem, Problem::Depth);
    let text = nested(129);
    let mut scanner = Scanner::new(&text);
    assert!(scanner.open(b'[').unwrap());
    assert_eq!(scanner.skip_value().unwrap_err().problem, Problem::Depth);
    let siblings = format!("[{}[]]", "[[]],".repeat(1000));
    assert_eq!(check(siblings.as_bytes()), Ok(()));
}

#[test]
fn escapes() {
    let decode = |text: &str| {
        let token = Scanner::new(text.as_bytes()).string().unwrap();
        token.decode(&mut Vec::new()).map(|b| String::from_utf8(b.to_vec()).unwrap()).map_err(|e| (e.problem, e.offset))
    };
    assert_eq!(decode(r#""\"\\\/\b\f\n\r\t\u0041\u00e9\uD83D\uDE00é😀""#).unwrap(), "\"\\/\u{8}\u{c}\n\r\tAé😀é😀");
    for lone in [r#""ab\ud800""#, r#""ab\udc00\ud800""#, r#""ab\ud800\u0041""#, r#""ab\ud800x""#, r#""ab\ud800\n""#] {
        assert_eq!(decode(lone), Err((Problem::Surrogate, 2)), "{lone}");
    }
}

#[test]
fn special_bytes_are_found_at_every_position() {
    for special in [b'"', b'\\', 0, 0x1f] {
        for length in 0..40 {
            for at in 0..length {
                let mut bytes = vec![0xFF; length];
                bytes[at] = special;
                for after in &mut bytes[at + 1..] {
                    *after = 0x21;
                }
                assert_eq!(find_special(&bytes, 0), at);
                assert_eq!(find_special(&bytes, at), at);
            }
            assert_eq!(find_special(&vec![b'#'; length], 0), length);
        }
    }
}

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,20}".prop_map(Value::from),
        "\\PC{0,40}".prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 64, 8, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            proptest::collection::hash_map(".{0,5}", inner, 0..6).prop_map(|m| Value::Object(m.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn reads_what_serde_json_writes(value in json(), pretty: bool) {
        let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.unwrap();
        check(text.as_bytes()).unwrap();
        let mut scanner = Scanner::new(text.as_bytes());
        prop_assert_eq!(build(&mut scanner).unwrap(), serde_json::from_str::<Value>(&text).unwrap());
        scanner.end().unwrap();
    }

    #[test]
    fn accepts_what_serde_json_accepts(
        value in json(),
        edits in proptest::collection::vec((any::<proptest::sample::Index>(), "[\\[\\]{}:,\"\\\\ 0-9eE+.untrfalsé\\-\\x00-\\x20]"), 0..4),
    ) {
        let mut text: Vec<char> = serde_json::to_string(&value).unwrap().chars().collect();
        for (at, with) in edits {
            let at = at.index(text.len());
            text[at] = with.chars().next().unwrap();
        }
        let text: String = text.into_iter().collect();
        let theirs = serde_json::from_str::<serde::de::IgnoredAny>(&text);
        let ours = check(text.as_bytes());
        prop_assert_eq!(ours.is_ok(), theirs.is_ok(), "{:?}: {:?}, {:?}", text, ours, theirs);
        let mut scanner = Scanner::new(text.as_bytes());
        if let Ok(theirs) = serde_json::from_str::<Value>(&text) {
            prop_assert_eq!(build(&mut scanner).unwrap(), theirs);
        }
    }

    /// The two ways to read a string agree, and the second leaves no trace of a string that it cannot give.
    #[test]
    fn strings_are_read_in_one_go(inner in "([a-zé\"\n ]|\\\\[\"\\\\/bfnrtux]|\\\\u(00e9|d83d|de00|12)|\\\\ud83d\\\\ude00){0,12}") {
        let text = format!("\"{inner}\" ");
        let (mut one, mut other) = (Scanner::new(text.as_bytes()), Scanner::new(text.as_bytes()));
        let mut out = b"kept".to_vec();
        match (one.string(), other.string_onto(&mut out)) {
            (Ok(token), Ok(given)) => {
                let mut expected = b"kept".to_vec();
                let decoded = token.decode_onto(&mut expected);
                prop_assert_eq!(decoded.is_ok(), given);
                prop_assert_eq!(out, if given { expected } else { b"kept".to_vec() });
                prop_assert_eq!(one.pos(), other.pos());
            }
            (one, other) => {
                prop_assert_eq!(one.map(|_| true), other);
                prop_assert_eq!(out, b"kept");
            }
        }
    }

    #[test]
    fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = check(&bytes);
        let mut scanner = Scanner::new(&bytes);
        if let Ok(text) = scanner.string() {
            let _ = text.decode(&mut Vec::new());
        }
    }
}
