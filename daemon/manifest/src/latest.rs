//! The list that readers of a stream follow: every manifest of its newest chain, in order.

use crate::manifest::{ChainPosition, Manifest, Mode, ParseError, is_hex, parse, to_bytes};
use crate::{LATEST_NAME, MANIFEST_NAME};
use serde::{Deserialize, Serialize};

/// `latest.json` of a stream. It is replaced atomically, and only forward.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Latest {
    /// Version of this format; always 1.
    pub version: u32,
    /// Name of the export.
    pub export: String,
    /// Name of the stream.
    pub stream: String,
    /// The newest chain and the position of its last manifest.
    pub chain: ChainPosition,
    /// Its manifests, the full one first.
    pub manifests: Vec<LatestEntry>,
}

/// One manifest of the chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct LatestEntry {
    /// Id of the task.
    pub task: String,
    /// Path of the manifest, relative to `latest.json`: `<task>/_manifest.json`.
    pub path: String,
    /// SHA-256 of the manifest, 64 lower-case hex digits.
    pub sha256: String,
    /// Whether its segments are the whole stream or what changed.
    pub mode: Mode,
    /// Fields that identify a record.
    pub primary_key: Vec<String>,
    /// Field that incremental tasks follow.
    pub cursor_field: Option<String>,
}

impl Latest {
    /// The bytes of `latest.json`: indented JSON with a newline at the end.
    pub fn to_bytes(&self) -> Result<Vec<u8>, serde_json::Error> {
        to_bytes(self)
    }

    /// Reads and checks the list: it is a chain from its full manifest to its last one, and each path is that of its task.
    pub fn parse(bytes: &[u8]) -> Result<Self, ParseError> {
        const WHAT: &str = "list of manifests";
        let latest: Self = parse(WHAT, bytes)?;
        latest.check().map_err(|problem| ParseError::Invalid { what: WHAT, problem })?;
        Ok(latest)
    }

    /// How a manifest differs from what the list says of the one at `index`. The digest of its bytes is not looked at. An
    /// index behind the end is a difference, too.
    pub fn mismatch(&self, index: usize, manifest: &Manifest) -> Option<String> {
        let Some(entry) = self.manifests.get(index) else { return Some("is not listed".into()) };
        let texts = [
            ("export", &manifest.export, &self.export),
            ("stream", &manifest.stream, &self.stream),
            ("task", &manifest.task, &entry.task),
            ("chain.id", &manifest.chain.id, &self.chain.id),
        ];
        if let Some((what, found, listed)) = texts.into_iter().find(|(_, found, listed)| found != listed) {
            return Some(format!("has {what} {found:?}, {LATEST_NAME} says {listed:?}"));
        }
        if manifest.chain.position != index as u64 {
            return Some(format!(
                "is number {} of its chain, {LATEST_NAME} lists it as {index}",
                manifest.chain.position
            ));
        }
        let what = if manifest.mode != entry.mode {
            "mode"
        } else if manifest.primary_key != entry.primary_key {
            "primary_key"
        } else if manifest.cursor_field != entry.cursor_field {
            "cursor_field"
        } else {
            return None;
        };
        Some(format!("has another {what} than {LATEST_NAME} says"))
    }

    fn check(&self) -> Result<(), String> {
        let Some(first) = self.manifests.first() else {
            return Err("manifests is empty: a chain has at least its full manifest".into());
        };
        for (i, entry) in self.manifests.iter().enumerate() {
            if !crate::is_plain_name(&entry.task) {
                return Err(format!("manifests[{i}].task is no plain name"));
            }
            if entry.path != format!("{}/{MANIFEST_NAME}", entry.task) {
                return Err(format!("manifests[{i}].path is not <task>/{MANIFEST_NAME}"));
            }
            if !is_hex(&entry.sha256, 64) {
                return Err(format!("manifests[{i}].sha256 is not 64 lower-case hex digits"));
            }
            if (entry.mode == Mode::Full) != (i == 0) {
                return Err(format!(
                    "manifests[{i}].mode: a chain is one full manifest and the incremental ones after it"
                ));
            }
        }
        if self.chain.id != first.task {
            return Err("chain.id is not the task of manifests[0]".into());
        }
        if self.chain.position != self.manifests.len() as u64 - 1 {
            return Err("chain.position is not that of the last of its manifests".into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Latest {
        let entry = |task: &str, mode| LatestEntry {
            task: task.into(),
            path: format!("{task}/_manifest.json"),
            sha256: "ab".repeat(32),
            mode,
            primary_key: vec!["id".into()],
            cursor_field: Some("updated_at".into()),
        };
        Latest {
            version: 1,
            export: "shop".into(),
            stream: "orders".into(),
            chain: ChainPosition { id: "t1".into(), position: 1 },
            manifests: vec![entry("t1", Mode::Full), entry("t2", Mode::Incremental)],
        }
    }

    #[test]
    fn golden() {
        let mut latest = sample();
        latest.manifests.truncate(1);
        latest.chain.position = 0;
        let expected = r#"{
  "version": 1,
  "export": "shop",
  "stream": "orders",
  "chain": {
    "id": "t1",
    "position": 0
  },
  "manifests": [
    {
      "task": "t1",
      "path": "t1/_manifest.json",
      "sha256": "abababababababababababababababababababababababababababababababab",
      "mode": "full",
      "primary_key": [
        "id"
      ],
      "cursor_field": "updated_at"
    }
  ]
}
"#;
        assert_eq!(String::from_utf8(latest.to_bytes().unwrap()).unwrap(), expected);
    }

    #[test]
    fn reads_back_and_refuses_what_cannot_be() {
        let good = sample();
        assert_eq!(Latest::parse(&good.to_bytes().unwrap()).unwrap(), good);
        let spoil = |change: fn(&mut Latest)| {
            let mut bad = sample();
            change(&mut bad);
            Latest::parse(&bad.to_bytes().unwrap()).unwrap_err().to_string()
        };
        for path in ["../x", "/etc/passwd", "a//b", "t2/../../b", "", "t1/_manifest.json", "t2/part-0", "t2"] {
            let mut bad = sample();
            bad.manifests[1].path = path.into();
            assert!(Latest::parse(&bad.to_bytes().unwrap()).is_err(), "{path}");
        }
        assert!(spoil(|l| l.manifests[0].sha256.push('0')).contains("manifests[0].sha256"));
        assert!(spoil(|l| l.manifests[1].mode = Mode::Full).contains("manifests[1].mode"));
        assert!(spoil(|l| drop(l.manifests.remove(0))).contains("manifests[0].mode"));
        assert!(spoil(|l| l.manifests.clear()).contains("manifests is empty"));
        assert!(spoil(|l| drop(l.manifests.pop())).contains("chain.position"));
        assert!(spoil(|l| l.chain.id = "t2".into()).contains("chain.id"));
        let outside = |l: &mut Latest| {
            l.manifests[1].task = "..".into();
            l.manifests[1].path = "../_manifest.json".into();
        };
        assert!(spoil(outside).contains("manifests[1].task"));
    }

    #[test]
    fn a_manifest_that_is_another_one_is_told() {
        let (latest, sample) = (sample(), crate::manifest::tests::sample());
        let listed = |index: usize| {
            let entry = &latest.manifests[index];
            Manifest {
                export: latest.export.clone(),
                stream: latest.stream.clone(),
                task: entry.task.clone(),
                mode: entry.mode,
                primary_key: entry.primary_key.clone(),
                cursor_field: entry.cursor_field.clone(),
                chain: ChainPosition { id: latest.chain.id.clone(), position: index as u64 },
                ..sample.clone()
            }
        };
        assert_eq!((latest.mismatch(0, &listed(0)), latest.mismatch(1, &listed(1))), (None, None));
        let spoil = |change: fn(&mut Manifest)| {
            let mut bad = listed(1);
            change(&mut bad);
            latest.mismatch(1, &bad).unwrap()
        };
        assert!(spoil(|m| m.export = "other".into()).contains("export \"other\""));
        assert!(spoil(|m| m.stream = "other".into()).contains("stream \"other\""));
        assert!(spoil(|m| m.task = "t1".into()).contains("task \"t1\""));
        assert!(spoil(|m| m.chain.id = "t0".into()).contains("chain.id \"t0\""));
        assert!(spoil(|m| m.chain.position = 2).contains("number 2"));
        assert!(spoil(|m| m.mode = Mode::Full).contains("mode"));
        assert!(spoil(|m| m.primary_key.clear()).contains("primary_key"));
        assert!(spoil(|m| m.cursor_field = None).contains("cursor_field"));
        assert!(latest.mismatch(2, &listed(1)).is_some());
    }
}
