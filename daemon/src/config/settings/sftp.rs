//! SFTP servers: where they are, who we are to them, and by which key we know them.

use super::Transfer;
use crate::config::units::{Mode, SecretText, Span};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::Duration;

/// A directory on an SFTP server. Exactly one of `host_key` and `known_hosts` says by which key the server is known: a key
/// is never trusted because it was seen first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SftpDestination {
    /// Name or address of the server.
    pub host: String,
    /// Its port.
    #[serde(default = "default_port")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: u32,
    /// Who logs in.
    pub user: String,
    /// The directory, as the server names it; created if it is missing.
    pub root: String,
    /// How we log in.
    pub auth: SftpAuth,
    /// The server's key: a line as `ssh-keyscan` prints it, without the host (`ssh-ed25519 AAAA…`), or its fingerprint
    /// (`SHA256:…`). Get it by `ssh-keyscan -p PORT HOST`, and compare it with what the server's operator says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_key: Option<String>,
    /// File of known keys, in the form of `ssh` (`known_hosts`); hashed names, patterns and `@revoked` are understood.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known_hosts: Option<PathBuf>,
    /// Permission bits of the files; until a file is whole, only its owner may read it.
    #[serde(default = "default_mode")]
    pub mode: Mode,
    /// How a file is checked before it gets its name.
    #[serde(default)]
    pub verify: SftpVerify,
    /// The longest that connecting and logging in may take.
    #[serde(default = "default_connect_timeout")]
    #[schemars(extend("x-minimum" = "100ms", "x-maximum" = "10m"))]
    pub connect_timeout: Span,
    /// The longest that the server may leave a request without an answer.
    #[serde(default = "default_read_timeout")]
    #[schemars(extend("x-minimum" = "100ms", "x-maximum" = "1h"))]
    pub read_timeout: Span,
    /// Silence after which the server is asked whether it is still there; after three such questions the connection is lost.
    #[serde(default = "default_keep_alive")]
    #[schemars(extend("x-minimum" = "1s", "x-maximum" = "1h"))]
    pub keep_alive: Span,
    /// How fast and how parallel it is written to.
    #[serde(default)]
    pub transfer: Transfer,
}

/// How we log in: a map with one key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SftpAuth {
    /// By a key of ours.
    Key(SftpKey),
    /// By a password; also where the server asks for it in a dialogue (keyboard-interactive).
    Password(SftpPassword),
}

/// A key of ours.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SftpKey {
    /// The private key (OpenSSH or PEM). In auth.env it stands in one line, `\n` for each line end.
    pub private_key: SecretText,
    /// What the key is encrypted with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passphrase: Option<SecretText>,
}

/// A password.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SftpPassword {
    /// The password.
    pub password: SecretText,
}

/// How a file is checked before it gets its name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SftpVerify {
    /// It is read back, and its SHA-256 compared.
    #[default]
    ReadBack,
    /// Its size is compared.
    Size,
}

fn default_port() -> u32 {
    22
}

fn default_mode() -> Mode {
    Mode(0o640)
}

fn default_connect_timeout() -> Span {
    Span(Duration::from_secs(15))
}

fn default_read_timeout() -> Span {
    Span(Duration::from_secs(60))
}

fn default_keep_alive() -> Span {
    Span(Duration::from_secs(15))
}

impl SftpDestination {
    /// Where `key` lies on the server: a path without a slash too many.
    pub fn path(&self, key: &str) -> String {
        match (self.root.trim_end_matches('/'), key) {
            ("", "") => "/".to_owned(),
            (root, "") => root.to_owned(),
            (root, key) => format!("{root}/{key}"),
        }
    }

    /// Where `key` lies, for a person.
    pub fn location(&self, key: &str) -> String {
        let path = self.path(key);
        let slash = if path.starts_with('/') { "" } else { "/~/" };
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        let port = if self.port == default_port() { String::new() } else { format!(":{}", self.port) };
        format!("sftp://{}@{host}{port}{slash}{path}", self.user)
    }
}
