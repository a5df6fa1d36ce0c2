//! An SFTP server that lacks the extensions and misbehaves as it is told: for what no real server does on request.

use super::{Secrets, Sftp};
use russh::keys::{Algorithm, PrivateKey, PublicKeyBase64 as _};
use russh::server::{Auth, ChannelOpenHandle, Config, Handler as SshHandler, Msg, Session};
use russh::{Channel, ChannelId};
use russh_sftp::protocol::{
    Attrs, Data, File, FileAttributes, Handle, Name, OpenFlags, Packet, Status, StatusCode, Version,
};
use russh_sftp::server::StatusReply;
use serde_json::Value;
use std::collections::{HashMap, HashSet};
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;
use tokio::sync::Notify;

/// What goes wrong.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// The connection is dropped after so many bytes were written, once.
    pub drop_after: Option<u64>,
    /// A request that is done, but once answered as a failure.
    pub lies_once: Option<&'static str>,
    /// One byte is written wrongly, once.
    pub damages_once: bool,
    /// Rename replaces what is there.
    pub rename_replaces: bool,
    /// No write succeeds.
    pub full: bool,
    /// No write is answered.
    pub silent: bool,
}

/// A server with a directory of its own.
pub struct Fake {
    dir: tempfile::TempDir,
    port: u16,
    key: String,
    task: tokio::task::JoinHandle<()>,
    state: Arc<State>,
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Fake {
    pub async fn start(faults: Faults) -> Self {
        let key = PrivateKey::random(&mut russh::keys::key::safe_rng(), Algorithm::Ed25519).unwrap();
        let shown = format!("ssh-ed25519 {}", key.public_key().public_key_base64());
        let config = Arc::new(Config { keys: vec![key], ..Config::default() });
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let dir = tempfile::tempdir().unwrap();
        let state = Arc::new(State { root: dir.path().to_owned(), faults: Mutex::new(faults), ..State::default() });
        let serving = state.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (state, config) = (serving.clone(), config.clone());
                state.connections.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(async move {
                    let ssh = Ssh { state: state.clone(), channels: HashMap::new() };
                    let Ok(running) = russh::server::run_stream(config, stream, ssh).await else { return };
                    let handle = running.handle();
                    tokio::select! {
                        _ = running => {}
                        () = state.drop.notified() => {
                            let _ = handle.disconnect(russh::Disconnect::ByApplication, String::new(), String::new()).await;
                        }
                    }
                });
            }
        });
        Self { dir, port, key: shown, task, state }
    }

    /// Connections so far, and the most files that were open for writing at the same time.
    pub fn used(&self) -> (usize, usize) {
        (self.state.connections.load(Ordering::SeqCst), self.state.most_open.load(Ordering::SeqCst))
    }

    pub fn root(&self) -> &Path {
        self.dir.path()
    }

    pub fn destination(&self, more: Value) -> Sftp {
        let mut settings = serde_json::json!({
            "host": "127.0.0.1", "port": self.port, "user": "me", "root": "/", "host_key": self.key,
            "auth": { "password": { "password": "${PASSWORD}" } },
        });
        settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        Sftp::new(&serde_json::from_value(settings).unwrap(), &Secrets(vec![("PASSWORD", "right".into())])).unwrap()
    }
}

#[derive(Default)]
struct State {
    root: PathBuf,
    faults: Mutex<Faults>,
    drop: Notify,
    connections: AtomicUsize,
    open: AtomicUsize,
    most_open: AtomicUsize,
}

struct Ssh {
    state: Arc<State>,
    channels: HashMap<ChannelId, Channel<Msg>>,
}

impl SshHandler for Ssh {
    type Error = russh::Error;

    /// The password is asked for in a dialogue only, as PAM does.
    async fn auth_keyboard_interactive<'a>(
        &'a mut self,
        _: &str,
        _: &str,
        response: Option<russh::server::Response<'a>>,
    ) -> Result<Auth, russh::Error> {
        let Some(mut response) = response else {
            let prompts = vec![("Password: ".into(), false)].into();
            return Ok(Auth::Partial { name: "".into(), instructions: "".into(), prompts });
        };
        let right = response.next().is_some_and(|answer| &answer[..] == b"right");
        Ok(if right { Auth::Accept } else { Auth::reject() })
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        self.channels.insert(channel.id(), channel);
        reply.accept().await;
        Ok(())
    }

    async fn subsystem_request(&mut self, id: ChannelId, _: &str, session: &mut Session) -> Result<(), russh::Error> {
        session.channel_success(id)?;
        let files = Files { state: self.state.clone(), open: HashMap::new(), writing: HashSet::new(), next: 0 };
        russh_sftp::server::run(self.channels.remove(&id).unwrap().into_stream(), files).await;
        Ok(())
    }
}

enum Open {
    File(std::fs::File),
    Dir(Vec<File>),
}

struct Files {
    state: Arc<State>,
    open: HashMap<String, Open>,
    writing: HashSet<String>,
    next: u64,
}

fn io(error: std::io::Error) -> StatusCode {
    match error.kind() {
        std::io::ErrorKind::NotFound => StatusCode::NoSuchFile,
        std::io::ErrorKind::PermissionDenied => StatusCode::PermissionDenied,
        _ => StatusCode::Failure,
    }
}

fn ok(id: u32) -> Status {
    Status { id, status_code: StatusCode::Ok, error_message: String::new(), language_tag: String::new() }
}

impl Files {
    fn path(&self, path: &str) -> PathBuf {
        self.state.root.join(path.trim_start_matches('/'))
    }

    /// The answer to a request that is done: the truth, but for once.
    fn done(&self, id: u32, request: &str) -> Result<Status, StatusCode> {
        let mut faults = self.state.faults.lock().unwrap();
        match faults.lies_once == Some(request) {
            true => {
                faults.lies_once = None;
                Err(StatusCode::Failure)
            }
            false => Ok(ok(id)),
        }
    }

    fn keep(&mut self, id: u32, open: Open) -> Handle {
        self.next += 1;
        self.open.insert(self.next.to_string(), open);
        Handle { id, handle: self.next.to_string() }
    }

    fn file(&self, handle: &str) -> Result<&std::fs::File, StatusCode> {
        match self.open.get(handle) {
            Some(Open::File(file)) => Ok(file),
            _ => Err(StatusCode::Failure),
        }
    }
}

impl russh_sftp::server::Handler for Files {
    type Error = StatusReply;

    fn unimplemented(&self) -> StatusReply {
        StatusCode::OpUnsupported.into()
    }

    async fn init(&mut self, _: u32, _: HashMap<String, String>) -> Result<Version, StatusReply> {
        Ok(Version::new())
    }

    async fn open(
        &mut self,
        id: u32,
        name: String,
        flags: OpenFlags,
        _: FileAttributes,
    ) -> Result<Handle, StatusReply> {
        let file = std::fs::OpenOptions::from(flags).open(self.path(&name)).map_err(io)?;
        if flags.contains(OpenFlags::WRITE) {
            let open = self.state.open.fetch_add(1, Ordering::SeqCst) + 1;
            self.state.most_open.fetch_max(open, Ordering::SeqCst);
            self.writing.insert((self.next + 1).to_string());
        }
        Ok(self.keep(id, Open::File(file)))
    }

    async fn close(&mut self, id: u32, handle: String) -> Result<Status, StatusReply> {
        self.open.remove(&handle).ok_or(StatusCode::Failure)?;
        if self.writing.remove(&handle) {
            self.state.open.fetch_sub(1, Ordering::SeqCst);
        }
        Ok(self.done(id, "close")?)
    }

    /// Gives less than was asked for, as a server may.
    async fn read(&mut self, id: u32, handle: String, offset: u64, len: u32) -> Result<Data, StatusReply> {
        let mut data = vec![0; len.min(30_000) as usize];
        let got = self.file(&handle)?.read_at(&mut data, offset).map_err(io)?;
        data.truncate(got);
        if got == 0 { Err(StatusCode::Eof.into()) } else { Ok(Data { id, data }) }
    }

    async fn write(&mut self, id: u32, handle: String, offset: u64, mut data: Vec<u8>) -> Result<Status, StatusReply> {
        let faults = self.state.faults.lock().unwrap().clone();
        if faults.full {
            return Err(StatusCode::Failure.with_message("No space left on device"));
        }
        if faults.silent {
            std::future::pending::<()>().await;
        }
        if faults.damages_once {
            data[0] ^= 1;
            self.state.faults.lock().unwrap().damages_once = false;
        }
        if let Some(left) = faults.drop_after {
            let fits = left.min(data.len() as u64);
            self.file(&handle)?.write_all_at(&data[..fits as usize], offset).map_err(io)?;
            let rest = left - fits;
            self.state.faults.lock().unwrap().drop_after = (rest > 0).then_some(rest);
            if rest == 0 {
                self.state.drop.notify_waiters();
                std::future::pending::<()>().await;
            }
            return Ok(ok(id));
        }
        self.file(&handle)?.write_all_at(&data, offset).map_err(io)?;
        Ok(self.done(id, "write")?)
    }

    async fn stat(&mut self, id: u32, path: String) -> Result<Attrs, StatusReply> {
        let attrs = FileAttributes::from(&std::fs::metadata(self.path(&path)).map_err(io)?);
        Ok(Attrs { id, attrs })
    }

    async fn setstat(&mut self, id: u32, path: String, attrs: FileAttributes) -> Result<Status, StatusReply> {
        let mode = std::fs::Permissions::from_mode(attrs.permissions.unwrap_or(0o600));
        std::fs::set_permissions(self.path(&path), mode).map_err(io)?;
        Ok(self.done(id, "setstat")?)
    }

    async fn fsetstat(&mut self, id: u32, handle: String, attrs: FileAttributes) -> Result<Status, StatusReply> {
        self.file(&handle)?.set_len(attrs.size.unwrap_or(0)).map_err(io)?;
        Ok(ok(id))
    }

    async fn opendir(&mut self, id: u32, path: String) -> Result<Handle, StatusReply> {
        let entries = std::fs::read_dir(self.path(&path)).map_err(io)?.flatten();
        let entries = entries.map(|entry| {
            File::new(entry.file_name().to_string_lossy(), FileAttributes::from(&entry.metadata().unwrap()))
        });
        let entries = entries.collect();
        Ok(self.keep(id, Open::Dir(entries)))
    }

    async fn readdir(&mut self, id: u32, handle: String) -> Result<Name, StatusReply> {
        match self.open.get_mut(&handle) {
            Some(Open::Dir(files)) if !files.is_empty() => Ok(Name { id, files: std::mem::take(files) }),
            _ => Err(StatusCode::Eof.into()),
        }
    }

    async fn remove(&mut self, id: u32, path: String) -> Result<Status, StatusReply> {
        std::fs::remove_file(self.path(&path)).map_err(io)?;
        Ok(self.done(id, "remove")?)
    }

    async fn mkdir(&mut self, id: u32, path: String, _: FileAttributes) -> Result<Status, StatusReply> {
        std::fs::create_dir(self.path(&path)).map_err(io)?;
        Ok(self.done(id, "mkdir")?)
    }

    async fn rename(&mut self, id: u32, from: String, to: String) -> Result<Status, StatusReply> {
        if self.path(&to).exists() && !self.state.faults.lock().unwrap().rename_replaces {
            return Err(StatusCode::Failure.into());
        }
        std::fs::rename(self.path(&from), self.path(&to)).map_err(io)?;
        Ok(self.done(id, "rename")?)
    }

    async fn extended(&mut self, _: u32, _: String, _: Vec<u8>) -> Result<Packet, StatusReply> {
        Err(StatusCode::OpUnsupported.into())
    }
}
