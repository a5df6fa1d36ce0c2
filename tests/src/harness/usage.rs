//! What a process takes of the machine: memory, descriptors, threads.

/// A look at a process.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// Resident memory, in bytes (`VmRSS`).
    pub memory: u64,
    /// The most that it ever was (`VmHWM`).
    pub peak: u64,
    /// Open descriptors.
    pub descriptors: u64,
    /// Threads.
    pub threads: u64,
}

impl Usage {
    /// Looks at a process that exists; panics where it does not.
    #[track_caller]
    pub fn of(pid: i32) -> Self {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the process exists");
        let number = |name: &str| -> u64 {
            let line = status.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("no {name}"));
            line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).expect("a number")
        };
        let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, |fds| fds.count() as u64);
        Self {
            memory: number("VmRSS:") * 1024,
            peak: number("VmHWM:") * 1024,
            descriptors,
            threads: number("Threads:"),
        }
    }
}
