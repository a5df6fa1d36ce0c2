//! What is known of a transformation before any record: the paths of its fields, and where a field goes from step to step.

use super::settings::TransformStep;
use super::units::shown;
use crate::model::schema::Type;
use std::collections::BTreeMap;

/// Names in one path; deeper records are rare, and each name is a step of recursion.
pub const MAX_DEPTH: usize = 16;

/// A path of names: dots lead into objects, `\.` and `\\` stand for a dot and a backslash of a name itself.
pub fn path(text: &str) -> Result<Vec<String>, &'static str> {
    let mut names = vec![String::new()];
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        let last = names.last_mut().ok_or("is no path of a field")?;
        match c {
            '.' => names.push(String::new()),
            '\\' => match chars.next() {
                Some(c @ ('.' | '\\')) => last.push(c),
                _ => return Err("has a backslash before something else than a dot or a backslash"),
            },
            c => last.push(c),
        }
    }
    if names.iter().any(String::is_empty) {
        return Err("is no path of a field: a name in it is empty");
    }
    if names.len() > MAX_DEPTH {
        return Err("has more than 16 names");
    }
    Ok(names)
}

/// The type that a word of `cast` gives, if it is one: `timestamp_ms` counts as timestamp.
pub fn castable(word: &str) -> Result<Type, String> {
    match Type::parse(if word == "timestamp_ms" { "timestamp" } else { word }) {
        Ok(Type::Date | Type::Time | Type::Binary | Type::Json | Type::List(_)) | Err(_) => Err(format!(
            "{} is nothing to cast to: use string, integer, float, boolean, decimal(12,2), timestamp or timestamp_ms",
            shown(word)
        )),
        Ok(kind) => Ok(kind),
    }
}

/// The text of a path.
fn text(path: &[String]) -> String {
    let name = |name: &String| name.replace('\\', r"\\").replace('.', r"\.");
    path.iter().map(name).collect::<Vec<_>>().join(".")
}

/// Why a field of the transformed record cannot be what somebody takes it for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fate {
    /// Index of the step.
    pub step: usize,
    /// What that step does to it.
    pub does: String,
}

/// What happened to a field on the way.
enum Before {
    /// It was this path before the step.
    Path(Vec<String>),
    /// It begins in the step.
    Begins,
    /// It does not come out of the step.
    Gone(String),
}

/// Whether a field of this path can be in a transformed record, and whether its value still says which record it is. With
/// `whole` a masked value is refused, too.
///
/// # Errors
/// The last step that makes it impossible, and what it does.
pub fn trace(steps: &[TransformStep], field: &str, whole: bool) -> Result<(), Fate> {
    // Names of fields elsewhere (`primary_key`, `types`) know no backslash.
    let mut path: Vec<String> = field.split('.').map(str::to_owned).collect();
    for (step, kind) in steps.iter().enumerate().rev() {
        if whole
            && let TransformStep::Mask(mask) = kind
            && covers(&mask.fields, &path)
        {
            return Err(Fate { step, does: "masks it, so that records can no longer be told apart".into() });
        }
        match before(kind, &path) {
            Before::Path(before) => path = before,
            Before::Begins => return Ok(()),
            Before::Gone(does) => return Err(Fate { step, does }),
        }
    }
    Ok(())
}

/// Where a path was before a step.
fn before(step: &TransformStep, path: &[String]) -> Before {
    match step {
        TransformStep::Drop(fields) if covers(fields, path) => Before::Gone("drops it".into()),
        TransformStep::Select(fields) => {
            let kept = parsed(fields).any(|kept| path.starts_with(&kept) || kept.starts_with(path));
            if kept { Before::Path(path.to_vec()) } else { Before::Gone("does not select it".into()) }
        }
        TransformStep::Rename(names) => renamed(names, path),
        TransformStep::Add(constants) if parsed(constants.keys()).any(|added| path.starts_with(&added)) => {
            Before::Begins
        }
        TransformStep::Flatten(flat) => match self::path(&flat.field) {
            Ok(field) if path.starts_with(&field) && path.len() > field.len() => {
                let to = format!("{}{}{}", flat.field, flat.separator, path.get(field.len()).map_or("", |name| name));
                Before::Gone(format!("puts it into {to:?}"))
            }
            Ok(field) => {
                let (last, around) = field.split_last().map_or(("", &[][..]), |(last, around)| (last.as_str(), around));
                let inside =
                    path.get(around.len()).and_then(|name| name.strip_prefix(&format!("{last}{}", flat.separator)));
                match inside {
                    // Where the names in it begin and end is not known.
                    Some(inside) if path.starts_with(around) && !inside.is_empty() => Before::Begins,
                    _ => Before::Path(path.to_vec()),
                }
            }
            Err(_) => Before::Path(path.to_vec()),
        },
        _ => Before::Path(path.to_vec()),
    }
}

fn renamed(names: &BTreeMap<String, String>, path: &[String]) -> Before {
    for (old, new) in names {
        let Ok(old) = self::path(old) else { continue };
        let now = moved(&old, new);
        if path.starts_with(&now) {
            let rest = path.get(now.len()..).unwrap_or_default();
            return Before::Path([&old, rest].concat());
        }
    }
    for (old, new) in names {
        if self::path(old).is_ok_and(|old| path.starts_with(&old)) {
            return Before::Gone(format!("names it {new:?}"));
        }
    }
    Before::Path(path.to_vec())
}

/// A path whose last name is another.
fn moved(old: &[String], new: &str) -> Vec<String> {
    let around = old.split_last().map_or(&[][..], |(_, around)| around);
    around.iter().cloned().chain([new.to_owned()]).collect()
}

fn parsed<'a>(fields: impl IntoIterator<Item = &'a String>) -> impl Iterator<Item = Vec<String>> {
    fields.into_iter().filter_map(|field| path(field).ok())
}

fn covers(fields: &[String], path: &[String]) -> bool {
    parsed(fields).any(|field| path.starts_with(&field))
}

/// The types that casts give to fields of the transformed record, by path. A later step that moves a field takes its type
/// along; one that hides it ends it.
pub fn cast_types(steps: &[TransformStep]) -> BTreeMap<String, String> {
    let mut types: Vec<(Vec<String>, String)> = Vec::new();
    for step in steps {
        if let TransformStep::Cast(casts) = step {
            for (field, kind) in casts {
                let Ok(field) = path(field) else { continue };
                types.retain(|(known, _)| *known != field);
                types.push((field, kind.replace("timestamp_ms", "timestamp")));
            }
            continue;
        }
        types = types.into_iter().filter_map(|(field, kind)| Some((after(step, field)?, kind))).collect();
    }
    types.into_iter().map(|(field, kind)| (field.join("."), kind)).collect()
}

/// Where a typed field is after a step, if it still is one.
fn after(step: &TransformStep, field: Vec<String>) -> Option<Vec<String>> {
    let hidden = match step {
        TransformStep::Drop(fields) => covers(fields, &field),
        TransformStep::Hash(hash) => covers(&hash.fields, &field),
        TransformStep::Mask(mask) => covers(&mask.fields, &field),
        TransformStep::Add(constants) => parsed(constants.keys()).any(|added| field.starts_with(&added)),
        TransformStep::Select(fields) => !covers(fields, &field),
        TransformStep::Rename(_) | TransformStep::Flatten(_) | TransformStep::Cast(_) => false,
    };
    if hidden {
        return None;
    }
    match step {
        TransformStep::Rename(names) => {
            let renamed = names.iter().find_map(|(old, new)| {
                let old = path(old).ok().filter(|old| field.starts_with(old))?;
                Some([moved(&old, new).as_slice(), field.get(old.len()..).unwrap_or_default()].concat())
            });
            let shadowed = |field: &Vec<String>| {
                names.iter().any(|(old, new)| path(old).is_ok_and(|old| field.starts_with(&moved(&old, new))))
            };
            renamed.or_else(|| Some(field).filter(|field| !shadowed(field)))
        }
        TransformStep::Flatten(flat) => match path(&flat.field) {
            Ok(object) if field.starts_with(&object) && field.len() > object.len() => {
                let (around, joined) = field.split_at(object.len() - 1);
                Some(around.iter().cloned().chain([joined.join(&flat.separator)]).collect())
            }
            _ => Some(field),
        },
        _ => Some(field),
    }
}

/// Two paths of a list of which one lies within the other, as texts.
pub fn overlap(paths: &[Vec<String>]) -> Option<(String, String)> {
    let mut sorted: Vec<&Vec<String>> = paths.iter().collect();
    sorted.sort();
    sorted.windows(2).find_map(|pair| match pair {
        [a, b] if b.starts_with(a) => Some((text(a), text(b))),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::settings::{FlattenField, HashFields, MaskFields};

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
    }

    fn mask(fields: &[&str]) -> TransformStep {
        TransformStep::Mask(MaskFields { fields: names(fields), keep_first: None, keep_last: None, fixed: None })
    }

    fn flatten(field: &str) -> TransformStep {
        TransformStep::Flatten(FlattenField { field: field.into(), separator: "_".into() })
    }

    #[test]
    fn paths() {
        assert_eq!(path("a.b").unwrap(), names(&["a", "b"]));
        assert_eq!(path(r"a\.b\\.c").unwrap(), names(&[r"a.b\", "c"]));
        for bad in ["", ".", "a.", ".a", "a..b", r"a\b", r"a\", &"a.".repeat(20)] {
            assert!(path(bad).is_err(), "{bad}");
        }
        assert_eq!(overlap(&[names(&["b"]), names(&["a", "c"]), names(&["a"])]), Some(("a".into(), "a.c".into())));
        assert_eq!(overlap(&[names(&["ab"]), names(&["a"])]), None);
    }

    #[test]
    fn a_key_is_followed_back_through_the_steps() {
        let steps = [
            TransformStep::Drop(names(&["secret"])),
            TransformStep::Rename(map(&[("nr", "id"), ("address.zip", "code")])),
            flatten("address"),
            TransformStep::Select(names(&["id", "phone", "address_code", "k"])),
            mask(&["phone"]),
        ];
        let does = |field, whole| trace(&steps, field, whole).map_err(|fate| (fate.step, fate.does));
        assert_eq!(does("id", true), Ok(()));
        assert_eq!(does("address_code", true), Ok(()));
        assert_eq!(does("phone", false), Ok(()));
        assert_eq!(does("phone", true).unwrap_err().0, 4);
        assert_eq!(does("nr", true).unwrap_err().0, 3);
        assert_eq!(does("other", true).unwrap_err().0, 3);
        let early = steps.get(..3).unwrap();
        assert_eq!(trace(early, "nr", true).unwrap_err().does, "names it \"id\"");
        assert_eq!(trace(early, "secret", true).unwrap_err().does, "drops it");
        assert_eq!(trace(early, "address.code", true).unwrap_err().does, "puts it into \"address_code\"");
    }

    #[test]
    fn the_types_of_casts_follow_their_fields() {
        let hash = HashFields { fields: names(&["h"]), key: None };
        let steps = [
            TransformStep::Cast(map(&[("a.b", "integer"), ("n", "timestamp_ms"), ("h", "string"), ("gone", "float")])),
            TransformStep::Rename(map(&[("a", "x"), ("n", "at")])),
            flatten("x"),
            TransformStep::Hash(hash),
            TransformStep::Drop(names(&["gone"])),
        ];
        assert_eq!(cast_types(&steps), map(&[("x_b", "integer"), ("at", "timestamp")]));
    }
}
