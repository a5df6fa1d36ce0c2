//! Names for what is found: of the source, of streams by their paths, of secrets and parameters.

use crate::base::ids::MAX_NAME;
use std::collections::BTreeSet;

/// The name of a source from a title: `GitHub v3 REST API` is `github`.
pub fn source(title: &str) -> String {
    let noise = ["api", "rest", "openapi", "http", "public", "the", "v1", "v2", "v3", "v4", "specification", "service"];
    let lower = title.to_lowercase();
    let words: Vec<&str> =
        lower.split(|c: char| !c.is_ascii_alphanumeric()).filter(|w| !w.is_empty() && !noise.contains(w)).collect();
    let name = words.iter().take(3).copied().collect::<Vec<_>>().join("-");
    if name.is_empty() { "api".into() } else { cut(&name) }
}

/// The name of a stream from its path: `/v1/orgs/{org}/repos` is `orgs_repos`. It is none of `taken`.
pub fn stream(path: &str, taken: &mut BTreeSet<String>) -> String {
    let version = |part: &str| {
        let number = part.strip_prefix('v').filter(|number| !number.is_empty());
        number.is_some_and(|number| number.chars().all(|c| c.is_ascii_digit() || c == '.'))
    };
    let parts: Vec<String> = path
        .split('/')
        .filter(|part| !part.is_empty() && !part.starts_with('{') && !version(part) && !matches!(*part, "api" | "rest"))
        .map(clean)
        .filter(|part| !part.is_empty())
        .collect();
    let base = if parts.is_empty() { "all".to_owned() } else { parts.join("_") };
    // The end says more than the beginning.
    let start = base.len().saturating_sub(MAX_NAME - 4);
    let base = base.get(start..).unwrap_or_default().trim_matches(['_', '-']).to_owned();
    let mut name = base.clone();
    let mut n = 1;
    while !taken.insert(name.clone()) {
        n += 1;
        name = format!("{base}_{n}");
    }
    name
}

/// The name of a secret: `github` and `token` are `GITHUB_TOKEN`.
pub fn secret(source: &str, what: &str) -> String {
    let text = format!("{source}_{what}").to_uppercase();
    let text: String = text.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    if text.starts_with(|c: char| c.is_ascii_digit()) { format!("S_{text}") } else { text }
}

/// A word that a template can name: `user-id` is `user_id`.
pub fn word(text: &str) -> String {
    let word = clean(text).replace(['-', '.'], "_");
    if word.starts_with(|c: char| c.is_ascii_alphabetic()) { cut(&word) } else { cut(&format!("p_{word}")) }
}

fn clean(text: &str) -> String {
    let kept: String = text.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).collect();
    kept.trim_matches(['_', '-']).to_owned()
}

fn cut(text: &str) -> String {
    text.chars().take(MAX_NAME).collect::<String>().trim_matches(['_', '-']).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ids::Name;
    use crate::config::template::is_word;
    use proptest::prelude::*;

    #[test]
    fn names_say_what_they_are_of() {
        assert_eq!(source("GitHub v3 REST API"), "github");
        assert_eq!(source("!!"), "api");
        let mut taken = BTreeSet::new();
        assert_eq!(stream("/v1/orgs/{org}/repos", &mut taken), "orgs_repos");
        assert_eq!(stream("/v1/orgs/{org}/repos/", &mut taken), "orgs_repos_2");
        assert_eq!(stream("/{id}", &mut taken), "all");
        assert_eq!(secret("git-hub", "token"), "GIT_HUB_TOKEN");
        assert_eq!(word("user-id"), "user_id");
        assert_eq!(word("$top"), "top");
    }

    proptest! {
        #[test]
        fn every_name_is_one(text in "\\PC{0,120}") {
            let mut taken = BTreeSet::new();
            prop_assert!(Name::new(&source(&text)).is_ok());
            prop_assert!(Name::new(&stream(&text, &mut taken)).is_ok());
            prop_assert!(Name::new(&stream(&text, &mut taken)).is_ok());
            prop_assert!(is_word(&word(&text)), "{}", word(&text));
        }
    }
}
