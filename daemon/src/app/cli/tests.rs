//! The definition of the command line, its examples, and the manual that is made of it.

use super::{AuthCommand, Cli, Command};
use clap::{CommandFactory as _, FromArgMatches as _};
use saas_export_manual as manual;

#[test]
fn the_command_line_is_consistent() {
    Cli::command().debug_assert();
    let login = Cli::command().try_get_matches_from(["d", "auth", "login", "shop"]).unwrap();
    let cli = Cli::from_arg_matches(&login).unwrap();
    assert!(
        matches!(cli.command, Some(Command::Auth { command: AuthCommand::Login(login) }) if login.source == "shop")
    );
}

#[test]
fn every_command_teaches_by_examples_that_parse() {
    let wrong = manual::wrong_examples(&Cli::command());
    assert!(wrong.is_empty(), "{} (daemon/src/app/cli/examples.rs)", wrong.join("\n"));
}

#[test]
fn the_manual_is_up_to_date() {
    let mut command = Cli::command();
    command.build();
    let blocks = [
        ("title", manual::title("saas-export-daemon", 8)),
        ("options", manual::options(&command)),
        ("commands", command.get_subcommands().map(manual::command).collect()),
    ];
    manual::keep("saas-export-daemon.8", &blocks).unwrap();
    manual::lint("saas-export-daemon.8").unwrap();
}
