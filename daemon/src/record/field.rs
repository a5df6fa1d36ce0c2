//! One field of a raw record, found without building a tree of it.

use super::json::Scanner;

/// The JSON text of a field; the first one where a key comes twice.
pub fn field<'a>(raw: &'a [u8], path: &[String]) -> Option<&'a [u8]> {
    let (name, rest) = path.split_first()?;
    let mut scanner = Scanner::new(raw);
    if !scanner.open(b'{').ok()? {
        return None;
    }
    let mut scratch = Vec::new();
    loop {
        let key = scanner.key().ok()?;
        let found = key.decode(&mut scratch).is_ok_and(|key| key == name.as_bytes());
        scanner.skip_whitespace();
        let value = scanner.skip_value().ok()?;
        if found {
            let value = scanner.slice(value);
            return if rest.is_empty() { Some(value) } else { field(value, rest) };
        }
        if !scanner.more(b'}').ok()? {
            return None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_field_is_what_a_tree_says(value in prop::collection::btree_map("[a-c\"\\\\é]{0,2}", "[a-z\"\\\\\n]{0,3}", 0..4)) {
            let text = serde_json::to_string(&value).unwrap();
            for name in ["a", "b", "\"", "é", ""] {
                let found = field(text.as_bytes(), &[name.to_owned()]).map(|raw| serde_json::from_slice::<String>(raw).unwrap());
                prop_assert_eq!(found.as_ref(), value.get(name));
            }
        }
    }
}
