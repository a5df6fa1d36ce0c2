//! Every way to tamper with a published directory is found and named.

use super::*;
use crate::manifest::tests::sample;
use crate::signature::tests::key;
use std::os::unix::fs::symlink;

struct Published {
    dir: tempfile::TempDir,
    manifest: Manifest,
}

fn published() -> Published {
    let dir = tempfile::tempdir().unwrap();
    let mut manifest = sample();
    for segment in &mut manifest.segments {
        let content: Vec<u8> = (0..500_000 + segment.n).map(|i| ((i + segment.n) % 253) as u8).collect();
        let digests = Digests::of(&content);
        fs::write(dir.path().join(&segment.name), &content).unwrap();
        segment.bytes = digests.bytes;
        segment.sha256 = digests.sha256;
        segment.crc32c = crc32c_hex(digests.crc32c);
    }
    fs::write(dir.path().join("_manifest.json"), manifest.to_bytes().unwrap()).unwrap();
    Published { dir, manifest }
}

impl Published {
    fn path(&self, n: usize) -> PathBuf {
        self.dir.path().join(&self.manifest.segments[n].name)
    }

    fn verify(&self) -> VerifyReport {
        verify_dir(self.dir.path(), &self.manifest, |_| {}).unwrap()
    }

    /// The one problem there is, and whose it is.
    fn problem(&self) -> (String, ProblemKind) {
        let mut report = self.verify();
        assert_eq!(report.problems.len(), 1, "{report:?}");
        assert!(!report.ok());
        let problem = report.problems.remove(0);
        (problem.name, problem.kind)
    }
}

#[test]
fn an_untouched_directory_is_good_and_read_to_the_last_byte() {
    let p = published();
    let total = 1_000_001;
    let mut last = 0;
    let report = verify_dir(p.dir.path(), &p.manifest, |progress| {
        assert!(progress.bytes > last && progress.total == total);
        last = progress.bytes;
    });
    assert_eq!(report.unwrap(), VerifyReport { good: 2, bytes: total, problems: vec![] });
    assert_eq!(last, total);
}

#[test]
fn a_flipped_bit() {
    for at in [0, 250_000, 499_999] {
        let p = published();
        let mut bytes = fs::read(p.path(0)).unwrap();
        bytes[at] ^= 0x10;
        fs::write(p.path(0), bytes).unwrap();
        let (name, kind) = p.problem();
        assert_eq!(name, p.manifest.segments[0].name);
        assert!(matches!(kind, ProblemKind::Sha256 { .. }), "{kind}");
    }
}

#[test]
fn a_truncated_and_a_grown_file() {
    for length in [0, 499_999, 500_001] {
        let p = published();
        File::options().write(true).open(p.path(0)).unwrap().set_len(length).unwrap();
        assert_eq!(p.problem().1, ProblemKind::Size { expected: 500_000, found: length });
    }
}

#[test]
fn swapped_files() {
    let p = published();
    let aside = p.dir.path().join("aside");
    fs::rename(p.path(0), &aside).unwrap();
    fs::rename(p.path(1), p.path(0)).unwrap();
    fs::rename(&aside, p.path(1)).unwrap();
    assert_eq!(p.verify().problems.len(), 2);
}

#[test]
fn a_dropped_file() {
    let p = published();
    fs::remove_file(p.path(1)).unwrap();
    assert_eq!(p.problem(), (p.manifest.segments[1].name.clone(), ProblemKind::Missing));
}

#[test]
fn a_file_too_many() {
    let p = published();
    fs::write(p.dir.path().join("part-0-000009.csv"), "x").unwrap();
    fs::write(p.dir.path().join("README"), "not a segment").unwrap();
    assert_eq!(p.problem(), ("part-0-000009.csv".into(), ProblemKind::Unexpected));
}

#[test]
fn a_wrong_crc_in_the_manifest() {
    let mut p = published();
    p.manifest.segments[0].crc32c = "00000000".into();
    assert!(matches!(p.problem().1, ProblemKind::Crc32c { .. }));
}

#[test]
fn nothing_outside_the_directory_is_opened() {
    let mut p = published();
    let real = p.dir.path().join("real");
    fs::rename(p.path(0), &real).unwrap();
    symlink(&real, p.path(0)).unwrap();
    assert_eq!(p.problem().1, ProblemKind::NotAFile);
    p.manifest.segments[0].name = format!("../{}", p.dir.path().file_name().unwrap().to_str().unwrap());
    assert!(p.verify().problems.iter().any(|problem| problem.kind == ProblemKind::UnsafeName));
}

#[test]
fn a_missing_directory_lacks_every_file() {
    let dir = tempfile::tempdir().unwrap();
    let manifest = sample();
    let gone = dir.path().join("gone");
    let report = verify_published(&gone, &manifest, &manifest.to_bytes().unwrap(), |_| {}).unwrap();
    assert_eq!(report.problems.len(), manifest.segments.len() + 2);
    assert!(report.problems.iter().all(|problem| problem.kind == ProblemKind::Missing), "{report:?}");
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let error = verify_dir(&file, &manifest, |_| {}).unwrap_err();
    assert_eq!(error.to_string(), format!("read the directory {}", file.display()));
}

#[test]
fn a_forged_manifest_and_forged_sums() {
    let p = published();
    let composed = p.manifest.to_bytes().unwrap();
    fs::write(p.dir.path().join(SUMS_NAME), sha256sums(&p.manifest, &composed)).unwrap();
    let verify = || verify_published(p.dir.path(), &p.manifest, &composed, |_| {}).unwrap();
    assert_eq!((verify().good, verify().ok()), (4, true), "{:?}", verify());
    for name in [MANIFEST_NAME, SUMS_NAME] {
        let path = p.dir.path().join(name);
        let good = fs::read_to_string(&path).unwrap();
        fs::write(&path, good.replacen('0', "1", 1)).unwrap();
        let report = verify();
        assert_eq!(report.problems.iter().map(|problem| problem.name.as_str()).collect::<Vec<_>>(), [name]);
        fs::write(&path, good).unwrap();
    }
}

#[test]
fn a_signature_must_be_there_where_it_is_promised_or_asked_for() {
    let mut p = published();
    let (key, other) = (key(), crate::signature::tests::other());
    let check = |p: &Published, key: Option<&PublicKey>| {
        let composed = p.manifest.to_bytes().unwrap();
        verify_signature(p.dir.path(), &p.manifest, &composed, key).map_err(|problem| {
            assert_eq!(problem.name, "_manifest.json.sig");
            problem.kind
        })
    };
    assert_eq!(check(&p, None), Ok(None), "nobody promised one");
    assert_eq!(check(&p, Some(&key.public())), Err(ProblemKind::Missing));
    p.manifest.signature = Some(key.signed());
    assert_eq!(check(&p, None), Err(ProblemKind::Missing), "it was taken away");
    let path = p.dir.path().join("_manifest.json.sig");
    let signature = key.sign(&p.manifest.to_bytes().unwrap());
    fs::write(&path, &signature).unwrap();
    assert_eq!(check(&p, None), Ok(Some(signature.clone())));
    assert_eq!(check(&p, Some(&key.public())), Ok(Some(signature.clone())));
    assert_eq!(check(&p, Some(&other)), Err(ProblemKind::Signature(SignatureError::Wrong)));
    p.manifest.pages += 1;
    assert_eq!(check(&p, Some(&key.public())), Err(ProblemKind::Signature(SignatureError::Wrong)), "another manifest");
    for length in [0, 63, 65, 1000] {
        fs::write(&path, vec![0; length]).unwrap();
        assert_eq!(check(&p, None), Err(ProblemKind::Signature(SignatureError::Length(length))));
    }
    fs::remove_file(&path).unwrap();
    symlink("part-0-000000.csv", &path).unwrap();
    assert_eq!(check(&p, None), Err(ProblemKind::NotAFile));
}
