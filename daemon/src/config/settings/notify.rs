//! Who is told how tasks end: recipients, and the rules of an export.

use super::{KeepAlive, Tls};
use crate::base::ids::Name;
use crate::config::units::{SecretText, Span};
use crate::model::notice::{Event, Rule};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// Who is told how tasks end: a map with one key that names the kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Recipient {
    /// People, by e-mail.
    Email(Box<Email>),
    /// A program, by a signed HTTP POST.
    Webhook(Box<Webhook>),
}

/// People, by e-mail: plain text in UTF-8, sent to each address by itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Email {
    /// Name or address of the mail server (SMTP).
    pub host: String,
    /// Its port; by default 587 with `starttls`, 465 with `implicit`, 25 with `none`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<u32>,
    /// How the connection is protected.
    #[serde(default)]
    pub security: Security,
    /// TLS settings.
    #[serde(default)]
    pub tls: Tls,
    /// Who logs in; without it nobody does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<SecretText>,
    /// The password, from auth.env. It is sent over a protected connection alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<SecretText>,
    /// The sender: `exports@example.com` or `Exports <exports@example.com>`.
    pub from: String,
    /// The addresses.
    #[schemars(length(min = 1, max = 20))]
    pub to: Vec<String>,
    /// Template of the subject; see docs/notifications.md for what it can hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Template of the text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// How long the links to the files of a task count that has succeeded, where its destination can make links: whoever has
    /// one can read the file. `0s` makes none.
    #[serde(default = "one_day")]
    #[schemars(extend("x-minimum" = "0s", "x-maximum" = "7d"))]
    pub links: Span,
    /// How it is tried again.
    #[serde(default)]
    pub retry: NotifyRetry,
}

/// How a connection to a mail server is protected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Security {
    /// TLS from the server's greeting on (STARTTLS); a server that does not offer it gets no mail.
    #[default]
    Starttls,
    /// TLS from the first byte on.
    Implicit,
    /// Not at all: only for a server on this machine, without a password.
    None,
}

/// A program, by a signed HTTP POST (Standard Webhooks). No redirect is followed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    /// Where to, https; http only on this machine. It is no secret: put one into `headers`.
    pub url: String,
    /// What bodies are signed with, from auth.env: `whsec_` and base64 of 24 to 64 bytes, e.g. of `openssl rand -base64 32`.
    pub secret: SecretText,
    /// More headers.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, SecretText>,
    /// How long the links to the files of a task count that has succeeded; `0s` makes none.
    #[serde(default = "no_time")]
    #[schemars(extend("x-minimum" = "0s", "x-maximum" = "7d"))]
    pub links: Span,
    /// TLS settings.
    #[serde(default)]
    pub tls: Tls,
    /// The longest that an answer may take, from connecting to its end.
    #[serde(default = "half_a_minute")]
    #[schemars(extend("x-minimum" = "1s", "x-maximum" = "1m"))]
    pub timeout: Span,
    /// How it is tried again.
    #[serde(default)]
    pub retry: NotifyRetry,
}

/// How a message is tried again that could not be sent. Refusals for good (`550`, `404`) are not tried again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct NotifyRetry {
    /// Ceiling of the first wait; it doubles with each try, with full jitter.
    #[schemars(extend("x-minimum" = "100ms", "x-maximum" = "1h"))]
    pub initial: Span,
    /// Ceiling of every wait. A longer Retry-After of the server is honoured.
    #[schemars(extend("x-minimum" = "100ms", "x-maximum" = "1d"))]
    pub max: Span,
    /// After this time a message is given up.
    #[schemars(extend("x-minimum" = "1m", "x-maximum" = "30d"))]
    pub give_up_after: Span,
}

impl Default for NotifyRetry {
    fn default() -> Self {
        let hours = |hours: u64| Span(Duration::from_secs(hours * 3600));
        Self { initial: Span(Duration::from_secs(30)), max: hours(1), give_up_after: hours(72) }
    }
}

/// Who is told of which ends of an export's tasks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NotifyRule {
    /// Name of the recipient.
    pub to: Name,
    /// What it is told of. `first_failure` and `recovery` tell once of an export that fails for a while, `failure` each time.
    /// Whoever is told of several that are one end gets one message.
    #[serde(default = "usual_events")]
    #[schemars(length(min = 1))]
    pub on: Vec<Event>,
}

impl NotifyRule {
    /// The rule as the ledger takes it.
    pub fn rule(&self) -> Rule {
        Rule { to: self.to.to_string(), on: self.on.clone() }
    }
}

impl Email {
    /// The port that is connected to.
    pub fn port(&self) -> u16 {
        let usual = match self.security {
            Security::Starttls => 587,
            Security::Implicit => 465,
            Security::None => 25,
        };
        self.port.and_then(|port| u16::try_from(port).ok()).unwrap_or(usual)
    }
}

impl Webhook {
    /// Connections and time-outs of its requests.
    pub fn keep_alive(&self) -> KeepAlive {
        KeepAlive { connect_timeout: self.timeout, read_timeout: self.timeout, ..KeepAlive::default() }
    }
}

impl Recipient {
    /// How long links count; none where there are to be none.
    pub fn links(&self) -> Option<Duration> {
        let span = match self {
            Self::Email(email) => email.links,
            Self::Webhook(webhook) => webhook.links,
        };
        (!span.0.is_zero()).then_some(span.0)
    }

    /// How it is tried again.
    pub fn retry(&self) -> &NotifyRetry {
        match self {
            Self::Email(email) => &email.retry,
            Self::Webhook(webhook) => &webhook.retry,
        }
    }
}

fn one_day() -> Span {
    Span(Duration::from_secs(24 * 3600))
}

fn no_time() -> Span {
    Span(Duration::ZERO)
}

fn half_a_minute() -> Span {
    Span(Duration::from_secs(30))
}

fn usual_events() -> Vec<Event> {
    vec![Event::Failure, Event::Recovery]
}
