//! Keeps the refresh token of a source: sealed, durable before it is used, and bound to the value of auth.env that it
//! descends from.
//!
//! A server that rotates refresh tokens takes the old one back, so what came last is the only way in. It lies in
//! `state_dir/secrets/<source>`, beside an HMAC of the configured value; where that value is another one, it wins.

use super::error::AuthError;
use super::registry::Place;
use crate::base::ids::Name;
use crate::base::secret::Secret;
use crate::base::{crash, fsio};
use crate::seal::{self, Seal};
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// A larger file is none of ours.
const MAX_BYTES: u64 = 1 << 20;

/// Serialises those who replace a token, also other processes: `auth login` may run beside the daemon. No name of a source
/// begins with a dot.
const LOCK: &str = ".lock";

/// What is kept, once opened.
#[derive(Serialize, Deserialize)]
struct Kept {
    /// The refresh token.
    token: String,
    /// HMAC of the configured value that it descends from.
    from: String,
}

/// Where the refresh token of a source is kept.
#[derive(Clone, Debug)]
pub struct Store {
    source: Name,
    place: Place,
    /// The value that the configuration names.
    configured: Option<Secret>,
}

/// A refresh token that was found, and what the file held at that moment.
pub struct Found {
    /// The token.
    pub token: Secret,
    /// The bytes of the file; none where there was none.
    bytes: Option<Vec<u8>>,
}

impl Store {
    /// The store of a source; `configured` is the value of its first refresh token.
    pub fn new(source: &Name, place: &Place, configured: Option<Secret>) -> Self {
        Self { source: source.clone(), place: place.clone(), configured }
    }

    /// The token to use: what is kept, unless the configuration has another value than the one it descends from. Blocks.
    pub fn find(&self) -> Result<Found, AuthError> {
        let bytes = self.read()?;
        let none = || AuthError::NoRefreshToken(self.source.to_string());
        let Some(sealed) = &bytes else {
            return Ok(Found { token: self.configured.clone().ok_or_else(none)?, bytes });
        };
        let seal = self.seal()?;
        let plain = seal.open(&self.about(), sealed).map_err(|cause| self.sealing(cause))?;
        let kept: Kept = serde_json::from_slice(&plain).map_err(|_| self.sealing(seal::SealError::NotSealed))?;
        let token = match &self.configured {
            Some(value) if seal.mac(&self.about(), value.expose()) != kept.from => value.clone(),
            _ => Secret::new(kept.token),
        };
        Ok(Found { token, bytes })
    }

    /// Keeps the token that came for `found`. Where somebody else has put one there in the meantime, that one stays: it is
    /// what a person just asked for. Blocks.
    pub fn keep(&self, token: &Secret, found: &Found) -> Result<(), AuthError> {
        crash::point("token.received");
        let _lock = self.lock()?;
        if self.read()? != found.bytes {
            return Ok(());
        }
        self.write(token)
    }

    /// Keeps a token, whatever is there. Blocks.
    pub fn put(&self, token: &Secret) -> Result<(), AuthError> {
        let _lock = self.lock()?;
        self.write(token)
    }

    fn write(&self, token: &Secret) -> Result<(), AuthError> {
        let seal = self.seal()?;
        let configured = self.configured.as_ref().map_or("", Secret::expose);
        let kept = Kept { token: token.expose().to_owned(), from: seal.mac(&self.about(), configured) };
        let plain = serde_json::to_vec(&kept).unwrap_or_default();
        let sealed = seal.seal(&self.about(), &plain).map_err(|cause| self.sealing(cause))?;
        let (dir, path) = (self.dir(), self.path());
        let temporary = dir.join(format!(".{}.tmp", self.source));
        let write = || -> io::Result<()> {
            let mut file = fsio::create_fresh(&temporary, 0o600)?;
            file.write_all(&sealed)?;
            fsio::give_to_owner(&file, &self.place.state_dir)?;
            file.sync_all()?;
            crash::point("token.written");
            std::fs::rename(&temporary, &path)?;
            fsio::sync_dir(&dir)
        };
        write().map_err(|source| AuthError::File { doing: "write", path: path.clone(), source })?;
        crash::point("token.stored");
        Ok(())
    }

    fn read(&self) -> Result<Option<Vec<u8>>, AuthError> {
        let path = self.path();
        match fsio::read_limited(&path, MAX_BYTES) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(AuthError::File { doing: "read", path, source }),
        }
    }

    fn lock(&self) -> Result<Flock<File>, AuthError> {
        let dir = self.dir();
        let path = dir.join(LOCK);
        let open = || -> io::Result<Flock<File>> {
            make_closed(&self.place.state_dir, &dir)?;
            let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path)?;
            fsio::give_to_owner(&file, &self.place.state_dir)?;
            // Held for the time of one small write.
            Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| errno.into())
        };
        open().map_err(|source| AuthError::File { doing: "lock", path: path.clone(), source })
    }

    fn seal(&self) -> Result<Seal, AuthError> {
        seal::load(&self.place.state_dir, self.place.state_key.as_deref()).map_err(|cause| self.sealing(cause))
    }

    fn sealing(&self, cause: seal::SealError) -> AuthError {
        AuthError::Seal { source_name: self.source.to_string(), cause }
    }

    /// A file of one source does not open for another.
    fn about(&self) -> String {
        format!("refresh token of source {}", self.source)
    }

    fn dir(&self) -> PathBuf {
        self.place.state_dir.join("secrets")
    }

    fn path(&self) -> PathBuf {
        self.dir().join(self.source.as_str())
    }
}

/// Makes the directory of the secrets, closed to all others, and of the same owner as the one that it lies in.
fn make_closed(state_dir: &Path, dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    fsio::create_dir_durable(state_dir)?;
    match DirBuilder::new().mode(0o700).create(dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    fsio::give_to_owner(&File::open(dir)?, state_dir)?;
    fsio::sync_dir(state_dir)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(dir: &Path, configured: Option<&str>) -> Store {
        let place = Place { state_dir: dir.to_owned(), state_key: None };
        Store::new(&Name::new("shop").unwrap(), &place, configured.map(Secret::new))
    }

    fn found(store: &Store) -> String {
        store.find().unwrap().token.expose().to_owned()
    }

    #[test]
    fn what_is_kept_wins_until_the_configuration_says_something_else() {
        let dir = tempfile::tempdir().unwrap();
        let first = store(dir.path(), Some("first-token"));
        assert_eq!(found(&first), "first-token");
        first.keep(&Secret::new("second-token"), &first.find().unwrap()).unwrap();
        assert_eq!(found(&first), "second-token");
        assert_eq!(found(&store(dir.path(), Some("other-token"))), "other-token");
        assert_eq!(found(&store(dir.path(), None)), "second-token", "there is no other value to win");
        let other = store(dir.path(), Some("other-token"));
        other.keep(&Secret::new("third-token"), &other.find().unwrap()).unwrap();
        assert_eq!(found(&other), "third-token");
        assert_eq!(found(&first), "first-token", "and back again");
    }

    #[test]
    fn nothing_readable_is_on_the_disk() {
        let dir = tempfile::tempdir().unwrap();
        store(dir.path(), Some("canary-first")).put(&Secret::new("canary-second")).unwrap();
        let bytes = std::fs::read(dir.path().join("secrets/shop")).unwrap();
        assert!(!String::from_utf8_lossy(&bytes).contains("canary"));
        let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(dir.path().join("secrets/shop")).unwrap());
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn what_root_keeps_belongs_to_the_owner_of_the_state() {
        use std::os::unix::fs::{MetadataExt as _, chown};
        if !nix::unistd::geteuid().is_root() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        chown(dir.path(), Some(12_345), Some(12_346)).unwrap();
        store(dir.path(), None).put(&Secret::new("token")).unwrap();
        for name in ["secrets", "secrets/shop", "secrets/.lock", "state-key"] {
            let made = std::fs::metadata(dir.path().join(name)).unwrap();
            assert_eq!((made.uid(), made.gid(), made.mode() & 0o077), (12_345, 12_346, 0), "{name}");
        }
    }

    #[test]
    fn a_login_beside_a_renewal_stays() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(dir.path(), None);
        assert!(matches!(store.find(), Err(AuthError::NoRefreshToken(_))));
        store.put(&Secret::new("one")).unwrap();
        let before = store.find().unwrap();
        store.put(&Secret::new("of the login")).unwrap();
        store.keep(&Secret::new("of the renewal"), &before).unwrap();
        assert_eq!(found(&store), "of the login");
    }

    #[test]
    fn a_lost_key_is_told() {
        let dir = tempfile::tempdir().unwrap();
        store(dir.path(), Some("first")).put(&Secret::new("second")).unwrap();
        std::fs::write(dir.path().join("state-key"), [9; 32]).unwrap();
        let error = store(dir.path(), Some("first")).find().err().unwrap();
        assert!(crate::base::error::Chain(&error).to_string().contains("auth login shop"), "{error}");
    }
}
