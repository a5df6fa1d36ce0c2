//! By which key a server is known: one that is pinned, or those of a `known_hosts` file. Nothing is trusted at first sight.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use russh::keys::{Algorithm, HashAlg, PublicKey};
use std::path::PathBuf;

/// A known_hosts file is small; a larger one is the wrong file.
pub const MAX_KNOWN_HOSTS: u64 = 16 << 20;

/// What a server's key is compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// One key.
    Key(Box<PublicKey>),
    /// One key, by its fingerprint (`SHA256:…`).
    Fingerprint(String),
    /// Those that a file has for the host.
    File(PathBuf),
}

/// What is known of a host: read right before it is connected to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// Keys that are the host's.
    pub keys: Vec<PublicKey>,
    /// Keys that must not be believed any more.
    pub revoked: Vec<PublicKey>,
    /// The fingerprint that is pinned.
    pub fingerprint: Option<String>,
}

/// What a key that a server showed is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The server's own.
    Trusted,
    /// Another one than the one that is known.
    Changed(String),
    /// The host is not known at all.
    Unknown(String),
    /// Revoked.
    Revoked(String),
}

impl Trust {
    /// Reads the setting `host_key`: a fingerprint or a line with a key.
    pub fn pinned(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if let Some(digest) = text.strip_prefix("SHA256:") {
            let decoded = base64::engine::general_purpose::STANDARD_NO_PAD.decode(digest.trim_end_matches('='));
            return match decoded {
                Ok(bytes) if bytes.len() == 32 => {
                    Ok(Self::Fingerprint(format!("SHA256:{}", digest.trim_end_matches('='))))
                }
                _ => Err("is not a fingerprint like SHA256:… with 43 characters".to_owned()),
            };
        }
        let key = PublicKey::from_openssh(text);
        key.map(|key| Self::Key(Box::new(plain(key))))
            .map_err(|_| "is no public key like \"ssh-ed25519 AAAA…\"".to_owned())
    }
}

impl Known {
    /// What `text`, a known_hosts file, knows of a host. Lines that nobody understands are passed over, as `ssh` does.
    pub fn of_file(text: &str, host: &str, port: u16) -> Self {
        let name = match port {
            22 => host.to_ascii_lowercase(),
            port => format!("[{}]:{port}", host.to_ascii_lowercase()),
        };
        let mut known = Self::default();
        for line in text.lines() {
            let mut words = line.split_ascii_whitespace();
            let Some(first) = words.next().filter(|word| !word.starts_with('#')) else { continue };
            let (marker, hosts) = match first.starts_with('@') {
                true => (first, words.next()),
                false => ("", Some(first)),
            };
            let (Some(hosts), Some(kind), Some(key)) = (hosts, words.next(), words.next()) else { continue };
            if !matches(hosts, &name) {
                continue;
            }
            let Ok(key) = PublicKey::from_openssh(&format!("{kind} {key}")) else { continue };
            match marker {
                "" => known.keys.push(plain(key)),
                "@revoked" => known.revoked.push(plain(key)),
                // Certificates are not asked for.
                _ => {}
            }
        }
        known
    }

    /// The kinds of keys to ask the server for, the best first; none where any will do.
    pub fn algorithms(&self) -> Vec<Algorithm> {
        let mut all: Vec<Algorithm> = Vec::new();
        for key in &self.keys {
            let these = match key.algorithm() {
                Algorithm::Rsa { .. } => {
                    [HashAlg::Sha512, HashAlg::Sha256].map(|hash| Algorithm::Rsa { hash: Some(hash) }).to_vec()
                }
                other => vec![other],
            };
            all.extend(these.into_iter().filter(|algorithm| !all.contains(algorithm)).collect::<Vec<_>>());
        }
        all
    }

    /// What the key is that a server showed.
    pub fn judge(&self, key: &PublicKey) -> Verdict {
        let found = key.fingerprint(HashAlg::Sha256).to_string();
        let is = |known: &PublicKey| known.key_data() == key.key_data();
        if self.revoked.iter().any(is) {
            Verdict::Revoked(found)
        } else if self.keys.iter().any(is) || self.fingerprint.as_ref() == Some(&found) {
            Verdict::Trusted
        } else if self.keys.is_empty() && self.fingerprint.is_none() {
            Verdict::Unknown(found)
        } else {
            Verdict::Changed(found)
        }
    }
}

/// A key without its comment.
fn plain(key: PublicKey) -> PublicKey {
    PublicKey::from(key.key_data().clone())
}

/// Whether a host is one of a line's names: plain ones with `*` and `?`, `!` before those that are meant not to be, or
/// hashed ones (`|1|salt|hash`).
fn matches(hosts: &str, name: &str) -> bool {
    let mut found = false;
    for pattern in hosts.split(',') {
        if let Some(hashed) = pattern.strip_prefix("|1|") {
            found |= hashed_is(hashed, name);
        } else if let Some(not) = pattern.strip_prefix('!') {
            if like(not.to_ascii_lowercase().as_bytes(), name.as_bytes()) {
                return false;
            }
        } else {
            found |= like(pattern.to_ascii_lowercase().as_bytes(), name.as_bytes());
        }
    }
    found
}

fn hashed_is(hashed: &str, name: &str) -> bool {
    let parts = hashed.split_once('|').map(|(salt, hash)| (STANDARD.decode(salt), STANDARD.decode(hash)));
    let Some((Ok(salt), Ok(hash))) = parts else { return false };
    // That is how the file is made; nothing rests on it but that names are not read at a glance.
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &salt);
    hmac::verify(&key, name.as_bytes(), &hash).is_ok()
}

/// Whether `text` is like `pattern`, where `*` is any text and `?` any one byte. Takes at most their product of steps.
fn like(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while let Some(byte) = text.get(t) {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(b'?') => (p, t) = (p + 1, t + 1),
            Some(wanted) if wanted == byte => (p, t) = (p + 1, t + 1),
            _ => {
                let Some((at, from)) = star else { return false };
                star = Some((at, from + 1));
                (p, t) = (at + 1, from + 1);
            }
        }
    }
    pattern.get(p..).unwrap_or_default().iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ONE: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";
    const TWO: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILIG2T/B0l0gaqj3puu510tu9N1OkQ4znY3LYuEm5zCF";

    fn key(text: &str) -> PublicKey {
        PublicKey::from_openssh(text).unwrap()
    }

    fn judged(file: &str, host: &str, port: u16) -> Verdict {
        Known::of_file(file, host, port).judge(&key(ONE))
    }

    fn hashed(name: &str) -> String {
        let salt = [7; 20];
        let mac = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &salt), name.as_bytes());
        format!("|1|{}|{}", STANDARD.encode(salt), STANDARD.encode(mac))
    }

    #[test]
    fn a_file_knows_hosts_by_name_pattern_and_hash() {
        for (line, host, port, trusted) in [
            (format!("files.example {ONE} a comment"), "files.example", 22, true),
            (format!("files.example {ONE}"), "FILES.example", 22, true),
            (format!("files.example {ONE}"), "files.example", 2222, false),
            (format!("[files.example]:2222 {ONE}"), "files.example", 2222, true),
            (format!("a.example,10.0.0.7,files.example {ONE}"), "10.0.0.7", 22, true),
            (format!("*.example {ONE}"), "files.example", 22, true),
            (format!("*.example,!files.example {ONE}"), "files.example", 22, false),
            (format!("file?.example {ONE}"), "files.example", 22, true),
            (format!("{} {ONE}", hashed("files.example")), "files.example", 22, true),
            (format!("{} {ONE}", hashed("files.example")), "other.example", 22, false),
            (format!("{} {ONE}", hashed("[files.example]:2222")), "files.example", 2222, true),
            (format!("# files.example {ONE}"), "files.example", 22, false),
            (format!("@cert-authority files.example {ONE}"), "files.example", 22, false),
            ("files.example ssh-ed25519 AAAA".to_owned(), "files.example", 22, false),
        ] {
            assert_eq!(judged(&line, host, port) == Verdict::Trusted, trusted, "{line} for {host}:{port}");
        }
    }

    #[test]
    fn a_changed_or_revoked_key_is_told_from_an_unknown_host() {
        assert!(matches!(judged(&format!("a.example {TWO}"), "a.example", 22), Verdict::Changed(_)));
        assert!(matches!(judged(&format!("a.example {TWO}"), "b.example", 22), Verdict::Unknown(_)));
        let both = format!("a.example {ONE}\n@revoked * {ONE}\n");
        assert!(matches!(judged(&both, "a.example", 22), Verdict::Revoked(_)));
        assert_eq!(judged(&format!("a.example {TWO}\na.example {ONE}\n"), "a.example", 22), Verdict::Trusted);
    }

    #[test]
    fn a_pin_is_a_key_or_a_fingerprint() {
        let found = key(ONE).fingerprint(HashAlg::Sha256).to_string();
        assert_eq!(Trust::pinned(&found), Ok(Trust::Fingerprint(found.clone())));
        assert_eq!(Trust::pinned(&format!("{ONE} me@here")), Ok(Trust::Key(Box::new(key(ONE)))));
        let known = Known { fingerprint: Some(found), ..Known::default() };
        assert_eq!(known.judge(&key(ONE)), Verdict::Trusted);
        assert!(matches!(known.judge(&key(TWO)), Verdict::Changed(_)));
        for bad in
            ["", "SHA256:", "SHA256:abc", "MD5:00:11", "ssh-ed25519", "ssh-ed25519 AAAA", "host ssh-ed25519 AAAA"]
        {
            assert!(Trust::pinned(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_file_is_survived(text in "[ -~\n|*!@\\[\\]]{0,200}") {
            prop_assert_eq!(Known::of_file(&text, "files.example", 22).keys.len(), 0);
            let _ = Trust::pinned(&text);
        }

        #[test]
        fn a_pattern_is_like_what_it_was_made_from(text in "[a-z.]{0,12}", star in 0_usize..12, hole in 0_usize..12) {
            let mut pattern = text.clone().into_bytes();
            if let Some(byte) = pattern.get_mut(hole) {
                *byte = b'?';
            }
            let end = star.min(pattern.len());
            pattern.splice(end / 2..end, *b"**");
            prop_assert!(like(&pattern, text.as_bytes()));
            prop_assert!(!like(&[&pattern[..], b"_"].concat(), text.as_bytes()));
        }
    }
}
