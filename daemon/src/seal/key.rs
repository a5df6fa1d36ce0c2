//! The state-key: handed over by systemd or made at install, else a file of the state directory that is made at first need.

use super::{Seal, SealError};
use crate::base::fsio;
use ring::rand::{SecureRandom as _, SystemRandom};
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Name of the key, as a credential and in the state directory.
const NAME: &str = "state-key";
/// Random bytes of a key that is made.
const BYTES: usize = 32;
/// A larger file is no key.
const MAX_BYTES: u64 = 4096;

/// One at a time makes a key: two sources may need it at the same moment.
static MAKING: Mutex<()> = Mutex::new(());

/// The key in the directory that systemd hands credentials over in, else the one that the package made beside config.yaml: the
/// daemon's own commands find there what the service is handed over. None where `state_dir` has one: that was in use before
/// another was given, and what it sealed must stay readable.
pub fn handed_over(state_dir: &Path, credentials: Option<&Path>, config: &Path) -> Option<PathBuf> {
    if state_dir.join(NAME).exists() {
        return None;
    }
    let handed_over = credentials.map(|dir| dir.join(NAME));
    handed_over.into_iter().chain([config.with_file_name(NAME)]).find(|path| path.exists())
}

/// The seal of the state-key in the file `given` (whose mode is not looked at), else of the one in `state_dir`, which is made
/// where it is missing. Blocks.
pub fn load(state_dir: &Path, given: Option<&Path>) -> Result<Seal, SealError> {
    if let Some(path) = given {
        return read(path);
    }
    let _one = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
    let path = state_dir.join(NAME);
    if !path.exists() {
        make(state_dir, &path).map_err(|source| SealError::File { doing: "make", path: path.clone(), source })?;
    }
    let file = |source| SealError::File { doing: "look at", path: path.clone(), source };
    if fs::metadata(&path).map_err(file)?.mode() & 0o077 != 0 {
        return Err(SealError::Exposed { path });
    }
    read(&path)
}

fn read(path: &Path) -> Result<Seal, SealError> {
    let file = |source| SealError::File { doing: "read", path: path.to_owned(), source };
    let bytes = fsio::read_limited(path, MAX_BYTES).map_err(file)?;
    if bytes.len() < BYTES {
        return Err(SealError::Short { path: path.to_owned(), least: BYTES });
    }
    Seal::new(&bytes)
}

/// Makes a key durably. Where two do so at once, the first stays: a link never replaces.
fn make(state_dir: &Path, path: &Path) -> io::Result<()> {
    fsio::create_dir_durable(state_dir)?;
    let mut bytes = [0; BYTES];
    SystemRandom::new().fill(&mut bytes).map_err(|_| io::Error::other("no random numbers"))?;
    let temporary: PathBuf = state_dir.join(format!(".{NAME}-{}.tmp", std::process::id()));
    fsio::remove(&temporary)?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    file.write_all(&bytes)?;
    fsio::give_to_owner(&file, state_dir)?;
    file.sync_all()?;
    match fs::hard_link(&temporary, path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    fsio::remove(&temporary)?;
    fsio::sync_dir(state_dir)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_key_is_made_once_and_kept_closed() {
        let dir = tempfile::tempdir().unwrap();
        let first = load(dir.path(), None).unwrap();
        let sealed = first.seal("x", b"plain").unwrap();
        assert_eq!(load(dir.path(), None).unwrap().open("x", &sealed).unwrap(), b"plain");
        let path = dir.path().join(NAME);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing else is left");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(load(dir.path(), None), Err(SealError::Exposed { .. })));
    }

    #[test]
    fn a_key_that_is_handed_over_is_used_and_none_is_made() {
        let (dir, credentials) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let given = || handed_over(dir.path(), Some(credentials.path()), Path::new("/nowhere/config.yaml"));
        assert_eq!(given(), None);
        fs::write(credentials.path().join(NAME), [7; 31]).unwrap();
        let given = given().unwrap();
        assert!(matches!(load(dir.path(), Some(&given)), Err(SealError::Short { .. })));
        fs::write(&given, [7; 32]).unwrap();
        let seal = load(dir.path(), Some(&given)).unwrap();
        assert_eq!(seal.mac("a", "b"), Seal::new(&[7; 32]).unwrap().mac("a", "b"));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "none is made");
    }

    #[test]
    fn the_installed_key_is_found_beside_the_configuration() {
        let (state, etc, credentials) =
            (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let given = |handed: Option<&Path>| handed_over(state.path(), handed, &etc.path().join("config.yaml"));
        fs::write(etc.path().join(NAME), [1; 32]).unwrap();
        assert_eq!(given(None), Some(etc.path().join(NAME)));
        assert_eq!(given(Some(credentials.path())), Some(etc.path().join(NAME)));
        fs::write(credentials.path().join(NAME), [2; 32]).unwrap();
        assert_eq!(given(Some(credentials.path())), Some(credentials.path().join(NAME)));
    }

    #[test]
    fn a_key_that_was_in_use_before_another_was_given_stays() {
        let (dir, credentials) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let sealed = load(dir.path(), None).unwrap().seal("x", b"plain").unwrap();
        fs::write(credentials.path().join(NAME), [7; 32]).unwrap();
        let given = handed_over(dir.path(), Some(credentials.path()), Path::new("/nowhere/config.yaml"));
        assert_eq!(load(dir.path(), given.as_deref()).unwrap().open("x", &sealed).unwrap(), b"plain");
        // Unless somebody names one: what an older key sealed may have to be read.
        let named = load(dir.path(), Some(&credentials.path().join(NAME))).unwrap();
        assert!(named.open("x", &sealed).is_err());
    }
}
