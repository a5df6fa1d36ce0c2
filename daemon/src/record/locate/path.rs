//! Reads a JSONPath and splits off the part that a single pass can follow.

use super::PathError;
use serde_json::Value;
use serde_json_path::{JsonPath, PathElement};

/// One step down a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// To a member.
    Name(String),
    /// To an element, from 0.
    Index(usize),
}

/// A JSONPath (RFC 9535).
#[derive(Debug)]
pub struct Path {
    /// As it was written.
    pub text: String,
    /// Its leading names and indexes; all of it when it is direct.
    pub steps: Vec<Step>,
    /// Whether it ends in `[*]` or `.*`.
    pub every: bool,
    /// Whether names, indexes and a final `[*]` are all there is.
    pub direct: bool,
    /// The whole path.
    query: JsonPath,
}

impl Path {
    /// Reads a path.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        let query = JsonPath::parse(text).map_err(|error| PathError {
            path: text.to_owned(),
            position: error.position(),
            message: error.message().to_owned(),
        })?;
        let mut rest = text.strip_prefix('$').unwrap_or_default();
        let mut steps = Vec::new();
        while let Some((step, after)) = step(rest) {
            steps.push(step);
            rest = after;
        }
        let every = rest.ends_with("[*]") || rest.ends_with(".*");
        let direct = rest.is_empty() || rest == "[*]" || rest == ".*";
        Ok(Self { text: text.to_owned(), steps, every, direct, query })
    }

    /// Whether the steps lead to the one node that the path can select.
    pub fn is_one_place(&self) -> bool {
        self.direct && !self.every
    }

    /// The places of the nodes that the path selects in `tree`.
    pub fn query(&self, tree: &Value) -> Vec<Vec<Step>> {
        let nodes = self.query.query_located(tree);
        nodes.locations().map(|location| location.iter().map(element_step).collect()).collect()
    }
}

fn element_step(element: &PathElement) -> Step {
    match element {
        PathElement::Name(name) => Step::Name((*name).to_owned()),
        PathElement::Index(index) => Step::Index(*index),
    }
}

/// The plain step that `rest` starts with, and what follows it. White space and escapes are left to the full parser.
fn step(rest: &str) -> Option<(Step, &str)> {
    if let Some(rest) = rest.strip_prefix('.') {
        let end = rest.find(|c: char| c.is_ascii() && !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        return (!name.is_empty()).then(|| (Step::Name(name.to_owned()), after));
    }
    let rest = rest.strip_prefix('[')?;
    if let Some(quote @ ('\'' | '"')) = rest.chars().next() {
        let (name, after) = rest.get(1..)?.split_once(quote)?;
        return (!name.contains('\\')).then_some((Step::Name(name.to_owned()), after.strip_prefix(']')?));
    }
    let (index, after) = rest.split_once(']')?;
    let plain = index.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| Some((Step::Index(index.parse().ok()?), after)))?
}
