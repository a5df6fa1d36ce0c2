//! One SFTP channel: requests with a limit of time, and what the server can do beyond version 3 of the protocol.

use super::failure::{Failure, said};
use bytes::Bytes;
use russh_sftp::client::{Config, RawSftpSession, error::Error};
use russh_sftp::extensions::{self, HardlinkExtension};
use russh_sftp::protocol::{FileAttributes, OpenFlags, Packet, StatusCode};
use std::collections::HashMap;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};

/// Bytes of a request where the server names no limit: every server takes that much.
const SMALL: u64 = 32 << 10;

/// The most bytes of a request; more gains nothing.
const LARGE: u64 = 255 << 10;

/// The largest packet that is taken from a server.
const MAX_PACKET: u32 = 1 << 20;

/// The library's own limit of a request's time, which counts from when it is queued. Ours count from the last answer.
const WHOLE_DAY: u64 = 24 * 3600;

/// Entries of a directory that are looked at.
const MAX_ENTRIES: usize = 10_000;

/// Replaces a file by another, atomically.
const POSIX_RENAME: &str = "posix-rename@openssh.com";

/// What a server can do beyond version 3.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extensions {
    /// `fsync@openssh.com`.
    pub fsync: bool,
    /// `hardlink@openssh.com`.
    pub hardlink: bool,
    /// `posix-rename@openssh.com`.
    pub posix_rename: bool,
    /// `statvfs@openssh.com`, version 2.
    pub statvfs: bool,
}

impl Extensions {
    fn of(offered: &HashMap<String, String>) -> Self {
        let has = |name: &str, version: &str| offered.get(name).is_some_and(|have| have == version);
        Self {
            fsync: has(extensions::FSYNC, "1"),
            hardlink: has(extensions::HARDLINK, "1"),
            posix_rename: has(POSIX_RENAME, "1"),
            statvfs: has(extensions::STATVFS, "2"),
        }
    }
}

/// A channel.
pub struct Channel {
    raw: RawSftpSession,
    /// What the server can do.
    pub extensions: Extensions,
    /// Bytes of a WRITE.
    pub write_size: usize,
    /// Bytes of a READ.
    pub read_size: u32,
    /// The longest wait for an answer.
    pub patience: Duration,
}

impl Channel {
    /// Begins the protocol. The error is what was said.
    pub async fn start<S>(stream: S, patience: Duration) -> Result<Self, String>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let config = Config { max_packet_len: MAX_PACKET, request_timeout_secs: WHOLE_DAY, ..Config::default() };
        let raw = RawSftpSession::new_with_config(stream, config);
        let failed = |error: Error| said(&error.to_string());
        let version = raw.init().await.map_err(failed)?;
        let extensions = Extensions::of(&version.extensions);
        let (mut write_size, mut read_size) = (SMALL, SMALL);
        if version.extensions.contains_key(extensions::LIMITS) {
            let limits = raw.limits().await.map_err(failed)?;
            let limit = |told: u64| if told == 0 { SMALL } else { told.min(LARGE) };
            (write_size, read_size) = (limit(limits.max_write_len), limit(limits.max_read_len));
        }
        let (write_size, read_size) = (write_size as usize, read_size as u32);
        Ok(Self { raw, extensions, write_size, read_size, patience })
    }

    async fn answered<T>(&self, request: impl Future<Output = Result<T, Error>>) -> Result<T, Failure> {
        match tokio::time::timeout(self.patience, request).await {
            Ok(answer) => answer.map_err(Failure::from),
            Err(_) => Err(Failure::Silent(self.patience)),
        }
    }

    /// What a file is; `None` if it is not there.
    pub async fn stat(&self, path: &str) -> Result<Option<FileAttributes>, Failure> {
        there(self.answered(self.raw.stat(path)).await).map(|found| found.map(|found| found.attrs))
    }

    /// Opens a file for reading; `None` if it is not there.
    pub async fn open(&self, path: &str) -> Result<Option<String>, Failure> {
        let opened = self.answered(self.raw.open(path, OpenFlags::READ, FileAttributes::empty())).await;
        there(opened).map(|handle| handle.map(|handle| handle.handle))
    }

    /// Opens a file for writing that nobody but its owner may read; `fresh` puts an empty one in the place of what is there.
    ///
    /// It is never emptied by its name: a server may carry out late what a client that has died asked for, when that name is
    /// already another one of an object.
    pub async fn create(&self, path: &str, fresh: bool) -> Result<String, Failure> {
        let flags = OpenFlags::WRITE | OpenFlags::CREATE;
        if !fresh {
            return self.write_to(path, flags).await;
        }
        match self.write_to(path, flags | OpenFlags::EXCLUDE).await {
            Err(Failure::Refused(_)) => {
                self.remove(path).await?;
                self.write_to(path, flags | OpenFlags::EXCLUDE).await
            }
            other => other,
        }
    }

    async fn write_to(&self, path: &str, flags: OpenFlags) -> Result<String, Failure> {
        let private = FileAttributes { permissions: Some(0o600), ..FileAttributes::empty() };
        self.answered(self.raw.open(path, flags, private)).await.map(|handle| handle.handle)
    }

    /// Closes a file.
    pub async fn close(&self, handle: &str) -> Result<(), Failure> {
        self.answered(self.raw.close(handle)).await.map(drop)
    }

    /// Writes at an offset. It is sent when it is first polled; its time is the caller's business.
    pub async fn write(&self, handle: &str, offset: u64, bytes: Vec<u8>) -> Result<(), Failure> {
        self.raw.write(handle, offset, bytes).await.map(drop).map_err(Failure::from)
    }

    /// Reads at an offset, at most `len` bytes; empty at the end of the file. Its time is the caller's business.
    pub async fn read(&self, handle: &str, offset: u64, len: u32) -> Result<Bytes, Failure> {
        match self.raw.read(handle, offset, len).await.map_err(Failure::from) {
            Ok(data) => Ok(data.data.into()),
            Err(Failure::End) => Ok(Bytes::new()),
            Err(failure) => Err(failure),
        }
    }

    /// Cuts an open file behind `size`.
    pub async fn truncate(&self, handle: &str, size: u64) -> Result<(), Failure> {
        let attributes = FileAttributes { size: Some(size), ..FileAttributes::empty() };
        self.answered(self.raw.fsetstat(handle, attributes)).await.map(drop)
    }

    /// Makes what was written durable, where the server can.
    pub async fn sync(&self, handle: &str) -> Result<(), Failure> {
        match self.extensions.fsync {
            true => self.answered(self.raw.fsync(handle)).await.map(drop),
            false => Ok(()),
        }
    }

    /// Sets the permission bits of a file.
    pub async fn set_mode(&self, path: &str, mode: u32) -> Result<(), Failure> {
        let attributes = FileAttributes { permissions: Some(mode), ..FileAttributes::empty() };
        self.answered(self.raw.setstat(path, attributes)).await.map(drop)
    }

    /// Gives a file a second name, unless that is taken.
    pub async fn hard_link(&self, from: &str, to: &str) -> Result<(), Failure> {
        self.answered(self.raw.hardlink(from, to)).await.map(drop)
    }

    /// Renames; by the protocol a name that is taken is refused.
    pub async fn rename(&self, from: &str, to: &str) -> Result<(), Failure> {
        self.answered(self.raw.rename(from, to)).await.map(drop)
    }

    /// Renames, and replaces what is there, atomically.
    pub async fn replace(&self, from: &str, to: &str) -> Result<(), Failure> {
        // The same two strings as those of a hard link.
        let names = HardlinkExtension { oldpath: from.to_owned(), newpath: to.to_owned() };
        let data: Vec<u8> = names.try_into().map_err(|_| Failure::Refused("the name is too long".to_owned()))?;
        match self.answered(self.raw.extended(POSIX_RENAME, data)).await? {
            Packet::Status(status) if status.status_code == StatusCode::Ok => Ok(()),
            Packet::Status(status) => Err(Failure::from(Error::Status(status))),
            _ => Err(Failure::Lost("an answer of another kind".to_owned())),
        }
    }

    /// Removes a file; one that is not there is no error.
    pub async fn remove(&self, path: &str) -> Result<(), Failure> {
        there(self.answered(self.raw.remove(path)).await).map(drop)
    }

    /// Removes a directory; one that is not there, or in which something is left, is no error.
    pub async fn remove_empty(&self, path: &str) -> Result<(), Failure> {
        match there(self.answered(self.raw.rmdir(path)).await) {
            // What is refused is a directory that is not empty: the protocol has no word of its own for it. Where directories
            // cannot be removed at all, an empty one stays.
            Ok(_) | Err(Failure::Refused(_) | Failure::Unsupported) => Ok(()),
            Err(failure) => Err(failure),
        }
    }

    /// Makes a directory and those above it.
    pub async fn make_dirs(&self, dir: &str) -> Result<(), Failure> {
        let mut missing = Vec::new();
        let mut at = dir;
        while !at.is_empty() && at != "/" && self.stat(at).await?.is_none() {
            missing.push(at);
            at = at.rsplit_once('/').map_or("", |(above, _)| above);
        }
        for dir in missing.into_iter().rev() {
            let made = self.answered(self.raw.mkdir(dir, FileAttributes::empty())).await;
            // Somebody else may have made it just now.
            if let Err(failure) = made
                && (!failure.is_answer() || self.stat(dir).await?.is_none())
            {
                return Err(failure);
            }
        }
        Ok(())
    }

    /// Names in a directory with what they are.
    pub async fn list(&self, dir: &str) -> Result<Vec<(String, FileAttributes)>, Failure> {
        let handle = self.answered(self.raw.opendir(dir)).await?.handle;
        let mut all = Vec::new();
        while all.len() < MAX_ENTRIES {
            match self.answered(self.raw.readdir(&handle)).await {
                Ok(names) => all.extend(names.files.into_iter().map(|file| (file.filename, file.attrs))),
                Err(Failure::End) => break,
                Err(failure) => return Err(failure),
            }
        }
        self.close(&handle).await?;
        Ok(all)
    }

    /// Bytes that may still be written below a directory; `None` where the server cannot say.
    pub async fn free(&self, dir: &str) -> Result<Option<u64>, Failure> {
        if !self.extensions.statvfs {
            return Ok(None);
        }
        let found = there(self.answered(self.raw.statvfs(dir)).await)?;
        Ok(found.map(|found| found.blocks_avail.saturating_mul(found.fragment_size)))
    }
}

/// `None` for what is not there.
fn there<T>(result: Result<T, Failure>) -> Result<Option<T>, Failure> {
    match result {
        Err(Failure::Missing) => Ok(None),
        other => other.map(Some),
    }
}
