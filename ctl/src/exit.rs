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

/// Every code and what it says, in order.
pub const ALL: [(Exit, &str); 11] = [
    (Exit::Ok, "done"),
    (Exit::Failed, "the task or the command failed"),
    (Exit::Usage, "wrong usage"),
    (Exit::Unreachable, "the daemon does not answer"),
    (Exit::NotFound, "no such task or export"),
    (Exit::Forbidden, "a group is missing"),
    (Exit::TimedOut, "the time to wait is over"),
    (Exit::Conflict, "the state does not allow it"),
    (Exit::Cancelled, "the task was cancelled"),
    (Exit::Mismatch, "verify, get: files are not what the ledger says"),
    (Exit::Interrupted, "Ctrl-C while waiting; the task goes on"),
];

/// The list for `--help`, in two columns.
pub fn help() -> String {
    let half = ALL.len().div_ceil(2);
    let cell = |(exit, says): &(Exit, &'static str)| format!("{:>3}  {says}", *exit as u8);
    let (left, right) = ALL.split_at(half);
    let rows = left.iter().enumerate().map(|(row, first)| match right.get(row) {
        Some(second) => format!("{:<36}{}\n", cell(first), cell(second)),
        None => format!("{}\n", cell(first)),
    });
    format!("Exit codes:\n{}", rows.collect::<String>())
}

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
        let help = help();
        for (exit, says) in ALL {
            assert!(help.contains(&format!("{:>3}  {says}", exit as u8)), "{exit:?} is not in\n{help}");
        }
        let codes: Vec<u8> = ALL.iter().map(|(exit, _)| *exit as u8).collect();
        assert_eq!(codes, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 130]);
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
