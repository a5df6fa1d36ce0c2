//! What templates ask for: parameters that every export of the stream declares, and partitions that the stream has.

use super::Check;
use super::partitions::factors;
use crate::base::ids::Name;
use crate::config::path::KeyPath;
use crate::config::problem::{Mistake, did_you_mean};
use crate::config::settings::{Export, Factor, PartitionBy, Source, Stream};
use crate::config::template::{Reference, references};
use serde_json::Value;
use std::collections::BTreeSet;

/// What templates can ask for, before the dot.
const ROOTS: [&str; 4] = ["param", "partition", "parent", "incremental"];

impl Check<'_> {
    pub(super) fn templates(&mut self) {
        for (source, Source::Rest(rest)) in &self.config.sources {
            for (name, stream) in &rest.streams {
                let path = KeyPath::of(&["sources", source.as_str(), "rest", "streams", name.as_str()]);
                let config = self.config;
                let users: Vec<(&Name, &Export)> = config
                    .exports
                    .iter()
                    .filter(|(_, export)| export.source == *source && uses(export, name))
                    .collect();
                self.stream_templates(&path, stream, &users);
            }
        }
    }

    fn stream_templates(&mut self, path: &KeyPath, stream: &Stream, users: &[(&Name, &Export)]) {
        let mut used = BTreeSet::new();
        let before = self.mistakes.len();
        for (path, text) in texts(path, stream) {
            match references(&text) {
                Err(why) => self.wrong(Mistake::value(&path, format!("is not a template: {why}"))),
                Ok(found) => {
                    for reference in found {
                        self.reference(&path, &reference, stream, users);
                        used.insert(key(&reference));
                    }
                }
            }
        }
        if self.mistakes.len() > before {
            // What is misspelt may have been meant.
            return;
        }
        let here = path.key("partition");
        for (path, factor) in stream.partition.iter().flat_map(|partition| factors(&here, partition)) {
            let keys = factor.keys();
            if keys.iter().any(|key| used.contains(key)) {
                continue;
            }
            let shown: Vec<String> = keys.iter().map(|key| format!("{{{{ {} }}}}", whole(key))).collect();
            let message =
                format!("no template of the stream holds {}: every part would be the same", shown.join(" or "));
            let path = if matches!(stream.partition, Some(PartitionBy::Product(_))) { path } else { here.clone() };
            self.wrong(Mistake::key(&path, message).hint("use it in path, headers, query or body"));
        }
    }

    fn reference(&mut self, path: &KeyPath, reference: &Reference, stream: &Stream, users: &[(&Name, &Export)]) {
        let Reference { root, name } = reference;
        match root.as_str() {
            "param" => self.param_reference(path, name, users),
            "partition" | "parent" => self.partition_reference(path, reference, stream),
            "incremental" if stream.incremental.is_none() => {
                let mistake = Mistake::value(path, format!("{{{{ {root}.{name} }}}}: the stream is not incremental"));
                self.wrong(mistake.hint("add incremental: { cursor_field: updated_at }"));
            }
            "incremental" if matches!(name.as_str(), "start" | "end") => {}
            "incremental" => {
                let mistake = Mistake::value(path, format!("{{{{ {root}.{name} }}}}: there is no {name:?}"));
                self.wrong(mistake.hint("write {{ incremental.start }} or {{ incremental.end }}"));
            }
            _ => {
                let mistake =
                    Mistake::value(path, format!("{{{{ {root}.{name} }}}}: there is no {root:?} in templates"));
                let meant = did_you_mean(root, ROOTS);
                let known = || format!("known: {}", ROOTS.join(", "));
                self.wrong(mistake.hint(meant.map_or_else(known, |meant| format!("did you mean {meant:?}?"))));
            }
        }
    }

    fn partition_reference(&mut self, path: &KeyPath, reference: &Reference, stream: &Stream) {
        let Reference { root, name } = reference;
        let factors = stream.partition.as_ref().map(PartitionBy::factors).unwrap_or_default();
        let keys: Vec<String> = factors.iter().flat_map(Factor::keys).collect();
        if keys.contains(&key(reference)) {
            return;
        }
        let parent = factors.iter().any(|factor| matches!(factor, Factor::Parent(_)));
        let (why, hint) = match (root.as_str(), stream.partition.is_some()) {
            ("partition", false) => {
                ("the stream has no partition".to_owned(), "add partition: { list: { values: […] } }")
            }
            ("parent", _) if !parent => {
                ("the stream has no parent".to_owned(), "add partition: { parent: { stream: …, values: { … } } }")
            }
            _ => {
                let known: Vec<String> = keys.iter().map(|key| format!("{{{{ {} }}}}", whole(key))).collect();
                let what = if let [Factor::List(_)] = factors.as_slice() {
                    "a list has"
                } else {
                    "the stream's partition has"
                };
                let mistake = Mistake::value(path, format!("{{{{ {root}.{name} }}}}: {what} no {name:?}"));
                self.wrong(mistake.hint(format!("write {}", known.join(" or "))));
                return;
            }
        };
        self.wrong(Mistake::value(path, format!("{{{{ {root}.{name} }}}}: {why}")).hint(hint));
    }

    fn param_reference(&mut self, path: &KeyPath, name: &str, users: &[(&Name, &Export)]) {
        if users.is_empty() && !self.config.exports.values().any(|export| export.params.contains_key(name)) {
            let mistake = Mistake::value(path, format!("{{{{ param.{name} }}}}: no export declares it"))
                .about(KeyPath::of(&["exports"]));
            self.wrong(mistake.hint(format!("add params: {{ {name}: {{}} }} to the exports of the stream")));
        }
        for (export, settings) in users.iter().filter(|(_, export)| !export.params.contains_key(name)) {
            let at = KeyPath::of(&["exports", export.as_str()]);
            let mistake = Mistake::value(path, format!("{{{{ param.{name} }}}}: {at} does not declare it"))
                .about(at.key("params"));
            self.wrong(match did_you_mean(name, settings.params.keys().map(Name::as_str)) {
                Some(meant) => mistake.hint(format!("did you mean {meant:?}?")),
                None => mistake.hint(format!("add params: {{ {name}: {{}} }} to {at}")),
            });
        }
    }
}

/// The key under which a partition keeps what a template asks for.
fn key(reference: &Reference) -> String {
    match reference.root.as_str() {
        "partition" => reference.name.clone(),
        root => format!("{root}.{}", reference.name),
    }
}

/// What a template writes to get the value of a key.
fn whole(key: &str) -> String {
    if key.contains('.') { key.to_owned() } else { format!("partition.{key}") }
}

fn uses(export: &Export, stream: &Name) -> bool {
    export.streams.is_empty() || export.streams.contains(stream)
}

/// The templates of a stream. Placeholders of secrets cannot be mistaken for one: their braces are single.
pub(super) fn texts(path: &KeyPath, stream: &Stream) -> Vec<(KeyPath, String)> {
    let mut all = vec![(path.key("path"), stream.path.clone())];
    for (key, map) in [("headers", &stream.headers), ("query", &stream.query)] {
        all.extend(map.iter().map(|(name, value)| (path.key(key).key(name), value.0.clone())));
    }
    if let Some(body) = &stream.body {
        strings(&path.key("body"), body, &mut all);
    }
    all
}

/// The nesting is bounded: the value came through the loader.
fn strings(path: &KeyPath, value: &Value, all: &mut Vec<(KeyPath, String)>) {
    match value {
        Value::String(text) => all.push((path.clone(), text.clone())),
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(index, item)| strings(&path.item(index), item, all));
        }
        Value::Object(map) => map.iter().for_each(|(key, item)| strings(&path.key(key), item, all)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
