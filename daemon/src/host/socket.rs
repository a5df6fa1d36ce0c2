//! Opens the control socket: binds it, or takes the one that systemd listens on.

use super::notify;
use crate::base::error::{Classify, ErrorClass};
use std::fs;
use std::io;
use std::os::fd::{AsFd as _, FromRawFd as _, OwnedFd, RawFd};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::net::{UnixListener, UnixStream};

/// Everybody may connect; the route table decides by who they are.
const SOCKET_MODE: u32 = 0o666;

/// Mode of the socket's directory, where it has to be made.
const DIRECTORY_MODE: u32 = 0o755;

/// The longest path of a Unix socket (`sun_path` less its final zero; unix(7)).
const MAX_PATH: usize = 107;

/// The first descriptor that systemd passes (sd_listen_fds(3)).
const FIRST_PASSED_FD: RawFd = 3;

/// How long it may take to find out whether somebody answers on an old socket.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The socket that systemd listens on, or a new one at `path`.
pub async fn listen(path: &Path) -> Result<ControlSocket, SocketError> {
    match notify::passed_fds().map_err(SocketError::Passed)?.first() {
        Some(fd) => ControlSocket::adopt(*fd),
        None => ControlSocket::bind(path).await,
    }
}

/// A socket that listens; one that this process bound is removed when dropped.
#[derive(Debug)]
pub struct ControlSocket {
    /// The listener, ready for an async runtime.
    pub listener: UnixListener,
    bound: Option<Bound>,
}

/// The file that this process made: another daemon's socket of the same name is not ours to remove.
#[derive(Debug)]
struct Bound {
    path: PathBuf,
    inode: (u64, u64),
}

/// Why there is no control socket.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// The path does not fit into a socket address.
    #[error("use {path} as a socket: its path has {length} bytes, the kernel takes {MAX_PATH}")]
    TooLong {
        /// The path.
        path: PathBuf,
        /// Its length.
        length: usize,
    },
    /// Another process listens there.
    #[error("listen on {0}: another daemon answers there")]
    InUse(PathBuf),
    /// Something that is no socket has the name.
    #[error("listen on {0}: there is a file of that name that is no socket; nothing was removed")]
    NotASocket(PathBuf),
    /// The kernel refused.
    #[error("listen on {path}")]
    Bind {
        /// The path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// systemd passed something else.
    #[error("take the socket from systemd: descriptor {fd} is no listening Unix stream socket")]
    NotListening {
        /// The descriptor.
        fd: RawFd,
    },
    /// The passed socket could not be used.
    #[error("take the socket from systemd")]
    Passed(#[source] io::Error),
}

impl Classify for SocketError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::TooLong { .. } | Self::NotASocket(_) | Self::Bind { .. } => ErrorClass::Config,
            Self::InUse(_) => ErrorClass::Conflict,
            Self::NotListening { .. } | Self::Passed(_) => ErrorClass::Config,
        }
    }
}

impl ControlSocket {
    /// Binds `path`. A socket that a dead daemon left is replaced, one that answers is not.
    pub async fn bind(path: &Path) -> Result<Self, SocketError> {
        let length = path.as_os_str().len();
        if length > MAX_PATH {
            return Err(SocketError::TooLong { path: path.to_owned(), length });
        }
        let failed = |source| SocketError::Bind { path: path.to_owned(), source };
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty() && !parent.exists()) {
            make_open_dir(parent).map_err(failed)?;
        }
        remove_stale(path).await?;
        let listener = UnixListener::bind(path).map_err(failed)?;
        fs::set_permissions(path, fs::Permissions::from_mode(SOCKET_MODE)).map_err(failed)?;
        let file = fs::symlink_metadata(path).map_err(failed)?;
        let bound = Bound { path: path.to_owned(), inode: (file.dev(), file.ino()) };
        Ok(Self { listener, bound: Some(bound) })
    }

    /// Takes a descriptor that systemd passed (LISTEN_FDS). It must be called once for each descriptor.
    pub fn adopt(fd: RawFd) -> Result<Self, SocketError> {
        if fd < FIRST_PASSED_FD {
            return Err(SocketError::NotListening { fd });
        }
        #[expect(unsafe_code, reason = "systemd hands the descriptor over by number; nobody else owns it")]
        let fd_owned = unsafe { OwnedFd::from_raw_fd(fd) };
        Self::from_owned(fd_owned, fd)
    }

    fn from_owned(owned: OwnedFd, fd: RawFd) -> Result<Self, SocketError> {
        use nix::sys::socket::{getsockopt, sockopt};
        let listens = getsockopt(&owned.as_fd(), sockopt::AcceptConn).unwrap_or(false);
        let listener = std::os::unix::net::UnixListener::from(owned);
        if !listens || listener.local_addr().is_err() {
            return Err(SocketError::NotListening { fd });
        }
        listener.set_nonblocking(true).map_err(SocketError::Passed)?;
        let listener = UnixListener::from_std(listener).map_err(SocketError::Passed)?;
        Ok(Self { listener, bound: None })
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        let Some(bound) = &self.bound else { return };
        let ours = fs::symlink_metadata(&bound.path).is_ok_and(|file| (file.dev(), file.ino()) == bound.inode);
        if ours {
            // Left behind, it would only be a stale socket, which the next start replaces.
            let _ = fs::remove_file(&bound.path);
        }
    }
}

/// Makes a directory and those above it that are missing, all of them open: whoever calls passes through each.
fn make_open_dir(dir: &Path) -> io::Result<()> {
    if let Some(parent) = dir.parent().filter(|parent| !parent.as_os_str().is_empty() && !parent.exists()) {
        make_open_dir(parent)?;
    }
    fs::create_dir(dir)?;
    // Not at creation: the daemon's umask would take from it what others need to reach the socket.
    fs::set_permissions(dir, fs::Permissions::from_mode(DIRECTORY_MODE))
}

/// Removes the socket of a dead daemon: one that nobody listens on refuses the connection.
async fn remove_stale(path: &Path) -> Result<(), SocketError> {
    let failed = |source| SocketError::Bind { path: path.to_owned(), source };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
        Ok(file) if !file.file_type().is_socket() => return Err(SocketError::NotASocket(path.to_owned())),
        Ok(_) => {}
    }
    let Ok(connected) = tokio::time::timeout(CONNECT_TIMEOUT, UnixStream::connect(path)).await else {
        return Err(SocketError::InUse(path.to_owned()));
    };
    match connected {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path).map_err(failed),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(failed(error)),
        // A full backlog (WouldBlock) is somebody listening, too.
        Ok(_) | Err(_) => Err(SocketError::InUse(path.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::{UnixListener, UnixStream};

    #[tokio::test]
    async fn a_dead_socket_is_replaced_and_a_living_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run/control.sock");
        drop(std::os::unix::net::UnixListener::bind({
            fs::create_dir(dir.path().join("run")).unwrap();
            &path
        }));
        assert!(path.exists(), "a plain listener leaves its file");
        let socket = ControlSocket::bind(&path).await.unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, SOCKET_MODE);
        assert!(matches!(ControlSocket::bind(&path).await, Err(SocketError::InUse(_))));
        assert!(path.exists());
        drop(socket);
        assert!(!path.exists(), "our own socket goes with us");
    }

    #[tokio::test]
    async fn the_directory_is_made_and_open_to_all() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b/control.sock");
        // What is there already is not ours to open.
        fs::create_dir(dir.path().join("c")).unwrap();
        fs::set_permissions(dir.path().join("c"), fs::Permissions::from_mode(0o700)).unwrap();
        let _socket = ControlSocket::bind(&path).await.unwrap();
        let _other = ControlSocket::bind(&dir.path().join("c/d/control.sock")).await.unwrap();
        let modes = ["a", "a/b", "c", "c/d"].map(|name| {
            let meta = fs::metadata(dir.path().join(name)).unwrap();
            meta.permissions().mode() & 0o777
        });
        assert_eq!(modes, [DIRECTORY_MODE, DIRECTORY_MODE, 0o700, DIRECTORY_MODE], "{modes:?}");
    }

    #[tokio::test]
    async fn a_file_is_never_removed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("precious");
        fs::write(&path, "data").unwrap();
        assert!(matches!(ControlSocket::bind(&path).await, Err(SocketError::NotASocket(_))));
        assert_eq!(fs::read(&path).unwrap(), b"data");
    }

    #[tokio::test]
    async fn a_successor_keeps_its_socket() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("control.sock");
        let old = ControlSocket::bind(&path).await.unwrap();
        fs::remove_file(&path).unwrap();
        let _new = ControlSocket::bind(&path).await.unwrap();
        drop(old);
        assert!(path.exists());
    }

    #[tokio::test]
    async fn only_a_listening_unix_socket_is_adopted() {
        let file = OwnedFd::from(fs::File::open("/dev/null").unwrap());
        assert!(matches!(ControlSocket::from_owned(file, 3), Err(SocketError::NotListening { .. })));
        let (end, _other) = UnixStream::pair().unwrap();
        assert!(matches!(ControlSocket::from_owned(end.into(), 3), Err(SocketError::NotListening { .. })));
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        assert!(matches!(ControlSocket::from_owned(tcp.into(), 3), Err(SocketError::NotListening { .. })));
        let dir = tempfile::tempdir().unwrap();
        let unix = UnixListener::bind(dir.path().join("s")).unwrap();
        assert!(ControlSocket::from_owned(unix.into(), 3).is_ok());
        assert!(ControlSocket::adopt(1).is_err());
    }

    #[tokio::test]
    async fn a_path_that_is_too_long_says_so() {
        let path = PathBuf::from(format!("/tmp/{}", "x".repeat(MAX_PATH)));
        assert!(matches!(ControlSocket::bind(&path).await, Err(SocketError::TooLong { .. })));
    }
}
