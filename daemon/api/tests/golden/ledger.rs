//! Golden JSON of what is said about the ledger itself.

use super::{check, text};
use saas_export_api::*;

#[test]
fn snapshots() {
    let (name, path) =
        (text("ledger-20261121T024501Z.db"), text("/var/lib/saas-export/snapshots/ledger-20261121T024501Z.db"));
    let taken_at = text("2026-11-21T02:45:01Z");
    let listed =
        LedgerSnapshot { name: name.clone(), path: path.clone(), taken_at: taken_at.clone(), bytes: 4_096_000 };
    check("ledger_snapshot", &listed);
    let sha256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08".into();
    check("ledger_backup", &LedgerBackup { name, path, taken_at, bytes: 4_096_000, sha256, seconds: 0.125 });
}

#[test]
fn a_check() {
    let good = LedgerStep {
        name: text("file"),
        looked_at: text("every page of the database"),
        problems: Vec::new(),
        remedy: None,
    };
    let bad = LedgerStep {
        name: text("audit"),
        looked_at: text("the chain of hashes over the audit"),
        problems: vec![text("row 17 does not follow from the rows before it")],
        remedy: Some(text("compare it with that of a snapshot")),
    };
    let ledger = text("/var/lib/saas-export/ledger.db");
    check("ledger_check", &LedgerCheck { ledger, ok: false, seconds: 1.5, steps: vec![good, bad] });
}
