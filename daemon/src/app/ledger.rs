//! `ledger check`: looks at a ledger as a file; no daemon is asked, and not a byte is written.

use super::bad_config;
use super::cli::LedgerCheck;
use super::engine::Files;
use crate::base::error::Chain;
use crate::config;
use crate::host::log;
use crate::ledger::{self, CheckStep};
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

/// Prints what was looked at; the exit code says whether all is as it should be.
pub fn check(files: &Files, wanted: &LedgerCheck) -> ExitCode {
    log::start(log::FOREGROUND);
    let path = match path(files, wanted) {
        Ok(path) => path,
        Err(problems) => return bad_config(&problems),
    };
    match ledger::check_file(&path) {
        Ok(steps) => {
            let ok = steps.iter().all(|step| step.problems.is_empty());
            // Whoever does not read to the end still gets the exit code.
            let _ = io::stdout().write_all(report(&path.display().to_string(), &steps).as_bytes());
            if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("saas-export-daemon: failed to {}", Chain(&error));
            ExitCode::FAILURE
        }
    }
}

/// The file that is meant: the one that is named, else that of the configured state directory.
fn path(files: &Files, wanted: &LedgerCheck) -> Result<PathBuf, Vec<String>> {
    match (&wanted.file, &wanted.state_dir) {
        (Some(file), _) => Ok(file.clone()),
        (None, Some(state_dir)) => Ok(state_dir.join(ledger::FILE)),
        (None, None) => match config::load(&files.config, None) {
            Ok(config) => Ok(config.daemon.state_dir.join(ledger::FILE)),
            Err(problems) => Err(problems.list().iter().map(ToString::to_string).collect()),
        },
    }
}

fn report(path: &str, steps: &[CheckStep]) -> String {
    let mut text = format!("{path}\n");
    for step in steps {
        let word = if step.problems.is_empty() { "ok" } else { "fail" };
        text.push_str(&format!("  {word:<4}  {:<10}  {}\n", step.name, step.looked_at));
        for problem in &step.problems {
            text.push_str(&format!("          {}\n", problem.replace(char::is_control, "\u{fffd}")));
        }
        if !step.problems.is_empty() {
            text.push_str(&format!("        → {}\n", step.remedy));
        }
    }
    text
}
