//! Encrypts what is stored: with the daemon's own key what only it reads again, to public keys what it publishes.

mod error;
mod frames;
mod key;
mod recipients;
mod writer;

pub use error::SealError;
pub use frames::{FrameFile, FrameWriter};
pub use key::{handed_over, load};
pub use recipients::{AGE, Recipients};
pub use writer::{Sealing, Writer, Written};

use crate::base::ids::hex;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce};
use ring::rand::{SecureRandom as _, SystemRandom};
use ring::{hkdf, hmac};
use std::fmt;

/// What sealed bytes begin with.
const MAGIC: &[u8] = b"saas-export sealed 1\n";

/// Seals and opens with the keys derived from one state-key, each for a use of its own (RFC 5869).
pub struct Seal {
    secret: hkdf::Prk,
    aead: LessSafeKey,
    mac: hmac::Key,
}

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seal")
    }
}

impl Seal {
    /// Derives the keys from the bytes of a state-key.
    pub fn new(state_key: &[u8]) -> Result<Self, SealError> {
        let secret = hkdf::Salt::new(hkdf::HKDF_SHA256, b"saas-export state-key 1").extract(state_key);
        let bad = |_| SealError::Crypto;
        let aead = LessSafeKey::new(secret.expand(&[b"seal"], &CHACHA20_POLY1305).map_err(bad)?.into());
        let mac = secret.expand(&[b"mac"], hmac::HMAC_SHA256).map_err(bad)?.into();
        Ok(Self { secret, aead, mac })
    }

    /// Seals bytes that are about `about`; only the same words open them again.
    pub fn seal(&self, about: &str, plain: &[u8]) -> Result<Vec<u8>, SealError> {
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).map_err(|_| SealError::Crypto)?;
        let mut body = plain.to_vec();
        self.aead
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(about), &mut body)
            .map_err(|_| SealError::Crypto)?;
        Ok([MAGIC, &nonce, &body].concat())
    }

    /// Whether bytes look like what [`Self::seal`] makes.
    pub fn is_sealed(bytes: &[u8]) -> bool {
        bytes.starts_with(MAGIC)
    }

    /// Opens what [`Self::seal`] made.
    pub fn open(&self, about: &str, sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        let rest = sealed.strip_prefix(MAGIC).ok_or(SealError::NotSealed)?;
        let (nonce, body) = rest.split_first_chunk::<NONCE_LEN>().ok_or(SealError::NotSealed)?;
        let mut body = body.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let plain = self.aead.open_in_place(nonce, Aad::from(about), &mut body).map_err(|_| SealError::OtherKey)?;
        Ok(plain.to_vec())
    }

    /// A keyed digest (RFC 2104) in hex: tells whether a value is the same as one before, and nothing else about it.
    pub fn mac(&self, about: &str, value: &str) -> String {
        let mut context = hmac::Context::with_key(&self.mac);
        context.update(&(about.len() as u64).to_le_bytes());
        context.update(about.as_bytes());
        context.update(value.as_bytes());
        hex(context.sign().as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn seal(key: &[u8]) -> Seal {
        Seal::new(key).unwrap()
    }

    #[test]
    fn macs_tell_values_and_subjects_apart() {
        let (one, other) = (seal(&[1; 32]), seal(&[2; 32]));
        assert_eq!(one.mac("a", "bc"), one.mac("a", "bc"));
        assert_ne!(one.mac("a", "bc"), one.mac("ab", "c"));
        assert_ne!(one.mac("a", "bc"), other.mac("a", "bc"));
    }

    proptest! {
        #[test]
        fn only_the_same_key_and_subject_open(plain in prop::collection::vec(any::<u8>(), 0..200), at in any::<prop::sample::Index>()) {
            let (one, other) = (seal(&[1; 32]), seal(&[2; 32]));
            let sealed = one.seal("shop", &plain).unwrap();
            prop_assert_eq!(one.open("shop", &sealed).unwrap(), plain.clone());
            prop_assert!(matches!(other.open("shop", &sealed), Err(SealError::OtherKey)));
            prop_assert!(one.open("other", &sealed).is_err());
            prop_assert_ne!(one.seal("shop", &plain).unwrap(), sealed.clone(), "a nonce is used once");
            let mut damaged = sealed.clone();
            let at = at.index(damaged.len());
            damaged[at] ^= 1;
            prop_assert!(one.open("shop", &damaged).is_err());
            prop_assert!(one.open("shop", &sealed[..at]).is_err());
        }
    }
}
