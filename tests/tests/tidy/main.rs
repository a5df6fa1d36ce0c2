//! Keeps the shape of the code: layers, sizes, and what may be named where.

mod source;

use source::{Source, root, sources};
use std::collections::{BTreeMap, BTreeSet};

/// The rows of the daemon's modules, lowest first. A module imports from the rows below it, never from its own row.
const ROWS: [&[&str]; 10] = [
    &["base"],
    &["host", "model", "metrics"],
    &["config"],
    &["record", "net", "seal"],
    &["formats", "auth"],
    &["sources", "destinations", "ledger"],
    &["transfer"],
    &["queue"],
    &["control", "schedule", "retention", "notify"],
    &["app"],
];

/// Lines of a file, tests not counted.
const MAX_FILE: usize = 400;
/// Lines of a function.
const MAX_FUNCTION: usize = 70;

fn row(module: &str) -> Option<usize> {
    ROWS.iter().position(|row| row.contains(&module))
}

/// The daemon's module that a file belongs to: `daemon/src/queue/mod.rs` → `queue`.
fn module(source: &Source) -> Option<&str> {
    let inside = source.path.strip_prefix("daemon/src/")?;
    Some(inside.split('/').next().unwrap_or(inside).trim_end_matches(".rs"))
}

/// Every module that a file reaches by `crate::NAME` or `crate::{NAME, …}`.
fn imports(code: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        let word = |text: &str| -> String { text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect() };
        if let Some(group) = rest.strip_prefix('{') {
            let mut depth = 0;
            let mut fresh = true;
            for (n, c) in group.char_indices() {
                match c {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    ',' if depth == 0 => fresh = true,
                    c if fresh && c.is_alphabetic() => {
                        found.insert(word(&group[n..]));
                        fresh = false;
                    }
                    _ => {}
                }
            }
        } else {
            found.insert(word(rest));
        }
    }
    found
}

#[track_caller]
fn none(what: &str, found: &[String]) {
    assert!(found.is_empty(), "{what}:\n  {}", found.join("\n  "));
}

#[test]
fn imports_go_only_downward() {
    let mut wrong = Vec::new();
    for source in sources() {
        let Some(own) = module(&source) else { continue };
        if ["main", "lib"].contains(&own) {
            continue;
        }
        let Some(own_row) = row(own) else {
            wrong.push(format!(
                "{}: the module {own} is in no row; give it one in DESIGN and in this test",
                source.path
            ));
            continue;
        };
        for other in imports(source.main_code()) {
            let allowed = other == own || row(&other).is_some_and(|row| row < own_row);
            if !allowed && row(&other).is_some() {
                wrong.push(format!("{}: {own} imports {other}", source.path));
            }
        }
    }
    none("imports that do not go downward", &wrong);
}

#[test]
fn imports_are_found() {
    let code = "use crate::base::ids;\nuse crate::{model::{a, config}, net};\nlet x = crate::queue::y();";
    let found: Vec<_> = imports(code).into_iter().collect();
    assert_eq!(found, ["base", "model", "net", "queue"]);
}

#[test]
fn leaf_crates_stay_leaves() {
    let mut wrong = Vec::new();
    for source in sources() {
        let forbidden: &[&str] = if source.path.starts_with("daemon/api/") {
            &["saas_export_daemon", "saas_export_manifest", "tokio", "hyper"]
        } else if source.path.starts_with("daemon/manifest/") || source.path.starts_with("ctl/") {
            &["saas_export_daemon"]
        } else {
            &[]
        };
        for name in forbidden.iter().filter(|name| source.code.contains(**name)) {
            wrong.push(format!("{} names {name}", source.path));
        }
    }
    none("leaves that reach into the tree", &wrong);
}

#[test]
fn files_and_functions_are_small_enough() {
    let mut wrong = Vec::new();
    for source in sources() {
        let lines = if source.is_test() { source.code.lines().count() } else { source.main_lines() };
        if lines > MAX_FILE {
            wrong.push(format!("{}: {lines} lines, at most {MAX_FILE}", source.path));
        }
        for function in source.functions() {
            if function.lines > MAX_FUNCTION {
                wrong
                    .push(format!("{}:{}: {} has {} lines", source.path, function.line, function.name, function.lines));
            }
        }
    }
    none("too large", &wrong);
}

#[test]
fn every_file_says_its_duty_first() {
    let bad = |source: &Source| {
        let first = source.text.lines().next().unwrap_or_default();
        !first.starts_with("//! ") || first.len() < 12
    };
    let wrong: Vec<String> = sources().iter().filter(|s| bad(s)).map(|s| s.path.clone()).collect();
    none("files that do not open with a sentence", &wrong);
}

/// Names that only these places may use, because each stays replaceable or dangerous there.
const CONFINED: [(&str, &[&str]); 7] = [
    ("serde_yaml::", &["daemon/src/config/load.rs", "daemon/src/config/load/"]),
    ("backoff::", &["daemon/src/base/retry.rs"]),
    ("rusqlite::", &["daemon/src/ledger/"]),
    ("jsonschema::", &["daemon/src/config/json_schema.rs", "daemon/src/record/rules/checker.rs"]),
    ("sd_notify::", &["daemon/src/host/notify.rs"]),
    // exportctl and the tests are programs of their own, without the daemon's clock.
    ("Instant::now(", &["daemon/src/base/clock.rs", "ctl/", "tests/"]),
    ("SystemTime::now(", &["daemon/src/base/clock.rs", "ctl/", "tests/"]),
];

#[test]
fn some_names_stay_in_their_place() {
    let mut wrong = Vec::new();
    for source in sources() {
        for (name, places) in CONFINED {
            let here = places.iter().any(|place| source.path.starts_with(place));
            let used = source
                .code
                .match_indices(name)
                .any(|(at, _)| !source.code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':'));
            if used && !here && !source.path.starts_with("tests/tests/tidy/") {
                wrong.push(format!("{} names {name}, which belongs to {}", source.path, places[0]));
            }
        }
    }
    none("names out of their place", &wrong);
}

#[test]
fn nothing_is_left_open_or_unsafe() {
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|source| !source.path.starts_with("tests/tests/tidy/")) {
        for word in ["todo!(", "unimplemented!(", "dbg!(", "#[ignore", "#[allow(", "#![allow("] {
            if source.code.contains(word) {
                wrong.push(format!("{}: {word}", source.path));
            }
        }
        for (n, line) in source.code.lines().enumerate() {
            let has = line.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == "unsafe");
            let from = source.code.lines().take(n).collect::<Vec<_>>();
            let expected = from.iter().rev().take(4).any(|line| line.contains("#[expect(unsafe_code"));
            if has && !expected {
                wrong.push(format!("{}:{}: unsafe without #[expect(unsafe_code, reason = …)]", source.path, n + 1));
            }
        }
    }
    none("left open", &wrong);
}

#[test]
fn every_warning_has_an_id_of_the_catalog() {
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|source| source.path.starts_with("daemon/src/")) {
        let code = source.main_code();
        for call in ["warn!(", "error!("] {
            for (at, _) in code.match_indices(call) {
                let rest = &code[at..];
                let end = rest.find(");").unwrap_or(rest.len());
                if !rest[..end].contains("MESSAGE_ID = ") {
                    let line = code[..at].matches('\n').count() + 1;
                    wrong.push(format!("{}:{line}: give it a MESSAGE_ID of host/messages/table.rs", source.path));
                }
            }
        }
    }
    none("warnings that `journalctl -x` cannot explain", &wrong);
}

/// The names listed in `crash::POINTS`.
fn listed_points() -> Vec<String> {
    let text = std::fs::read_to_string(root().join("daemon/src/base/crash.rs")).unwrap();
    let list = text.split_once("POINTS: &[&str] = &[").and_then(|(_, rest)| rest.split_once("];")).unwrap().0;
    list.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn crash_points_are_all_used_and_all_listed() {
    let mut used: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for source in sources().iter().filter(|s| s.path.starts_with("daemon/src/") && !s.path.ends_with("base/crash.rs")) {
        // `crash::point("…")` or `crash::point_at("…", …)`.
        let calls = ["crash::point(\"", "crash::point_at(\""];
        for (at, call) in calls.into_iter().flat_map(|call| source.text.match_indices(call)) {
            let name = source.text[at + call.len()..].split('"').next().unwrap_or_default();
            used.entry(name.to_owned()).or_default().push(source.path.clone());
        }
    }
    let listed = listed_points();
    assert!(listed.len() >= 25, "at least 25 named points: {}", listed.len());
    let unlisted: Vec<String> = used.keys().filter(|name| !listed.contains(name)).cloned().collect();
    none("crash points that are not in POINTS", &unlisted);
    let unused: Vec<String> = listed.into_iter().filter(|name| !used.contains_key(name)).collect();
    none("crash points that nothing passes", &unused);
}

#[test]
fn no_path_of_a_developers_machine_is_in_the_project() {
    let mut wrong = Vec::new();
    // Put together here, so that this file does not find itself.
    let words = [format!("/{}/", "work"), format!("/home{}", "/"), format!("/roo{}/", "t")];
    for source in sources() {
        for word in &words {
            if source.text.contains(word.as_str()) {
                wrong.push(format!("{}: {word}", source.path));
            }
        }
    }
    none("paths of a machine", &wrong);
}
