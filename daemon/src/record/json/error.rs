//! What can be wrong with a JSON text, and where.

/// What is wrong with a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    /// It ends too early.
    End,
    /// A value should be here.
    Value,
    /// A digit should be here.
    Digit,
    /// A string should be here.
    Quote,
    /// A key should be here.
    Key,
    /// A colon should be here.
    Colon,
    /// An object should start here.
    Object,
    /// An array should start here.
    Array,
    /// A comma or the end of the object should be here.
    CommaOrBrace,
    /// A comma or the end of the array should be here.
    CommaOrBracket,
    /// Nothing more should be here.
    Rest,
    /// A control character inside a string.
    Control,
    /// An escape that does not exist.
    Escape,
    /// It is nested deeper than [`MAX_DEPTH`](super::MAX_DEPTH).
    Depth,
    /// It is JSON, but no Unicode text stands for it.
    Surrogate,
}

impl Problem {
    /// What was expected, in words.
    pub fn message(self) -> &'static str {
        match self {
            Self::End => "the text ends too early",
            Self::Value => "expected a value",
            Self::Digit => "expected a digit",
            Self::Quote => "expected '\"'",
            Self::Key => "expected a key",
            Self::Colon => "expected ':'",
            Self::Object => "expected '{'",
            Self::Array => "expected '['",
            Self::CommaOrBrace => "expected ',' or '}'",
            Self::CommaOrBracket => "expected ',' or ']'",
            Self::Rest => "expected the end",
            Self::Control => "a control character must be escaped",
            Self::Escape => "this escape does not exist",
            Self::Depth => "more than 128 arrays and objects inside one another",
            Self::Surrogate => "a lone surrogate stands for no character",
        }
    }
}

/// Where and why a text was refused. Holds nothing of the text itself, and is small, because every step may return it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("byte {offset}: {}", problem.message())]
pub struct JsonError {
    /// Byte from the start of what was scanned, from 0.
    pub offset: usize,
    /// What is wrong there.
    pub problem: Problem,
}
