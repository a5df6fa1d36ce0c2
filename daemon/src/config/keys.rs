//! Keys among the secrets: what they must look like, so that a wrong one is found before it is needed.

use super::path::KeyPath;
use super::problem::Mistake;
use super::secrets::{Secrets, names};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use saas_export_manifest::SigningKey;

/// Lengths of Parquet's keys in bytes: AES-128 and AES-256. The library has no AES-192.
const LENGTHS: [usize; 2] = [16, 32];

/// The bytes of a key of Parquet's encryption in hex, else in base64. No length of one is a length of the other.
pub fn parquet_key(text: &str) -> Option<Vec<u8>> {
    let hex = || -> Option<Vec<u8>> {
        let digits = text.bytes().map(|byte| char::from(byte).to_digit(16)).collect::<Option<Vec<_>>>()?;
        let pairs = digits.chunks_exact(2);
        pairs.map(|pair| if let [high, low] = pair { u8::try_from(high * 16 + low).ok() } else { None }).collect()
    };
    let fits = |key: &Vec<u8>| LENGTHS.contains(&key.len());
    let base64 = || STANDARD.decode(text).or_else(|_| STANDARD_NO_PAD.decode(text)).ok();
    hex().filter(|key| text.len() == 2 * key.len() && fits(key)).or_else(|| base64().filter(fits))
}

/// Lengths of the keys of webhooks in bytes, as the specification of Standard Webhooks wants them.
const WEBHOOK_LENGTHS: std::ops::RangeInclusive<usize> = 24..=64;

/// The bytes of a secret of Standard Webhooks: `whsec_` and base64.
pub fn webhook_key(text: &str) -> Option<Vec<u8>> {
    let encoded = text.trim().strip_prefix("whsec_")?;
    let key = STANDARD.decode(encoded).or_else(|_| STANDARD_NO_PAD.decode(encoded)).ok()?;
    WEBHOOK_LENGTHS.contains(&key.len()).then_some(key)
}

/// What is wrong with the key that a text asks for, if it is one and all its names are known.
pub(super) fn check(path: &KeyPath, text: &str, secrets: &Secrets) -> Option<Mistake> {
    let key = |position| path.key_at(position);
    let webhook = (key(0), key(2), key(3)) == (Some("notify"), Some("webhook"), Some("secret"));
    let signs = (key(0), key(1)) == (Some("daemon"), Some("signing_key"));
    let encrypts = (key(0), key(2), key(3), key(4))
        == (Some("exports"), Some("format"), Some("parquet"), Some("encryption"))
        && matches!(key(5), Some("footer_key" | "columns"));
    if !(signs || encrypts || webhook) || names(text).is_empty() {
        return None;
    }
    let filled = secrets.resolve_text(text).ok()?;
    let value = filled.expose().trim();
    if signs && SigningKey::from_pem(value).is_err() {
        let mistake = Mistake::value(path, "is no Ed25519 private key in PEM form");
        return Some(
            mistake.hint("openssl genpkey -algorithm ed25519 makes one; in auth.env, \"\\n\" stands for its line ends"),
        );
    }
    if webhook && webhook_key(value).is_none() {
        let mistake = Mistake::value(path, "is no secret of webhooks: whsec_ and base64 of 24 to 64 bytes");
        return Some(mistake.hint("make one: echo \"whsec_$(openssl rand -base64 32)\""));
    }
    if encrypts && parquet_key(value).is_none() {
        let mistake = Mistake::value(path, "is no key of 16 or 32 bytes in hex or base64");
        return Some(mistake.hint("openssl rand -hex 32 makes one"));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn hex_and_base64_are_told_apart(bytes in prop::collection::vec(any::<u8>(), 0..70)) {
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            let wanted = LENGTHS.contains(&bytes.len()).then(|| bytes.clone());
            prop_assert_eq!(parquet_key(&STANDARD.encode(&bytes)).filter(|key| *key == bytes), wanted.clone());
            prop_assert_eq!(parquet_key(&STANDARD_NO_PAD.encode(&bytes)).filter(|key| *key == bytes), wanted.clone());
            prop_assert_eq!(parquet_key(&hex).filter(|key| *key == bytes), wanted.clone());
            prop_assert_eq!(parquet_key(&hex.to_uppercase()).filter(|key| *key == bytes), wanted);
        }

        #[test]
        fn other_text_never_panics(text in "\\PC{0,80}") {
            prop_assert!(parquet_key(&text).is_none_or(|key| LENGTHS.contains(&key.len())));
        }
    }
}
