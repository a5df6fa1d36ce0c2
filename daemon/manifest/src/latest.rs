//! The list that readers of a stream follow: every manifest of its newest chain, in order.

use crate::manifest::{ChainPosition, Mode, ParseError, is_hex, parse, to_bytes};
use serde::{Deserialize, Serialize};

/// `latest.json` of a stream. It is replaced atomically, and only forward.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
pub struct LatestEntry {
    /// Id of the task.
    pub task: String,
    /// Path of the manifest, relative to `latest.json`, with `/` between its components.
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

    /// Reads and checks the list: its paths stay below its directory, and it starts with a full manifest.
    pub fn parse(bytes: &[u8]) -> Result<Self, ParseError> {
        const WHAT: &str = "list of manifests";
        let latest: Self = parse(WHAT, bytes)?;
        latest.check().map_err(|problem| ParseError::Invalid { what: WHAT, problem })?;
        Ok(latest)
    }

    fn check(&self) -> Result<(), String> {
        for (i, entry) in self.manifests.iter().enumerate() {
            if !entry.path.split('/').all(crate::is_plain_name) {
                return Err(format!("manifests[{i}].path leaves the stream's directory"));
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
        let expected = r#"{
  "version": 1,
  "export": "shop",
  "stream": "orders",
  "chain": {
    "id": "t1",
    "position": 1
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
        for path in ["../x", "/etc/passwd", "a//b", "a/../../b", ""] {
            let mut bad = sample();
            bad.manifests[1].path = path.into();
            assert!(Latest::parse(&bad.to_bytes().unwrap()).is_err(), "{path}");
        }
        assert!(spoil(|l| l.manifests[0].sha256.push('0')).contains("manifests[0].sha256"));
        assert!(spoil(|l| l.manifests[1].mode = Mode::Full).contains("manifests[1].mode"));
        assert!(spoil(|l| drop(l.manifests.remove(0))).contains("manifests[0].mode"));
    }
}
