//! Why a command failed: what an operator reads, and the exit code.

use crate::exit::Exit;
use std::fmt;
use std::path::Path;

/// The end of a command that did not do what was asked.
#[derive(Debug)]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// A sentence; empty where everything is said already.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// Whether the daemon may be restarting, so that asking again may help.
    pub transient: bool,
}

impl Failure {
    /// A failure with a sentence.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), hint: None, transient: false }
    }

    /// An end that needs no words.
    pub fn silent(exit: Exit) -> Self {
        Self::new(exit, "")
    }

    /// Wrong usage.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// Adds what to do about it.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Marks it as one that may pass.
    pub fn transient(mut self) -> Self {
        self.transient = true;
        self
    }

    /// Nobody answers on the socket.
    pub fn unreachable(socket: &Path, error: &std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::PermissionDenied {
            return Self::new(Exit::Forbidden, format!("the socket {} may not be opened", socket.display()))
                .hint("every directory above it must be open to you: ls -ld each of them");
        }
        let why = match error.kind() {
            std::io::ErrorKind::NotFound => "there is no such socket".to_owned(),
            std::io::ErrorKind::ConnectionRefused => "nobody listens there".to_owned(),
            _ => error.to_string(),
        };
        Self::new(Exit::Unreachable, format!("the daemon does not answer at {}: {why}", socket.display()))
            .hint("is it running? systemctl status saas-export-daemon (another socket: --socket PATH)")
            .transient()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<std::io::Error> for Failure {
    /// Only writing to stdout gives one; a reader that went away (`| head`) is no failure.
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::BrokenPipe => Self::silent(Exit::Ok),
            _ => Self::new(Exit::Failed, format!("failed to write the output: {error}")),
        }
    }
}

impl From<saas_export_api::Error> for Failure {
    fn from(error: saas_export_api::Error) -> Self {
        let transient = error.code == saas_export_api::ErrorCode::Unavailable;
        Self { exit: Exit::of_error(error.code), message: error.message, hint: error.hint, transient }
    }
}
