//! A directory on this machine: objects are hard links (or copies) of spooled files, made once and never overwritten.

use super::{DestinationError, Expected};
use crate::base::{crash, fsio, ids::hex};
use crate::config::settings::LocalDestination;
use sha2::{Digest as _, Sha256};
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Directory below a root that holds what is not published: spool and files on their way.
pub const PRIVATE: &str = ".saas-export";

/// A local destination.
#[derive(Debug)]
pub struct Local {
    root: PathBuf,
    mode: u32,
}

impl Local {
    /// The destination of these settings; touches nothing yet.
    pub fn new(settings: &LocalDestination) -> Self {
        Self { root: settings.root.clone(), mode: settings.mode.0 }
    }

    /// Its directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Permission bits of its files.
    pub fn mode(&self) -> u32 {
        self.mode
    }

    /// Where `key` lies. Keys are joined from checked names, so they cannot leave the root.
    pub fn path(&self, key: &str) -> PathBuf {
        self.root.join(key)
    }

    /// Runs file work off the async threads.
    pub(super) async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> Result<T, DestinationError> + Send + 'static,
    ) -> Result<T, DestinationError> {
        let local = self.clone();
        tokio::task::spawn_blocking(move || work(&local)).await?
    }

    pub(super) fn probe(&self) -> Result<(), DestinationError> {
        let private = self.root.join(PRIVATE);
        fsio::create_dir_durable(&private).map_err(io_error("create", &private))?;
        let probe = private.join(".probe");
        fs::write(&probe, b"").map_err(io_error("write to", &private))?;
        fsio::remove(&probe).map_err(io_error("remove", &probe))
    }

    pub(super) fn put_file(&self, key: &str, from: &Path, expected: &Expected) -> Result<(), DestinationError> {
        let to = self.path(key);
        let dir = parent(&to);
        fsio::create_dir_durable(dir).map_err(io_error("create", dir))?;
        match fs::hard_link(from, &to) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                check_same(&to, expected)?;
                return fsio::sync_dir(dir).map_err(io_error("sync", dir));
            }
            Err(error) if error.kind() == io::ErrorKind::CrossesDevices || no_links(&error) => {
                self.copy(from, &to, expected)?;
            }
            Err(error) => return Err(io_error("link", &to)(error)),
        }
        crash::point("delivery.linked");
        fsio::sync_dir(dir).map_err(io_error("sync", dir))?;
        let bytes = fs::metadata(&to).map_err(io_error("look at", &to))?.len();
        if bytes != expected.bytes {
            let found = format!("it has {bytes} bytes, {} were written", expected.bytes);
            return Err(DestinationError::Corrupt { location: to.display().to_string(), found });
        }
        Ok(())
    }

    /// Another file system: copy (a reflink where it can be), sync, read back, link into place.
    fn copy(&self, from: &Path, to: &Path, expected: &Expected) -> Result<(), DestinationError> {
        let name = to.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let temporary = self.temporary(&format!("{}-{name}", &expected.sha256[..expected.sha256.len().min(16)]))?;
        fs::copy(from, &temporary).map_err(io_error("copy to", &temporary))?;
        let file = File::open(&temporary).map_err(io_error("open", &temporary))?;
        file.set_permissions(fs::Permissions::from_mode(self.mode)).map_err(io_error("chmod", &temporary))?;
        file.sync_all().map_err(io_error("sync", &temporary))?;
        crash::point("delivery.copied");
        let found = digest(&temporary)?;
        if found != *expected {
            let found = format!("the copy has {} bytes and SHA-256 {}", found.bytes, found.sha256);
            return Err(DestinationError::Corrupt { location: temporary.display().to_string(), found });
        }
        match fs::hard_link(&temporary, to) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => check_same(to, expected)?,
            other => other.map_err(io_error("link", to))?,
        }
        fsio::remove(&temporary).map_err(io_error("remove", &temporary))
    }

    fn temporary(&self, name: &str) -> Result<PathBuf, DestinationError> {
        let dir = self.root.join(PRIVATE).join("incoming");
        fsio::create_dir_durable(&dir).map_err(io_error("create", &dir))?;
        Ok(dir.join(name))
    }

    pub(super) fn put_bytes(&self, key: &str, bytes: &[u8]) -> Result<(), DestinationError> {
        let to = self.path(key);
        let dir = parent(&to);
        fsio::create_dir_durable(dir).map_err(io_error("create", dir))?;
        let expected = Expected { bytes: bytes.len() as u64, sha256: hex(&Sha256::digest(bytes)) };
        let temporary = self.temporary(&format!("{}.tmp", expected.sha256))?;
        let mut file = fsio::create_fresh(&temporary, self.mode).map_err(io_error("create", &temporary))?;
        file.set_permissions(fs::Permissions::from_mode(self.mode)).map_err(io_error("chmod", &temporary))?;
        file.write_all(bytes).map_err(io_error("write", &temporary))?;
        file.sync_all().map_err(io_error("sync", &temporary))?;
        match fs::hard_link(&temporary, &to) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => check_same(&to, &expected)?,
            other => other.map_err(io_error("link", &to))?,
        }
        fsio::remove(&temporary).map_err(io_error("remove", &temporary))?;
        fsio::sync_dir(dir).map_err(io_error("sync", dir))
    }

    pub(super) fn read_small(&self, key: &str, limit: u64) -> Result<Option<Vec<u8>>, DestinationError> {
        let path = self.path(key);
        match fsio::read_limited(&path, limit) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(io_error("read", &path)(error)),
        }
    }

    pub(super) fn replace(&self, key: &str, bytes: &[u8]) -> Result<(), DestinationError> {
        let to = self.path(key);
        let temporary = self.temporary(&format!("{}.tmp", hex(&Sha256::digest(key.as_bytes()))))?;
        let write = || -> io::Result<()> {
            let mut file = fsio::create_fresh(&temporary, self.mode)?;
            file.set_permissions(fs::Permissions::from_mode(self.mode))?;
            file.write_all(bytes)?;
            file.sync_all()?;
            fs::rename(&temporary, &to)?;
            fsio::sync_dir(parent(&to))
        };
        write().map_err(io_error("replace", &to))
    }
}

fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("/"))
}

/// File systems without hard links (some FUSE and FAT mounts) are treated like another device.
fn no_links(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::Unsupported)
        || error.raw_os_error() == Some(nix::errno::Errno::EPERM as i32)
        || error.raw_os_error() == Some(nix::errno::Errno::EMLINK as i32)
}

fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> DestinationError {
    let path = path.to_owned();
    move |source| DestinationError::Io { action, path, source }
}

fn check_same(path: &Path, expected: &Expected) -> Result<(), DestinationError> {
    let found = digest(path)?;
    if found == *expected {
        return Ok(());
    }
    let found = format!("{} bytes, SHA-256 {}", found.bytes, found.sha256);
    Err(DestinationError::Conflict { location: path.display().to_string(), found })
}

/// Size and SHA-256 of a file, as it can be read now.
pub fn digest(path: &Path) -> Result<Expected, DestinationError> {
    let mut file = File::open(path).map_err(io_error("open", path))?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    let mut bytes = 0;
    loop {
        match file.read(&mut buffer).map_err(io_error("read", path))? {
            0 => break,
            n => {
                hash.update(buffer.get(..n).unwrap_or_default());
                bytes += n as u64;
            }
        }
    }
    Ok(Expected { bytes, sha256: hex(&hash.finalize()) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::error::{Classify as _, ErrorClass};
    use crate::config::units::Mode;

    fn setup() -> (tempfile::TempDir, Local, PathBuf, Expected) {
        let dir = tempfile::tempdir().unwrap();
        let local = Local::new(&LocalDestination { root: dir.path().join("root"), mode: Mode(0o640) });
        local.probe().unwrap();
        let spooled = dir.path().join("spooled");
        fs::write(&spooled, b"segment").unwrap();
        let expected = digest(&spooled).unwrap();
        (dir, local, spooled, expected)
    }

    #[test]
    fn the_same_file_is_adopted_and_another_is_a_conflict() {
        let (_dir, local, spooled, expected) = setup();
        local.put_file("e/s/t/part", &spooled, &expected).unwrap();
        local.put_file("e/s/t/part", &spooled, &expected).unwrap();
        fs::remove_file(local.path("e/s/t/part")).unwrap();
        fs::write(local.path("e/s/t/part"), b"other").unwrap();
        let error = local.put_file("e/s/t/part", &spooled, &expected).unwrap_err();
        assert_eq!(error.class(), ErrorClass::Conflict);
        assert_eq!(fs::read(local.path("e/s/t/part")).unwrap(), b"other");
    }

    #[test]
    fn small_objects_are_create_only_and_latest_is_replaced() {
        let (_dir, local, _, _) = setup();
        local.put_bytes("e/s/t/_manifest.json", b"one").unwrap();
        local.put_bytes("e/s/t/_manifest.json", b"one").unwrap();
        assert!(local.put_bytes("e/s/t/_manifest.json", b"two").is_err());
        for text in [b"1", b"2"] {
            local.replace("e/s/latest.json", text).unwrap();
            assert_eq!(local.read_small("e/s/latest.json", 10).unwrap().unwrap(), text);
        }
        assert_eq!(local.read_small("e/s/none", 10).unwrap(), None);
        let mode = fs::metadata(local.path("e/s/t/_manifest.json")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o640);
    }

    #[test]
    fn a_copy_to_another_device_is_verified_and_leaves_nothing_behind() {
        let (_dir, local, spooled, expected) = setup();
        fs::create_dir_all(local.path("e")).unwrap();
        local.copy(&spooled, &local.path("e/part"), &expected).unwrap();
        assert_eq!(digest(&local.path("e/part")).unwrap(), expected);
        assert_eq!(fs::read_dir(local.root().join(PRIVATE).join("incoming")).unwrap().count(), 0);
    }
}
