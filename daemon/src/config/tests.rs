//! The configuration as a whole: a fixture for each mistake, the shipped files, and text that nobody wrote on purpose.

use super::*;
use proptest::prelude::*;
use saas_export_manual as manual;
use std::path::PathBuf;

/// A key of Parquet's encryption.
const KEY: &str = "000102030405060708090a0b0c0d0e0f";
/// A secret of webhooks: that of the examples of the specification.
const HOOK: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
/// A key that signs manifests: test 1 of RFC 8032, section 7.1.
const PEM: &str = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n\
                   -----END PRIVATE KEY-----\n";

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn fixtures() -> PathBuf {
    repository().join("tests/fixtures/config")
}

/// Compares a checked-in file with what it should say; `UPDATE_DOCS=1` writes it instead.
fn checked_in(path: &Path, expected: &str) {
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, expected).unwrap();
    }
    let found = std::fs::read_to_string(path).unwrap_or_default();
    assert!(found == expected, "{} is not up to date: run the tests with UPDATE_DOCS=1\n{expected}", path.display());
}

#[test]
fn every_mistake_is_told_as_its_fixture_says() {
    let mut seen = 0;
    for entry in std::fs::read_dir(fixtures()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|ending| ending != "yaml") {
            continue;
        }
        seen += 1;
        let name = path.file_name().unwrap().to_str().unwrap();
        let bytes = std::fs::read(&path).unwrap();
        let values =
            [("KNOWN", "a value"), ("EMPTY", ""), ("TWO_LINES", "a\nb"), ("KEY", KEY), ("PEM", PEM), ("HOOK", HOOK)];
        let values = values.map(|(name, value)| (name.into(), crate::base::secret::Secret::new(value)));
        let secrets = Secrets::new(values.into(), Path::new("/etc/export/auth.env"));
        let read = read(std::str::from_utf8(&bytes).unwrap(), name, Some(&secrets));
        let told = read.err().map(|problems| problems.to_string()).unwrap_or_default();
        assert!(name.starts_with("good") == told.is_empty(), "{name}: {told}");
        assert!(!told.contains("hunter2"), "{name} shows a secret: {told}");
        checked_in(&path.with_extension("txt"), &format!("{told}\n"));
    }
    assert!(seen >= 60, "only {seen} fixtures");
}

#[test]
fn all_mistakes_are_told_at_once() {
    let told = std::fs::read_to_string(fixtures().join("all-at-once.txt")).unwrap();
    let lines: Vec<&str> = told.lines().collect();
    assert!(lines.len() >= 20, "{told}");
    let places: Vec<(usize, usize)> = lines
        .iter()
        .map(|line| {
            let mut parts = line.split(':').skip(1).map(|number| number.parse().unwrap());
            (parts.next().unwrap(), parts.next().unwrap())
        })
        .collect();
    assert!(places.is_sorted(), "{told}");
}

#[test]
fn the_shipped_files_are_good() {
    let etc = repository().join("etc/export");
    let text = std::fs::read_to_string(etc.join("config.yaml")).unwrap();
    let auth = std::fs::read_to_string(etc.join("auth.env")).unwrap();
    let check = |text: &str, auth: &str| {
        let secrets = Secrets::new(authenv::parse(auth, "auth.env").unwrap(), Path::new("auth.env"));
        read(text, "config.yaml", Some(&secrets)).unwrap()
    };
    let shipped = check(&text, &auth);
    assert!(shipped.exports.values().all(|export| export.format.word() == "parquet"));
    // As the comments tell an operator to do it: without the marks, all the examples count.
    let examples = text.replace("#: ", "");
    assert_ne!(check(&examples, &auth.replace("#: ", "")), shipped);
    assert!(parse(&examples, "config.yaml").unwrap().sources.values().all(|source| {
        let settings::Source::Rest(rest) = source;
        rest.auth.is_some()
    }));
}

#[test]
fn the_generated_files_are_up_to_date() {
    let schema = serde_json::to_string_pretty(&Config::schema()).unwrap();
    checked_in(&repository().join("etc/export/config.schema.json"), &format!("{schema}\n"));
    checked_in(&repository().join("docs/configuration.md"), &reference::markdown());
}

#[test]
fn the_manual_is_up_to_date() {
    let blocks = [("title", manual::title("saas-export-config", 5)), ("reference", reference::manual::roff())];
    manual::keep("saas-export-config.5", &blocks).unwrap();
    manual::lint("saas-export-config.5").unwrap();
}

#[test]
fn a_file_that_cannot_be_read_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.yaml");
    assert!(load(&path, None).unwrap_err().to_string().contains("cannot be read"));
    std::fs::write(&path, b"version: 1\n# \xff\n").unwrap();
    assert!(load(&path, None).unwrap_err().to_string().ends_with("config.yaml:2: is not UTF-8"));
    std::fs::write(&path, vec![b'#'; load::MAX_BYTES + 1]).unwrap();
    assert!(load(&path, None).unwrap_err().to_string().contains("larger than"));
    std::fs::write(&path, GOOD).unwrap();
    assert_eq!(load(&path, None).unwrap(), parse(GOOD, "f").unwrap());
}

const GOOD: &str = include_str!("../../../tests/fixtures/config/good-everything.yaml");

#[test]
fn a_configuration_reads_back_as_it_was_written() {
    let config = parse(GOOD, "f").unwrap();
    let text = serde_json::to_string(&config).unwrap();
    assert!(text.contains("read_timeout") && text.contains("page_buffer"), "defaults are written out: {text}");
    assert_eq!(parse(&text, "g").unwrap(), config);
}

/// Lines of a good file, with some of their parts exchanged.
fn mutated() -> impl Strategy<Value = String> {
    let snippets = prop::sample::select(vec![
        "",
        "{",
        "}",
        "[",
        "]",
        ":",
        ": ",
        "- ",
        "#",
        "&a ",
        "*a",
        "!x ",
        "'",
        "\"",
        "|",
        ">",
        "null",
        "true",
        "1e99",
        "-1",
        "0x1f",
        "${",
        "${NAME}",
        "{{ param.x }}",
        "{{",
        "%",
        "é",
        "\t",
        "\u{feff}",
        "\0",
        "\n",
        "<<: *a",
        "? ",
        "1.2",
        "9999999999999999999999",
        ".nan",
        "50MB",
        "30s",
        "rest:",
        "sources:",
        "streams:",
        "version: 1",
        "$.a[?@.b>1]",
    ]);
    let cut = (any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0..12_usize, snippets);
    prop::collection::vec(cut, 1..6).prop_map(|cuts| {
        let mut chars: Vec<char> = GOOD.chars().collect();
        for (from, _, length, snippet) in cuts {
            let start = from.index(chars.len());
            let end = (start + length).min(chars.len());
            chars.splice(start..end, snippet.chars());
        }
        chars.into_iter().collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Nothing panics, and every refusal says where.
    #[test]
    fn any_text_gets_an_answer(text in any::<String>()) {
        if let Err(problems) = parse(&text, "f") {
            prop_assert!(problems.list().iter().all(|problem| !problem.message.is_empty()));
        }
    }

    #[test]
    fn yaml_like_text_gets_an_answer(text in r"[a-c0-9:{}\[\],&*!|>'\x22#%@\-? \n\t~.]{0,80}") {
        let _ = parse(&text, "f");
    }

    #[test]
    fn a_damaged_file_gets_an_answer(text in mutated()) {
        match parse(&text, "f") {
            Ok(config) => {
                let again = parse(&serde_json::to_string(&config).unwrap(), "g");
                prop_assert_eq!(again.map_err(|problems| problems.to_string()), Ok(config));
            }
            Err(problems) => {
                for problem in problems.list() {
                    // What only serde sees has no place: the walk must see it first.
                    let placed = problem.line > 0 && !problem.message.contains("invalid type");
                    prop_assert!(placed && problem.line <= text.lines().count() + 1, "{}", problem);
                }
            }
        }
    }
}
