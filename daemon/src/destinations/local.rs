//! A directory on this machine: objects are hard links (or copies) of spooled files, made once and never overwritten.

use super::{Answer, Content, Destination, DestinationError, Expected, Head, Probed, Put, Small};
use crate::base::{clock, crash, fsio};
use crate::config::settings::LocalDestination;
use bytes::Bytes;
use futures_util::StreamExt as _;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

/// Directory below a root that holds what is not published: spool and files on their way.
pub const PRIVATE: &str = ".saas-export";
/// Age after which a file on its way belongs to nobody.
const STALE: Duration = Duration::from_secs(24 * 3600);

/// Bytes of a piece that is read.
const PIECE: usize = 1 << 20;

/// A local destination.
#[derive(Clone, Debug)]
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
    fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> Result<T, DestinationError> + Send + 'static,
    ) -> Answer<'_, T> {
        let local = self.clone();
        Box::pin(async move { tokio::task::spawn_blocking(move || work(&local)).await? })
    }

    fn look(&self) -> Result<(), DestinationError> {
        let temporary = self.temporary("probe")?;
        fs::write(&temporary.path, b"").map_err(io_error("write to", &temporary.path))?;
        sweep(parent(&temporary.path))
    }

    fn free_bytes(&self) -> Result<u64, DestinationError> {
        fsio::free_space(&self.root).map_err(io_error("look at", &self.root))
    }

    fn store(&self, key: &str, from: &Path, expected: &Expected) -> Result<(), DestinationError> {
        let to = self.path(key);
        let dir = parent(&to);
        fsio::create_dir_durable(dir).map_err(io_error("create", dir))?;
        match self.link(from, &to) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                check_same(&to, expected)?;
                return fsio::sync_dir(dir).map_err(io_error("sync", dir));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound && !from.exists() => {
                return if to.exists() { check_same(&to, expected) } else { Err(gone(from)) };
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

    /// A link to a file of our own spool. Two destinations never share a file: damage to one must not reach the other.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        if from.starts_with(self.root.join(PRIVATE)) {
            fs::hard_link(from, to)
        } else if to.exists() {
            Err(io::ErrorKind::AlreadyExists.into())
        } else {
            Err(io::ErrorKind::CrossesDevices.into())
        }
    }

    /// Another file system or destination: copy (a reflink where it can be), sync, read back, move into place.
    fn copy(&self, from: &Path, to: &Path, expected: &Expected) -> Result<(), DestinationError> {
        let temporary = self.temporary(&file_name(to))?;
        let path = &temporary.path;
        fs::copy(from, path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound if !from.exists() => gone(from),
            _ => io_error("copy to", path)(error),
        })?;
        let file = File::open(path).map_err(io_error("open", path))?;
        file.set_permissions(fs::Permissions::from_mode(self.mode)).map_err(io_error("chmod", path))?;
        file.sync_all().map_err(io_error("sync", path))?;
        crash::point("delivery.copied");
        let found = digest(path)?;
        if found != *expected {
            let found = format!("the copy has {} bytes and SHA-256 {}", found.bytes, found.sha256);
            return Err(DestinationError::Corrupt { location: path.display().to_string(), found });
        }
        temporary.move_to(to, expected)
    }

    /// A name of its own for a file on its way, which no other run or task uses.
    fn temporary(&self, name: &str) -> Result<Temporary, DestinationError> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let dir = self.root.join(PRIVATE).join("incoming");
        fsio::create_dir_durable(&dir).map_err(io_error("create", &dir))?;
        let unique = format!("{}-{}-{name}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        Ok(Temporary { path: dir.join(unique) })
    }

    /// Writes a temporary file and makes it durable.
    fn written(&self, name: &str, bytes: &[u8]) -> Result<Temporary, DestinationError> {
        let temporary = self.temporary(name)?;
        let write = || -> io::Result<()> {
            let mut file = fsio::create_fresh(&temporary.path, self.mode)?;
            file.set_permissions(fs::Permissions::from_mode(self.mode))?;
            file.write_all(bytes)?;
            file.sync_all()
        };
        write().map_err(io_error("write", &temporary.path))?;
        Ok(temporary)
    }

    fn store_bytes(&self, key: &str, bytes: &[u8]) -> Result<(), DestinationError> {
        let to = self.path(key);
        let dir = parent(&to);
        fsio::create_dir_durable(dir).map_err(io_error("create", dir))?;
        let expected = Expected::of(bytes);
        self.written(&file_name(&to), bytes)?.move_to(&to, &expected)?;
        fsio::sync_dir(dir).map_err(io_error("sync", dir))
    }

    fn swap(&self, key: &str, bytes: &[u8]) -> Result<(), DestinationError> {
        let to = self.path(key);
        let temporary = self.written(&file_name(&to), bytes)?;
        fs::rename(&temporary.path, &to).and_then(|()| fsio::sync_dir(parent(&to))).map_err(io_error("replace", &to))
    }

    /// Fails where the root is missing or holds nothing at all, as a disk does that is not mounted: nothing can be said to be
    /// gone there.
    fn must_be_there(&self) -> Result<(), DestinationError> {
        match fs::read_dir(&self.root).is_ok_and(|mut entries| entries.next().is_some()) {
            true => Ok(()),
            false => Err(DestinationError::NotMounted { root: self.root.clone() }),
        }
    }

    fn remove(&self, key: &str) -> Result<(), DestinationError> {
        self.must_be_there()?;
        let path = self.path(key);
        let gone = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
        match fsio::remove(&path).and_then(|()| fsio::sync_dir(parent(&path))) {
            // Its directory was never made, or is gone as well.
            Err(error) if gone(&error) => Ok(()),
            other => other.map_err(io_error("delete", &path)),
        }
    }

    fn remove_empty(&self, dir: &str) -> Result<(), DestinationError> {
        let path = self.path(dir);
        match fs::remove_dir(&path).and_then(|()| fsio::sync_dir(parent(&path))) {
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::DirectoryNotEmpty) => Ok(()),
            other => other.map_err(io_error("remove", &path)),
        }
    }
}

impl Destination for Local {
    fn probe(&self) -> Answer<'_, Probed> {
        self.blocking(|local| local.look().map(|()| Probed::default()))
    }

    fn put_file<'a>(&'a self, put: Put<'a>) -> Answer<'a, ()> {
        let (key, from, expected) = (put.key.to_owned(), put.from.to_owned(), put.expected.clone());
        self.blocking(move |local| local.store(&key, &from, &expected))
    }

    fn put_bytes<'a>(&'a self, key: &'a str, bytes: Bytes) -> Answer<'a, ()> {
        let key = key.to_owned();
        self.blocking(move |local| local.store_bytes(&key, &bytes))
    }

    fn read_small<'a>(&'a self, key: &'a str, limit: u64) -> Answer<'a, Option<Small>> {
        let path = self.path(key);
        self.blocking(move |local| {
            local.must_be_there()?;
            let bytes = there(fsio::read_limited(&path, limit)).map_err(io_error("read", &path))?;
            Ok(bytes.map(|bytes| Small { bytes: bytes.into(), version: None }))
        })
    }

    fn read<'a>(&'a self, key: &'a str) -> Answer<'a, Option<Content>> {
        let path = self.path(key);
        self.blocking(move |_| {
            let file = there(File::open(&path)).map_err(io_error("open", &path))?;
            Ok(file.map(|file| pieces(file, path)))
        })
    }

    fn head<'a>(&'a self, key: &'a str) -> Answer<'a, Option<Head>> {
        let path = self.path(key);
        self.blocking(move |_| {
            let found = there(fs::metadata(&path)).map_err(io_error("look at", &path))?;
            Ok(found.map(|meta| Head { bytes: meta.len(), sha256: None, crc32c: None }))
        })
    }

    fn replace<'a>(&'a self, key: &'a str, bytes: Bytes, _seen: Option<&'a Small>) -> Answer<'a, ()> {
        let key = key.to_owned();
        self.blocking(move |local| local.swap(&key, &bytes))
    }

    fn delete<'a>(&'a self, key: &'a str) -> Answer<'a, ()> {
        let key = key.to_owned();
        self.blocking(move |local| local.remove(&key))
    }

    fn tidy<'a>(&'a self, dir: &'a str) -> Answer<'a, ()> {
        let dir = dir.to_owned();
        self.blocking(move |local| local.remove_empty(&dir))
    }

    /// A copy that was not finished is removed by its own run, or swept a day later.
    fn abort<'a>(&'a self, _key: &'a str, _upload: &'a str) -> Answer<'a, ()> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn free(&self) -> Answer<'_, Option<u64>> {
        self.blocking(|local| local.free_bytes().map(Some))
    }

    fn link<'a>(&'a self, _key: &'a str, _expires: Duration) -> Answer<'a, Option<String>> {
        Box::pin(std::future::ready(Ok(None)))
    }

    fn location(&self, key: &str) -> String {
        self.path(key).display().to_string()
    }

    fn sent(&self) -> u64 {
        0
    }
}

/// `None` for what is not there.
fn there<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        other => other.map(Some),
    }
}

/// A file, piece by piece, read off the async threads.
fn pieces(file: File, path: PathBuf) -> Content {
    let next = |(mut file, path): (File, PathBuf)| async move {
        let read = tokio::task::spawn_blocking(move || {
            let mut piece = vec![0; PIECE];
            let got = file.read(&mut piece).map_err(io_error("read", &path))?;
            piece.truncate(got);
            Ok((Bytes::from(piece), (file, path)))
        });
        match read.await.map_err(DestinationError::from).and_then(|read| read) {
            Ok((piece, _)) if piece.is_empty() => Ok(None),
            Ok(read) => Ok(Some(read)),
            Err(error) => Err(error),
        }
    };
    futures_util::stream::try_unfold((file, path), next).boxed()
}

/// A file on its way; what has not been moved is removed.
struct Temporary {
    path: PathBuf,
}

impl Temporary {
    /// Gives the file its name, unless something is there: the same is adopted, anything else is a conflict.
    fn move_to(self, to: &Path, expected: &Expected) -> Result<(), DestinationError> {
        match rename_new(&self.path, to) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => check_same(to, expected),
            other => other.map_err(io_error("move to", to)),
        }
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fsio::remove(&self.path);
    }
}

/// Renames without ever replacing; by a link where the file system knows no such rename (NFS).
fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
    match renameat2(AT_FDCWD, from, AT_FDCWD, to, RenameFlags::RENAME_NOREPLACE) {
        Err(nix::errno::Errno::EINVAL | nix::errno::Errno::ENOSYS) => fs::hard_link(from, to),
        other => Ok(other?),
    }
}

/// Removes what killed runs left on its way a day ago or earlier.
fn sweep(incoming: &Path) -> Result<(), DestinationError> {
    for entry in fs::read_dir(incoming).map_err(io_error("list", incoming))?.flatten() {
        let modified = entry.metadata().and_then(|meta| meta.modified());
        let age = modified.ok().and_then(|at| SystemTime::from(clock::now()).duration_since(at).ok());
        if age.is_some_and(|age| age > STALE) {
            let path = entry.path();
            fsio::remove(&path).map_err(io_error("remove", &path))?;
        }
    }
    Ok(())
}

fn gone(from: &Path) -> DestinationError {
    DestinationError::Gone { path: from.to_owned() }
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("/"))
}

/// File systems without hard links (some FUSE and FAT mounts) get a copy, like another device.
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

/// Size and checksums of a file, as it can be read now.
pub fn digest(path: &Path) -> Result<Expected, DestinationError> {
    let file = File::open(path).map_err(io_error("open", path))?;
    Expected::read(file, |_| ()).map_err(io_error("read", path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::error::{Classify as _, ErrorClass};
    use crate::config::units::Mode;

    fn setup() -> (tempfile::TempDir, Local, PathBuf, Expected) {
        let dir = tempfile::tempdir().unwrap();
        let local = Local::new(&LocalDestination { root: dir.path().join("root"), mode: Mode(0o640) });
        local.look().unwrap();
        let spooled = local.root().join(PRIVATE).join("spooled");
        fs::write(&spooled, b"segment").unwrap();
        let expected = digest(&spooled).unwrap();
        (dir, local, spooled, expected)
    }

    #[test]
    fn the_same_file_is_adopted_and_another_is_a_conflict() {
        let (_dir, local, spooled, expected) = setup();
        local.store("e/s/t/part", &spooled, &expected).unwrap();
        local.store("e/s/t/part", &spooled, &expected).unwrap();
        fs::remove_file(local.path("e/s/t/part")).unwrap();
        fs::write(local.path("e/s/t/part"), b"other").unwrap();
        let error = local.store("e/s/t/part", &spooled, &expected).unwrap_err();
        assert_eq!(error.class(), ErrorClass::Conflict);
        assert_eq!(fs::read(local.path("e/s/t/part")).unwrap(), b"other");
    }

    #[test]
    fn small_objects_are_create_only_and_latest_is_replaced() {
        let (_dir, local, _, _) = setup();
        local.store_bytes("e/s/t/_manifest.json", b"one").unwrap();
        local.store_bytes("e/s/t/_manifest.json", b"one").unwrap();
        assert!(local.store_bytes("e/s/t/_manifest.json", b"two").is_err());
        for text in [b"1", b"2"] {
            local.swap("e/s/latest.json", text).unwrap();
            assert_eq!(fs::read(local.path("e/s/latest.json")).unwrap(), text);
        }
        let mode = fs::metadata(local.path("e/s/t/_manifest.json")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o640);
    }

    #[test]
    fn two_destinations_on_one_disk_share_no_file() {
        let (dir, _local, spooled, expected) = setup();
        let other = Local::new(&LocalDestination { root: dir.path().join("other"), mode: Mode(0o600) });
        other.store("part", &spooled, &expected).unwrap();
        fs::write(&spooled, b"damaged").unwrap();
        assert_eq!(fs::read(other.path("part")).unwrap(), b"segment");
        assert_eq!(fs::metadata(other.path("part")).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_spooled_file_that_is_gone_is_looked_for_where_it_was_to_go() {
        let (_dir, local, spooled, expected) = setup();
        local.store("part", &spooled, &expected).unwrap();
        fs::remove_file(&spooled).unwrap();
        local.store("part", &spooled, &expected).unwrap();
        local.remove("part").unwrap();
        let error = local.store("part", &spooled, &expected).unwrap_err();
        assert!(matches!(error, DestinationError::Gone { .. }), "{error}");
    }

    #[test]
    fn what_a_killed_run_left_on_its_way_is_swept_after_a_day() {
        let (_dir, local, _, _) = setup();
        let incoming = local.root().join(PRIVATE).join("incoming");
        for name in ["old", "new"] {
            fs::write(incoming.join(name), b"").unwrap();
        }
        let old = SystemTime::from(clock::now()) - 2 * STALE;
        File::options().write(true).open(incoming.join("old")).unwrap().set_modified(old).unwrap();
        local.look().unwrap();
        let left: Vec<_> = fs::read_dir(incoming).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["new"]);
    }

    #[test]
    fn nothing_is_gone_from_a_disk_that_is_not_mounted() {
        let (dir, local, spooled, expected) = setup();
        local.store("e/s/t/part", &spooled, &expected).unwrap();
        let (mounted, elsewhere) = (local.root().to_owned(), dir.path().join("elsewhere"));
        fs::rename(&mounted, &elsewhere).unwrap();
        for bare in [false, true] {
            if bare {
                fs::create_dir(&mounted).unwrap();
            }
            let error = local.remove("e/s/t/part").unwrap_err();
            assert_eq!(error.class(), ErrorClass::Transient);
            assert!(error.to_string().contains("is the disk mounted?"), "{error}");
        }
        fs::remove_dir(&mounted).unwrap();
        fs::rename(&elsewhere, &mounted).unwrap();
        local.remove("e/s/t/part").unwrap();
        local.remove("e/s/t/part").unwrap();
        assert!(!local.path("e/s/t/part").exists());
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
