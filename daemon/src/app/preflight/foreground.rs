//! `saas-export-daemon check`: the same check where no daemon runs, printed a line for each step.

use super::Preflight;
use crate::app::bad_config;
use crate::app::cli::Check;
use crate::app::engine::{Files, load};
use crate::host::log;
use crate::queue::handle::Refusal;
use crate::seal;
use saas_export_api as api;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

/// The command line is wrong.
const EXIT_USAGE: u8 = 2;
/// There is no such export.
const EXIT_NOT_FOUND: u8 = 4;

/// Checks and prints; 0 if no step failed.
pub async fn run(files: &Files, check: &Check) -> ExitCode {
    log::start(log::FOREGROUND);
    let (config, secrets) = match load(files) {
        Ok(loaded) => loaded,
        Err(problems) => return bad_config(&problems),
    };
    let params = check.params.iter().cloned().collect();
    let handed_over = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
    let state_key = seal::handed_over(&config.daemon.state_dir, handed_over.as_deref(), &files.config);
    let report = match Preflight::alone(config, secrets, state_key).run(check.export.as_deref(), &params).await {
        Ok(report) => report,
        Err(refused) => {
            eprintln!("saas-export-daemon: {refused}");
            let code = if matches!(refused, Refusal::NotFound(_)) { EXIT_NOT_FOUND } else { EXIT_USAGE };
            return ExitCode::from(code);
        }
    };
    let text = match check.json {
        true => serde_json::to_string_pretty(&report).unwrap_or_default() + "\n",
        false => lines(&report),
    };
    // A closed pipe is no reason to say otherwise.
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
    if report.ok { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn lines(report: &api::Preflight) -> String {
    let mut text = String::new();
    let mut subject = "";
    for step in &report.steps {
        if step.subject != subject {
            subject = &step.subject;
            text.push_str(&format!("{subject}\n"));
        }
        let (result, name, message) = (step.result.word(), &step.name, &step.message);
        text.push_str(&format!("  {result:<4}  {name:<16}  {:>6} ms  {message}\n", step.ms));
        text.extend(step.hint.iter().map(|hint| format!("        {hint}\n")));
    }
    text
}
