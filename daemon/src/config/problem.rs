//! Mistakes in the configuration, and the way they are told: all at once, each with its place and a hint.

use super::path::KeyPath;
use crate::base::error::{Classify, ErrorClass};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The most problems that are told at once; more of them mean that the file is of another kind.
pub const MAX_PROBLEMS: usize = 200;

/// What of a key and its value a mistake points at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    /// The key: it should not be there, or something is missing below it.
    Key,
    /// The value.
    Value,
}

/// A mistake, as the checks find it: by key path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Where.
    pub path: KeyPath,
    /// Which part of it.
    pub on: On,
    /// What is wrong; never with the value of a secret field.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// The other place that it was compared with, if there is one.
    pub about: Option<KeyPath>,
}

impl Mistake {
    /// A mistake in a value.
    pub fn value(path: &KeyPath, message: impl Into<String>) -> Self {
        Self { path: path.clone(), on: On::Value, message: message.into(), hint: None, about: None }
    }

    /// A mistake in a key, or in what it lacks.
    pub fn key(path: &KeyPath, message: impl Into<String>) -> Self {
        Self { path: path.clone(), on: On::Key, message: message.into(), hint: None, about: None }
    }

    /// The same with a hint.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same, found by a comparison with what is at `path`.
    pub fn about(mut self, path: KeyPath) -> Self {
        self.about = Some(path);
        self
    }

    /// Whether it only follows from what is wrong at one of these places.
    pub fn follows(&self, wrong: &[KeyPath]) -> bool {
        let places = std::iter::once(&self.path).chain(&self.about);
        places.into_iter().any(|place| wrong.iter().any(|wrong| place.within(wrong)))
    }
}

/// A mistake with its place in a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// The file, as it was named by the caller.
    pub file: String,
    /// Line from 1; 0 where the problem is the file itself.
    pub line: usize,
    /// Column in characters from 1; 0 where only the line is known.
    pub column: usize,
    /// Key path; empty outside a document.
    pub path: String,
    /// What is wrong, as a fragment in lower case.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Problem {
    /// A problem of a file as a whole.
    pub fn of_file(file: &str, message: impl Into<String>) -> Self {
        let (path, message) = (String::new(), message.into());
        Self { file: file.to_owned(), line: 0, column: 0, path, message, hint: None }
    }

    /// A problem in a line.
    pub fn of_line(file: &str, line: usize, message: impl Into<String>) -> Self {
        Self { line, ..Self::of_file(file, message) }
    }

    /// The same with a hint.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Problem {
    /// `config.yaml:12:7: sources.shop.rest.base_url: message (hint)`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        for number in [self.line, self.column].into_iter().take_while(|number| *number > 0) {
            write!(f, ":{number}")?;
        }
        f.write_str(": ")?;
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)?;
        match &self.hint {
            Some(hint) => write!(f, " ({hint})"),
            None => Ok(()),
        }
    }
}

/// Every problem that was found, in the order of the file; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// Sorts the problems by place and cuts them to [`MAX_PROBLEMS`]. `None` if there are none.
    pub fn collect(mut problems: Vec<Problem>) -> Option<Self> {
        if problems.is_empty() {
            return None;
        }
        problems.sort_by_key(|problem| (problem.line, problem.column));
        problems.dedup();
        if let Some(first) = problems.get(MAX_PROBLEMS).cloned() {
            let more = problems.len() - MAX_PROBLEMS;
            problems.truncate(MAX_PROBLEMS);
            problems.push(Problem::of_line(&first.file, first.line, format!("and {more} more problems from here on")));
        }
        Some(Self(problems))
    }

    /// The problems, in the order of the file.
    pub fn list(&self) -> &[Problem] {
        &self.0
    }
}

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Self {
        Self(vec![problem])
    }
}

impl fmt::Display for Problems {
    /// One line each, without a line end after the last.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, problem) in self.0.iter().enumerate() {
            let end = if position > 0 { "\n" } else { "" };
            write!(f, "{end}{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

impl Classify for Problems {
    fn class(&self) -> ErrorClass {
        ErrorClass::Config
    }
}

/// `did you mean "…"?` for the candidate that is close enough to `word`.
pub fn did_you_mean<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = word.to_ascii_lowercase();
    let limit = (word.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .filter(|candidate| word.len() <= 64 && candidate.len() <= 64)
        .map(|candidate| (strsim::damerau_levenshtein(&lower, &candidate.to_ascii_lowercase()), candidate))
        .filter(|(distance, candidate)| *distance <= limit && *distance < candidate.chars().count())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_close_words_are_suggested() {
        let words = ["base_url", "auth", "rate", "retry", "streams"];
        assert_eq!(did_you_mean("base_ulr", words), Some("base_url"));
        assert_eq!(did_you_mean("Stream", words), Some("streams"));
        assert_eq!(did_you_mean("baseurl", words), Some("base_url"));
        assert_eq!(did_you_mean("timeout", words), None);
        assert_eq!(did_you_mean("x", ["y"]), None);
    }

    #[test]
    fn too_many_problems_are_counted() {
        let many = (0..500).map(|n| Problem::of_line("f", n + 1, "wrong")).collect();
        let all = Problems::collect(many).unwrap();
        assert_eq!(all.list().len(), MAX_PROBLEMS + 1);
        assert!(all.to_string().ends_with("f:201: and 300 more problems from here on"), "{all}");
    }
}
