//! The examples of a help text, and the command lines in them.

use clap::Command;

/// Every command of a definition that is built, and those below it; hidden ones and `help` are left out.
pub fn commands(command: &Command) -> Vec<&Command> {
    let below = command.get_subcommands().filter(|sub| sub.get_name() != "help" && !sub.is_hide_set());
    std::iter::once(command).chain(below.flat_map(commands)).collect()
}

/// What is wrong with the examples in the help of each command: there are none, none is about the command itself, or one is
/// not understood.
pub fn wrong_examples(program: &Command) -> Vec<String> {
    let (name, mut built) = (program.get_name(), program.clone());
    built.build();
    let mut wrong = Vec::new();
    for command in commands(&built) {
        let whole = command.get_bin_name().unwrap_or(name);
        let help = command.clone().render_help().to_string();
        let mut own = false;
        for line in examples(&help) {
            for call in invocations(name, line) {
                // Options that count everywhere may stand in front of the command's name.
                own |= whole.split(' ').all(|word| call.iter().any(|said| said == word));
                if let Err(error) = program.clone().try_get_matches_from(&call) {
                    wrong.push(format!("{whole} --help: {line}\n{error}"));
                }
            }
        }
        if !own {
            wrong.push(format!("{whole} --help has no block \"Examples:\" with an example of itself"));
        }
    }
    wrong
}

/// The lines below `Examples:`, without their indentation.
pub fn examples(help: &str) -> Vec<&str> {
    let Some((_, below)) = help.split_once("Examples:\n") else { return Vec::new() };
    below.lines().take_while(|line| line.starts_with("  ")).map(str::trim).collect()
}

/// Every call of `program` in a line of a shell, as words: also behind `|`, `&&`, `;` and in `$(…)`. What stands behind two
/// spaces or more is a remark.
pub fn invocations(program: &str, line: &str) -> Vec<Vec<String>> {
    let mut calls = vec![Vec::new()];
    let mut words = Words { rest: line.chars().collect(), at: 0 };
    let mut redirected = false;
    while let Some(word) = words.next() {
        match word {
            Word::Remark => break,
            Word::Operator(c) => {
                redirected = c == '>' || c == '<';
                if !redirected {
                    calls.push(Vec::new());
                }
            }
            Word::Plain(_) if redirected => redirected = false,
            Word::Plain(text) => {
                if let Some(call) = calls.last_mut() {
                    call.push(text);
                }
            }
            Word::Inner(line) => calls.extend(invocations(program, &line)),
        }
    }
    let own = |call: &Vec<String>| call.first().is_some_and(|first| first == program);
    // `sudo` and the like stand before it.
    let from_program = |call: Vec<String>| {
        let start = call.iter().take(4).position(|word| word == program).unwrap_or(0);
        call.into_iter().skip(start).collect::<Vec<_>>()
    };
    calls.into_iter().map(from_program).filter(own).collect()
}

enum Word {
    Plain(String),
    /// What stands in `$(…)`.
    Inner(String),
    Operator(char),
    Remark,
}

struct Words {
    rest: Vec<char>,
    at: usize,
}

impl Words {
    fn peek(&self) -> Option<char> {
        self.rest.get(self.at).copied()
    }

    fn next(&mut self) -> Option<Word> {
        let from = self.at;
        while self.peek().is_some_and(char::is_whitespace) {
            self.at += 1;
        }
        if self.at - from > 1 && from > 0 {
            return Some(Word::Remark);
        }
        let first = self.peek()?;
        if "|&;><)".contains(first) {
            while self.peek() == Some(first) {
                self.at += 1;
            }
            return Some(Word::Operator(first));
        }
        let mut text = String::new();
        let mut quote = None;
        while let Some(c) = self.peek() {
            match (quote, c) {
                (Some(open), c) if c == open => quote = None,
                (None, '\'' | '"') => quote = Some(c),
                (None | Some('"'), '$') if self.rest.get(self.at + 1) == Some(&'(') => return Some(self.inner()),
                (None, c) if c.is_whitespace() || "|&;><".contains(c) => break,
                (_, c) => text.push(c),
            }
            self.at += 1;
        }
        Some(Word::Plain(text))
    }

    /// From `$(` on to the end of the word; what comes behind it belongs to the other program.
    fn inner(&mut self) -> Word {
        let line: String = self.rest.get(self.at + 2..).unwrap_or_default().iter().collect();
        self.at = self.rest.len();
        Word::Inner(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_found_wherever_they_stand() {
        let calls = |line: &str| -> Vec<String> { invocations("x", line).iter().map(|call| call.join(" ")).collect() };
        assert_eq!(calls("x run a --wait     and a remark"), ["x run a --wait"]);
        assert_eq!(calls("x a > f.json && editor f.json && x b f.json; x c | jq 'x d'"), ["x a", "x b f.json", "x c"]);
        assert_eq!(calls("duckdb -c \"read([$(x files s --latest | sed s/a/b/)])\""), ["x files s --latest"]);
        assert_eq!(calls("x q POST /v1 --data '{\"a\": 1}'"), ["x q POST /v1 --data {\"a\": 1}"]);
        assert_eq!(calls("sudo x a"), ["x a"]);
        assert!(calls("y z | z").is_empty());
    }

    #[test]
    fn what_is_wrong_is_told() {
        let flag = || clap::Arg::new("a").long("a").action(clap::ArgAction::SetTrue);
        let program =
            |help: &'static str| Command::new("x").subcommand(Command::new("run").arg(flag()).after_help(help));
        let program = |help| program(help).after_help("Examples:\n  x run\n  y x");
        assert_eq!(wrong_examples(&program("Examples:\n  sudo x run --a | y")), [] as [&str; 0]);
        assert!(wrong_examples(&program("x run")).concat().contains("x run --help has no block"));
        assert!(wrong_examples(&program("Examples:\n  x")).concat().contains("an example of itself"));
        assert!(wrong_examples(&program("Examples:\n  x run --b")).concat().contains("--b"));
    }

    #[test]
    fn the_block_ends_where_its_indentation_does() {
        assert_eq!(examples("A.\n\nExamples:\n  a\n  b\n\nExit codes:\n  0"), ["a", "b"]);
        assert!(examples("none").is_empty());
    }
}
