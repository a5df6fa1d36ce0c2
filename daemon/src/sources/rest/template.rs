//! Texts with `{{ param.x }}` and `{{ partition.value }}`, compiled once, and `${NAME}` filled in beside them.
//!
//! A secret is never part of a template's source, and a parameter is never searched for `${…}`: neither can reach the other.

use crate::auth::fixed::named;
use crate::base::secret::{Resolve, Secret};
use crate::config::secrets::{Part, parts};
use crate::net::mask::Mask;
use minijinja::{Environment, UndefinedBehavior, Value};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Names of path templates start with this; their values are percent-encoded.
const PATH: &str = "path";

/// The compiled templates of one stream.
#[derive(Debug)]
pub struct Templates {
    environment: Environment<'static>,
    count: usize,
}

/// A text that may have templates and secrets in it.
#[derive(Clone, Debug)]
pub struct Text {
    pieces: Vec<Piece>,
}

#[derive(Clone, Debug)]
enum Piece {
    Plain(String),
    Template(String),
    Secret(Secret),
}

/// The values that templates may use.
#[derive(Clone, Debug)]
pub struct Values(Value);

impl Values {
    /// `param`, and what the partition's values say: `partition.KEY`, or the whole reference where the key has a dot.
    pub fn new<'a>(params: &BTreeMap<String, String>, partition: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut roots: BTreeMap<&str, BTreeMap<&str, &str>> = BTreeMap::new();
        roots.insert("param", params.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect());
        for (key, value) in partition {
            let (root, name) = key.split_once('.').unwrap_or(("partition", key));
            roots.entry(root).or_default().insert(name, value);
        }
        Self(Value::from_serialize(&roots))
    }
}

impl Default for Templates {
    fn default() -> Self {
        let mut environment = Environment::empty();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_keep_trailing_newline(true);
        environment.set_formatter(|out, state, value| {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let text = if state.name().starts_with(PATH) { percent_encoded(&text) } else { text };
            out.write_str(&text).map_err(minijinja::Error::from)
        });
        Self { environment, count: 0 }
    }
}

impl Templates {
    /// Compiles a path: the values in it become parts of one path segment, whatever they hold.
    pub fn path(&mut self, source: &str) -> Result<Text, String> {
        Ok(Text { pieces: self.piece(PATH, source)?.into_iter().collect() })
    }

    /// Compiles a text with secrets; each secret is added to `mask`.
    pub fn secret_text(&mut self, source: &str, secrets: &dyn Resolve, mask: &mut Mask) -> Result<Text, String> {
        let mut pieces = Vec::new();
        for part in parts(source)? {
            match part {
                Part::Text(text) => pieces.extend(self.piece("text", text)?),
                Part::Name(name) => {
                    let secret = named(name, secrets)?;
                    mask.add(secret.expose());
                    pieces.push(Piece::Secret(secret));
                }
            }
        }
        Ok(Text { pieces })
    }

    fn piece(&mut self, kind: &str, source: &str) -> Result<Option<Piece>, String> {
        if source.is_empty() {
            return Ok(None);
        }
        if !["{{", "{%", "{#"].iter().any(|mark| source.contains(mark)) {
            return Ok(Some(Piece::Plain(source.to_owned())));
        }
        let name = format!("{kind}:{}", self.count);
        self.count += 1;
        let told = |error: minijinja::Error| format!("the template cannot be read: {}", error.kind());
        self.environment.add_template_owned(name.clone(), source.to_owned()).map_err(told)?;
        Ok(Some(Piece::Template(name)))
    }

    /// The text for these values. The error never holds a value.
    pub fn render(&self, text: &Text, values: &Values) -> Result<String, String> {
        let mut rendered = String::new();
        for piece in &text.pieces {
            match piece {
                Piece::Plain(text) => rendered.push_str(text),
                Piece::Secret(secret) => rendered.push_str(secret.expose()),
                Piece::Template(name) => {
                    let template = self.environment.get_template(name).map_err(|error| error.kind().to_string())?;
                    let part = template.render(&values.0).map_err(|error| {
                        format!("the template has no value: {} (is the parameter declared and given?)", error.kind())
                    })?;
                    rendered.push_str(&part);
                }
            }
        }
        Ok(rendered)
    }
}

impl Text {
    /// Whether a secret is in it.
    pub fn is_secret(&self) -> bool {
        self.pieces.iter().any(|piece| matches!(piece, Piece::Secret(_)))
    }
}

/// Everything but the unreserved characters of RFC 3986 as `%XX`.
fn percent_encoded(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
        encoded
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    struct Upper;
    impl Resolve for Upper {
        fn resolve(&self, text: &str) -> Result<Secret, String> {
            match text {
                "${TOKEN}" => Ok(Secret::new("s3cret {{ param.a }}")),
                _ => Err("auth.env has no such name".to_owned()),
            }
        }
    }

    fn values() -> Values {
        let map = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Values::new(&map(&[("a", "x/../ü ?#&"), ("evil", "${TOKEN}")]), [("value", "eu"), ("parent.id", "7")])
    }

    #[test]
    fn values_stay_in_their_segment() {
        let mut templates = Templates::default();
        let path = templates.path("/r/{{ partition.value }}/{{ param.a }}").unwrap();
        assert_eq!(templates.render(&path, &values()).unwrap(), "/r/eu/x%2F..%2F%C3%BC%20%3F%23%26");
        let text = templates.secret_text("{{ param.a }}!\n", &Upper, &mut Mask::default()).unwrap();
        assert_eq!(templates.render(&text, &values()).unwrap(), "x/../ü ?#&!\n");
        let text = templates.secret_text("{{ parent.id }}", &Upper, &mut Mask::default()).unwrap();
        assert_eq!(templates.render(&text, &values()).unwrap(), "7");
    }

    #[test]
    fn secrets_and_parameters_do_not_reach_each_other() {
        let (mut templates, mut mask) = (Templates::default(), Mask::default());
        let text = templates.secret_text("a {{ param.evil }} ${TOKEN} b", &Upper, &mut mask).unwrap();
        assert!(text.is_secret());
        assert_eq!(templates.render(&text, &values()).unwrap(), "a ${TOKEN} s3cret {{ param.a }} b");
        assert!(mask.finds("… s3cret {{ param.a }} …"));
        assert!(templates.secret_text("${OTHER}", &Upper, &mut mask).is_err());
    }

    #[test]
    fn undefined_values_are_errors() {
        let mut templates = Templates::default();
        for source in ["{{ param.none }}", "{{ nothing }}", "{{ partition.none }}", "{% if param.none %}{% endif %}"] {
            let text = templates.secret_text(source, &Upper, &mut Mask::default()).unwrap();
            assert!(templates.render(&text, &values()).is_err(), "{source}");
        }
        for source in ["{{ param.", "{% if %}", "{{ }}"] {
            assert!(templates.secret_text(source, &Upper, &mut Mask::default()).is_err(), "{source}");
        }
    }

    proptest! {
        #[test]
        fn a_path_value_is_one_segment(value in "\\PC{0,30}") {
            let encoded = percent_encoded(&value);
            prop_assert!(!encoded.contains(['/', '?', '#', '\\', '&']));
        }
    }
}
