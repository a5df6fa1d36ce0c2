//! Path parameters: filled by the records of the collection above, or by parameters of a run.

use super::collect::Operation;
use super::document::{Document, member};
use super::names;
use super::words::{folded, quoted};
use std::collections::BTreeMap;

/// How the parameters of a path are filled.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Filled {
    /// The path as a template.
    pub path: String,
    /// The line `partition: …`.
    pub partition: Option<String>,
    /// Parameters that a run must give.
    pub params: Vec<String>,
}

/// Fills the parameters of an operation's path; `named` are the names of all collections by their paths.
pub fn fill(document: &Document<'_>, all: &[Operation<'_>], index: usize, named: &BTreeMap<&str, String>) -> Filled {
    let Some(operation) = all.get(index) else { return Filled::default() };
    if let [place] = operation.places.as_slice()
        && let Some(filled) = from_parent(document, (all, operation), place, named)
    {
        return filled;
    }
    let mut filled = Filled { path: operation.path.to_owned(), ..Filled::default() };
    for place in &operation.places {
        let word = names::word(place);
        filled.path = filled.path.replace(&format!("{{{place}}}"), &format!("\u{0}{word}\u{1}"));
        if !filled.params.contains(&word) {
            filled.params.push(word);
        }
    }
    // Only now, so that no brace of ours is taken for one of the path's.
    filled.path = filled.path.replace('\u{0}', "{{ param.").replace('\u{1}', " }}");
    filled
}

/// The one parameter of a path, from the records of the collection in front of it.
fn from_parent(
    document: &Document<'_>,
    (all, operation): (&[Operation<'_>], &Operation<'_>),
    place: &str,
    named: &BTreeMap<&str, String>,
) -> Option<Filled> {
    let mark = format!("{{{place}}}");
    let above = operation.path.split(&mark).next()?.trim_end_matches('/');
    let parent = all.iter().find(|parent| parent.places.is_empty() && parent.path.trim_end_matches('/') == above)?;
    let fields = document.fields(parent.records.item);
    let own = fields.iter().find(|field| folded(field) == folded(place));
    let id = fields.iter().find(|field| **field == "id").filter(|_| folded(place).ends_with("id"));
    let field = own.or(id)?;
    let (word, name) = (names::word(place), named.get(parent.path)?);
    let from = quoted(&member("$", field));
    Some(Filled {
        path: operation.path.replace(&mark, &format!("{{{{ parent.{word} }}}}")),
        partition: Some(format!("partition: {{ parent: {{ stream: {name}, values: {{ {word}: {from} }} }} }}")),
        params: Vec::new(),
    })
}
