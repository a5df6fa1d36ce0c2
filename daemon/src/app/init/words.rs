//! Texts of a document as they may stand in a line of YAML.

/// Characters of a description that are repeated.
const MAX_COMMENT: usize = 120;

/// A scalar: plain where YAML cannot misread it, else as a JSON string, which YAML reads as well.
pub fn scalar(text: &str) -> String {
    let first = text.starts_with(|c: char| c.is_ascii_alphabetic() || matches!(c, '_' | '/' | '$'));
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/' | '$');
    let word =
        matches!(text.to_lowercase().as_str(), "true" | "false" | "null" | "yes" | "no" | "on" | "off" | "y" | "n");
    if first && !word && text.chars().all(good) {
        return text.to_owned();
    }
    quoted(text)
}

/// A text in double quotes, on one line.
pub fn quoted(text: &str) -> String {
    let json = serde_json::Value::from(text).to_string();
    json.chars().fold(String::new(), |mut quoted, c| {
        match disturbs(c) {
            // All of them lie below U+10000.
            true => quoted.push_str(&format!("\\u{:04x}", u32::from(c))),
            false => quoted.push(c),
        }
        quoted
    })
}

/// Whether YAML takes a character for the end of a line, or for none that can be written.
fn disturbs(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
}

/// A text of the document's, where `${` must not be read as a secret.
pub fn value(text: &str) -> String {
    scalar(&text.replace("${", "$${"))
}

/// One line of a text, short enough for a comment.
pub fn line(text: &str) -> String {
    let line: String = text.lines().next().unwrap_or_default().chars().filter(|c| !disturbs(*c)).collect();
    match line.char_indices().nth(MAX_COMMENT) {
        Some((end, _)) => format!("{}…", line.get(..end).unwrap_or_default()),
        None => line,
    }
}

/// A name without what tells spellings apart: `pageToken`, `page_token` and `page[token]` are one word.
pub fn folded(name: &str) -> String {
    name.chars().filter(|c| c.is_ascii_alphanumeric()).map(|c| c.to_ascii_lowercase()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_yaml_would_misread_is_quoted() {
        for (text, written) in [
            ("orders", "orders"),
            ("/v1/orders", "/v1/orders"),
            ("$.data[*]", "\"$.data[*]\""),
            ("no", "\"no\""),
            ("1.5", "\"1.5\""),
            ("a: b # c", "\"a: b # c\""),
            ("", "\"\""),
            ("a\u{2028}b", "\"a\\u2028b\""),
            ("a\u{feff}\u{85}b", "\"a\\ufeff\\u0085b\""),
        ] {
            assert_eq!(scalar(text), written);
        }
        assert_eq!(line("first\nsecond"), "first");
        assert_eq!(line(&"x".repeat(500)).chars().count(), MAX_COMMENT + 1);
        assert_eq!(folded("page[startAfter]"), "pagestartafter");
    }

    proptest! {
        #[test]
        fn every_text_reads_back(text in "\\PC{0,40}") {
            let read = crate::config::load::foreign(&format!("key: {}\n", scalar(&text))).unwrap();
            prop_assert_eq!(read["key"].as_str(), Some(text.as_str()));
        }

        #[test]
        fn comments_stay_on_their_line(text in any::<String>()) {
            let broken = line(&text).contains(['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}']);
            prop_assert!(!broken);
        }
    }
}
