//! Completion scripts: clap's own, which know commands and options, and in them names that the daemon is asked for.

use crate::args::definition;
use clap::{Arg, Command, ValueHint};
use clap_complete::Shell;
use std::fmt::Write as _;

/// What is asked of `exportctl names` to complete an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Kind {
    /// Exports.
    Exports,
    /// Tasks.
    Tasks,
    /// Both.
    Both,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Exports, Self::Tasks, Self::Both];

    /// The word on the command line.
    fn word(self) -> &'static str {
        match self {
            Self::Exports => "exports",
            Self::Tasks => "tasks",
            Self::Both => "both",
        }
    }

    /// What an argument takes, as its help calls it.
    fn of(arg: &Arg) -> Option<Self> {
        match arg.get_value_names()?.first()?.as_str() {
            "EXPORT" => Some(Self::Exports),
            "TASK" => Some(Self::Tasks),
            "TASK|EXPORT" => Some(Self::Both),
            _ => None,
        }
    }

    /// A hint that exportctl has no other use for, and what clap makes of it for zsh.
    fn mark(self) -> (ValueHint, &'static str) {
        match self {
            Self::Exports => (ValueHint::Username, ":_users'"),
            Self::Tasks => (ValueHint::Hostname, ":_hosts'"),
            Self::Both => (ValueHint::EmailAddress, ":_email_addresses'"),
        }
    }
}

/// The script for a shell. Only the first name of a command is asked for.
pub fn script(shell: Shell) -> String {
    let mut command = marked(definition());
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, "exportctl", &mut script);
    let script = String::from_utf8_lossy(&script).into_owned();
    let mut wanted = Vec::new();
    collect(&command, "", &mut wanted);
    match shell {
        Shell::Bash => script + &bash(&wanted, &with_values(&command)),
        Shell::Zsh => zsh(script),
        Shell::Fish => script + &fish(&wanted),
        _ => script,
    }
}

fn marked(command: Command) -> Command {
    let mark = |arg: Arg| match Kind::of(&arg) {
        Some(kind) => arg.value_hint(kind.mark().0),
        None => arg,
    };
    command.mut_args(mark).mut_subcommands(marked)
}

/// Commands whose first argument is a name, as they are written, and what it names.
fn collect(command: &Command, path: &str, wanted: &mut Vec<(String, Kind)>) {
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
        let path = format!("{path} {}", sub.get_name()).trim().to_owned();
        let first = sub.get_positionals().next().and_then(Kind::of);
        wanted.extend(first.map(|kind| (path.clone(), kind)));
        collect(sub, &path, wanted);
    }
}

/// Every option that takes a value: behind it stands no name.
fn with_values(command: &Command) -> Vec<String> {
    let takes = |arg: &&Arg| !arg.is_positional() && arg.get_action().takes_values();
    let names = |arg: &Arg| {
        let long = arg.get_long().map(|long| format!("--{long}"));
        long.into_iter().chain(arg.get_short().map(|short| format!("-{short}")))
    };
    let mut all: Vec<String> = command.get_arguments().filter(takes).flat_map(names).collect();
    all.extend(command.get_subcommands().flat_map(with_values));
    all.sort();
    all.dedup();
    all
}

fn bash(wanted: &[(String, Kind)], with_values: &[String]) -> String {
    let mut cases = String::new();
    let mut wanted: Vec<_> = wanted.iter().collect();
    // The first pattern that fits counts: the longer names first.
    wanted.sort_by_key(|(path, _)| std::cmp::Reverse(path.split(' ').count()));
    for (path, kind) in wanted {
        let words = path.split(' ').count();
        let pattern = if words == 1 { format!("\"{path} \"*") } else { format!("\"{path}\"") };
        let _ = writeln!(cases, "        {pattern}) kind={} at={} ;;", kind.word(), words + 1);
    }
    format!(
        r#"
_exportctl_with_names() {{
    _exportctl "$@"
    local cur="${{COMP_WORDS[COMP_CWORD]}}" kind="" at=0 names
    [[ "$cur" == -* ]] && return 0
    case "${{COMP_WORDS[COMP_CWORD-1]}}" in
        {}) return 0 ;;
    esac
    case "${{COMP_WORDS[1]}} ${{COMP_WORDS[2]}}" in
{cases}    esac
    [[ -z "$kind" || "$COMP_CWORD" -lt "$at" ]] && return 0
    names=( $(compgen -W "$(exportctl names "$kind" 2>/dev/null)" -- "$cur") )
    [[ "${{#names[@]}}" -gt 0 ]] && COMPREPLY=( "${{names[@]}}" )
    return 0
}}

complete -F _exportctl_with_names -o bashdefault -o default exportctl
"#,
        with_values.join("|")
    )
}

fn zsh(script: String) -> String {
    let mut functions = String::new();
    let mut script = script;
    for kind in Kind::ALL {
        let word = kind.word();
        script = script.replace(kind.mark().1, &format!(":_exportctl_names_{word}'"));
        let _ = writeln!(
            functions,
            "(( $+functions[_exportctl_names_{word}] )) ||\n_exportctl_names_{word}() {{\n    local -a names; \
             names=(${{(f)\"$(exportctl names {word} 2>/dev/null)\"}})\n    _describe -t names {word} names\n}}\n"
        );
    }
    // In front of the lines that call the whole.
    match script.find("if [ \"$funcstack[1]\"") {
        Some(end) => format!("{}{functions}{}", &script[..end], &script[end..]),
        None => script,
    }
}

fn fish(wanted: &[(String, Kind)]) -> String {
    let mut lines = String::from("\n# Names that the daemon is asked for.\n");
    for (path, kind) in wanted {
        let condition = match path.split_once(' ') {
            Some((first, second)) => {
                format!("__fish_exportctl_using_subcommand {first}; and __fish_seen_subcommand_from {second}")
            }
            None => format!("__fish_exportctl_using_subcommand {path}"),
        };
        let word = kind.word();
        let _ =
            writeln!(lines, "complete -c exportctl -n \"{condition}\" -f -a \"(exportctl names {word} 2>/dev/null)\"");
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_asked_for_where_the_help_says_so() {
        let mut wanted = Vec::new();
        collect(&definition(), "", &mut wanted);
        for (path, kind) in [
            ("run", Kind::Exports),
            ("retry", Kind::Tasks),
            ("pause", Kind::Both),
            ("show", Kind::Both),
            ("offsets show", Kind::Both),
            ("schema", Kind::Exports),
            ("schema diff", Kind::Both),
        ] {
            assert!(wanted.contains(&(path.to_owned(), kind)), "{path} in {wanted:?}");
        }
        assert!(!wanted.iter().any(|(path, _)| path == "query" || path == "tasks"), "{wanted:?}");
        let zsh = script(Shell::Zsh);
        assert!(zsh.contains("':export -- Name of the export:_exportctl_names_exports'"), "{zsh}");
        assert!(!zsh.contains("_users") && !zsh.contains("_hosts") && !zsh.contains("_email_addresses"));
        assert!(script(Shell::Fish).contains("using_subcommand run\" -f -a \"(exportctl names exports 2>/dev/null)\""));
    }
}
