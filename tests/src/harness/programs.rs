//! Where the programs under test are, and how one is run to its end.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// The directory of the built programs: `SAAS_EXPORT_BIN_DIR`, or the one above the running test's.
pub fn bin_dir() -> PathBuf {
    if let Some(dir) = std::env::var_os("SAAS_EXPORT_BIN_DIR") {
        return dir.into();
    }
    let exe = std::env::current_exe().expect("a running program has a path");
    let dir = exe.parent().expect("a program lies in a directory");
    if dir.ends_with("deps") { dir.parent().unwrap_or(dir).to_owned() } else { dir.to_owned() }
}

/// The path of a program under test; panics with the way out if it is not built.
pub fn program(name: &str) -> PathBuf {
    let path = bin_dir().join(name);
    assert!(path.is_file(), "{} is missing: run `cargo build --workspace --bins` first", path.display());
    path
}

/// How a program ended and what it said.
#[derive(Clone, Debug)]
pub struct Ended {
    /// The exit code; none after a signal.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Ended {
    /// Standard output as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("no JSON ({error}): {self:?}"))
    }

    /// This, if the exit code is `code`; panics with everything otherwise.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        self
    }
}

/// Runs a command to its end and collects what it says; kills it and panics after `limit`.
pub fn finish(command: &mut Command, limit: Duration) -> Ended {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
    let stdout = drain(child.stdout.take());
    let stderr = drain(child.stderr.take());
    let status = wait(&mut child, limit);
    if status.is_none() {
        let _ = child.kill();
        let _ = child.wait();
    }
    let text = |thread: std::thread::JoinHandle<Vec<u8>>| {
        String::from_utf8_lossy(&thread.join().unwrap_or_default()).into_owned()
    };
    let ended = Ended { code: status.and_then(|s| s.code()), stdout: text(stdout), stderr: text(stderr) };
    assert!(status.is_some(), "{command:?} still ran after {limit:?}: {ended:?}");
    ended
}

fn drain(pipe: Option<impl std::io::Read + Send + 'static>) -> std::thread::JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut all = Vec::new();
        if let Some(mut pipe) = pipe {
            let _ = pipe.read_to_end(&mut all);
        }
        all
    })
}

/// Waits for a child at most `limit`.
pub fn wait(child: &mut std::process::Child, limit: Duration) -> Option<ExitStatus> {
    let end = Instant::now() + limit;
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status),
            Ok(None) if Instant::now() < end => std::thread::sleep(Duration::from_millis(2)),
            _ => return None,
        }
    }
}

/// Whether a program of the system is there.
pub fn has(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| Path::new(&dir).join(name).is_file())
}

/// Asks again and again until it is so; false after `limit`.
pub fn wait_until(limit: Duration, mut so: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + limit;
    while Instant::now() < end {
        if so() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    so()
}

/// Whether the tests run as root; says what is skipped if they do not.
pub fn root_or_skip(what: &str) -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        skipped(&format!("{what}: needs root"));
    }
    root
}

/// Notes what this machine cannot test: in the file that `SAAS_EXPORT_SKIPS` names, which `tests/run` prints at its end.
pub fn skipped(what: &str) {
    eprintln!("SKIPPED {what}");
    let Some(path) = std::env::var_os("SAAS_EXPORT_SKIPS") else { return };
    let file = std::fs::OpenOptions::new().append(true).create(true).open(path);
    file.and_then(|mut file| file.write_all(format!("{what}\n").as_bytes())).expect("the list of skips is written");
}
