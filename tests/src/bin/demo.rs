//! `cargo demo`: a sample API, the real daemon and exportctl, a whole export in front of your eyes, and what to try next.

use anyhow::{Context as _, Result, bail, ensure};
use clap::Parser;
use saas_export_tests::sample::{BEARER_TOKEN, Fault, Options, SampleApi};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The file that says that a demo directory is ours to wipe.
const MARKER: &str = ".made-by-cargo-demo";
/// The longest path that fits into the address of a Unix socket, with some room.
const MAX_SOCKET: usize = 100;

/// Exports a sample API with the real daemon, below ./demo and without root.
#[derive(Parser)]
#[command(name = "cargo demo")]
struct Args {
    /// Records of the sample API.
    #[arg(long, default_value_t = 200_000)]
    records: u64,
    /// The most pages (of 500 records) that the API serves in a second, so that there is something to watch.
    #[arg(long, default_value_t = 40.0)]
    pages_per_second: f64,
    /// Keep the API and the daemon running, start the daemon again when it dies, and leave the rest to you.
    #[arg(long)]
    serve: bool,
    /// Where everything lies.
    #[arg(long, default_value = "demo")]
    dir: PathBuf,
}

/// Set by Ctrl-C and SIGTERM.
static STOP: AtomicBool = AtomicBool::new(false);

/// A child that does not outlive the demo.
struct Owned(Child);

impl Owned {
    /// Asks it to end, and insists after ten seconds.
    fn stop(&mut self) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.0.id()).unwrap_or_default());
        if pid.as_raw() > 0 && matches!(self.0.try_wait(), Ok(None)) {
            let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
            let end = Instant::now() + Duration::from_secs(10);
            while matches!(self.0.try_wait(), Ok(None)) && Instant::now() < end {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Where everything is.
struct Demo {
    dir: PathBuf,
    bin: PathBuf,
    socket: PathBuf,
}

fn main() -> Result<()> {
    // `cargo demo -- --serve` and `cargo demo --serve` both work.
    let mut words: Vec<_> = std::env::args_os().collect();
    if words.get(1).is_some_and(|word| word == "--") {
        words.remove(1);
    }
    let args = Args::parse_from(words);
    let _runtime = stop_on_signals()?;
    let demo = Demo { bin: build()?, ..Demo::prepare(&args.dir)? };
    let api = SampleApi::start(Options { records: args.records, page_size: 500, ..Options::default() })?;
    api.set_faults(vec![Fault::rate(args.pages_per_second)]);
    demo.write_files(&api)?;
    println!("The sample API serves {} records on {} (bearer token, cursor paging).", args.records, api.origin());
    let daemon = demo.start_daemon()?;
    if args.serve { demo.serve(daemon) } else { demo.show(daemon, &api) }
}

/// Notes Ctrl-C and SIGTERM, so that everything is cleaned up on the way out.
fn stop_on_signals() -> Result<tokio::runtime::Runtime> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.spawn(async {
        let Ok(mut terminate) = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) else {
            return;
        };
        loop {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
            STOP.store(true, Ordering::SeqCst);
        }
    });
    Ok(runtime)
}

/// Builds the daemon and exportctl with the profile that this program was built with; the directory they are in.
fn build() -> Result<PathBuf> {
    let bin = std::env::current_exe()?.parent().context("find the build directory")?.to_owned();
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    // The whole workspace, as the tests build it: a part of it would want other features, and everything twice.
    command.args(["build", "--quiet", "--workspace", "--bins"]);
    if bin.ends_with("release") {
        command.arg("--release");
    }
    println!("Building saas-export-daemon and exportctl (a few minutes the first time) …");
    let status = command.current_dir(env!("CARGO_MANIFEST_DIR")).status().context("run cargo build")?;
    ensure!(status.success(), "the build failed");
    Ok(bin)
}

impl Demo {
    /// An empty demo directory; refuses to wipe one that it did not make.
    fn prepare(dir: &Path) -> Result<Self> {
        let dir = std::path::absolute(dir)?;
        if dir.exists() {
            let empty = std::fs::read_dir(&dir)?.next().is_none();
            if !empty && !dir.join(MARKER).exists() {
                bail!("{} exists and was not made by this demo: move it away, or pass --dir", dir.display());
            }
            std::fs::remove_dir_all(&dir).with_context(|| format!("wipe {}", dir.display()))?;
        }
        std::fs::create_dir_all(&dir)?;
        std::fs::write(dir.join(MARKER), "cargo demo wipes this directory when it starts\n")?;
        let mut socket = dir.join("control.sock");
        if socket.as_os_str().len() > MAX_SOCKET {
            let short = std::env::temp_dir().join(format!("saas-export-demo-{}", nix::unistd::getuid()));
            std::fs::create_dir_all(&short)?;
            socket = short.join("control.sock");
            println!("{} is too deep for a Unix socket; it is {} instead.", dir.display(), socket.display());
        }
        Ok(Self { dir, socket, bin: PathBuf::new() })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Writes config.yaml, and auth.env for its owner alone.
    fn write_files(&self, api: &SampleApi) -> Result<()> {
        let config = format!(
            r#"# Written by cargo demo; edit it, and run `exportctl reload`.
version: 1
daemon:
  state_dir: {dir}/state
  socket: {socket}
sources:
  shop:
    rest:
      base_url: {origin}/bearer/v2
      auth: {{ bearer: {{ token: "${{SHOP_TOKEN}}" }} }} # from auth.env
      streams:
        orders:
          path: /orders
          records: $.data[*]
          primary_key: [id]
          total: $.total
          paginate: {{ cursor: {{ from: $.next_cursor, param: cursor }} }}
destinations:
  lake: {{ local: {{ root: {dir}/data }} }}
exports:
  shop:
    source: shop
    streams: [orders]
    to: [lake]
    format: {{ parquet: {{ compression: zstd }} }}
    chunk_size: 4MB
"#,
            dir = self.dir.display(),
            socket = self.socket.display(),
            origin = api.origin(),
        );
        std::fs::write(self.path("config.yaml"), config)?;
        let mut auth =
            std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(self.path("auth.env"))?;
        writeln!(auth, "# Secrets, for ${{NAME}} in config.yaml. Only the owner may read this file.")?;
        writeln!(auth, "SHOP_TOKEN='{BEARER_TOKEN}'")?;
        Ok(())
    }

    /// Starts the daemon and waits until it answers.
    fn start_daemon(&self) -> Result<Owned> {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.path("daemon.log"))?;
        let mut command = Command::new(self.bin.join("saas-export-daemon"));
        command.arg("--config").arg(self.path("config.yaml")).arg("--auth-env").arg(self.path("auth.env"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).env_remove("NOTIFY_SOCKET");
        // Its own process group: Ctrl-C is for whoever watches; the demo ends the daemon itself.
        command.process_group(0);
        let mut daemon = Owned(command.spawn().context("start saas-export-daemon")?);
        let end = Instant::now() + Duration::from_secs(20);
        while !self.ctl(&["version"]).stdout(Stdio::null()).stderr(Stdio::null()).status()?.success() {
            let gone = daemon.0.try_wait()?.is_some();
            if gone || Instant::now() > end {
                let log = std::fs::read_to_string(self.path("daemon.log")).unwrap_or_default();
                bail!("the daemon does not answer; its log says:\n{log}");
            }
            std::thread::sleep(Duration::from_millis(30));
        }
        println!("saas-export-daemon runs (pid {}).\n", daemon.0.id());
        Ok(daemon)
    }

    fn ctl(&self, args: &[&str]) -> Command {
        let mut command = Command::new(self.bin.join("exportctl"));
        command.arg("--socket").arg(&self.socket).args(args).stdin(Stdio::null());
        command
    }

    /// Runs exportctl in front of the user's eyes, as if typed.
    fn typed(&self, args: &[&str]) -> Result<ExitStatus> {
        println!("$ exportctl {}", args.join(" "));
        std::io::stdout().flush()?;
        let status = self.ctl(args).status().context("run exportctl")?;
        println!();
        Ok(status)
    }

    /// The tour: run, verify, files, and a comparison with what the API says.
    fn show(&self, daemon: Owned, api: &SampleApi) -> Result<()> {
        let run = self.typed(&["run", "shop", "--wait"])?;
        if STOP.load(Ordering::SeqCst) {
            println!("Stopped.");
            return Ok(());
        }
        ensure!(run.success(), "the export did not succeed ({run}); see {}", self.path("daemon.log").display());
        let tasks = self.ctl(&["tasks", "--limit", "1", "--json"]).stderr(Stdio::inherit()).output()?;
        let tasks: serde_json::Value = serde_json::from_slice(&tasks.stdout).context("read the task list")?;
        let task = tasks[0]["id"].as_str().context("find the task")?.to_owned();
        ensure!(self.typed(&["verify", &task])?.success(), "the verification failed");
        ensure!(self.typed(&["files", "shop", "--latest"])?.success(), "the files could not be listed");
        let shown = self.ctl(&["show", &task, "--json"]).output()?;
        let shown: serde_json::Value = serde_json::from_slice(&shown.stdout).context("read the task")?;
        let written = shown["streams"][0]["counts"]["written"].as_u64().context("count the records")?;
        let served = api.data().records;
        ensure!(written == served, "{written} records were exported, but the API has {served}");
        println!("All {served} records of the API are in the files, each once.\n");
        self.explain();
        drop(daemon);
        Ok(())
    }

    fn explain(&self) {
        println!(
            "Where things are:\n\
             \x20 {config:<16} what is exported, from where, to where\n\
             \x20 {auth:<16} the token, readable by you alone\n\
             \x20 {data:<16} the Parquet files, their manifest and SHA256SUMS\n\
             \x20 {state:<16} the ledger: what was done, and how far it is\n\
             \x20 {log:<16} what the daemon said\n",
            config = "config.yaml",
            auth = "auth.env",
            data = "data/",
            state = "state/",
            log = "daemon.log",
        );
        println!("(all below {})\n", self.dir.display());
        println!(
            "Kill it half way and watch it go on: run `cargo demo -- --serve` here, and in another terminal\n\n{}",
            self.recipes("PID")
        );
    }

    /// What to type next.
    fn recipes(&self, pid: &str) -> String {
        let ctl = format!("{} --socket {}", self.bin.join("exportctl").display(), self.socket.display());
        format!(
            "  alias ctl='{ctl}'\n\
             \x20 ctl run shop              # start a task\n\
             \x20 ctl watch                 # look at it; Ctrl-C only looks away\n\
             \x20 kill -9 {pid:<17} # half way through; the demo starts the daemon again, and the task goes on\n\
             \x20 ctl pause shop            # …\n\
             \x20 ctl resume shop\n\
             \x20 ctl tasks                 # when it is done:\n\
             \x20 ctl files shop --latest\n\
             \x20 curl --unix-socket {socket} http://localhost/v1/status\n\
             \x20 duckdb -c \"select count(*), count(distinct id) from read_parquet([$(ctl files shop --latest | sed \"s/.*/'&'/\" | paste -sd,)])\"\n",
            socket = self.socket.display(),
        )
    }

    /// Keeps everything running, and starts the daemon again when somebody killed it, as systemd would.
    fn serve(&self, mut daemon: Owned) -> Result<()> {
        println!("Everything runs until Ctrl-C. In another terminal:\n\n{}", self.recipes(&daemon.0.id().to_string()));
        while !STOP.load(Ordering::SeqCst) {
            if let Some(status) = daemon.0.try_wait()? {
                println!("The daemon ended ({status}); starting it again in two seconds, as systemd would …");
                std::thread::sleep(Duration::from_secs(2));
                daemon = self.start_daemon()?;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        println!("\nStopping.");
        Ok(())
    }
}
