//! A test bed: a sample API, a directory with a configuration, and the programs run over them.

use super::config;
use super::daemon::Daemon;
use super::programs::{Ended, finish, program};
use crate::sample::{Options, SampleApi};
use serde_json::Value;
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// The longest any run of a command may take; generous, because two test threads share two cores with other work.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Everything that one test needs.
pub struct Bed {
    /// The API that is exported.
    pub api: SampleApi,
    /// The configuration; written out at each start of a program.
    pub config: Value,
    /// What auth.env holds; written out at each start of a program.
    pub auth_env: String,
    dir: tempfile::TempDir,
}

impl Bed {
    /// A bed around an API with these options.
    pub fn new(options: Options) -> Self {
        Self::within(&std::env::temp_dir(), options)
    }

    /// The same, in a directory below `dir`.
    pub fn within(dir: &Path, options: Options) -> Self {
        let api = SampleApi::start(options).expect("the sample API starts");
        let dir = tempfile::Builder::new().prefix("sxd-").tempdir_in(dir).expect("a temporary directory");
        let config = config::base(&api.origin(), dir.path());
        Self { api, config, auth_env: config::auth_env(), dir }
    }

    /// A bed with this many records, a hundred a page.
    pub fn with_records(records: u64) -> Self {
        Self::new(Options { records, ..Options::default() })
    }

    /// Its directory.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// A path in its directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The control socket.
    pub fn socket(&self) -> PathBuf {
        PathBuf::from(self.config["daemon"]["socket"].as_str().expect("the config names a socket"))
    }

    /// Root of the destination `lake`.
    pub fn lake(&self) -> PathBuf {
        PathBuf::from(self.config["destinations"]["lake"]["local"]["root"].as_str().expect("the lake has a root"))
    }

    /// Adds or replaces a stream of the source `shop`.
    pub fn stream(&mut self, name: &str, stream: Value) {
        self.config["sources"]["shop"]["rest"]["streams"][name] = stream;
    }

    /// Adds or replaces an export.
    pub fn export(&mut self, name: &str, export: Value) {
        self.config["exports"][name] = export;
    }

    /// Writes config.yaml and auth.env.
    pub fn write(&self) {
        let text = serde_json::to_string_pretty(&self.config).expect("a JSON tree can be written");
        self.write_files(&text, &self.auth_env);
    }

    /// Writes config.yaml and auth.env with these texts.
    pub fn write_files(&self, config: &str, auth_env: &str) {
        std::fs::write(self.path("config.yaml"), config).expect("config.yaml is written");
        let path = self.path("auth.env");
        let _ = std::fs::remove_file(&path);
        let mut file =
            std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).expect("auth.env");
        file.write_all(auth_env.as_bytes()).expect("auth.env is written");
    }

    /// The daemon's command line with its two files.
    pub fn daemon_command(&self) -> Command {
        let mut command = Command::new(program("saas-export-daemon"));
        command.arg("--config").arg(self.path("config.yaml")).arg("--auth-env").arg(self.path("auth.env"));
        command.env_remove("NOTIFY_SOCKET").env_remove("CREDENTIALS_DIRECTORY").env("NO_COLOR", "1");
        command.current_dir(self.dir());
        command
    }

    /// Starts the daemon and waits until it answers.
    pub fn start(&self) -> Daemon {
        self.start_with(&[])
    }

    /// The same with more environment.
    pub fn start_with(&self, env: &[(&str, &str)]) -> Daemon {
        self.write();
        let mut command = self.daemon_command();
        command.envs(env.iter().copied());
        Daemon::spawn(command, self.socket()).ready()
    }

    /// Starts the daemon without waiting for anything.
    pub fn spawn_with(&self, env: &[(&str, &str)]) -> Daemon {
        self.write();
        let mut command = self.daemon_command();
        command.envs(env.iter().copied());
        Daemon::spawn(command, self.socket())
    }

    /// Runs the daemon program with more arguments to its end.
    pub fn daemon(&self, args: &[&str]) -> Ended {
        self.write();
        finish(self.daemon_command().args(args), PATIENCE)
    }

    /// Runs exportctl to its end.
    pub fn ctl(&self, args: &[&str]) -> Ended {
        let mut command = Command::new(program("exportctl"));
        command.arg("--socket").arg(self.socket()).args(args).env("NO_COLOR", "1");
        finish(&mut command, PATIENCE)
    }

    /// Runs exportctl, expects success, and reads its JSON.
    #[track_caller]
    pub fn ctl_json(&self, args: &[&str]) -> Value {
        let args: Vec<&str> = args.iter().copied().chain(["--json"]).collect();
        self.ctl(&args).expect(0).json()
    }

    /// Makes the bed's directory passable for other users.
    pub fn open_to_others(&self) {
        let _ = std::fs::set_permissions(self.dir(), std::fs::Permissions::from_mode(0o755));
    }
}
