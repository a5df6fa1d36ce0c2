//! Things that come in kinds (one-key maps) and words of an enumeration.

use super::{Walker, found};
use crate::config::path::KeyPath;
use crate::config::problem::{Mistake, did_you_mean};
use crate::config::schema::Shape;
use crate::config::units::shown;
use serde_json::{Map, Value};

type Kinds = [(&'static str, &'static Value)];

fn names(kinds: &Kinds) -> String {
    kinds.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}

impl Walker {
    /// A map with one key that names the kind.
    pub(super) fn kind(&mut self, kinds: &Kinds, value: &Value, path: &KeyPath) -> Option<Value> {
        let Value::Object(map) = value else {
            let mistake = Mistake::value(path, format!("expected a map with one key, found {}", found(value)));
            let known = value.as_str().and_then(|text| kinds.iter().find(|(name, _)| *name == text));
            self.wrong(match known {
                Some((name, _)) => mistake.hint(format!("write {{ {name}: {{}} }}")),
                None => mistake.hint(format!("the key is one of {}", names(kinds))),
            });
            return None;
        };
        let known: Vec<_> = kinds.iter().filter(|(name, _)| map.contains_key(*name)).collect();
        match known.as_slice() {
            [(name, inner)] => {
                for other in map.keys().filter(|key| key != name) {
                    let mistake = Mistake::key(&path.key(other), format!("there is no key {} here", shown(other)));
                    let belongs = Shape::of(inner).fields().is_some_and(|fields| fields.contains_key(other));
                    self.wrong(match belongs {
                        true => mistake.hint(format!("it belongs below {name:?}: indent it")),
                        false => mistake.hint(format!("{name:?} must stand alone")),
                    });
                }
                let here = path.key(*name);
                let inside = map.get(*name).and_then(|value| self.node(inner, value, &here));
                let inside = inside.unwrap_or_else(|| self.stand_in(inner, &here));
                Some(Value::Object(Map::from_iter([((*name).to_owned(), inside)])))
            }
            [] => {
                self.no_kind(kinds, map, path);
                None
            }
            [_, ..] => {
                let several: Vec<_> = known.iter().map(|(name, _)| *name).collect();
                let message = format!("only one of {} may be there", several.join(", "));
                self.wrong(Mistake::value(path, message));
                None
            }
        }
    }

    /// No key is a kind: a misspelt kind, the inside of one without its name, or nothing.
    fn no_kind(&mut self, kinds: &Kinds, map: &Map<String, Value>, path: &KeyPath) {
        let inside = kinds.iter().find(|(_, inner)| {
            let fields = Shape::of(inner).fields();
            !map.is_empty() && fields.is_some_and(|fields| map.keys().all(|key| fields.contains_key(key)))
        });
        let one_of = format!("the key is one of {}", names(kinds));
        self.wrong(match (map.keys().next(), inside) {
            (Some(_), Some((name, _))) => Mistake::value(path, "the key that names the kind is missing")
                .hint(format!("write {{ {name}: {{ … }} }}")),
            (Some(key), None) => {
                let mistake = Mistake::key(&path.key(key), format!("there is no kind {}", shown(key)));
                match did_you_mean(key, kinds.iter().map(|(name, _)| *name)) {
                    Some(meant) => mistake.hint(format!("did you mean {meant:?}?")),
                    None => mistake.hint(one_of),
                }
            }
            (None, _) => Mistake::value(path, "the key that names the kind is missing").hint(one_of),
        });
    }

    /// A word of an enumeration.
    pub(super) fn word(&mut self, words: &[&'static str], value: &Value, path: &KeyPath) -> Option<Value> {
        let one_of = || format!("one of {}", words.join(", "));
        let Value::String(text) = value else {
            let mistake = Mistake::value(path, format!("expected a word, found {}", found(value)));
            let number = value.as_number().map(ToString::to_string);
            let meant = words.iter().find(|word| number.as_deref() == Some(**word));
            self.wrong(match meant {
                Some(word) => mistake.hint(format!("put it in quotes: {word:?}")),
                None => mistake.hint(one_of()),
            });
            return None;
        };
        if words.contains(&text.as_str()) {
            return Some(value.clone());
        }
        let mistake = Mistake::value(path, format!("{} is not a word for this", shown(text)));
        self.wrong(match did_you_mean(text, words.iter().copied()) {
            Some(meant) => mistake.hint(format!("did you mean {meant:?}?")),
            None => mistake.hint(one_of()),
        });
        None
    }
}
