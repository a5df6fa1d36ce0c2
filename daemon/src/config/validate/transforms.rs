//! Transformations: the fields of their steps, and whether the key of a stream survives them.

use super::Check;
use crate::config::path::KeyPath;
use crate::config::problem::Mistake;
use crate::config::settings::{FlattenField, HashFields, MaskFields, Stream, TransformStep};
use crate::config::transform::{castable, overlap, path as field_path, trace};
use crate::config::units::shown;
use crate::model::schema::RESCUED;
use std::collections::{BTreeMap, BTreeSet};

/// Steps of one stream; each is a pass over every record.
const MAX_STEPS: usize = 50;
/// Characters of a separator.
const MAX_SEPARATOR: usize = 8;

impl Check<'_> {
    pub(super) fn transform(&mut self, path: &KeyPath, stream: &Stream) {
        let here = path.key("transform");
        if stream.transform.len() > MAX_STEPS {
            self.wrong(Mistake::value(&here, format!("has more than {MAX_STEPS} steps")));
        }
        for (index, step) in stream.transform.iter().enumerate() {
            self.step(&here.item(index), step);
        }
        self.traced(path, stream);
    }

    fn step(&mut self, path: &KeyPath, step: &TransformStep) {
        match step {
            TransformStep::Select(fields) => {
                if fields.is_empty() {
                    self.wrong(Mistake::value(&path.key("select"), "the list is empty: nothing would be left"));
                }
                self.fields_of(&path.key("select"), fields);
            }
            TransformStep::Drop(fields) => self.fields_of(&path.key("drop"), fields),
            TransformStep::Rename(names) => self.rename(&path.key("rename"), names),
            TransformStep::Add(constants) => {
                let here = path.key("add");
                let mut paths = Vec::new();
                for field in constants.keys() {
                    paths.extend(self.field(&Mistake::key(&here.key(field), ""), field));
                }
                if let Some((a, b)) = overlap(&paths) {
                    self.wrong(Mistake::value(&here, format!("{b:?} lies within {a:?}")));
                }
            }
            TransformStep::Flatten(flatten) => self.flatten(&path.key("flatten"), flatten),
            TransformStep::Cast(casts) => {
                for (field, kind) in casts {
                    let here = path.key("cast").key(field);
                    self.field(&Mistake::key(&here, ""), field);
                    if let Err(why) = castable(kind) {
                        self.wrong(Mistake::value(&here, why));
                    }
                }
            }
            TransformStep::Hash(hash) => self.hash(&path.key("hash"), hash),
            TransformStep::Mask(mask) => self.mask(&path.key("mask"), mask),
        }
    }

    /// The names of a field's path; a mistake `at` where it is none.
    fn field(&mut self, at: &Mistake, field: &str) -> Option<Vec<String>> {
        let wrong = |why: &str| Mistake { message: format!("{} {why}", shown(field)), ..at.clone() };
        match field_path(field) {
            Ok(names) if names.first().is_some_and(|name| name == RESCUED) => {
                self.wrong(wrong("is a column of the daemon's own"));
                None
            }
            Ok(names) => Some(names),
            Err(why) => {
                self.wrong(wrong(why));
                None
            }
        }
    }

    fn fields_of(&mut self, path: &KeyPath, fields: &[String]) {
        self.repeated(path, fields.iter().map(String::as_str));
        for (index, field) in fields.iter().enumerate() {
            self.field(&Mistake::value(&path.item(index), ""), field);
        }
    }

    fn rename(&mut self, path: &KeyPath, names: &BTreeMap<String, String>) {
        let mut taken = BTreeSet::new();
        for (old, new) in names {
            let here = path.key(old);
            let Some(mut to) = self.field(&Mistake::key(&here, ""), old) else { continue };
            to.pop();
            if new.is_empty() {
                self.wrong(Mistake::value(&here, "is empty"));
            } else if new.contains('.') {
                let mistake = Mistake::value(&here, "has a dot in it: a field stays in its object");
                self.wrong(mistake.hint("write the new name alone, without the path"));
            } else if to.is_empty() && new == RESCUED {
                self.wrong(Mistake::value(&here, format!("{RESCUED:?} is a column of the daemon's own")));
            }
            to.push(new.clone());
            if !taken.insert(to) {
                self.wrong(Mistake::value(&here, format!("another field gets the name {} in this step", shown(new))));
            }
        }
    }

    fn flatten(&mut self, path: &KeyPath, flatten: &FlattenField) {
        self.field(&Mistake::value(&path.key("field"), ""), &flatten.field);
        let separator = &flatten.separator;
        if separator.chars().count() > MAX_SEPARATOR || separator.contains(|c: char| c.is_control() || c == '.') {
            let message =
                format!("is longer than {MAX_SEPARATOR} characters, or has a dot or a control character in it");
            self.wrong(Mistake::value(&path.key("separator"), message));
        }
    }

    fn hash(&mut self, path: &KeyPath, hash: &HashFields) {
        self.fields_of(&path.key("fields"), &hash.fields);
        if let Some(key) = &hash.key {
            let here = path.key("key");
            self.kept_apart(&here, key);
            if key.0.is_empty() {
                self.wrong(Mistake::value(&here, "is empty").hint("write \"${NAME}\" here and NAME=… in auth.env"));
            }
        }
    }

    fn mask(&mut self, path: &KeyPath, mask: &MaskFields) {
        self.fields_of(&path.key("fields"), &mask.fields);
        if mask.fixed.is_some() && (mask.keep_first.is_some() || mask.keep_last.is_some()) {
            let mistake = Mistake::key(&path.key("fixed"), "stands beside keep_first or keep_last");
            self.wrong(mistake.hint("a value is either replaced as a whole, or character by character"));
        }
    }

    /// Whether fields that the stream counts on come out of its transformation.
    fn traced(&mut self, path: &KeyPath, stream: &Stream) {
        for (index, field) in stream.primary_key.iter().enumerate() {
            if let Err(fate) = trace(&stream.transform, field, true) {
                let message = format!("transform[{}] {}", fate.step, fate.does);
                let here = path.key("primary_key").item(index);
                let mistake = Mistake::value(&here, message).about(path.key("transform").item(fate.step));
                self.wrong(mistake.hint("names here are those after the transformation"));
            }
        }
        for field in stream.types.keys() {
            if let Err(fate) = trace(&stream.transform, field, false) {
                let message = format!("transform[{}] {}", fate.step, fate.does);
                let here = path.key("types").key(field);
                let mistake = Mistake::key(&here, message).about(path.key("transform").item(fate.step));
                self.wrong(mistake.hint("names here are those after the transformation"));
            }
        }
    }
}
