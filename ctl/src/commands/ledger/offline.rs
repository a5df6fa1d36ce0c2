//! `ledger restore | rebuild`: becomes the daemon's program, which does them while no daemon runs.

use crate::exit::Exit;
use crate::failure::Failure;
use crate::out::Out;
use std::ffi::OsString;
use std::io::ErrorKind;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Command;

/// The daemon's program.
const PROGRAM: &str = "saas-export-daemon";

/// Becomes the daemon's program; comes back only if that is not possible.
pub fn become_daemon(word: &str, args: Vec<OsString>, out: Out) -> Result<Exit, Failure> {
    // A switch of exportctl's own, where it stands before the command.
    let json = out.json && !args.iter().any(|arg| arg == "--json");
    let args = args.into_iter().chain(json.then(|| OsString::from("--json")));
    let error = Command::new(program()).args(["ledger", word]).args(args).exec();
    Err(match error.kind() {
        ErrorKind::NotFound => Failure::new(Exit::Failed, format!("there is no {PROGRAM} on this machine"))
            .hint("the command works on the machine of the daemon alone, while the daemon is stopped"),
        _ => Failure::new(Exit::Failed, format!("failed to start {PROGRAM}: {error}")),
    })
}

/// The program beside this one, else the one of PATH.
fn program() -> PathBuf {
    let beside = std::env::current_exe().ok().map(|own| own.with_file_name(PROGRAM));
    beside.filter(|path| path.is_file()).unwrap_or_else(|| PROGRAM.into())
}
