//! One file from the daemon to a directory: checked while it is written, durable before it has its name, never over another.

use crate::client::{Client, encode};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::human;
use crate::out::Out;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::{Method, Response};
use indicatif::{ProgressBar, ProgressStyle};
use saas_export_api::{Answer, SHA256_HEADER};
use saas_export_manifest::{Digester, Digests, MANIFEST_NAME};
use serde_json::Value;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Tries of a file whose connection broke.
const TRIES: u32 = 5;
/// Time between two tries.
const PAUSE: Duration = Duration::from_secs(1);
/// The longest that the daemon may be silent: a little more than it waits itself for a destination.
const SILENCE: Duration = Duration::from_secs(180);
/// The largest manifest, and the largest refusal.
const SMALL: usize = 256 << 20;

/// A file that is wanted.
pub struct Wanted {
    /// Its name.
    pub name: String,
    /// Its size, where it is known beforehand.
    pub bytes: Option<u64>,
    /// Its SHA-256, where it is known beforehand.
    pub sha256: Option<String>,
    /// Its content, where it is here already.
    pub content: Option<Vec<u8>>,
}

/// What became of a file, with its size.
pub enum Wrote {
    /// It was written.
    New(u64),
    /// It was there, and is right.
    Kept(u64),
}

/// The files of one task.
pub struct Download<'a> {
    client: &'a Client,
    task: &'a str,
    destination: Option<&'a str>,
    dir: &'a Path,
    bar: ProgressBar,
}

impl<'a> Download<'a> {
    /// Downloads to `dir`; nothing is asked or made yet.
    pub fn new(client: &'a Client, task: &'a str, destination: Option<&'a str>, dir: &'a Path, out: Out) -> Self {
        let bar = if out.live { ProgressBar::new(0) } else { ProgressBar::hidden() };
        if let Ok(style) =
            ProgressStyle::with_template("[{bar:24}] {decimal_bytes} of {decimal_total_bytes}, {wide_msg}")
        {
            bar.set_style(style.progress_chars("=> "));
        }
        Self { client, task, destination, dir, bar }
    }

    /// More bytes are to come.
    pub fn expect(&self, bytes: u64) {
        self.bar.inc_length(bytes);
    }

    /// Takes the bar off the screen.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }

    /// Where a file goes.
    pub fn path(&self, stream: &str, name: &str) -> PathBuf {
        self.dir.join(stream).join(name)
    }

    /// The bytes of a stream's manifest, as they were published.
    pub async fn manifest(&self, stream: &str) -> Result<Vec<u8>, Failure> {
        let mut tries = 1;
        loop {
            let mut bytes = Vec::new();
            let take = |piece: &[u8]| {
                bytes.extend_from_slice(piece);
                if bytes.len() > SMALL { Err(io::ErrorKind::FileTooLarge.into()) } else { Ok(()) }
            };
            match self.fetch(stream, &plain(MANIFEST_NAME), take).await {
                Ok(_) => return Ok(bytes),
                Err(failure) if failure.transient && tries < TRIES => tries += 1,
                Err(failure) => return Err(failure),
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Writes a file, unless it is there already. A connection that breaks is tried again, from the start of the file.
    pub async fn file(&self, stream: &str, wanted: &Wanted) -> Result<Wrote, Failure> {
        let path = self.path(stream, &wanted.name);
        let dir = path.parent().unwrap_or(Path::new("."));
        self.bar.set_message(format!("{stream}/{}", human::clean(&wanted.name)));
        fs::create_dir_all(dir).map_err(|error| failed("make", dir, &error))?;
        if let Some(sha256) = &wanted.sha256
            && let Some(found) = there(&path)?
        {
            self.bar.inc(wanted.bytes.unwrap_or_default());
            Part::sweep(&path)?;
            return same(&path, &found, sha256).map(|()| Wrote::Kept(found.bytes));
        }
        let mut tries = 1;
        loop {
            match self.write(stream, wanted, &path).await {
                Err(failure) if failure.transient && tries < TRIES => tries += 1,
                done => return done,
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn write(&self, stream: &str, wanted: &Wanted, path: &Path) -> Result<Wrote, Failure> {
        let mut part = Part::create(path, 0o640)?;
        let (file, shown) = (&mut part.file, self.bar.position());
        let got = match &wanted.content {
            Some(content) => {
                file.write_all(content).map(|()| Digests::of(content)).map_err(|error| failed("write", path, &error))
            }
            None => {
                let take = |piece: &[u8]| {
                    self.bar.inc(if wanted.bytes.is_some() { piece.len() as u64 } else { 0 });
                    file.write_all(piece)
                };
                self.fetch(stream, wanted, take).await
            }
        };
        let got = got.inspect_err(|_| self.bar.set_position(shown))?;
        if let Some(found) = there(path)? {
            return same(path, &found, &got.sha256).map(|()| Wrote::Kept(found.bytes));
        }
        part.finish(path)?;
        Ok(Wrote::New(got.bytes))
    }

    /// Takes a file piece by piece; what it was, which is what it had to be.
    async fn fetch(
        &self,
        stream: &str,
        wanted: &Wanted,
        mut take: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<Digests, Failure> {
        let name = &wanted.name;
        let mut path = format!("/v1/tasks/{}/files/{}/{}", encode(self.task), encode(stream), encode(name));
        if let Some(destination) = self.destination {
            path.push_str(&format!("?destination={}", encode(destination)));
        }
        let failed = |error: &io::Error| failed("write", &self.path(stream, name), error);
        let (got, header) = body(self.client, &path, |piece| take(piece).map_err(|error| failed(&error))).await?;
        let expected = wanted.sha256.clone().or(header);
        let wrong = match (wanted.bytes, expected) {
            (Some(bytes), _) if bytes != got.bytes => format!("has {} bytes instead of {bytes}", got.bytes),
            (_, Some(sha256)) if sha256 != got.sha256 => format!("has SHA-256 {} instead of {sha256}", got.sha256),
            _ => return Ok(got),
        };
        Err(Failure::new(Exit::Mismatch, format!("{stream}/{name} {wrong}")))
    }
}

/// Takes the body of an answer piece by piece; what it was, and the SHA-256 that the daemon says it must have.
async fn body(
    client: &Client,
    path: &str,
    mut take: impl FnMut(&[u8]) -> Result<(), Failure>,
) -> Result<(Digests, Option<String>), Failure> {
    let response = within(client.send(Method::GET, path, None)).await??;
    if !response.status().is_success() {
        return Err(refusal(response).await);
    }
    let header = response.headers().get(SHA256_HEADER).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let mut digester = Digester::default();
    let mut body = response.into_body();
    while let Some(frame) = within(body.frame()).await? {
        let frame = frame.map_err(|error| broken(&error))?;
        let Some(piece) = frame.data_ref() else { continue };
        take(piece)?;
        digester.update(piece);
    }
    Ok((digester.finish(), header))
}

/// Refuses a place where something is already.
pub fn must_be_free(path: &Path) -> Result<(), Failure> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(failed("look at", path, &error)),
        Ok(_) => Err(taken(path)),
    }
}

fn plain(name: &str) -> Wanted {
    Wanted { name: name.to_owned(), bytes: None, sha256: None, content: None }
}

/// A file on its way, under a name of its own; gone if it does not get its real one.
pub struct Part {
    path: PathBuf,
    file: File,
}

impl Part {
    /// Begins a file that is to be at `to`.
    pub fn create(to: &Path, mode: u32) -> Result<Self, Failure> {
        Self::sweep(to)?;
        let path = Self::place(to);
        let open = OpenOptions::new().write(true).create_new(true).mode(mode).open(&path);
        let file = open.map_err(|error| failed("create", &path, &error))?;
        let part = Self { path, file };
        part.file.try_lock().map_err(|error| failed("lock", &part.path, &error.into()))?;
        Ok(part)
    }

    /// Writes what the daemon answers to a GET; what that was.
    pub async fn fill(&mut self, client: &Client, path: &str, to: &Path) -> Result<Digests, Failure> {
        let file = &mut self.file;
        let take = |piece: &[u8]| file.write_all(piece).map_err(|error| failed("write", to, &error));
        Ok(body(client, path, take).await?.0)
    }

    fn place(to: &Path) -> PathBuf {
        to.with_file_name(format!(".{}.part", to.file_name().unwrap_or_default().to_string_lossy()))
    }

    /// Removes what an interrupted download left. It is never written to: it may already be the file itself, by another name.
    fn sweep(to: &Path) -> Result<(), Failure> {
        let path = Self::place(to);
        let Ok(left) = File::open(&path) else { return Ok(()) };
        if left.try_lock().is_err() {
            return Err(Failure::new(Exit::Conflict, format!("another exportctl writes {}", path.display())));
        }
        fs::remove_file(&path).map_err(|error| failed("remove", &path, &error))
    }

    /// Makes it durable and gives it its name, unless something has that by now.
    pub fn finish(self, to: &Path) -> Result<(), Failure> {
        self.file.sync_all().map_err(|error| failed("sync", &self.path, &error))?;
        match fs::hard_link(&self.path, to) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(taken(to)),
            // Some file systems know no links.
            Err(_) if !to.exists() => fs::rename(&self.path, to).map_err(|error| failed("rename to", to, &error))?,
            other => other.map_err(|error| failed("name", to, &error))?,
        }
        let dir = to.parent().unwrap_or(Path::new("."));
        File::open(dir).and_then(|dir| dir.sync_all()).map_err(|error| failed("sync", dir, &error))
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// What is at a path, if something is.
fn there(path: &Path) -> Result<Option<Digests>, Failure> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed("look at", path, &error)),
        Ok(meta) if !meta.is_file() => return Err(taken(path)),
        Ok(_) => {}
    }
    let digests = File::open(path).and_then(|file| Digests::read(file, |_| ()));
    digests.map(Some).map_err(|error| failed("read", path, &error))
}

/// Refuses what is there if it is not what it must be.
fn same(path: &Path, found: &Digests, sha256: &str) -> Result<(), Failure> {
    if found.sha256 == sha256 { Ok(()) } else { Err(taken(path)) }
}

fn taken(path: &Path) -> Failure {
    Failure::new(Exit::Conflict, format!("another file is already at {}; it was not touched", path.display()))
        .hint("move it away, or give another place with -o")
}

fn failed(what: &str, path: &Path, error: &io::Error) -> Failure {
    Failure::new(Exit::Failed, format!("failed to {what} {}: {error}", path.display()))
}

fn broken(error: &hyper::Error) -> Failure {
    Failure::new(Exit::Unreachable, format!("the download broke off: {error}"))
        .hint("repeat the command to go on; journalctl -u saas-export-daemon may say why")
        .transient()
}

async fn within<T>(work: impl Future<Output = T>) -> Result<T, Failure> {
    tokio::time::timeout(SILENCE, work).await.map_err(|_| {
        Failure::new(Exit::Unreachable, format!("the daemon has sent nothing for {} s", SILENCE.as_secs())).transient()
    })
}

/// Why the daemon did not send the file.
async fn refusal(response: Response<Incoming>) -> Failure {
    let body = http_body_util::Limited::new(response.into_body(), SMALL).collect().await;
    let bytes = body.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    match serde_json::from_slice::<Answer<Value>>(&bytes) {
        Ok(Answer::Error { error }) => error.into(),
        Ok(_) | Err(_) => Failure::new(Exit::Failed, "the daemon's answer is not understood")
            .hint("are exportctl and the daemon of the same version? exportctl version"),
    }
}
