//! Recipients of notifications: servers, addresses, templates; and the rules that name them.

use super::Check;
use super::sources::{has_user, web_url};
use crate::config::message;
use crate::config::path::KeyPath;
use crate::config::problem::Mistake;
use crate::config::settings::{Email, Export, NotifyRetry, Recipient, Security, Tls, Webhook};
use crate::config::units::shown;
use lettre::message::Mailbox;
use std::net::IpAddr;

/// The most addresses of one recipient; each gets a mail of its own.
const MAX_ADDRESSES: usize = 20;
/// The most rules of an export.
const MAX_RULES: usize = 20;
/// The longest address with its name (RFC 5321 allows 254 for the address).
const MAX_ADDRESS: usize = 320;
/// Headers that a webhook sets itself.
const OWN_HEADERS: [&str; 5] = ["webhook-id", "webhook-timestamp", "webhook-signature", "content-type", "user-agent"];

impl Check<'_> {
    pub(super) fn notifications(&mut self) {
        for (name, recipient) in &self.config.notify {
            let path = KeyPath::of(&["notify", name.as_str()]);
            match recipient {
                Recipient::Email(email) => self.email(&path.key("email"), email),
                Recipient::Webhook(webhook) => self.webhook(&path.key("webhook"), webhook),
            }
        }
    }

    /// The rules of an export.
    pub(super) fn notify_rules(&mut self, path: &KeyPath, export: &Export) {
        if export.notify.len() > MAX_RULES {
            self.wrong(Mistake::value(path, format!("has more than {MAX_RULES} rules")));
        }
        for (index, rule) in export.notify.iter().enumerate() {
            let here = path.item(index);
            let all = (KeyPath::of(&["notify"]), &self.config.notify);
            self.known(&here.key("to"), "recipient", &rule.to, all);
            self.repeated(&here.key("on"), rule.on.iter().map(|event| event.word()));
        }
    }

    fn email(&mut self, path: &KeyPath, email: &Email) {
        let odd = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '/' | '@' | '[' | ']' | ',');
        let port = email.host.contains(':') && email.host.parse::<IpAddr>().is_err();
        if email.host.is_empty() || email.host.contains(odd) || port {
            let mistake = Mistake::value(&path.key("host"), "is no name or address of a host");
            self.wrong(mistake.hint("write e.g. smtp.example.com; the port has a key of its own"));
        }
        if email.security == Security::None && !is_loopback(&email.host) {
            let mistake = Mistake::value(&path.key("security"), "none is only for a server on this machine");
            self.wrong(mistake.hint("write starttls or implicit"));
        }
        self.login(path, email);
        self.tls_files(&path.key("tls"), &email.tls);
        self.mailbox(&path.key("from"), &email.from);
        let to = path.key("to");
        if email.to.len() > MAX_ADDRESSES {
            let mistake = Mistake::value(&to, format!("has more than {MAX_ADDRESSES} addresses"));
            self.wrong(mistake.hint("let the mail server keep the list, and write its address"));
        }
        self.repeated(&to, email.to.iter().map(String::as_str));
        for (index, address) in email.to.iter().enumerate() {
            self.mailbox(&to.item(index), address);
        }
        for (key, template) in [("subject", &email.subject), ("body", &email.body)] {
            if let Some(template) = template {
                self.message_template(&path.key(key), template);
            }
        }
        self.notify_retry(&path.key("retry"), &email.retry);
    }

    fn login(&mut self, path: &KeyPath, email: &Email) {
        match (&email.username, &email.password) {
            (None, Some(_)) => self.wrong(Mistake::key(&path.key("password"), "stands without username")),
            (Some(_), None) => {
                let mistake = Mistake::key(&path.key("username"), "stands without password");
                self.wrong(mistake.hint("write password: \"${NAME}\""));
            }
            (Some(_), Some(password)) => {
                self.kept_apart(&path.key("password"), password);
                if email.security == Security::None {
                    let mistake = Mistake::key(&path.key("password"), "would be sent over an open connection");
                    self.wrong(
                        mistake.hint("write security: starttls or implicit, or leave username and password out"),
                    );
                }
            }
            (None, None) => {}
        }
    }

    fn mailbox(&mut self, path: &KeyPath, text: &str) {
        let why = if text.contains(|c: char| c.is_control()) {
            "holds a line end or another control character".to_owned()
        } else if text.len() > MAX_ADDRESS {
            format!("is longer than {MAX_ADDRESS} bytes")
        } else if text.parse::<Mailbox>().is_err() {
            format!("{} is no e-mail address", shown(text))
        } else {
            return;
        };
        self.wrong(Mistake::value(path, why).hint("write e.g. ops@example.com or Exports <ops@example.com>"));
    }

    fn message_template(&mut self, path: &KeyPath, template: &str) {
        if let Err((why, hint)) = message::check(template) {
            let mistake = Mistake::value(path, format!("is no template of a message: {why}"));
            self.wrong(match hint {
                Some(hint) => mistake.hint(hint),
                None => mistake,
            });
        }
    }

    /// The URL is not shown: an operator may have put a password into it.
    fn webhook(&mut self, path: &KeyPath, webhook: &Webhook) {
        let url = path.key("url");
        let example = "write e.g. https://hooks.example.com/exports";
        match web_url(&webhook.url) {
            None => self.wrong(Mistake::value(&url, "is not an absolute http or https URL").hint(example)),
            Some(found) if has_user(&found) => {
                let mistake = Mistake::value(&url, "must not hold a user name or password");
                self.wrong(mistake.hint("use headers and auth.env"));
            }
            Some(found) if found.fragment().is_some() => {
                self.wrong(Mistake::value(&url, "must not have a fragment (#…)"));
            }
            Some(found) if found.scheme() == "http" && !found.host_str().is_some_and(is_loopback) => {
                self.wrong(Mistake::value(&url, "http is only for a server on this machine").hint("write https://…"));
            }
            Some(_) => {}
        }
        self.kept_apart(&path.key("secret"), &webhook.secret);
        if webhook.secret.0.is_empty() {
            self.wrong(
                Mistake::value(&path.key("secret"), "is empty").hint("write \"${NAME}\" here and NAME=… in auth.env"),
            );
        }
        let headers = path.key("headers");
        self.headers(&headers, &webhook.headers, None);
        for name in webhook.headers.keys().filter(|name| OWN_HEADERS.contains(&name.to_ascii_lowercase().as_str())) {
            self.wrong(Mistake::key(&headers.key(name), "is set by the daemon itself").hint("remove it"));
        }
        self.tls_files(&path.key("tls"), &webhook.tls);
        self.notify_retry(&path.key("retry"), &webhook.retry);
    }

    fn notify_retry(&mut self, path: &KeyPath, retry: &NotifyRetry) {
        if retry.max < retry.initial {
            let message = format!("is shorter than initial, {}", retry.initial);
            self.wrong(Mistake::value(&path.key("max"), message));
        }
    }

    fn tls_files(&mut self, path: &KeyPath, tls: &Tls) {
        for (key, file) in [("ca_file", &tls.ca_file), ("client_identity", &tls.client_identity)] {
            if let Some(file) = file {
                self.absolute(&path.key(key), file);
            }
        }
    }
}

/// Whether a name or address is that of this machine.
fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}
