//! Exports: the names they use, and their parameters.

use super::Check;
use crate::base::ids::Name;
use crate::config::path::KeyPath;
use crate::config::problem::{Mistake, did_you_mean};
use crate::config::settings::{Export, Param, ParamType, Source};
use crate::config::template;
use crate::config::units::shown;
use std::collections::BTreeMap;

/// The longest value of a parameter, in characters.
pub const MAX_PARAM: usize = 1000;

impl Check<'_> {
    pub(super) fn exports(&mut self) {
        for (name, export) in &self.config.exports {
            let path = KeyPath::of(&["exports", name.as_str()]);
            self.streams_of(&path, export);
            self.policy(&path.key("schema"), &export.schema);
            self.encryption(&path, export);
            let to = path.key("to");
            self.repeated(&to, export.to.iter().map(Name::as_str));
            for (index, destination) in export.to.iter().enumerate() {
                let all = (KeyPath::of(&["destinations"]), &self.config.destinations);
                self.known(&to.item(index), "destination", destination, all);
            }
            self.one_place_each(&to, export);
            self.schedule(&path, export);
            self.windows(&path, &export.windows);
            self.files(&path, export);
            self.keep(&path.key("keep"), export);
            self.notify_rules(&path.key("notify"), export);
            for (param, declared) in &export.params {
                self.param(&path.key("params").key(param.as_str()), param, declared);
            }
        }
    }

    /// What retention removes for one name must not be what another one keeps.
    fn one_place_each(&mut self, to: &KeyPath, export: &Export) {
        let mut taken: BTreeMap<String, &Name> = BTreeMap::new();
        for (index, name) in export.to.iter().enumerate() {
            let Some(settings) = self.config.destinations.get(name) else { continue };
            // That of a directory is told where directories are.
            if settings.local().is_some() {
                continue;
            }
            if let Some(other) = taken.insert(settings.place(), name).filter(|other| *other != name) {
                let message = format!("{name} is the same place as {other}");
                self.wrong(
                    Mistake::value(&to.item(index), message).hint("name it once, or give it a prefix of its own"),
                );
            }
        }
    }

    fn streams_of(&mut self, path: &KeyPath, export: &Export) {
        let sources = KeyPath::of(&["sources"]);
        self.known(&path.key("source"), "source", &export.source, (sources.clone(), &self.config.sources));
        let streams = path.key("streams");
        self.repeated(&streams, export.streams.iter().map(Name::as_str));
        if let Some(Source::Rest(rest)) = self.config.sources.get(&export.source) {
            for (index, stream) in export.streams.iter().enumerate() {
                let all = sources.key(export.source.as_str()).key("rest").key("streams");
                self.known(&streams.item(index), "stream", stream, (all, &rest.streams));
            }
        }
    }

    /// Notes a name that is not among `all`, which stand at a place of their own.
    pub(super) fn known<T>(
        &mut self,
        path: &KeyPath,
        what: &str,
        name: &Name,
        (place, all): (KeyPath, &BTreeMap<Name, T>),
    ) {
        if all.contains_key(name) {
            return;
        }
        let mistake = Mistake::value(path, format!("there is no {what} {:?}", name.as_str())).about(place);
        self.wrong(match did_you_mean(name.as_str(), all.keys().map(Name::as_str)) {
            Some(meant) => mistake.hint(format!("did you mean {meant:?}?")),
            None if all.is_empty() => mistake,
            None => {
                let names: Vec<&str> = all.keys().take(20).map(Name::as_str).collect();
                mistake.hint(format!("known: {}", names.join(", ")))
            }
        });
    }

    fn param(&mut self, path: &KeyPath, name: &Name, param: &Param) {
        if !template::is_word(name.as_str()) {
            let mistake = Mistake::key(path, "a template cannot name this parameter");
            self.wrong(mistake.hint("use letters, digits and _, starting with a letter"));
        }
        let words = param.one_of.as_deref().unwrap_or_default();
        self.repeated(&path.key("enum"), words.iter().map(String::as_str));
        for (index, word) in words.iter().enumerate() {
            if let Err(why) = fits(param.kind, word) {
                self.wrong(Mistake::value(&path.key("enum").item(index), why));
            }
        }
        let Some(default) = &param.default else { return };
        let here = path.key("default");
        match fits(param.kind, default) {
            Err(why) => self.wrong(Mistake::value(&here, why)),
            Ok(()) if !words.is_empty() && !words.contains(default) => {
                let shown: Vec<String> = words.iter().take(20).map(|word| shown(word)).collect();
                self.wrong(Mistake::value(&here, "is not in enum").hint(format!("one of {}", shown.join(", "))));
            }
            Ok(()) => {}
        }
    }
}

/// Whether a value has the type of its parameter; also the check of what a run gives.
pub fn fits(kind: ParamType, value: &str) -> Result<(), String> {
    let text = shown(value);
    match kind {
        ParamType::String if value.chars().count() > MAX_PARAM => Err(format!("is longer than {MAX_PARAM} characters")),
        ParamType::String if value.contains(|c: char| c.is_control()) => Err("holds a control character".into()),
        ParamType::String => Ok(()),
        ParamType::Integer => value.parse::<i64>().map(drop).map_err(|_| format!("{text} is not a whole number")),
        ParamType::Date => match value.parse::<jiff::civil::Date>() {
            // The parser also takes dates with a time and the basic format; those would not compare as text.
            Ok(date) if date.to_string() == value => Ok(()),
            _ => Err(format!("{text} is not a day: write e.g. \"2026-01-31\"")),
        },
    }
}
