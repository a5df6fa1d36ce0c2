//! One daemon owns a state directory: a lock that the kernel frees when its holder dies, never a take-over by time-out.

use super::error::LedgerError;
use crate::base::fsio;
use nix::fcntl::{Flock, FlockArg};
use nix::sys::statfs;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// The file whose lock means ownership, in the state directory.
pub(super) const LOCK: &str = "lock";
/// The most that is read of a lock file or of a file in `/proc`.
const MAX_SMALL_FILE: u64 = 1 << 20;

/// The ownership of a state directory; ends when dropped.
#[derive(Debug)]
pub(super) struct Owner {
    /// Random, of this start.
    pub instance: String,
    /// Of the machine's boot.
    pub boot_id: String,
    _lock: Flock<File>,
}

impl Owner {
    /// Creates the directory if it is missing (0700), refuses network file systems, and takes the lock.
    pub fn take(state_dir: &Path) -> Result<Self, LedgerError> {
        create(state_dir).map_err(|source| at("create", state_dir, source))?;
        let magic =
            statfs::statfs(state_dir).map_err(|errno| at("look at", state_dir, errno.into()))?.filesystem_type();
        if let Some(kind) = network_kind(magic.0 as u64, || fuse_kind(state_dir)) {
            return Err(LedgerError::NetworkFs { path: state_dir.to_owned(), kind });
        }
        let path = state_dir.join(LOCK);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            // The directory is the daemon's, and root repairs what is in it: a link must not lead root elsewhere.
            .custom_flags(nix::libc::O_NOFOLLOW)
            .open(&path)
            .map_err(|source| at("open", &path, source))?;
        let mut lock = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => lock,
            Err((_, nix::errno::Errno::EWOULDBLOCK)) => {
                return Err(LedgerError::Owned { path: state_dir.to_owned(), holder: holder(&path) });
            }
            Err((_, errno)) => return Err(at("lock", &path, errno.into())),
        };
        let boot_id = proc_line("/proc/sys/kernel/random/boot_id")?;
        let instance = proc_line("/proc/sys/kernel/random/uuid")?;
        let text = format!("pid {}\nboot {boot_id}\ninstance {instance}\n", std::process::id());
        rewrite(&mut lock, &text).map_err(|source| at("write", &path, source))?;
        Ok(Self { instance, boot_id, _lock: lock })
    }
}

fn create(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fsio::create_dir_durable(parent)?;
    match DirBuilder::new().mode(0o700).create(dir) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => {}
        other => other?,
    }
    fsio::sync_dir(parent)
}

fn rewrite(file: &mut File, text: &str) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(text.as_bytes())
}

/// Who holds the lock, as they wrote it themselves.
fn holder(lock: &Path) -> String {
    let text = fsio::read_limited(lock, MAX_SMALL_FILE).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let pid = text.lines().find_map(|line| line.strip_prefix("pid ")?.parse::<u32>().ok());
    pid.map_or_else(|| "another daemon".into(), |pid| format!("another daemon (pid {pid})"))
}

fn proc_line(path: &str) -> Result<String, LedgerError> {
    let text = fs::read_to_string(path).map_err(|source| at("read", Path::new(path), source))?;
    Ok(text.trim().to_owned())
}

fn at(doing: &'static str, path: &Path, source: io::Error) -> LedgerError {
    LedgerError::Io { doing, path: PathBuf::from(path), source }
}

/// Names a file system that is shared over a network, by the magic number of statfs(2).
fn network_kind(magic: u64, fuse: impl FnOnce() -> String) -> Option<String> {
    // From linux/magic.h and the kernel modules; as u32, because some architectures extend the sign.
    let name = match magic as u32 {
        0x6969 => "an NFS file system",
        0x517b | 0xff53_4d42 | 0xfe53_4d42 => "an SMB file system",
        0x0102_1997 => "a 9P file system",
        0x5346_414f | 0x6b41_4653 => "an AFS file system",
        0x00c3_6400 => "a Ceph file system",
        0x7375_7245 => "a Coda file system",
        0x564c => "an NCP file system",
        0x0bd0_0bd0 => "a Lustre file system",
        0x4750_4653 => "a GPFS file system",
        0x7461_636f => "an OCFS2 file system",
        0x0116_1970 => "a GFS2 file system",
        0x6573_5546 => {
            return Some(fuse()).filter(|kind| remote_fuse(kind)).map(|kind| format!("a {kind} file system"));
        }
        _ => return None,
    };
    Some(name.into())
}

/// Whether a FUSE type may lie elsewhere. The local ones are few and known; an unknown one is taken for remote.
fn remote_fuse(kind: &str) -> bool {
    !matches!(
        kind,
        "fuseblk"
            | "fuse.fuse-overlayfs"
            | "fuse.lxcfs"
            | "fuse.gocryptfs"
            | "fuse.encfs"
            | "fuse.bindfs"
            | "fuse.mergerfs"
    )
}

/// The type of the FUSE file system that holds `path`, by its device number in `/proc/self/mountinfo`.
fn fuse_kind(path: &Path) -> String {
    let device = fs::metadata(path).map(|meta| {
        let dev = meta.dev();
        format!("{}:{}", nix::sys::stat::major(dev), nix::sys::stat::minor(dev))
    });
    let mounts = fsio::read_limited(Path::new("/proc/self/mountinfo"), MAX_SMALL_FILE).unwrap_or_default();
    let kind = device.ok().and_then(|device| mounted_type(&String::from_utf8_lossy(&mounts), &device));
    kind.unwrap_or_else(|| "FUSE".into())
}

/// The type of the mount of `device` (`major:minor`); proc_pid_mountinfo(5).
fn mounted_type(mountinfo: &str, device: &str) -> Option<String> {
    mountinfo.lines().find_map(|line| {
        let (mount, rest) = line.split_once(" - ")?;
        (mount.split(' ').nth(2)? == device).then(|| rest.split(' ').next().map(str::to_owned))?
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn the_second_owner_is_refused_and_told_who() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("a/state");
        let first = Owner::take(&state).unwrap();
        assert_eq!(fs::metadata(&state).unwrap().permissions().mode() & 0o777, 0o700);
        let error = Owner::take(&state).unwrap_err().to_string();
        assert!(error.contains(&format!("pid {}", std::process::id())), "{error}");
        let old = first.instance.clone();
        drop(first);
        let next = Owner::take(&state).unwrap();
        assert_ne!(next.instance, old);
        assert!(!next.boot_id.is_empty());
    }

    #[test]
    fn network_file_systems_are_named() {
        let never = || -> String { panic!("not FUSE") };
        assert_eq!(network_kind(0x6969, never).as_deref(), Some("an NFS file system"));
        assert_eq!(network_kind(0xffff_ffff_fe53_4d42, never).as_deref(), Some("an SMB file system"));
        for local in [0xef53, 0x5846_5342, 0x9123_683e, 0x0102_1994, 0x794c_7630, 0x2fc1_2fc1] {
            assert_eq!(network_kind(local, never), None, "{local:x}");
        }
        let fuse = |kind: &'static str| network_kind(0x6573_5546, || kind.to_owned());
        assert_eq!(fuse("fuse.sshfs").as_deref(), Some("a fuse.sshfs file system"));
        assert_eq!(fuse("fuseblk"), None);
    }

    #[test]
    fn mounts_are_found_by_device() {
        let text = "22 1 8:1 / / rw shared:1 - ext4 /dev/sda1 rw\n36 22 0:45 / /mnt rw - fuse.sshfs host:/ rw\n";
        assert_eq!(mounted_type(text, "0:45").as_deref(), Some("fuse.sshfs"));
        assert_eq!(mounted_type(text, "8:1").as_deref(), Some("ext4"));
        assert_eq!(mounted_type(text, "9:9"), None);
        assert_eq!(mounted_type("garbage", "0:45"), None);
    }
}
