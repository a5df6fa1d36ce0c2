//! Templates of requests: what stands between `{{` and `}}`, and what may.
//!
//! A template is text with `{{ param.NAME }}`, `{{ partition.NAME }}`, `{{ parent.NAME }}` and `{{ incremental.start }}` in
//! it and nothing else: no filters, no statements. So it is known before the first request what it will ask for.

/// A value that a template asks for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reference {
    /// The word before the dot: `param`, `partition`, `parent` or `incremental`.
    pub root: String,
    /// The word after it.
    pub name: String,
}

/// The values that a text asks for, in order; an error where it is no template.
pub fn references(text: &str) -> Result<Vec<Reference>, String> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find('{') {
        let (_, tail) = rest.split_at(start);
        let Some(inside) = tail.strip_prefix("{{") else {
            if tail.starts_with("{%") || tail.starts_with("{#") {
                return Err("only {{ … }} is supported in a template, no {% … %} and no {# … #}".into());
            }
            rest = tail.get(1..).unwrap_or_default();
            continue;
        };
        let Some((expression, after)) = inside.split_once("}}") else {
            return Err("\"{{\" without \"}}\"".into());
        };
        found.push(reference(expression)?);
        rest = after;
    }
    Ok(found)
}

/// Whether a text holds the beginning of a template's expression or statement.
pub fn looks_like_one(text: &str) -> bool {
    ["{{", "{%", "{#"].iter().any(|mark| text.contains(mark))
}

/// Whether a parameter can be named in a template: letters, digits and `_`, starting with a letter.
pub fn is_word(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic()) && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn reference(expression: &str) -> Result<Reference, String> {
    match expression.trim_matches([' ', '\t']).split_once('.') {
        Some((root, name)) if is_word(root) && is_word(name) => {
            Ok(Reference { root: root.to_owned(), name: name.to_owned() })
        }
        _ => Err("between {{ and }} stands e.g. param.NAME, partition.value or parent.NAME, nothing else".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn references_are_found() {
        let found = references("/{{ param.region }}/x{{partition.value}}?{a}").unwrap();
        let names: Vec<_> = found.iter().map(|r| format!("{}.{}", r.root, r.name)).collect();
        assert_eq!(names, ["param.region", "partition.value"]);
        assert_eq!(references("no { template } here").unwrap(), []);
        for bad in [
            "{{",
            "{{ }}",
            "{{ param }}",
            "{{ param.x | upper }}",
            "{{ 1 + 1 }}",
            "{% if x %}",
            "{# c #}",
            "{{ a.b.c }}",
        ] {
            assert!(references(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        /// What passes here is what the template engine understands, with the same variables.
        #[test]
        fn the_engine_agrees(text in r"([a-z/{}.%# ]|\{\{|\}\}|param\.|\{\{ ?param\.[a-z_]{1,3} ?\}\}){0,12}") {
            if let Ok(found) = references(&text) {
                let engine = minijinja::Environment::empty();
                let template = engine.template_from_str(&text);
                let known: std::collections::HashSet<String> =
                    found.iter().map(|r| format!("{}.{}", r.root, r.name)).collect();
                prop_assert_eq!(template.unwrap().undeclared_variables(true), known);
            }
        }
    }
}
