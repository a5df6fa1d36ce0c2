//! The way of a file to its name: sent, synced, read back, given its mode, then named create-only.

use super::failure::Failure;
use super::pool::{Health, Line};
use super::receive::digest;
use super::send::{Notes, Sending, Trouble, part_size, trusted};
use super::{Sftp, same};
use crate::base::crash;
use crate::base::error::ErrorClass;
use crate::config::settings::SftpVerify;
use crate::destinations::{DestinationError, Expected, Probed, Put, Small};
use crate::model::upload::Upload;
use bytes::Bytes;
use std::io::{self, SeekFrom};
use std::path::Path;
use tokio::fs::File;
use tokio::io::AsyncSeekExt as _;

/// Age in seconds after which a file on its way belongs to nobody.
const STALE: u32 = 24 * 3600;

/// A server with less room than this has none for a request of ours.
const NO_ROOM: u64 = 1 << 20;

impl Sftp {
    /// Makes what must be there, removes what was left behind, and sees what the server can do.
    pub(super) async fn look(&self) -> Result<Probed, DestinationError> {
        let incoming = self.incoming();
        let notes = self.with("write to", "", async |line| {
            line.make_dirs(&incoming).await?;
            let probe = format!("{incoming}/probe");
            let handle = line.create(&probe, true).await?;
            line.close(&handle).await?;
            // By the server's own clock.
            let now = line.stat(&probe).await?.and_then(|found| found.mtime);
            for (name, found) in line.list(&incoming).await? {
                let age = now.zip(found.mtime).map(|(now, then)| now.saturating_sub(then));
                if !found.is_dir() && age.is_some_and(|age| age > STALE) {
                    line.remove(&format!("{incoming}/{name}")).await?;
                }
            }
            let mut notes = Vec::new();
            if !line.extensions.posix_rename {
                notes.push("latest.json is not replaced atomically there (no posix-rename@openssh.com): for a moment it is missing".to_owned());
            }
            if !line.extensions.hardlink && line.replaces(&probe, &format!("{incoming}/probe-2")).await? {
                notes.push("its rename replaces files: names are looked up before, but two writers at the same moment are not kept apart".to_owned());
            }
            if !line.extensions.fsync {
                notes.push("it cannot be asked to sync files (no fsync@openssh.com)".to_owned());
            }
            line.remove(&probe).await?;
            Ok(notes)
        });
        Ok(Probed { notes: notes.await? })
    }

    /// Whether a path is that of a temporary file of ours.
    pub(super) fn is_temporary(&self, path: &str) -> bool {
        let name = path.strip_prefix(&self.incoming()).and_then(|rest| rest.strip_prefix('/'));
        name.is_some_and(|name| !name.is_empty() && !name.contains('/') && name != "..")
    }

    pub(super) async fn store_file(&self, put: &Put<'_>) -> Result<(), DestinationError> {
        let line = self.pool.line().await?;
        let mut step = Step { sftp: self, line: &line, key: put.key, expected: put.expected, health: Health::Good };
        let done = step.file(put).await;
        let health = step.health;
        line.done(health).await;
        done
    }

    pub(super) async fn store_bytes(&self, key: &str, bytes: Bytes) -> Result<(), DestinationError> {
        let expected = Expected::of(&bytes);
        let line = self.pool.line().await?;
        let mut step = Step { sftp: self, line: &line, key, expected: &expected, health: Health::Good };
        let done = step.bytes(&bytes).await;
        let health = step.health;
        line.done(health).await;
        done
    }

    pub(super) async fn swap(&self, key: &str, bytes: Bytes, seen: Option<&Small>) -> Result<(), DestinationError> {
        let now = self.settings.path(key);
        let was = seen.map(|seen| Expected::of(&seen.bytes));
        let expected = Expected::of(&bytes);
        let line = self.pool.line().await?;
        let mut step = Step { sftp: self, line: &line, key, expected: &expected, health: Health::Good };
        let done = step.swap(&bytes, &now, was.as_ref()).await;
        let health = step.health;
        line.done(health).await;
        done
    }
}

impl Line {
    /// Whether a rename replaces what is there.
    async fn replaces(&self, one: &str, two: &str) -> Result<bool, Failure> {
        let handle = self.create(two, true).await?;
        self.close(&handle).await?;
        match self.rename(two, one).await {
            Ok(()) => Ok(true),
            Err(failure) if failure.is_answer() => self.remove(two).await.map(|()| false),
            Err(failure) => Err(failure),
        }
    }
}

/// One object on its way.
struct Step<'a> {
    sftp: &'a Sftp,
    line: &'a Line,
    key: &'a str,
    expected: &'a Expected,
    /// In what state the channel is.
    health: Health,
}

impl Step<'_> {
    fn location(&self) -> String {
        self.sftp.settings.location(self.key)
    }

    /// The error of a failure; where it may be for lack of room, the server is asked.
    async fn failed(&mut self, action: &'static str, failure: Failure) -> DestinationError {
        if !failure.is_answer() {
            self.health = Health::Lost;
        }
        let mut error = failure.at(action, &self.location());
        if let (Failure::Refused(_), DestinationError::Remote { class, message, .. }) = (&failure, &mut error)
            && let Ok(Some(free)) = self.line.free(&self.sftp.settings.path("")).await
            && free < NO_ROOM
        {
            *class = ErrorClass::Full;
            message.push_str("; there is no room left");
        }
        error
    }

    async fn trouble(&mut self, trouble: Trouble, from: Option<&Path>) -> DestinationError {
        // What was sent may still be answered.
        self.health = self.health.max(Health::Spoiled);
        match trouble {
            Trouble::Server(failure) => self.failed("write", failure).await,
            Trouble::Log(error) => error,
            Trouble::File(source) => {
                DestinationError::Io { action: "read", path: from.map(Path::to_owned).unwrap_or_default(), source }
            }
        }
    }

    async fn file(&mut self, put: &Put<'_>) -> Result<(), DestinationError> {
        let temporary = self.sftp.temporary(self.key, self.expected);
        let known = put.log.load().await?;
        if let Some(other) = known.as_ref().filter(|known| known.id != temporary && self.sftp.is_temporary(&known.id)) {
            self.remove(&other.id).await?;
        }
        if self.is_there().await? {
            self.remove(&temporary).await?;
            return Ok(put.log.forget().await?);
        }
        let mut file = File::open(put.from).await.map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => DestinationError::Gone { path: put.from.to_owned() },
            _ => DestinationError::Io { action: "open", path: put.from.to_owned(), source },
        })?;
        let upload = match known.filter(|known| known.id == temporary && known.part_size > 0) {
            Some(known) => known,
            None => {
                let part_size = part_size(self.sftp.window);
                put.log.begin(&temporary, part_size).await?;
                Upload { id: temporary.clone(), part_size, parts: Vec::new() }
            }
        };
        let (handle, start) = self.resume(&upload).await?;
        let at = |source| DestinationError::Io { action: "read", path: put.from.to_owned(), source };
        file.seek(SeekFrom::Start(start)).await.map_err(at)?;
        let notes = Some(Notes { log: put.log, part_size: upload.part_size });
        let sftp = self.sftp;
        let sending = Sending { channel: self.line, handle: &handle, pace: &sftp.pace, window: sftp.window, notes };
        if let Err(trouble) = sending.run(&mut file, start, self.expected.bytes).await {
            return Err(self.trouble(trouble, Some(put.from)).await);
        }
        if let Err(error) = self.finish(&temporary, &handle).await {
            if matches!(error, DestinationError::Corrupt { .. }) {
                put.log.forget().await?;
            }
            return Err(error);
        }
        self.name(&temporary).await?;
        crash::point("delivery.linked");
        self.remove(&temporary).await?;
        Ok(put.log.forget().await?)
    }

    async fn bytes(&mut self, bytes: &[u8]) -> Result<(), DestinationError> {
        let temporary = self.sftp.temporary(self.key, self.expected);
        if !self.is_there().await? {
            self.written(&temporary, bytes).await?;
            self.name(&temporary).await?;
        }
        self.remove(&temporary).await
    }

    async fn swap(&mut self, bytes: &[u8], to: &str, was: Option<&Expected>) -> Result<(), DestinationError> {
        let now = digest(self.line, to).await;
        let now = self.ok("look at", now).await?;
        if now.as_ref() != was && now.as_ref() != Some(self.expected) {
            return Err(DestinationError::Raced { location: self.location() });
        }
        let temporary = self.sftp.temporary(self.key, self.expected);
        self.written(&temporary, bytes).await?;
        let dir = to.rsplit_once('/').map_or("", |(dir, _)| dir);
        let made = self.line.make_dirs(dir).await;
        self.ok("make the directory of", made).await?;
        let moved = match self.line.extensions.posix_rename {
            true => self.line.replace(&temporary, to).await,
            false => match self.line.remove(to).await {
                Ok(()) => self.line.rename(&temporary, to).await,
                Err(failure) => Err(failure),
            },
        };
        self.ok("replace", moved).await
    }

    async fn ok<T>(&mut self, action: &'static str, result: Result<T, Failure>) -> Result<T, DestinationError> {
        match result {
            Ok(done) => Ok(done),
            Err(failure) => Err(self.failed(action, failure).await),
        }
    }

    async fn remove(&mut self, path: &str) -> Result<(), DestinationError> {
        let removed = self.line.remove(path).await;
        self.ok("remove the temporary file of", removed).await
    }

    /// Whether the object is already at its place; another one there is a conflict.
    async fn is_there(&mut self) -> Result<bool, DestinationError> {
        let path = self.sftp.settings.path(self.key);
        let found = digest(self.line, &path).await;
        match self.ok("look at", found).await? {
            None => Ok(false),
            Some(found) if found == *self.expected => Ok(true),
            Some(found) => Err(DestinationError::Conflict {
                location: self.location(),
                found: format!("{} bytes, SHA-256 {}", found.bytes, found.sha256),
            }),
        }
    }

    /// Opens the temporary file where the upload stopped.
    async fn resume(&mut self, upload: &Upload) -> Result<(String, u64), DestinationError> {
        let found = self.line.stat(&upload.id).await;
        let there = self.ok("look at", found).await?.and_then(|found| found.size).unwrap_or(0);
        let start = trusted(upload, there).min(self.expected.bytes);
        let handle = self.create(&upload.id, start == 0).await?;
        if start == 0 {
            return Ok((handle, 0));
        }
        match self.line.truncate(&handle, start).await {
            Ok(()) => Ok((handle, start)),
            Err(failure) if failure.is_answer() => {
                // It cannot be cut: begin again.
                let closed = self.line.close(&handle).await;
                self.ok("write", closed).await?;
                Ok((self.create(&upload.id, true).await?, 0))
            }
            Err(failure) => Err(self.failed("write", failure).await),
        }
    }

    async fn create(&mut self, path: &str, fresh: bool) -> Result<String, DestinationError> {
        let mut created = self.line.create(path, fresh).await;
        if created == Err(Failure::Missing) {
            let made = self.line.make_dirs(&self.sftp.incoming()).await;
            self.ok("make the directory of", made).await?;
            created = self.line.create(path, fresh).await;
        }
        self.ok("write", created).await
    }

    /// Writes a small temporary file whole.
    async fn written(&mut self, temporary: &str, bytes: &[u8]) -> Result<(), DestinationError> {
        let handle = self.create(temporary, true).await?;
        let sftp = self.sftp;
        let sending =
            Sending { channel: self.line, handle: &handle, pace: &sftp.pace, window: sftp.window, notes: None };
        let mut from = bytes;
        if let Err(trouble) = sending.run(&mut from, 0, self.expected.bytes).await {
            return Err(self.trouble(trouble, None).await);
        }
        self.finish(temporary, &handle).await
    }

    /// Syncs and closes what was written, checks it, and gives it its mode.
    async fn finish(&mut self, temporary: &str, handle: &str) -> Result<(), DestinationError> {
        let synced = self.line.sync(handle).await;
        self.ok("sync", synced).await?;
        let closed = self.line.close(handle).await;
        self.ok("write", closed).await?;
        crash::point("delivery.copied");
        let how = self.sftp.settings.verify;
        let found =
            match how {
                SftpVerify::ReadBack => digest(self.line, temporary).await,
                SftpVerify::Size => self.line.stat(temporary).await.map(|found| {
                    found.map(|found| Expected { bytes: found.size.unwrap_or(0), ..self.expected.clone() })
                }),
            };
        let found = self.ok("verify", found).await?;
        if !found.as_ref().is_some_and(|found| same(found, self.expected, how)) {
            self.remove(temporary).await?;
            let found = found.map_or("it is gone".to_owned(), |found| {
                format!("what arrived has {} bytes and SHA-256 {}", found.bytes, found.sha256)
            });
            return Err(DestinationError::Corrupt { location: self.location(), found });
        }
        let set = self.line.set_mode(temporary, self.sftp.settings.mode.0).await;
        self.ok("set the mode of", set).await
    }

    /// Gives a finished file its name, unless something is there: the same is adopted, anything else is a conflict. The
    /// temporary name may be left.
    async fn name(&mut self, temporary: &str) -> Result<(), DestinationError> {
        let to = self.sftp.settings.path(self.key);
        let dir = to.rsplit_once('/').map_or("", |(dir, _)| dir);
        let made = self.line.make_dirs(dir).await;
        self.ok("make the directory of", made).await?;
        if self.line.extensions.hardlink {
            match self.line.hard_link(temporary, &to).await {
                Ok(()) => return Ok(()),
                Err(failure) if !failure.is_answer() => return Err(self.failed("name", failure).await),
                // The name is taken, or the file system knows no links.
                Err(_) => {}
            }
        }
        if self.is_there().await? {
            return Ok(());
        }
        match self.line.rename(temporary, &to).await {
            Ok(()) => Ok(()),
            Err(failure) if !failure.is_answer() => Err(self.failed("name", failure).await),
            // Somebody may have been faster, or the server says no to what it did.
            Err(failure) => match self.is_there().await? {
                true => Ok(()),
                false => Err(self.failed("name", failure).await),
            },
        }
    }
}
