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
    let mut report = VerifyReport { task: String::new(), ok: true, files: 0, bytes: 0, problems: Vec::new() };
    let list = dir.join(LATEST_NAME);
    if dir.join(MANIFEST_NAME).exists() || !list.exists() {
        if !dir.is_dir() {
            return Err(Failure::new(Exit::NotFound, format!("there is no directory {}", dir.display())));
        }
        one(dir, (None, key), &mut report)?;
    } else {
        match read(&list).and_then(|bytes| Latest::parse(&bytes).map_err(|error| error.to_string())) {
            Err(why) => wrong(&mut report, "", &list, why),
            Ok(latest) => {
                for entry in &latest.manifests {
                    let manifest = dir.join(&entry.path);
                    one(manifest.parent().unwrap_or(dir), (Some(&entry.sha256), key), &mut report)?;
                }
            }
        }
    }
    report.ok = report.problems.is_empty();
    serde_json::to_value(report).map_err(|error| Failure::new(Exit::Failed, error.to_string()))
}

/// The public key in a file.
fn key_of(path: &Path) -> Result<PublicKey, Failure> {
    let wrong = |why: String| Failure::new(Exit::Usage, format!("{}: {why}", path.display()));
    let bytes = read(path).map_err(wrong)?;
    PublicKey::from_pem(&String::from_utf8_lossy(&bytes)).map_err(|error| wrong(format!("failed to {error}")))
}

/// Verifies a directory with a manifest, whose SHA-256 may be known from elsewhere, as its signer may be.
fn one(dir: &Path, (known, key): (Option<&str>, Option<&PublicKey>), report: &mut VerifyReport) -> Result<(), Failure> {
    let path = dir.join(MANIFEST_NAME);
    let composed = match read(&path) {
        Ok(composed) => composed,
        Err(why) => {
            wrong(report, "", &path, why);
            return Ok(());
        }
    };
    let digest = Digests::of(&composed).sha256;
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
