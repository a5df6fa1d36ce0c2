//! A string that does not show itself.

use std::fmt;

/// A secret value: never serialised, never printed. `expose` is the one way in, and easy to search for.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a value that must not be shown.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value itself, for the request that needs it and for nothing else.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// Fills `${NAME}` in texts of the configuration with what `auth.env` says.
pub trait Resolve {
    /// The text with every placeholder replaced. The error names the unknown placeholder, never a value.
    fn resolve(&self, text: &str) -> Result<Secret, String>;
}

#[cfg(test)]
mod tests {
    #[test]
    fn debug_shows_nothing() {
        assert_eq!(format!("{:?}", super::Secret::new("hunter2")), "[secret]");
    }
}
