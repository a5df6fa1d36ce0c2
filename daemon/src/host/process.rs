//! What the kernel says of this process: memory, processor time, open files.

use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage};
use std::time::Duration;

/// What this process uses; what cannot be read is missing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// Bytes in memory.
    pub resident: Option<u64>,
    /// Processor time since its start.
    pub cpu: Option<Duration>,
    /// Open files.
    pub files: Option<u64>,
    /// How many files it may open.
    pub most_files: Option<u64>,
}

/// Looks now. Reads `/proc/self`.
pub fn usage() -> Usage {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    Usage {
        resident: resident(&status),
        cpu: getrusage(UsageWho::RUSAGE_SELF).ok().map(|used| {
            let micros = |time: nix::sys::time::TimeVal| {
                let time = time.tv_sec().saturating_mul(1_000_000).saturating_add(time.tv_usec());
                Duration::from_micros(u64::try_from(time).unwrap_or(0))
            };
            micros(used.user_time()) + micros(used.system_time())
        }),
        files: std::fs::read_dir("/proc/self/fd").ok().map(|open| open.count() as u64),
        most_files: getrlimit(Resource::RLIMIT_NOFILE).ok().map(|(soft, _)| soft),
    }
}

/// Bytes of `VmRSS:   12345 kB`.
fn resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kib| kib << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_memory_time_and_files() {
        let usage = usage();
        assert!(usage.resident.is_some_and(|bytes| bytes > 1 << 20), "{usage:?}");
        assert!(usage.files.is_some_and(|files| files >= 3) && usage.most_files >= usage.files, "{usage:?}");
        assert!(usage.cpu.is_some());
        assert_eq!(resident("Name:\tx\nVmRSS:\t   12 kB\n"), Some(12_288));
    }
}
