//! The reference as the main part of saas-export-config(5).

use super::{Default, Rows, Section, Type, sections};
use saas_export_manual::{entry, paragraphs};

/// A part of the page for each section.
pub fn roff() -> String {
    sections().iter().map(part).collect()
}

fn part(section: &Section) -> String {
    let rows: String = match &section.rows {
        Rows::None => String::new(),
        Rows::Words(words) => words.iter().map(|(word, meaning)| entry(&format!("`{word}`"), meaning)).collect(),
        Rows::Kinds(kinds) => {
            let row = |(kind, inner, meaning): &(&str, Type, String)| {
                entry(&format!("`{kind}:`"), &format!("{meaning} ({})", type_of(inner)))
            };
            kinds.iter().map(row).collect()
        }
        Rows::Keys(keys) => {
            let row = |key: &super::Key| {
                let default = match &key.default {
                    Default::Required => "; required".to_owned(),
                    Default::Nothing | Default::SeeThere => String::new(),
                    Default::Value(value) => format!("; default `{value}`"),
                };
                entry(&format!("`{}:` {}{default}", key.name, type_of(&key.kind)), &key.meaning)
            };
            keys.iter().map(row).collect()
        }
    };
    format!(".SS {}\n{}{rows}", section.name, paragraphs(&section.about))
}

/// A type; one that has a part of its own is told by its name.
fn type_of(kind: &Type) -> String {
    match kind {
        Type::Section(name) => (*name).into(),
        Type::Plain(word) => (*word).into(),
        Type::Flag => "true or false".into(),
        Type::MapByName(inner) => format!("map from name to {}", type_of(inner)),
        Type::MapTo(inner) => format!("map to {}", type_of(inner)),
        Type::ListOf(inner) => format!("list of {}", type_of(inner)),
    }
}
