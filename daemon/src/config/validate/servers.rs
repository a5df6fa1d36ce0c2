//! Servers that take files: SFTP and HTTP PUT.

use super::Check;
use super::sources::{has_user, web_url};
use crate::config::path::KeyPath;
use crate::config::problem::Mistake;
use crate::config::settings::{Auth, Destination, Grant, HttpDestination, SftpAuth, SftpDestination};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};

/// Bytes of a SHA-256.
const DIGEST: usize = 32;

impl Check<'_> {
    pub(super) fn servers(&mut self) {
        for (name, destination) in &self.config.destinations {
            let path = KeyPath::of(&["destinations", name.as_str()]);
            match destination {
                Destination::Sftp(sftp) => self.sftp(&path.key("sftp"), sftp),
                Destination::Http(http) => self.http(&path.key("http"), http),
                _ => {}
            }
        }
    }

    fn sftp(&mut self, path: &KeyPath, sftp: &SftpDestination) {
        let odd = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '/' | '@' | '[' | ']' | ',');
        if sftp.host.is_empty() || sftp.host.contains(odd) {
            let mistake = Mistake::value(&path.key("host"), "is no name or address of a host");
            self.wrong(mistake.hint("write e.g. files.example.com; the port and the directory have keys of their own"));
        }
        if sftp.user.is_empty() || sftp.user.contains(|c: char| c.is_whitespace() || c.is_control()) {
            self.wrong(Mistake::value(&path.key("user"), "is no name of a user"));
        }
        self.server_root(&path.key("root"), &sftp.root);
        let auth = path.key("auth");
        match &sftp.auth {
            SftpAuth::Key(key) => {
                self.kept_apart(&auth.key("key").key("private_key"), &key.private_key);
                if let Some(passphrase) = &key.passphrase {
                    self.kept_apart(&auth.key("key").key("passphrase"), passphrase);
                }
            }
            SftpAuth::Password(password) => {
                self.kept_apart(&auth.key("password").key("password"), &password.password);
            }
        }
        let scan = format!(
            "`ssh-keyscan -p {} {}` prints its keys: compare one with what the server's operator says, and write it as \
             host_key: \"ssh-ed25519 AAAA…\"",
            sftp.port, sftp.host
        );
        match (&sftp.host_key, &sftp.known_hosts) {
            (None, None) => {
                let mistake = Mistake::key(path, "one of the keys host_key and known_hosts is missing");
                self.wrong(mistake.hint(scan));
            }
            (Some(_), Some(_)) => {
                self.wrong(Mistake::key(path, "only one of host_key and known_hosts may be there"));
            }
            (Some(key), None) if !is_key(key) => {
                self.wrong(
                    Mistake::value(&path.key("host_key"), "is neither a public key nor a fingerprint").hint(scan),
                );
            }
            (Some(_), None) => {}
            (None, Some(file)) => drop(self.absolute(&path.key("known_hosts"), file)),
        }
    }

    fn server_root(&mut self, path: &KeyPath, root: &str) {
        let mistake = if root.is_empty() {
            Mistake::value(path, "is empty").hint("write e.g. /upload, or . for where the server puts us")
        } else if root.split('/').any(|part| part == "..") {
            Mistake::value(path, "must not go up by \"..\"")
        } else if root.contains(|c: char| c.is_control()) {
            Mistake::value(path, "holds a control character")
        } else {
            return;
        };
        self.wrong(mistake);
    }

    fn http(&mut self, path: &KeyPath, http: &HttpDestination) {
        self.put_url(&path.key("url"), &http.url);
        if let Some(auth) = &http.auth {
            let here = path.key("auth");
            self.auth(&here, &http.url, auth);
            if let Auth::Oauth2(oauth2) = auth
                && let Grant::RefreshToken(grant) = &oauth2.grant
                && grant.token.is_none()
            {
                let at = here.key("oauth2").key("grant").key("refresh_token");
                let mistake = Mistake::key(&at, "there is no token, and auth login is for sources");
                self.wrong(mistake.hint("write token: \"${NAME}\""));
            }
        }
        self.headers(&path.key("headers"), &http.headers, http.auth.as_ref());
        if let Some(proxy) = &http.proxy {
            self.proxy(&path.key("proxy"), proxy);
        }
        let tls = path.key("tls");
        for (key, file) in [("ca_file", &http.tls.ca_file), ("client_identity", &http.tls.client_identity)] {
            if let Some(file) = file {
                self.absolute(&tls.key(key), file);
            }
        }
    }

    /// The URL is not shown: an operator may have put a password into it.
    fn put_url(&mut self, path: &KeyPath, text: &str) {
        let example = "write e.g. https://files.example.com/in/{key}";
        let once = text.matches(HttpDestination::KEY).count() == 1;
        // Where the key stands, an ordinary word must make a URL, and stand in its path or query.
        let filled = |word: &str| web_url(&text.replace(HttpDestination::KEY, word));
        let mistake = match (filled("key"), filled("other")) {
            (Some(one), Some(_)) if has_user(&one) => Mistake::value(path, "must not hold a user name or password")
                .hint("use auth: { basic: … } and auth.env"),
            _ if !once => Mistake::value(path, "must hold {key} once").hint(example),
            (Some(one), Some(other)) if one.origin() == other.origin() && one.fragment().is_none() => return,
            (Some(one), Some(_)) if one.fragment().is_some() => Mistake::value(path, "must not have a fragment (#…)"),
            (Some(_), Some(_)) => Mistake::value(path, "must hold {key} in its path or query").hint(example),
            _ => Mistake::value(path, "is not an absolute http or https URL").hint(example),
        };
        self.wrong(mistake);
    }
}

/// Whether a text looks like a public key of OpenSSH or a fingerprint; whether it is one, connecting tells.
fn is_key(text: &str) -> bool {
    if let Some(digest) = text.trim().strip_prefix("SHA256:") {
        return STANDARD_NO_PAD.decode(digest.trim_end_matches('=')).is_ok_and(|bytes| bytes.len() == DIGEST);
    }
    let mut words = text.split_ascii_whitespace();
    let (kind, key) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let Ok(blob) = STANDARD.decode(key) else { return false };
    // The name of its kind stands in the key, too (RFC 4253, section 6.6).
    let named = blob.get(4..4 + kind.len()) == Some(kind.as_bytes());
    named && blob.get(..4) == Some(&(kind.len() as u32).to_be_bytes()[..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_key_is_a_line_or_a_fingerprint() {
        let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";
        for good in [key, &format!("{key} a comment"), "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU"] {
            assert!(is_key(good), "{good}");
        }
        let swapped = key.replace("ssh-ed25519", "ssh-rsa");
        for bad in ["", "SHA256:abc", "yes", "ssh-ed25519", &swapped, &format!("host {key}")] {
            assert!(!is_key(bad), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in ".{0,80}") {
            let _ = is_key(&text);
        }
    }
}
