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
    serde_json::Value::from(text).to_string()
}

/// A text of the document's, where `${` must not be read as a secret.
pub fn value(text: &str) -> String {
    scalar(&text.replace("${", "$${"))
}

/// One line of a text, short enough for a comment.
pub fn line(text: &str) -> String {
    let line: String = text.lines().next().unwrap_or_default().chars().filter(|c| !c.is_control()).collect();
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
            prop_assert!(!line(&text).contains(['\n', '\r']));
        }
    }
}
