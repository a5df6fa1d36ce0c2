//! A running daemon: started, asked over its socket, sent signals, and never left behind.

use super::bed::PATIENCE;
use super::http::{Answer, call_unix};
use super::programs::wait;
use super::usage::Usage;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A daemon process; killed when dropped. A test that panics prints what the daemon said last.
pub struct Daemon {
    child: Child,
    socket: PathBuf,
    said: Arc<Mutex<Vec<String>>>,
    reader: Option<std::thread::JoinHandle<()>>,
}

impl Daemon {
    /// Starts a daemon.
    pub fn spawn(mut command: Command, socket: PathBuf) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        let said = Arc::new(Mutex::new(Vec::new()));
        let (stderr, sink) = (child.stderr.take().expect("stderr is a pipe"), said.clone());
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(stderr).split(b'\n').map_while(Result::ok) {
                lock(&sink).push(String::from_utf8_lossy(&line).into_owned());
            }
        });
        Self { child, socket, said, reader: Some(reader) }
    }

    /// Waits until the daemon answers on its socket.
    #[track_caller]
    pub fn ready(mut self) -> Self {
        let end = Instant::now() + Duration::from_secs(30);
        loop {
            if call_unix(&self.socket, "GET", "/v1", &[], b"").is_ok_and(|answer| answer.status == 200) {
                return self;
            }
            if let Ok(Some(status)) = self.child.try_wait() {
                self.finish_reading();
                panic!("the daemon ended with {status} before it was ready:\n{}", self.stderr());
            }
            assert!(Instant::now() < end, "the daemon is not ready after 30 s:\n{}", self.stderr());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Its process id.
    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).expect("a pid fits")
    }

    /// The control socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// What it said on stderr so far.
    pub fn stderr(&self) -> String {
        lock(&self.said).join("\n")
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let _ = kill(Pid::from_raw(self.pid()), signal);
    }

    /// SIGKILL, and waits for the end.
    pub fn kill(mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Waits for the daemon's own end; panics after `limit`.
    #[track_caller]
    pub fn ended(mut self, limit: Duration) -> (ExitStatus, String) {
        let Some(status) = wait(&mut self.child, limit) else {
            panic!("the daemon still runs after {limit:?}:\n{}", self.stderr());
        };
        self.finish_reading();
        (status, self.stderr())
    }

    /// Whether it still runs.
    pub fn alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    fn finish_reading(&mut self) {
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }

    /// Asks the control API.
    pub fn ask(&self, method: &str, path: &str, body: &str) -> std::io::Result<Answer> {
        call_unix(&self.socket, method, path, &[], body.as_bytes())
    }

    /// The result of a GET that must succeed.
    #[track_caller]
    pub fn get(&self, path: &str) -> Value {
        let answer = self.ask("GET", path, "").unwrap_or_else(|error| panic!("GET {path}: {error}\n{}", self.stderr()));
        let json = answer.json();
        assert_eq!(answer.status, 200, "GET {path}: {json}");
        json["result"].clone()
    }

    /// Starts a task of an export; its id.
    #[track_caller]
    pub fn run(&self, export: &str) -> String {
        let answer = self.ask("POST", &format!("/v1/exports/{export}/run"), "").expect("the daemon answers");
        let json = answer.json();
        assert!(answer.status == 202 || answer.status == 200, "{}: {json}", answer.status);
        json["result"]["task"].as_str().unwrap_or_else(|| panic!("no task id in {json}")).to_owned()
    }

    /// A task as the API shows it.
    #[track_caller]
    pub fn task(&self, id: &str) -> Value {
        self.get(&format!("/v1/tasks/{id}"))
    }

    /// Waits until a task is in one of `states`; panics if it ends otherwise or not in time.
    #[track_caller]
    pub fn wait_for(&self, id: &str, states: &[&str], limit: Duration) -> Value {
        let end = Instant::now() + limit;
        loop {
            let detail = self.task(id);
            let state = detail["task"]["state"].as_str().unwrap_or_default().to_owned();
            if states.contains(&state.as_str()) {
                return detail;
            }
            let closed = ["succeeded", "failed", "cancelled"].contains(&state.as_str());
            assert!(!closed, "the task is {state}, not {states:?}: {detail}\n{}", self.stderr());
            assert!(Instant::now() < end, "the task is {state} after {limit:?}: {detail}\n{}", self.stderr());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Runs an export to its success; the task's id.
    #[track_caller]
    pub fn run_to_success(&self, export: &str) -> String {
        let id = self.run(export);
        self.wait_for(&id, &["succeeded"], PATIENCE);
        id
    }

    /// Peak resident memory so far, in bytes.
    pub fn peak_memory(&self) -> u64 {
        self.usage().peak
    }

    /// What it takes of the machine now.
    pub fn usage(&self) -> Usage {
        Usage::of(self.pid())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let said = lock(&self.said);
            let from = said.len().saturating_sub(40);
            eprintln!("--- the daemon's last words ---\n{}\n---", said[from..].join("\n"));
        }
    }
}

fn lock(said: &Mutex<Vec<String>>) -> MutexGuard<'_, Vec<String>> {
    said.lock().unwrap_or_else(PoisonError::into_inner)
}
