//! Durable file operations: nothing counts as written before it and its directory are synced. None holds up the async runtime.

use super::blocking::aside;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// Makes directory entries (creation, link, rename, removal) durable.
pub fn sync_dir(dir: &Path) -> io::Result<()> {
    aside(|| File::open(dir)?.sync_all())
}

/// Creates a directory and its missing parents, each durable in its parent.
pub fn create_dir_durable(dir: &Path) -> io::Result<()> {
    aside(|| create_dir(dir))
}

fn create_dir(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    let parent = dir.parent().filter(|p| !p.as_os_str().is_empty());
    if let Some(parent) = parent {
        create_dir(parent)?;
    }
    match fs::create_dir(dir) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => {}
        Err(error) => return Err(error),
    }
    sync_dir(parent.unwrap_or(Path::new(".")))
}

/// A new file for writing, replacing what an earlier try left under this name.
pub fn create_fresh(path: &Path, mode: u32) -> io::Result<File> {
    aside(|| OpenOptions::new().write(true).read(true).create(true).truncate(true).mode(mode).open(path))
}

/// Replaces `path` atomically: temporary file, sync, rename, sync of the directory.
pub fn replace(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    aside(|| {
        let temporary = sibling(path, ".tmp");
        let mut file = create_fresh(&temporary, mode)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        sync_dir(path.parent().unwrap_or(Path::new(".")))
    })
}

/// Removes a file; one that is already gone is no error.
pub fn remove(path: &Path) -> io::Result<()> {
    match aside(|| fs::remove_file(path)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// `path` with `suffix` added to its file name.
pub fn sibling(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.file_name().map(std::ffi::OsStr::to_os_string).unwrap_or_default();
    name.push(suffix);
    path.with_file_name(name)
}

/// Gives a file that root made to the owner of `dir`, so that the daemon's own user can read it. Others own what they make.
pub fn give_to_owner(file: &File, dir: &Path) -> io::Result<()> {
    let owner = fs::metadata(dir)?;
    let made = file.metadata()?;
    if made.uid() != owner.uid() && nix::unistd::geteuid().is_root() {
        std::os::unix::fs::fchown(file, Some(owner.uid()), Some(owner.gid()))?;
    }
    Ok(())
}

/// Reads a file of at most `limit` bytes; a larger one is an error.
pub fn read_limited(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    aside(|| File::open(path)?.take(limit + 1).read_to_end(&mut bytes))?;
    if bytes.len() as u64 > limit {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("larger than {limit} bytes")));
    }
    Ok(bytes)
}

/// Bytes that this process may still write to the file system that holds `path`.
pub fn free_space(path: &Path) -> io::Result<u64> {
    aside(|| {
        let stat = nix::sys::statvfs::statvfs(path)?;
        Ok(stat.blocks_available() as u64 * stat.fragment_size() as u64)
    })
}
