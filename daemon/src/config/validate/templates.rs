//! What templates ask for: parameters that every export of the stream declares, and partitions that the stream has.

use super::Check;
use crate::base::ids::Name;
use crate::config::path::KeyPath;
use crate::config::problem::{Mistake, did_you_mean};
use crate::config::settings::{Export, PartitionBy, Source, Stream};
use crate::config::template::{Reference, references};
use serde_json::Value;

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
        let mut partition_used = false;
        for (path, text) in texts(path, stream) {
            match references(&text) {
                Err(why) => self.wrong(Mistake::value(&path, format!("is not a template: {why}"))),
                Ok(found) => {
                    for reference in found {
                        partition_used |= reference.root == "partition";
                        self.reference(&path, &reference, stream, users);
                    }
                }
            }
        }
        if let Some(PartitionBy::List(_)) = &stream.partition
            && !partition_used
        {
            let message = "no template of the stream holds {{ partition.value }}: every part would be the same";
            self.wrong(Mistake::key(&path.key("partition"), message).hint("use it in path, headers, query or body"));
        }
    }

    fn reference(&mut self, path: &KeyPath, reference: &Reference, stream: &Stream, users: &[(&Name, &Export)]) {
        let Reference { root, name } = reference;
        match (root.as_str(), &stream.partition) {
            ("param", _) => self.param_reference(path, name, users),
            ("partition", None) => {
                let mistake = Mistake::value(path, format!("{{{{ partition.{name} }}}}: the stream has no partition"));
                self.wrong(mistake.hint("add partition: { list: { values: […] } }"));
            }
            ("partition", Some(PartitionBy::List(_))) if name == "value" => {}
            ("partition", Some(PartitionBy::List(_))) => {
                let mistake = Mistake::value(path, format!("{{{{ partition.{name} }}}}: a list has no {name:?}"));
                self.wrong(mistake.hint("write {{ partition.value }}"));
            }
            _ => {
                let mistake =
                    Mistake::value(path, format!("{{{{ {root}.{name} }}}}: there is no {root:?} in templates"));
                let meant = did_you_mean(root, ["param", "partition"]);
                let hint = meant.map_or("known: param, partition".into(), |meant| format!("did you mean {meant:?}?"));
                self.wrong(mistake.hint(hint));
            }
        }
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

fn uses(export: &Export, stream: &Name) -> bool {
    export.streams.is_empty() || export.streams.contains(stream)
}

/// The templates of a stream. Placeholders of secrets cannot be mistaken for one: their braces are single.
fn texts(path: &KeyPath, stream: &Stream) -> Vec<(KeyPath, String)> {
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
