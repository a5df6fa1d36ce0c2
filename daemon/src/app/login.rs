//! `auth login`: gets the first refresh token of a source, at a terminal.

use super::bad_config;
use super::cli::Login;
use super::engine::{Files, load};
use crate::auth::{AuthError, Place, login};
use crate::base::error::Chain;
use crate::base::ids::Name;
use crate::config::settings::{Config, Rest, Source};
use crate::host::log;
use crate::seal;
use std::path::PathBuf;
use std::process::ExitCode;

/// The source cannot be logged in to.
const EXIT_USAGE: u8 = 2;
/// There is no such source.
const EXIT_NOT_FOUND: u8 = 4;

/// Logs in to a source, and keeps what that brings.
pub async fn run(files: Files, wanted: &Login) -> ExitCode {
    log::start(log::FOREGROUND);
    let (config, secrets) = match load(&files) {
        Ok(loaded) => loaded,
        Err(problems) => return bad_config(&problems),
    };
    let Some((name, rest)) = find(&config, &wanted.source) else {
        let names: Vec<_> = config.sources.keys().map(Name::as_str).collect();
        eprintln!("saas-export-daemon: there is no source {:?}; there are: {}", wanted.source, names.join(", "));
        return ExitCode::from(EXIT_NOT_FOUND);
    };
    let handed_over = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
    let state_dir = wanted.state_dir.clone().unwrap_or_else(|| config.daemon.state_dir.clone());
    let given = || seal::handed_over(&state_dir, handed_over.as_deref(), &files.config);
    let state_key = wanted.state_key.clone().or_else(given);
    let place = Place { state_dir, state_key };
    let refused = |code: u8, error: &AuthError| {
        eprintln!("saas-export-daemon: failed to log in to {name}: {}", Chain(error));
        ExitCode::from(code)
    };
    let login = match login::Login::new(name, rest, &secrets, &place) {
        Ok(login) => login,
        Err(error) => return refused(EXIT_USAGE, &error),
    };
    match login.run(wanted.port, &mut |words: &str| println!("{words}\n")).await {
        Ok(()) => {
            println!("The refresh token of {name} is kept in {}, sealed.", place.state_dir.join("secrets").display());
            ExitCode::SUCCESS
        }
        Err(error) => refused(1, &error),
    }
}

fn find<'a>(config: &'a Config, name: &str) -> Option<(&'a Name, &'a Rest)> {
    let (name, Source::Rest(rest)) = config.sources.get_key_value(name)?;
    Some((name, rest))
}
