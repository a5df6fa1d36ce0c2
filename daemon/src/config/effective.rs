//! The configuration as it counts: defaults filled in, and the part of it that one export needs.

use super::problem::{Problem, Problems};
use super::settings::{Config, PartitionBy, Rest, Source};
use super::walk;
use crate::base::ids::Name;
use serde_json::Value;
use std::collections::BTreeMap;

impl Config {
    /// What a task of `export` stores and runs to its end with: a small configuration with this export alone, its source
    /// with the streams it uses, and its destinations; secrets stay placeholders. `None` if there is no such export.
    pub fn effective_for(&self, export: &str) -> Option<Value> {
        let (name, settings) = self.exports.get_key_value(export)?;
        let (source_name, source) = self.sources.get_key_value(&settings.source)?;
        let Source::Rest(mut rest) = source.clone();
        let used = with_parents(&rest, &settings.streams);
        rest.streams.retain(|stream, _| settings.streams.is_empty() || used.contains(stream));
        let mut destinations = self.destinations.clone();
        destinations.retain(|destination, _| settings.to.contains(destination));
        let part = Self {
            version: self.version,
            daemon: self.daemon.clone(),
            sources: [(source_name.clone(), Source::Rest(rest))].into(),
            destinations,
            exports: [(name.clone(), settings.clone())].into(),
            // Who is told is looked up when there is something to tell.
            notify: BTreeMap::new(),
        };
        serde_json::to_value(part).ok()
    }

    /// Reads what [`Self::effective_for`] gave, also after an update of the daemon. Its meaning was checked when it was
    /// written; only its structure is checked again, so that a rule that came later does not stop a task half way.
    pub fn from_effective(value: &Value) -> Result<Self, Problems> {
        const FILE: &str = "stored configuration";
        let walked = walk::walk(value);
        let problem = |path: String, message: String, hint: Option<String>| Problem {
            path,
            hint,
            ..Problem::of_file(FILE, message)
        };
        let problems = walked.mistakes.into_iter().map(|m| problem(m.path.to_string(), m.message, m.hint)).collect();
        match Problems::collect(problems) {
            Some(problems) => Err(problems),
            None => {
                serde_json::from_value(walked.value).map_err(|error| Problem::of_file(FILE, error.to_string()).into())
            }
        }
    }
}

/// Streams and their ancestors.
fn with_parents(rest: &Rest, streams: &[Name]) -> Vec<Name> {
    let mut used = streams.to_vec();
    let mut done = 0;
    while let Some(stream) = used.get(done).and_then(|name| rest.streams.get(name)) {
        done += 1;
        let parents = stream.partition.iter().flat_map(PartitionBy::parents).map(|parent| parent.stream.clone());
        let fresh: Vec<Name> = parents.filter(|parent| !used.contains(parent)).collect();
        used.extend(fresh);
    }
    used
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;

    const TWO: &str = "
version: 1
sources:
  a: { rest: { base_url: https://a.example, auth: { bearer: { token: '${T}' } }, streams: { x: { path: /x }, y: { path: /y } } } }
  b: { rest: { base_url: https://b.example, streams: { z: { path: /z } } } }
destinations: { one: { local: { root: /srv/one } }, two: { local: { root: /srv/two } } }
exports:
  e: { source: a, streams: [y], to: [two] }
  f: { source: b, to: [one, two] }
";

    #[test]
    fn an_export_stores_what_it_needs_and_nothing_else() {
        let config = parse(TWO, "f").unwrap();
        let value = config.effective_for("e").unwrap();
        let part = Config::from_effective(&value).unwrap();
        let text = value.to_string();
        assert!(text.contains("${T}") && text.contains("/srv/two"), "{text}");
        for absent in ["b.example", "/x", "/srv/one"] {
            assert!(!text.contains(absent), "{absent} in {text}");
        }
        assert_eq!(part.exports.len(), 1);
        assert_eq!(Config::from_effective(&part.effective_for("e").unwrap()).unwrap(), part);
        assert!(config.effective_for("g").is_none());
    }

    #[test]
    fn a_stored_configuration_of_another_kind_is_refused() {
        let mut value = parse(TWO, "f").unwrap().effective_for("e").unwrap();
        value["exports"]["e"]["chunk_sise"] = "1MB".into();
        let told = Config::from_effective(&value).unwrap_err().to_string();
        assert!(told.contains("exports.e.chunk_sise") && told.contains("chunk_size"), "{told}");
    }
}
