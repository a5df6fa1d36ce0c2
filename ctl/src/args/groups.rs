//! The commands by purpose, for the help of exportctl and for its manual.

use clap::Command;
use std::fmt::Write as _;

/// What the commands are for; every command stands in one of the lists, in the order in which it is shown.
pub const GROUPS: [(&str, &[&str]); 4] = [
    ("Look", &["status", "exports", "tasks", "show", "watch", "logs", "schedule", "notifications", "metrics", "check"]),
    ("Act", &["run", "pause", "resume", "cancel", "retry", "deliver"]),
    ("Data", &["files", "get", "url", "verify", "schema", "offsets", "prune"]),
    ("Administer", &["config", "ledger", "reload", "waitready", "query", "version", "completions"]),
];

/// The command with a help that lists its commands in their groups.
pub fn grouped(command: Command) -> Command {
    let styles = command.get_styles().clone();
    let (header, literal) = (styles.get_header(), styles.get_literal());
    let width = command.get_subcommands().map(|sub| sub.get_name().len()).max().unwrap_or_default();
    let mut list = String::new();
    for (purpose, names) in GROUPS {
        let _ = writeln!(list, "{header}{purpose}:{header:#}");
        for name in names {
            let about = command.find_subcommand(name).and_then(Command::get_about).map(ToString::to_string);
            let _ = writeln!(list, "  {literal}{name:width$}{literal:#}  {}", about.unwrap_or_default());
        }
        list.push('\n');
    }
    let template = format!(
        "{{about-with-newline}}\n{{usage-heading}} {{usage}}\n\n{list}{header}Options:{header:#}\n{{options}}{{after-help}}"
    );
    command.help_template(template)
}
