//! Tests that the help teaches by examples that work, and keeps exportctl(1).

use super::groups::GROUPS;
use super::*;
use saas_export_manual as manual;

fn built() -> clap::Command {
    let mut command = definition();
    command.build();
    command
}

#[test]
fn every_command_stands_in_one_group() {
    let command = definition();
    let listed: Vec<&str> = GROUPS.iter().flat_map(|(_, names)| names.iter().copied()).collect();
    let there: Vec<&str> =
        command.get_subcommands().filter(|sub| !sub.is_hide_set()).map(|sub| sub.get_name()).collect();
    for name in &there {
        let times = listed.iter().filter(|listed| listed == &name).count();
        assert_eq!(times, 1, "exportctl {name} must stand in one list of GROUPS (ctl/src/args/groups.rs)");
    }
    assert_eq!(listed.len(), there.len(), "GROUPS names a command that is not there: {listed:?}");
    let help = command.clone().render_help().to_string();
    assert!(help.contains("\nLook:\n  status ") && help.contains("\nAdminister:\n"), "{help}");
}

#[test]
fn every_command_teaches_by_examples_that_parse() {
    let wrong = manual::wrong_examples(&definition());
    assert!(wrong.is_empty(), "{} (ctl/src/args/examples.rs)", wrong.join("\n"));
}

#[test]
fn the_help_of_every_command_fits_a_terminal() {
    let command = built();
    for command in manual::commands(&command) {
        let help = command.clone().render_help().to_string();
        let wide = help.lines().find(|line| line.chars().count() > 150);
        assert_eq!(wide, None, "{}", command.get_name());
    }
}

#[test]
fn the_manual_is_up_to_date() {
    let command = built();
    let mut commands = String::new();
    for (purpose, names) in GROUPS {
        commands.push_str(&format!(".SH \"COMMANDS: {}\"\n", purpose.to_uppercase()));
        commands.extend(names.iter().filter_map(|name| command.find_subcommand(name)).map(manual::command));
    }
    let exits = exit::ALL.iter().map(|(exit, says)| manual::entry(&format!("`{}`", *exit as u8), &format!("{says}.")));
    let blocks = [
        ("title", manual::title("exportctl", 1)),
        ("options", manual::options(&command)),
        ("commands", commands),
        ("exits", exits.collect()),
    ];
    manual::keep("exportctl.1", &blocks).unwrap();
    manual::lint("exportctl.1").unwrap();
}
