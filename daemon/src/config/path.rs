//! Key paths: where in the document something stands, e.g. `sources.shop.rest.streams.orders.paginate`.

use super::units::shown;
use std::fmt;

/// One step into a document.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// Into a map, by key.
    Key(String),
    /// Into a list, by position from 0.
    Item(usize),
}

/// The steps from the top of the document to a value.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyPath(Vec<Step>);

impl KeyPath {
    /// The top of the document.
    pub fn top() -> Self {
        Self::default()
    }

    /// A path of keys alone.
    pub fn of(keys: &[&str]) -> Self {
        Self(keys.iter().map(|key| Step::Key((*key).to_owned())).collect())
    }

    /// One step further, into a map.
    pub fn key(&self, key: impl Into<String>) -> Self {
        self.then(Step::Key(key.into()))
    }

    /// One step further, into a list.
    pub fn item(&self, index: usize) -> Self {
        self.then(Step::Item(index))
    }

    fn then(&self, step: Step) -> Self {
        let mut steps = self.0.clone();
        steps.push(step);
        Self(steps)
    }

    /// The steps, from the top.
    pub fn steps(&self) -> &[Step] {
        &self.0
    }

    /// Whether this is `other` or lies within it.
    pub fn within(&self, other: &Self) -> bool {
        self.0.starts_with(&other.0)
    }

    /// The key at a position, where there is one.
    pub fn key_at(&self, position: usize) -> Option<&str> {
        match self.0.get(position) {
            Some(Step::Key(key)) => Some(key),
            _ => None,
        }
    }
}

impl fmt::Display for KeyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, step) in self.0.iter().enumerate() {
            match step {
                Step::Item(index) => write!(f, "[{index}]")?,
                Step::Key(key) => {
                    if position > 0 {
                        f.write_str(".")?;
                    }
                    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
                    if !key.is_empty() && key.len() <= 64 && key.chars().all(plain) {
                        f.write_str(key)?;
                    } else {
                        f.write_str(&shown(key))?;
                    }
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_read_like_the_document() {
        let path = KeyPath::of(&["exports", "a.b", "to"]).item(1).key("x y");
        assert_eq!(path.to_string(), r#"exports."a.b".to[1]."x y""#);
        assert!(path.within(&KeyPath::of(&["exports", "a.b"])));
        assert!(!KeyPath::of(&["exports"]).within(&path));
    }
}
