//! exportctl: drives saas-export-daemon over its control socket.

mod args;
mod client;
mod commands;
mod completions;
mod download;
mod exit;
mod failure;
mod follow;
mod human;
mod live;
mod out;
mod table;

use exit::Exit;
use failure::Failure;
use out::{Out, complain};
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = args::read();
    let out = Out::new(cli.json, cli.quiet);
    let done = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Exit::Failed, format!("failed to start: {error}")))
        .and_then(|runtime| runtime.block_on(commands::run(cli.command, &client::Client::new(cli.socket), out)));
    match done {
        Ok(exit) => exit.into(),
        Err(failure) => {
            report(&failure);
            failure.exit.into()
        }
    }
}

fn report(failure: &Failure) {
    if !failure.message.is_empty() {
        complain(&format!("exportctl: {}", human::clean_lines(&failure.message)));
    }
    if let Some(hint) = &failure.hint {
        complain(&format!("  {}", human::clean_lines(hint)));
    }
}
