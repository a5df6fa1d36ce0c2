//! E-mail: plain text over SMTP, to each address by itself, so that one that is refused keeps nobody else from getting it.

use super::outcome::Refused;
use crate::base::error::Chain;
use crate::base::fsio;
use crate::base::ids::hex;
use crate::base::secret::Secret;
use crate::config::message::{BODY, MAX_BODY, MAX_SUBJECT, Message, SUBJECT, fill};
use crate::config::secrets::Secrets;
use crate::config::settings::{self, Security, TlsVersion};
use crate::net::mask::{MAX_SAID, Mask};
use lettre::message::Mailbox;
use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, CertificateStore, Identity, Tls, TlsParameters};
use lettre::{Address, AsyncSmtpTransport, AsyncTransport as _, Tokio1Executor};
use sha2::{Digest as _, Sha256};
use std::error::Error as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// The longest that one mail may take, from connecting to the server's word that it has it (RFC 5321 gives the end of the
/// data ten minutes; who takes that long is asked again later).
const LIMIT: Duration = Duration::from_secs(120);
/// The longest that connecting may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(30);
/// PEM files are small; a larger file is the wrong one.
const MAX_PEM: u64 = 4 << 20;

/// Why a mail was not taken.
pub struct Failure {
    /// What that means for the mail.
    pub refused: Refused,
    /// Whether it is the server's trouble, and so that of every other mail.
    pub server: bool,
}

/// A connection to a mail server that can be opened, and what no message of it may show.
pub struct Server {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    mask: Mask,
}

impl Server {
    /// The server of these settings; reads files, but asks nobody yet.
    pub async fn new(email: &settings::Email, secrets: &Arc<Secrets>) -> Result<Self, Refused> {
        let (email, secrets) = (email.clone(), secrets.clone());
        let built = tokio::task::spawn_blocking(move || build(&email, &secrets));
        // What is wrong here may be right after a reload.
        built.await.unwrap_or_else(|error| Err(error.to_string())).map_err(|why| Refused::ForNow(why, None))
    }

    /// Sends a letter to one address.
    pub async fn send(&self, letter: &Letter, to: &Address) -> Result<(), Failure> {
        let of_mail = |refused| Failure { refused, server: false };
        let mail = letter.to(to).map_err(|why| of_mail(Refused::ForGood(why)))?;
        match tokio::time::timeout(LIMIT, self.transport.send(mail)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(self.meaning(&error)),
            Err(_) => {
                let why = format!("the mail server was silent for {} s", LIMIT.as_secs());
                Err(Failure { refused: Refused::ForNow(why, None), server: true })
            }
        }
    }

    /// What an error of the server means. A login that is refused is the operator's to mend, and no word about the mail.
    fn meaning(&self, error: &lettre::transport::smtp::Error) -> Failure {
        let said = self.mask.clean(&told(error), MAX_SAID);
        let code = error.status().map(|code| code.to_string());
        let (refused, server) = match code.as_deref() {
            Some("530" | "534" | "535" | "538") => {
                (Refused::ForNow(format!("log in to the mail server: {said}"), None), true)
            }
            Some(_) if error.is_permanent() => (Refused::ForGood(format!("the mail server refuses: {said}")), false),
            Some(code) => (Refused::ForNow(format!("the mail server refuses for now: {said}"), None), code == "421"),
            None => (Refused::ForNow(format!("speak to the mail server: {said}"), None), true),
        };
        Failure { refused, server }
    }
}

fn build(email: &settings::Email, secrets: &Secrets) -> Result<Server, String> {
    let fill = |text: Option<&crate::config::units::SecretText>| -> Result<Option<Secret>, String> {
        text.map(|text| secrets.resolve(text).map_err(|error| error.to_string())).transpose()
    };
    let (username, password) = (fill(email.username.as_ref())?, fill(email.password.as_ref())?);
    let mut mask = Mask::default();
    let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(email.host.as_str())
        .port(email.port())
        .timeout(Some(CONNECT_LIMIT))
        .tls(match email.security {
            Security::Starttls => Tls::Required(trust(email)?),
            Security::Implicit => Tls::Wrapper(trust(email)?),
            Security::None => Tls::None,
        });
    if let (Some(username), Some(password)) = (username, password) {
        mask.add_basic(username.expose(), password.expose());
        // As PLAIN sends them (RFC 4616).
        mask.add(&format!("\0{}\0{}", username.expose(), password.expose()));
        builder = builder.credentials(Credentials::new(username.expose().to_owned(), password.expose().to_owned()));
    }
    Ok(Server { transport: builder.build(), mask })
}

fn trust(email: &settings::Email) -> Result<TlsParameters, String> {
    use lettre::transport::smtp::client::TlsVersion as Version;
    let tls = &email.tls;
    let mut builder = TlsParameters::builder(email.host.clone()).set_min_tls_version(match tls.min_version {
        TlsVersion::V1_2 => Version::Tlsv12,
        TlsVersion::V1_3 => Version::Tlsv13,
    });
    if let Some(path) = &tls.ca_file {
        let wrong = || format!("use tls.ca_file {}: it holds no certificate in PEM form", path.display());
        let certificate = Certificate::from_pem(&read("tls.ca_file", path)?).map_err(|_| wrong())?;
        builder = builder.certificate_store(CertificateStore::None).add_root_certificate(certificate);
    }
    if let Some(path) = &tls.client_identity {
        let pem = read("tls.client_identity", path)?;
        let wrong = |_| format!("use tls.client_identity {}: it holds no certificate and key", path.display());
        builder = builder.identify_with(Identity::from_pem(&pem, &pem).map_err(wrong)?);
    }
    builder.build_rustls().map_err(|error| format!("set up TLS: {}", told(&error)))
}

fn read(key: &str, path: &Path) -> Result<Vec<u8>, String> {
    fsio::read_limited(path, MAX_PEM).map_err(|error| format!("read {key} {}: {error}", path.display()))
}

/// The error with all that is behind it; it repeats its own source, which is left out.
fn told(error: &lettre::transport::smtp::Error) -> String {
    let behind = error.source().and_then(std::error::Error::source);
    behind.map_or_else(|| error.to_string(), |behind| format!("{error}: {}", Chain(behind)))
}

/// A mail without the envelope of one address.
pub struct Letter {
    id: String,
    from: Mailbox,
    to: Vec<Mailbox>,
    subject: String,
    body: String,
    task: String,
}

impl Letter {
    /// Writes the letter of a message. `id` stays the same over all attempts.
    pub fn write(email: &settings::Email, id: &str, message: &Message) -> Result<Self, String> {
        let mailbox = |text: &String| text.parse::<Mailbox>().map_err(|_| "use an address: it is none".to_owned());
        let from = mailbox(&email.from)?;
        let to = email.to.iter().map(mailbox).collect::<Result<_, _>>()?;
        let filled = |what: &str, text: Option<&str>, usual: &str, most| {
            fill(text.unwrap_or(usual), message, most).map_err(|why| format!("fill the template {what}: {why}"))
        };
        let subject = filled("subject", email.subject.as_deref(), SUBJECT, MAX_SUBJECT)?;
        // What comes of a template stands in one line of the header, whatever it holds.
        let subject = subject.split(|c: char| c.is_control() || c.is_whitespace()).filter(|word| !word.is_empty());
        let subject = subject.collect::<Vec<_>>().join(" ");
        let body = filled("body", email.body.as_deref(), BODY, MAX_BODY)?;
        Ok(Self { id: id.to_owned(), from, to, subject, body, task: message.task.clone() })
    }

    /// The addresses that it goes to.
    pub fn addresses(&self) -> impl Iterator<Item = &Address> {
        self.to.iter().map(|mailbox| &mailbox.email)
    }

    /// The mail for one address. Its id differs from that of the others, so that a list that is in several of them gets each.
    fn to(&self, address: &Address) -> Result<lettre::Message, String> {
        let place = hex(&Sha256::digest(address.to_string()));
        let place = place.get(..8).unwrap_or_default();
        let mut mail = lettre::Message::builder()
            .from(self.from.clone())
            .subject(self.subject.clone())
            .message_id(Some(format!("<{}.{}@{}>", self.id, place, self.from.email.domain())))
            .date_now()
            .header(ContentType::TEXT_PLAIN)
            // Nobody's holiday answers it (RFC 3834).
            .raw_header(HeaderValue::new(HeaderName::new_from_ascii_str("Auto-Submitted"), "auto-generated".into()))
            .raw_header(HeaderValue::new(HeaderName::new_from_ascii_str("X-Saas-Export-Task"), self.task.clone()));
        for mailbox in &self.to {
            mail = mail.to(mailbox.clone());
        }
        let envelope = lettre::address::Envelope::new(Some(self.from.email.clone()), vec![address.clone()]);
        let envelope = envelope.map_err(|error| format!("write the envelope: {error}"))?;
        mail.envelope(envelope).body(self.body.clone()).map_err(|error| format!("write the mail: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn email(more: serde_json::Value) -> settings::Email {
        let mut email = json!({ "host": "localhost", "from": "Exports <exports@example.com>",
            "to": ["ops@example.com", "Änne <anne@example.org>"] });
        email.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        serde_json::from_value(email).unwrap()
    }

    fn written(email: &settings::Email, message: &Message) -> String {
        let letter = Letter::write(email, "msg_1", message).unwrap();
        let to = letter.addresses().next().unwrap().clone();
        String::from_utf8(letter.to(&to).unwrap().formatted()).unwrap()
    }

    #[test]
    fn a_name_of_an_export_cannot_make_a_header() {
        let email = email(json!({ "subject": "{{ reason }}", "body": "{{ reason }}\n" }));
        let reason = "read Zürich\r\nBcc: eve@example.com\r\n\r\nhello".to_owned();
        let mail = written(&email, &Message { reason, ..Message::sample("failed") });
        let (head, body) = mail.split_once("\r\n\r\n").unwrap();
        assert!(!head.lines().any(|line| line.to_ascii_lowercase().starts_with("bcc:")), "{head}");
        assert!(head.contains("Subject: read =?utf-8?b?"), "{head}");
        assert!(head.contains("Auto-Submitted: auto-generated\r\n") && head.contains("charset=utf-8"), "{head}");
        assert!(body.contains("hello"), "{body}");
    }

    #[test]
    fn a_repetition_has_the_same_id_and_another_address_another() {
        let letter = Letter::write(&email(json!({})), "msg_1", &Message::sample("failed")).unwrap();
        let id = |to: &Address| {
            let mail = String::from_utf8(letter.to(to).unwrap().formatted()).unwrap();
            mail.lines().find(|line| line.starts_with("Message-ID:")).unwrap().to_owned()
        };
        let to: Vec<&Address> = letter.addresses().collect();
        assert_eq!(id(to[0]), id(to[0]));
        assert_ne!(id(to[0]), id(to[1]));
        assert!(id(to[0]).starts_with("Message-ID: <msg_1.") && id(to[0]).ends_with("@example.com>"), "{}", id(to[0]));
    }
}
