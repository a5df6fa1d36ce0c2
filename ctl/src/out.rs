//! Where output goes: data to stdout, messages to stderr, colours only to a terminal that wants them.

use saas_export_api::TaskState;
use serde::Serialize;
use std::io::{self, IsTerminal as _, Write as _};

/// A colour of the terminal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Colour {
    /// As it is.
    #[default]
    Plain,
    /// Less important.
    Dim,
    /// Well.
    Green,
    /// Needs a look.
    Yellow,
    /// Not well.
    Red,
    /// At work.
    Cyan,
}

impl Colour {
    /// The colour of a state.
    pub fn of_state(state: TaskState) -> Self {
        match state {
            TaskState::Pending => Self::Plain,
            TaskState::Processing => Self::Cyan,
            TaskState::Paused => Self::Yellow,
            TaskState::Succeeded => Self::Green,
            TaskState::Failed => Self::Red,
            TaskState::Cancelled => Self::Dim,
        }
    }

    /// The text in this colour (ECMA-48 SGR), if `on`.
    pub fn paint(self, text: &str, on: bool) -> String {
        let code = match self {
            Self::Plain => return text.to_owned(),
            Self::Dim => 2,
            Self::Red => 31,
            Self::Green => 32,
            Self::Yellow => 33,
            Self::Cyan => 36,
        };
        if on && !text.is_empty() { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// How this run prints.
#[derive(Clone, Copy, Debug)]
pub struct Out {
    /// Machine-readable output.
    pub json: bool,
    /// No messages, only data and errors.
    pub quiet: bool,
    /// Whether stdout takes colours.
    pub colours: bool,
    /// Columns of the terminal that stdout is; none elsewhere.
    pub width: Option<usize>,
    /// Whether stderr is a terminal: then progress is drawn, otherwise told in lines.
    pub live: bool,
}

impl Out {
    /// Looks at the terminal and at `NO_COLOR` (no-color.org: set and not empty).
    pub fn new(json: bool, quiet: bool) -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let colours = wanted && io::stdout().is_terminal();
        let width = console::Term::stdout().size_checked().map(|(_, columns)| usize::from(columns));
        Self { json, quiet, colours, width, live: io::stderr().is_terminal() && !json && !quiet }
    }

    /// Data: text as it is.
    pub fn data(self, text: &str) -> io::Result<()> {
        self.raw(text.as_bytes())
    }

    /// Data: bytes as they are.
    pub fn raw(self, bytes: &[u8]) -> io::Result<()> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(bytes)?;
        stdout.flush()
    }

    /// Data: one JSON document.
    pub fn document<T: Serialize>(self, value: &T) -> io::Result<()> {
        self.data(&(serde_json::to_string_pretty(value)? + "\n"))
    }

    /// Data: one line of JSON.
    pub fn line<T: Serialize>(self, value: &T) -> io::Result<()> {
        self.data(&(serde_json::to_string(value)? + "\n"))
    }

    /// A message for a person.
    pub fn say(self, text: &str) {
        if !self.quiet {
            complain(text);
        }
    }
}

/// A message that `--quiet` does not silence. A closed stderr is no reason to fail.
pub fn complain(text: &str) {
    let _ = io::stderr().lock().write_all(format!("{text}\n").as_bytes());
}
