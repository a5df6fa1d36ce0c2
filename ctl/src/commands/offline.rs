//! `verify --dir`: a published directory against its own manifest, without the daemon.

use crate::exit::Exit;
use crate::failure::Failure;
use saas_export_api::{VerifyProblem, VerifyReport};
use saas_export_manifest::{
    Digests, LATEST_NAME, Latest, MANIFEST_NAME, Manifest, PublicKey, verify_published, verify_signature,
};
use serde_json::Value;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

/// The largest manifest that is read: some hundred thousand segments.
const LARGEST: u64 = 256 << 20;

/// Reads every file of `dir`: of the one manifest in it, or of each that its `latest.json` lists. With a file `public_key`
/// each manifest must have that key's signature. The report is the document that the daemon would send.
pub fn verify(dir: &Path, public_key: Option<&Path>) -> Result<Value, Failure> {
    let key = public_key.map(key_of).transpose()?;
    let key = key.as_ref();
    let mut report =
        VerifyReport { task: String::new(), ok: true, files: 0, bytes: 0, problems: Vec::new(), skipped: Vec::new() };
    if !dir.is_dir() {
        return Err(Failure::new(Exit::NotFound, format!("there is no directory {}", dir.display())));
    }
    let (list, own) = (dir.join(LATEST_NAME), dir.join(MANIFEST_NAME));
    // Nobody who follows the list looks at a manifest beside it, so that such a one must not stand in for the list.
    let (listed, single) = (is_there(&list), is_there(&own));
    if single || !listed {
        one(dir, (None, key), &mut report)?;
    }
    if listed {
        if single {
            wrong(&mut report, "", &own, format!("lies beside {LATEST_NAME}, where readers do not look for it"));
        }
        match read(&list).and_then(|bytes| Latest::parse(&bytes).map_err(|error| error.to_string())) {
            Err(why) => wrong(&mut report, "", &list, why),
            Ok(latest) => {
                for (index, entry) in latest.manifests.iter().enumerate() {
                    one(&dir.join(&entry.task), (Some((&latest, index)), key), &mut report)?;
                }
            }
        }
    }
    report.ok = report.problems.is_empty();
    serde_json::to_value(report).map_err(|error| Failure::new(Exit::Failed, error.to_string()))
}

/// Whether there is something of a name, be it a link that leads nowhere.
fn is_there(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

/// The public key in a file.
fn key_of(path: &Path) -> Result<PublicKey, Failure> {
    let wrong = |why: String| Failure::new(Exit::Usage, format!("{}: {why}", path.display()));
    let bytes = read(path).map_err(wrong)?;
    PublicKey::from_pem(&String::from_utf8_lossy(&bytes)).map_err(|error| wrong(format!("failed to {error}")))
}

/// A list of manifests and the place of one in it.
type Listed<'a> = (&'a Latest, usize);

/// Verifies a directory with a manifest, of which a list may say what it must be, as its signer may be known.
fn one(
    dir: &Path,
    (listed, key): (Option<Listed<'_>>, Option<&PublicKey>),
    report: &mut VerifyReport,
) -> Result<(), Failure> {
    let path = dir.join(MANIFEST_NAME);
    let composed = match read(&path) {
        Ok(composed) => composed,
        Err(why) => {
            wrong(report, "", &path, why);
            return Ok(());
        }
    };
    let digest = Digests::of(&composed).sha256;
    let known = listed.and_then(|(latest, index)| latest.manifests.get(index)).map(|entry| &entry.sha256);
    if let Some(known) = known.filter(|known| **known != digest) {
        wrong(report, "", &path, format!("has SHA-256 {digest}, {LATEST_NAME} says {known}"));
    }
    let manifest = match Manifest::parse(&composed) {
        Ok(manifest) => manifest,
        Err(error) => {
            wrong(report, "", &path, error.to_string());
            return Ok(());
        }
    };
    if let Some(why) = listed.and_then(|(latest, index)| latest.mismatch(index, &manifest)) {
        wrong(report, &manifest.stream, &path, why);
    }
    let found = verify_published(dir, &manifest, &composed, |_| ()).map_err(|error| {
        let why = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
        Failure::new(Exit::Failed, format!("failed to {error}: {why}"))
    })?;
    report.task.clone_from(&manifest.task);
    match verify_signature(dir, &manifest, &composed, key) {
        Ok(None) => {}
        Ok(Some(_)) => report.files += 1,
        Err(problem) => {
            report.files += 1;
            wrong(report, &manifest.stream, &dir.join(&problem.name), problem.kind.to_string());
        }
    }
    report.files += found.good + found.problems.len() as u64;
    report.bytes += found.bytes;
    for problem in found.problems {
        wrong(report, &manifest.stream, &dir.join(&problem.name), problem.kind.to_string());
    }
    Ok(())
}

fn wrong(report: &mut VerifyReport, stream: &str, path: &Path, problem: String) {
    report.problems.push(VerifyProblem {
        // Whose directory this is nobody knows here.
        destination: String::new(),
        stream: stream.to_owned(),
        path: path.display().to_string(),
        problem,
    });
}

/// The bytes of a file; what is wrong with it fits after its name.
fn read(path: &Path) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(LARGEST + 1).read_to_end(&mut bytes));
    match read {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err("is missing".into()),
        Err(error) => Err(format!("cannot be read: {error}")),
        Ok(length) if length as u64 > LARGEST => Err(format!("is larger than {LARGEST} bytes")),
        Ok(_) => Ok(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::fs;

    /// Writes an empty manifest of a task; what `latest.json` says of it.
    fn task(dir: &Path, id: &str, (chain, position): (&str, u64)) -> Value {
        let mode = if position == 0 { "full" } else { "incremental" };
        let manifest: Manifest = serde_json::from_value(json!({
            "version": 1, "export": "shop", "stream": "orders", "task": id, "created_at": "2026-01-01T00:00:00Z",
            "mode": mode, "format": "csv", "schema": {}, "schema_version": 1, "primary_key": ["id"], "cursor_field": null,
            "shift_protection": "none", "chain": { "id": chain, "position": position }, "offsets": [],
            "marks": { "before": null, "after": null },
            "counts": { "read": 0, "written": 0, "rejected": 0, "duplicate": 0, "filtered": 0, "over_limit": 0, "rescued": 0 },
            "pages": 0, "source_bytes": 0, "daemon_version": "0", "segments": [],
        }))
        .unwrap();
        let bytes = manifest.to_bytes().unwrap();
        let dir = dir.join(id);
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("SHA256SUMS"), saas_export_manifest::sha256sums(&manifest, &bytes)).unwrap();
        fs::write(dir.join(MANIFEST_NAME), &bytes).unwrap();
        json!({
            "task": id, "path": format!("{id}/{MANIFEST_NAME}"), "sha256": Digests::of(&bytes).sha256, "mode": mode,
            "primary_key": ["id"], "cursor_field": null,
        })
    }

    fn list(dir: &Path, manifests: &[&Value]) {
        let chain = json!({ "id": manifests[0]["task"], "position": manifests.len() - 1 });
        let latest =
            json!({ "version": 1, "export": "shop", "stream": "orders", "chain": chain, "manifests": manifests });
        fs::write(dir.join(LATEST_NAME), latest.to_string()).unwrap();
    }

    fn problems(dir: &Path) -> String {
        let report: VerifyReport = serde_json::from_value(verify(dir, None).unwrap()).unwrap();
        assert_eq!(report.ok, report.problems.is_empty());
        let lines = report.problems.iter().map(|found| format!("{}: {}\n", found.path, found.problem));
        lines.collect()
    }

    #[test]
    fn the_list_that_readers_follow_cannot_be_led_past() {
        let temporary = tempfile::tempdir().unwrap();
        let dir = temporary.path();
        let [a, b, c] = [("a", 0), ("b", 1), ("c", 2)].map(|(id, position)| task(dir, id, ("a", position)));
        list(dir, &[&a, &b, &c]);
        assert_eq!(problems(dir), "");
        // A link in the middle is left out.
        list(dir, &[&a, &c]);
        assert!(problems(dir).contains("is number 2 of its chain"), "{}", problems(dir));
        // A manifest of another chain, with its own digest.
        let other = task(dir, "x", ("y", 1));
        list(dir, &[&a, &other]);
        assert!(problems(dir).contains(r#"has chain.id "y""#), "{}", problems(dir));
        // One beside the list must not stand in for it.
        list(dir, &[&a, &b, &c]);
        for name in [MANIFEST_NAME, "SHA256SUMS"] {
            fs::copy(dir.join("a").join(name), dir.join(name)).unwrap();
        }
        assert!(problems(dir).contains("lies beside latest.json"), "{}", problems(dir));
        fs::remove_file(dir.join("b").join(MANIFEST_NAME)).unwrap();
        assert!(problems(dir).contains("b/_manifest.json: is missing"), "{}", problems(dir));
    }
}
