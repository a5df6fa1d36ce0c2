//! The exit codes of exportctl. They are part of its interface: `--help` lists them, and they never change.

use saas_export_api::{ErrorCode, TaskState};

/// How exportctl ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Ok = 0,
    /// The task or the command failed.
    Failed = 1,
    /// The command line, or what it asks for, is wrong.
    Usage = 2,
    /// The daemon does not answer.
    Unreachable = 3,
    /// No such task or export.
    NotFound = 4,
    /// The caller lacks a group.
    Forbidden = 5,
    /// The time to wait is over.
    TimedOut = 6,
    /// The state does not allow it.
    Conflict = 7,
    /// The task was cancelled.
    Cancelled = 8,
    /// Published or downloaded files are not what the ledger says.
    Mismatch = 9,
    /// Ctrl-C while waiting; the task goes on.
    Interrupted = 130,
}

/// The list for `--help`.
pub const HELP: &str = "\
Exit codes:
  0  done                            6  the time to wait is over
  1  the task or the command failed  7  the state does not allow it
  2  wrong usage                     8  the task was cancelled
  3  the daemon does not answer      9  verify, get: files are not what the ledger says
  4  no such task or export        130  Ctrl-C while waiting; the task goes on
  5  a group is missing";

impl Exit {
    /// The exit code of a refusal.
    pub fn of_error(code: ErrorCode) -> Self {
        match code {
            ErrorCode::Invalid | ErrorCode::MethodNotAllowed | ErrorCode::TooLarge => Self::Usage,
            ErrorCode::Forbidden => Self::Forbidden,
            ErrorCode::NotFound => Self::NotFound,
            ErrorCode::Conflict => Self::Conflict,
            ErrorCode::Timeout | ErrorCode::TooMany | ErrorCode::Unavailable | ErrorCode::Internal => Self::Failed,
        }
    }

    /// The exit code of a task's end.
    pub fn of_task(state: TaskState) -> Self {
        match state {
            TaskState::Pending | TaskState::Processing | TaskState::Paused | TaskState::Succeeded => Self::Ok,
            TaskState::Failed => Self::Failed,
            TaskState::Cancelled => Self::Cancelled,
        }
    }
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_in_the_help() {
        use Exit as E;
        let all = [E::Ok, E::Failed, E::Usage, E::Unreachable, E::NotFound, E::Forbidden];
        let more = [E::TimedOut, E::Conflict, E::Cancelled, E::Mismatch, E::Interrupted];
        for exit in all.into_iter().chain(more) {
            let code = (exit as u8).to_string();
            assert!(HELP.split_whitespace().any(|word| word == code), "{exit:?} = {code}");
        }
    }

    #[test]
    fn the_codes_are_those_of_the_manual() {
        assert_eq!(Exit::of_error(ErrorCode::Forbidden) as u8, 5);
        assert_eq!(Exit::of_error(ErrorCode::NotFound) as u8, 4);
        assert_eq!(Exit::of_error(ErrorCode::Conflict) as u8, 7);
        assert_eq!(Exit::of_error(ErrorCode::Invalid) as u8, 2);
        assert_eq!(Exit::of_task(TaskState::Failed) as u8, 1);
        assert_eq!(Exit::of_task(TaskState::Cancelled) as u8, 8);
        assert_eq!(Exit::Mismatch as u8, 9);
    }
}
