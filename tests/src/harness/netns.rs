//! A network and a list of hosts of a test's own, in which packets are slowed, lost and refused, and names are forgotten.
//!
//! Linux gives each thread its namespaces: what the thread starts from then on (the sample API, the daemon) is inside, the rest of the
//! test program and the servers that others started are not. [`Proxy`](super::proxy::Proxy) leads from one to the other.

use super::programs::{has, root_or_skip, skipped};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// The namespaces of the calling thread; they go with the last process in them.
pub struct Net {
    dir: tempfile::TempDir,
}

/// Goes back to the network of the program's first thread, from wherever the calling thread is.
pub fn go_home() {
    let of = |thread: &str| std::fs::read_link(format!("/proc/{thread}/ns/net")).ok();
    if of("self") != of("thread-self") {
        let home = File::open("/proc/self/ns/net").expect("the network of the first thread");
        setns(home, CloneFlags::CLONE_NEWNET).expect("root goes from one network to another");
    }
}

fn try_run(program: &str, args: &[&str]) -> Result<(), String> {
    let ended = Command::new(program).args(args).output().map_err(|error| format!("{program}: {error}"))?;
    let said = String::from_utf8_lossy(&ended.stderr);
    if ended.status.success() { Ok(()) } else { Err(format!("{program} {args:?}: {said}")) }
}

/// The arguments of `tc` for a bandwidth.
fn shaped(rate: &str) -> [&str; 12] {
    ["qdisc", "replace", "dev", "lo", "root", "tbf", "rate", rate, "burst", "32k", "latency", "400ms"]
}

impl Net {
    /// Takes the calling thread into a network with nothing but loopback. None where this machine cannot; the skip is noted.
    pub fn enter() -> Option<Self> {
        if !root_or_skip("network: namespaces are made by root") {
            return None;
        }
        if let Some(missing) = ["ip", "tc", "nft", "ss"].iter().find(|program| !has(program)) {
            skipped(&format!("network: {missing} is missing"));
            return None;
        }
        if let Err(error) = unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS) {
            skipped(&format!("network: no namespace of its own: {error}"));
            return None;
        }
        let none = None::<&str>;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).expect("mounts of its own");
        let net = Self { dir: tempfile::Builder::new().prefix("sxd-net-").tempdir().expect("a directory") };
        for (name, text) in [("hosts", "127.0.0.1 localhost\n"), ("resolv.conf", "nameserver 127.0.0.1\n")] {
            std::fs::write(net.file(name), text).expect("a file is written");
            let real = std::fs::canonicalize(Path::new("/etc").join(name)).expect("it exists");
            mount(Some(&net.file(name)), &real, none, MsFlags::MS_BIND, none).expect("a file of its own");
        }
        net.run("ip", &["link", "set", "lo", "mtu", "1500", "up"]);
        // A kernel may lack a part of it.
        let (rules, rate) = (net.write_rules(""), shaped("1000kbit"));
        if let Err(error) = try_run("nft", &["-f", &rules]).and_then(|()| try_run("tc", &rate)) {
            skipped(&format!("network: {error}"));
            return None;
        }
        net.rate(None);
        // One that ignores the request answers as if it had done it.
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let mut probe = TcpStream::connect(listener.local_addr().expect("a port")).expect("a connection");
        net.reset_connections();
        probe.set_read_timeout(Some(Duration::from_secs(1))).expect("a time");
        let reset = probe.read(&mut [0]).is_err_and(|error| error.kind() != ErrorKind::WouldBlock);
        if !reset {
            skipped("network: this kernel resets no connection for ss -K");
            return None;
        }
        Some(net)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    #[track_caller]
    fn run(&self, program: &str, args: &[&str]) {
        try_run(program, args).unwrap_or_else(|error| panic!("{error}"));
    }

    /// Writes a file of rules; its path.
    fn write_rules(&self, rules: &str) -> String {
        let chain = "type filter hook input priority 0";
        let text =
            format!("add table inet f\ndelete table inet f\ntable inet f {{\nchain in {{\n{chain}\n{rules}\n}}\n}}\n");
        std::fs::write(self.file("rules"), text).expect("a file is written");
        self.file("rules").to_string_lossy().into_owned()
    }

    /// What happens to incoming TCP packets from now on, one rule of nftables a line, without `tcp`: e.g. `dport 80 drop`.
    #[track_caller]
    pub fn rules(&self, rules: &str) {
        self.run("nft", &["-f", &self.write_rules(rules)]);
    }

    /// The packets that met rules with a `counter`.
    pub fn struck(&self) -> u64 {
        let listed = Command::new("nft").args(["list", "table", "inet", "f"]).output().expect("nft runs");
        let text = String::from_utf8_lossy(&listed.stdout).into_owned();
        text.split("counter packets ").skip(1).filter_map(|rest| rest.split(' ').next()?.parse::<u64>().ok()).sum()
    }

    /// So many kilobits a second at most; none: as fast as it goes.
    #[track_caller]
    pub fn rate(&self, kbit: Option<u32>) {
        match kbit {
            Some(kbit) => self.run("tc", &shaped(&format!("{kbit}kbit"))),
            None => drop(Command::new("tc").args(["qdisc", "del", "dev", "lo", "root"]).output()),
        }
    }

    /// Resets every connection that is established.
    #[track_caller]
    pub fn reset_connections(&self) {
        self.run("ss", &["-K", "-t", "state", "established"]);
    }

    /// The names that are known here beside `localhost`, each as 127.0.0.1.
    pub fn hosts(&self, names: &[&str]) {
        let lines: String = ["localhost"].iter().chain(names).map(|name| format!("127.0.0.1 {name}\n")).collect();
        // In place: what is mounted is the file, not its name.
        std::fs::write(self.file("hosts"), lines).expect("a file is written");
    }
}
