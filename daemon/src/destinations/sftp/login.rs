//! Connects to an SFTP server: knows it by its key, logs in, and opens channels.

use super::channel::Channel;
use super::failure::said;
use super::host_key::{Known, MAX_KNOWN_HOSTS, Trust, Verdict};
use crate::base::error::ErrorClass;
use crate::base::fsio;
use crate::base::secret::{Resolve, Secret};
use crate::config::settings::{SftpAuth, SftpDestination};
use crate::destinations::DestinationError;
use russh::client::{AuthResult, Config, Handle, Handler, KeyboardInteractiveAuthResponse as Asked, connect};
use russh::keys::{PrivateKey, PrivateKeyWithHashAlg, PublicKeyOrCertificate, decode_secret_key};
use russh::{ChannelMsg, MethodKind};
use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Questions that go unanswered before a connection counts as lost.
const KEEP_ALIVES: usize = 3;

/// Rounds of questions and answers in one login; a server that asks more does not want us.
const MAX_ROUNDS: usize = 8;

/// What is needed to log in.
pub struct Login {
    /// Name or address.
    host: String,
    port: u16,
    user: String,
    credential: Credential,
    trust: Trust,
    connect_timeout: Duration,
    keep_alive: Duration,
    /// The longest that a request may go without an answer.
    pub patience: Duration,
    /// The server, for messages.
    pub location: String,
}

enum Credential {
    Key(Arc<PrivateKey>),
    Password(Secret),
}

/// A connection that is logged in.
pub struct Session {
    handle: Handle<Doorman>,
    patience: Duration,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Login({})", self.location)
    }
}

/// Looks at the key that the server shows.
struct Doorman {
    known: Known,
    verdict: Arc<Mutex<Option<Verdict>>>,
}

impl Handler for Doorman {
    type Error = russh::Error;

    async fn check_server_key(&mut self, key: &PublicKeyOrCertificate) -> Result<bool, russh::Error> {
        // Certificates are not asked for.
        let PublicKeyOrCertificate::PublicKey { key, .. } = key else { return Ok(false) };
        let verdict = self.known.judge(key);
        let trusted = verdict == Verdict::Trusted;
        *self.verdict.lock().unwrap_or_else(PoisonError::into_inner) = Some(verdict);
        Ok(trusted)
    }
}

fn setup(key: &'static str, message: impl Into<String>) -> DestinationError {
    DestinationError::Setup { key, message: message.into() }
}

impl Login {
    /// Reads the settings and their secrets; asks nobody yet.
    pub fn new(settings: &SftpDestination, secrets: &dyn Resolve) -> Result<Self, DestinationError> {
        let trust = match (&settings.host_key, &settings.known_hosts) {
            (Some(key), None) => Trust::pinned(key).map_err(|why| setup("host_key", format!("it {why}")))?,
            (None, Some(file)) => Trust::File(file.clone()),
            _ => return Err(setup("host_key", "give exactly one of `host_key` and `known_hosts`")),
        };
        let credential = match &settings.auth {
            SftpAuth::Key(key) => {
                let fill = |at, text: &str| secrets.resolve(text).map_err(|why| setup(at, why));
                // In single quotes, auth.env takes `\n` as two characters.
                let pem = fill("auth.key.private_key", &key.private_key.0)?.expose().replace("\\n", "\n");
                let passphrase =
                    key.passphrase.as_ref().map(|text| fill("auth.key.passphrase", &text.0)).transpose()?;
                let read = decode_secret_key(&pem, passphrase.as_ref().map(Secret::expose));
                let wrong = |_| {
                    let why = "it cannot be read: is it a whole private key (-----BEGIN …), and the passphrase right?";
                    setup("auth.key.private_key", why)
                };
                Credential::Key(Arc::new(read.map_err(wrong)?))
            }
            SftpAuth::Password(password) => {
                let filled = secrets.resolve(&password.password.0);
                Credential::Password(filled.map_err(|why| setup("auth.password.password", why))?)
            }
        };
        Ok(Self {
            host: settings.host.clone(),
            port: u16::try_from(settings.port).map_err(|_| setup("port", "it is no port"))?,
            user: settings.user.clone(),
            credential,
            trust,
            connect_timeout: settings.connect_timeout.0,
            keep_alive: settings.keep_alive.0,
            patience: settings.read_timeout.0,
            location: settings.location(""),
        })
    }

    fn error(&self, class: ErrorClass, message: impl Into<String>) -> DestinationError {
        let (action, location) = ("connect to", self.location.clone());
        DestinationError::Remote { action, location, class, message: message.into() }
    }

    /// Connects and logs in.
    pub async fn connect(&self) -> Result<Session, DestinationError> {
        let late = || {
            let message = format!("it took longer than {:?} (`connect_timeout`)", self.connect_timeout);
            self.error(ErrorClass::Transient, message)
        };
        tokio::time::timeout(self.connect_timeout, self.enter()).await.map_err(|_| late())?
    }

    async fn known(&self) -> Result<Known, DestinationError> {
        match &self.trust {
            Trust::Key(key) => Ok(Known { keys: vec![(**key).clone()], ..Known::default() }),
            Trust::Fingerprint(fingerprint) => Ok(Known { fingerprint: Some(fingerprint.clone()), ..Known::default() }),
            Trust::File(path) => {
                let (path, host, port) = (path.clone(), self.host.clone(), self.port);
                let read = move || {
                    let text = fsio::read_limited(&path, MAX_KNOWN_HOSTS);
                    let text = text.map_err(|source| DestinationError::Io { action: "read", path, source })?;
                    Ok(Known::of_file(&String::from_utf8_lossy(&text), &host, port))
                };
                tokio::task::spawn_blocking(read).await?
            }
        }
    }

    async fn enter(&self) -> Result<Session, DestinationError> {
        let known = self.known().await?;
        let mut config = Config {
            keepalive_interval: Some(self.keep_alive),
            keepalive_max: KEEP_ALIVES,
            nodelay: true,
            ..Config::default()
        };
        let algorithms = known.algorithms();
        if !algorithms.is_empty() {
            config.preferred.key = Cow::Owned(algorithms);
        }
        let verdict = Arc::new(Mutex::new(None));
        let doorman = Doorman { known, verdict: verdict.clone() };
        let connected = connect(Arc::new(config), (self.host.as_str(), self.port), doorman).await;
        let seen = verdict.lock().unwrap_or_else(PoisonError::into_inner).take();
        let mut handle = connected.map_err(|error| self.refused(&error, seen))?;
        self.log_in(&mut handle).await?;
        Ok(Session { handle, patience: self.patience })
    }

    /// What a connection means that did not come about.
    fn refused(&self, error: &russh::Error, seen: Option<Verdict>) -> DestinationError {
        let scan = format!("`ssh-keyscan -p {} {}` shows the server's keys", self.port, self.host);
        match (seen, error) {
            (Some(Verdict::Changed(found)), _) => self.error(
                ErrorClass::Auth,
                format!(
                    "the server's key is not the one that is configured: it shows {found}. Somebody may be in between, or \
                     the key was changed: ask who runs the server before you change `host_key` or `known_hosts`; {scan}"
                ),
            ),
            (Some(Verdict::Unknown(found)), _) => {
                self.error(ErrorClass::Auth, format!("the file of `known_hosts` has no key of this host; it shows {found}; {scan}"))
            }
            (Some(Verdict::Revoked(found)), _) => {
                self.error(ErrorClass::Auth, format!("the server shows {found}, a key that is revoked in `known_hosts`"))
            }
            (_, russh::Error::NoCommonAlgo { kind, theirs, .. }) => self.error(
                ErrorClass::Auth,
                format!(
                    "no common algorithm ({kind:?}); the server has {}. Where it has no key of the configured kind: {scan}",
                    said(&theirs.join(", "))
                ),
            ),
            (_, error) => self.error(ErrorClass::Transient, said(&error.to_string())),
        }
    }

    async fn log_in(&self, handle: &mut Handle<Doorman>) -> Result<(), DestinationError> {
        let broke = |error: russh::Error| self.error(ErrorClass::Transient, said(&error.to_string()));
        let result = match &self.credential {
            Credential::Key(key) => {
                let hash = match key.algorithm().is_rsa() {
                    true => handle.best_supported_rsa_hash().await.map_err(broke)?.flatten(),
                    false => None,
                };
                let key = PrivateKeyWithHashAlg::new(key.clone(), hash);
                handle.authenticate_publickey(&self.user, key).await.map_err(broke)?
            }
            Credential::Password(password) => {
                match handle.authenticate_password(&self.user, password.expose()).await.map_err(broke)? {
                    AuthResult::Failure { remaining_methods, .. }
                        if remaining_methods.contains(&MethodKind::KeyboardInteractive) =>
                    {
                        self.dialogue(handle, password).await?
                    }
                    result => result,
                }
            }
        };
        match result {
            AuthResult::Success => Ok(()),
            AuthResult::Failure { remaining_methods, .. } if remaining_methods.is_empty() && handle.is_closed() => {
                Err(self.error(ErrorClass::Transient, "the server hung up while we logged in"))
            }
            AuthResult::Failure { remaining_methods, partial_success } => {
                let ways: Vec<&str> = remaining_methods.iter().map(<&'static str>::from).collect();
                let more = if partial_success { ", and then more" } else { "" };
                let why = format!(
                    "the server does not accept the login of {} (it takes {}{more})",
                    self.user,
                    ways.join(", ")
                );
                Err(self.error(ErrorClass::Auth, why))
            }
        }
    }

    /// Answers the questions of a server with the password.
    async fn dialogue(&self, handle: &mut Handle<Doorman>, password: &Secret) -> Result<AuthResult, DestinationError> {
        let broke = |error: russh::Error| self.error(ErrorClass::Transient, said(&error.to_string()));
        let start = handle.authenticate_keyboard_interactive_start(&self.user, None::<String>);
        let mut asked = start.await.map_err(broke)?;
        for _ in 0..MAX_ROUNDS {
            match asked {
                Asked::Success => return Ok(AuthResult::Success),
                Asked::Failure { remaining_methods, partial_success } => {
                    return Ok(AuthResult::Failure { remaining_methods, partial_success });
                }
                Asked::InfoRequest { prompts, .. } => {
                    // What is echoed is no password.
                    let answer = |echo: bool| if echo { String::new() } else { password.expose().to_owned() };
                    let answers = prompts.iter().map(|prompt| answer(prompt.echo)).collect();
                    asked = handle.authenticate_keyboard_interactive_respond(answers).await.map_err(broke)?;
                }
            }
        }
        Err(self.error(ErrorClass::Auth, "the server asks more questions than a password answers"))
    }
}

impl Session {
    /// Whether the connection is gone.
    pub fn is_closed(&self) -> bool {
        self.handle.is_closed()
    }

    /// Opens a channel for files. The error is what was said.
    pub async fn channel(&self) -> Result<Channel, String> {
        let open = async {
            let mut channel = self.handle.channel_open_session().await.map_err(|error| said(&error.to_string()))?;
            channel.request_subsystem(true, "sftp").await.map_err(|error| said(&error.to_string()))?;
            loop {
                match channel.wait().await {
                    Some(ChannelMsg::Success) => return Channel::start(channel.into_stream(), self.patience).await,
                    Some(ChannelMsg::Failure) => return Err("the server has no SFTP".to_owned()),
                    None | Some(ChannelMsg::Close | ChannelMsg::Eof) => return Err("the channel was closed".to_owned()),
                    Some(_) => {}
                }
            }
        };
        tokio::time::timeout(self.patience, open).await.unwrap_or(Err("no answer".to_owned()))
    }
}
