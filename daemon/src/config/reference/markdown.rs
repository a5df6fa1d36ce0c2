//! The reference as Markdown.

use super::{Default, Rows, Section, Type, sections};
use std::fmt::Write as _;

const HEAD: &str = "\
# Configuration

This is the reference of `/etc/export/config.yaml`. It is generated from the types of the daemon
(`UPDATE_DOCS=1 cargo test -p saas-export-daemon --lib config`); do not edit it.

* An unknown key is an error, and so is a repeated one. All mistakes are told at once:
  `saas-export-daemon --check-config`.
* A thing that comes in kinds is a map with one key, the kind: `format: { parquet: {} }`.
* Sizes and durations carry a unit: `50MB`, `30s`.
* `${NAME}` is filled from `/etc/export/auth.env`, in fields of the type *secret text* alone; `$${` stands for a plain
  `${`. `{{ param.NAME }}`, `{{ partition.NAME }}` and `{{ parent.NAME }}` are filled in path, headers, query and body of a
  stream.
* Editors complete the file with the JSON Schema: `# yaml-language-server: $schema=config.schema.json`.

";

/// The whole document.
pub fn markdown() -> String {
    let mut text = HEAD.to_owned();
    for section in sections() {
        write(&mut text, &section);
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

fn write(text: &mut String, section: &Section) {
    let _ = writeln!(text, "## {}\n\n{}\n", section.name, section.about);
    match &section.rows {
        Rows::None => return,
        Rows::Words(words) => {
            text.push_str("| word | meaning |\n|---|---|\n");
            for (word, meaning) in words {
                let _ = writeln!(text, "| `{word}` | {} |", cell(meaning));
            }
        }
        Rows::Kinds(kinds) => {
            text.push_str("| kind | type | meaning |\n|---|---|---|\n");
            for (kind, inner, meaning) in kinds {
                let _ = writeln!(text, "| `{kind}` | {} | {} |", type_of(inner), cell(meaning));
            }
        }
        Rows::Keys(keys) => {
            text.push_str("| key | type | default | meaning |\n|---|---|---|---|\n");
            for key in keys {
                let default = match &key.default {
                    Default::Required => "**required**".to_owned(),
                    Default::Nothing => String::new(),
                    Default::Value(value) => format!("`{}`", cell(value)),
                    Default::SeeThere => "see there".into(),
                };
                let kind = type_of(&key.kind);
                let _ = writeln!(text, "| `{}` | {kind} | {default} | {} |", key.name, cell(&key.meaning));
            }
        }
    }
    text.push('\n');
}

/// A type, with a link where it has a section.
fn type_of(kind: &Type) -> String {
    match kind {
        Type::Section(name) => format!("[{name}](#{})", name.to_ascii_lowercase()),
        Type::Plain(word) => (*word).into(),
        Type::Flag => "`true` or `false`".into(),
        Type::MapByName(inner) => format!("map from name to {}", type_of(inner)),
        Type::MapTo(inner) => format!("map to {}", type_of(inner)),
        Type::ListOf(inner) => format!("list of {}", type_of(inner)),
    }
}

/// Text that may stand in a cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}
