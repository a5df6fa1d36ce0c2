//! The command line of a program as roff, from its definition in clap.

use crate::examples::examples;
use crate::roff::{entry, inline, literal, paragraphs, text};
use clap::{Arg, Command};

/// The options and arguments of a command, with those that count for every command below it; hidden ones are left out.
pub fn options(command: &Command) -> String {
    entries(command, |_| true)
}

fn entries(command: &Command, wanted: impl Fn(&Arg) -> bool) -> String {
    let everywhere = ["help", "version"];
    let shown = |arg: &&Arg| !arg.is_hide_set() && !everywhere.contains(&arg.get_id().as_str()) && wanted(arg);
    command.get_arguments().filter(shown).map(|arg| entry(&tag(arg), &meaning(arg))).collect()
}

/// `program command [OPTIONS] <ARGUMENT>`.
pub fn usage(command: &Command) -> String {
    let usage = command.clone().render_usage().to_string();
    usage.trim_start_matches("Usage:").split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A command and those below it: usage, what it does, options, examples. Commands must be built (`Command::build`), so that
/// they know their whole names.
pub fn command(command: &Command) -> String {
    if command.is_hide_set() || command.get_name() == "help" {
        return String::new();
    }
    let mut roff = format!(".SS {}\n", inline(&usage(command)));
    let about = command.get_long_about().or(command.get_about()).map(ToString::to_string).unwrap_or_default();
    roff.push_str(&paragraphs(&sentence(&about)));
    roff.push_str(&entries(command, |arg| !arg.is_global_set()));
    let after = command.get_after_long_help().or(command.get_after_help()).map(ToString::to_string).unwrap_or_default();
    let prose = after.split("Examples:").next().unwrap_or_default().trim();
    if !prose.is_empty() {
        roff.push_str(&format!(".PP\n{}", with_samples(prose)));
    }
    let lines = examples(&after);
    if !lines.is_empty() {
        roff.push_str(&format!(".PP\nExamples:\n{}", literal(lines)));
    }
    roff.push_str(&command.get_subcommands().map(self::command).collect::<String>());
    roff
}

/// Prose with indented samples in it.
fn with_samples(prose: &str) -> String {
    let mut roff = String::new();
    for block in
        prose.split_inclusive('\n').collect::<Vec<_>>().chunk_by(|a, b| a.starts_with("  ") == b.starts_with("  "))
    {
        match block.first() {
            Some(first) if first.starts_with("  ") => roff.push_str(&literal(block.iter().map(|line| line.trim()))),
            _ => roff.push_str(&text(&block.concat())),
        }
    }
    roff
}

/// How an option or argument is written.
fn tag(arg: &Arg) -> String {
    let value = |arg: &Arg| {
        let names = arg.get_value_names().unwrap_or_default();
        names.iter().map(|name| name.to_string()).collect::<Vec<_>>().join(" ")
    };
    if arg.is_positional() {
        return format!("`{}`", value(arg));
    }
    let mut names: Vec<String> = arg.get_short().map(|short| format!("`-{short}`")).into_iter().collect();
    let long = arg.get_long().into_iter().chain(arg.get_visible_aliases().unwrap_or_default());
    names.extend(long.map(|long| format!("`--{long}`")));
    let names = names.join(", ");
    if arg.get_action().takes_values() { format!("{names} {}", value(arg)) } else { names }
}

/// What it means, with its default and its environment variable.
fn meaning(arg: &Arg) -> String {
    let help = arg.get_long_help().or(arg.get_help()).map(ToString::to_string).unwrap_or_default();
    let mut meaning = sentence(&help);
    if arg.get_action().takes_values() {
        let words: Vec<_> = arg.get_possible_values().iter().map(|value| format!("`{}`", value.get_name())).collect();
        if !words.is_empty() {
            meaning.push_str(&format!(" One of {}.", words.join(", ")));
        }
        let default: Vec<_> = arg.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
        if !default.is_empty() {
            meaning.push_str(&format!(" Default: `{}`.", default.join(" ")));
        }
    }
    if let Some(variable) = arg.get_env() {
        meaning.push_str(&format!(" Environment: `{}`.", variable.to_string_lossy()));
    }
    meaning
}

/// Clap takes the full stop of a short text away; a page is prose.
fn sentence(text: &str) -> String {
    let text = text.trim();
    if text.is_empty() || text.ends_with(['.', ':', '?']) { text.to_owned() } else { format!("{text}.") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::ArgAction;

    #[test]
    fn a_command_tells_all() {
        let arg =
            Arg::new("limit").long("limit").short('l').value_name("N").default_value("20").env("X").help("At most");
        let flag = Arg::new("all").long("all").action(ArgAction::SetTrue).help("Everything.");
        let sub = Command::new("list").about("Lists").arg(arg).arg(flag).arg(Arg::new("what").value_name("WHAT"));
        let mut root =
            Command::new("prog").subcommand(sub.after_help("Prose.\n  a sample\n\nExamples:\n  prog list x   why"));
        root.build();
        let told = command(root.find_subcommand("list").unwrap());
        for part in [
            ".SS prog list [OPTIONS] [WHAT]\nLists.\n",
            ".TP\n\\fB\\-l\\fR, \\fB\\-\\-limit\\fR N\nAt most. Default: \\fB20\\fR. Environment: \\fBX\\fR.\n",
            ".TP\n\\fB\\-\\-all\\fR\nEverything.\n",
            ".TP\n\\fBWHAT\\fR\n",
            "Prose.\n.RS 4\n.EX\na sample\n",
            "prog list x   why\n",
        ] {
            assert!(told.contains(part), "{part} is not in\n{told}");
        }
        assert!(!told.contains("help"), "{told}");
    }
}
