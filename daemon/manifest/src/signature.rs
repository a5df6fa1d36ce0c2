//! Signatures of manifests: Ed25519 (RFC 8032) over the bytes of `_manifest.json`, with keys as openssl writes them.
//!
//! `_manifest.json.sig` holds the 64 raw bytes, which `openssl pkeyutl -verify -rawin` takes as they are.

use crate::digest::Digests;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Word of the one algorithm.
pub const ALGORITHM: &str = "ed25519";
/// Length of a signature in bytes.
pub const SIGNATURE_BYTES: usize = 64;
/// What stands before the 32 bytes of an Ed25519 key in its SubjectPublicKeyInfo (RFC 8410, section 4).
const SPKI_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// What a manifest says about its signature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Signed {
    /// `ed25519`.
    pub algorithm: String,
    /// SHA-256 of the public key's SubjectPublicKeyInfo, 64 lower-case hex digits.
    pub key_id: String,
}

/// Why a key or a signature cannot be used; no text holds a part of a key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// Not the PEM block that it should be.
    #[error("read the key: it is no PEM text with one block {0:?}")]
    NotPem(&'static str),
    /// A key of another kind, or damaged.
    #[error("read the key: it is no Ed25519 key")]
    NotEd25519,
    /// Another length than a signature has.
    #[error("is no Ed25519 signature: it has {0} bytes instead of 64")]
    Length(usize),
    /// Of other bytes, by another key, or damaged: these cannot be told apart.
    #[error("is not this manifest's signature by this key")]
    Wrong,
}

/// A private key that signs manifests.
pub struct SigningKey(Ed25519KeyPair);

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey")
    }
}

impl SigningKey {
    /// Reads a private key in PEM form (PKCS#8), e.g. by `openssl genpkey -algorithm ed25519`.
    pub fn from_pem(pem: &str) -> Result<Self, SignatureError> {
        let der = block(pem, "PRIVATE KEY")?;
        // What openssl writes has no public key in it that could be compared.
        Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der).map(Self).map_err(|_| SignatureError::NotEd25519)
    }

    /// Signs bytes; the same bytes always get the same signature.
    pub fn sign(&self, bytes: &[u8]) -> Vec<u8> {
        self.0.sign(bytes).as_ref().to_vec()
    }

    /// The key that checks its signatures.
    pub fn public(&self) -> PublicKey {
        let mut key = [0; 32];
        key.copy_from_slice(self.0.public_key().as_ref());
        PublicKey(key)
    }

    /// What a manifest that it signs says.
    pub fn signed(&self) -> Signed {
        Signed { algorithm: ALGORITHM.into(), key_id: self.public().id() }
    }
}

/// A public key that checks signatures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    /// Reads a public key in PEM form (SubjectPublicKeyInfo), e.g. by `openssl pkey -pubout`.
    pub fn from_pem(pem: &str) -> Result<Self, SignatureError> {
        let der = block(pem, "PUBLIC KEY")?;
        let key = der.strip_prefix(&SPKI_PREFIX).and_then(|key| key.try_into().ok());
        key.map(Self).ok_or(SignatureError::NotEd25519)
    }

    /// SHA-256 of its SubjectPublicKeyInfo in hex: `openssl pkey -pubin -in KEY -outform DER | sha256sum` says the same.
    pub fn id(&self) -> String {
        Digests::of(&[SPKI_PREFIX.as_slice(), &self.0].concat()).sha256
    }

    /// Whether `signature` is that of `bytes`.
    pub fn verify(&self, bytes: &[u8], signature: &[u8]) -> Result<(), SignatureError> {
        if signature.len() != SIGNATURE_BYTES {
            return Err(SignatureError::Length(signature.len()));
        }
        UnparsedPublicKey::new(&ED25519, self.0).verify(bytes, signature).map_err(|_| SignatureError::Wrong)
    }
}

/// The bytes of the only PEM block (RFC 7468) of this label.
fn block(pem: &str, label: &'static str) -> Result<Vec<u8>, SignatureError> {
    let inner = || {
        let text = pem.trim().strip_prefix(&format!("-----BEGIN {label}-----"))?;
        text.strip_suffix(&format!("-----END {label}-----"))
    };
    let inner = inner().ok_or(SignatureError::NotPem(label))?;
    let digits: String = inner.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    STANDARD.decode(digits).map_err(|_| SignatureError::NotPem(label))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// RFC 8032, section 7.1, test 2, in the form of `openssl genpkey`.
    pub(crate) fn key() -> SigningKey {
        let seed = "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb";
        let seed = (0..32).map(|i| u8::from_str_radix(&seed[2 * i..2 * i + 2], 16).unwrap());
        let mut der = vec![0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
        der.extend(seed);
        let text = STANDARD.encode(der);
        SigningKey::from_pem(&format!("-----BEGIN PRIVATE KEY-----\n{text}\n-----END PRIVATE KEY-----\n")).unwrap()
    }

    /// Somebody else's key.
    pub(crate) fn other() -> PublicKey {
        PublicKey([7; 32])
    }

    pub(crate) fn public_pem(key: &PublicKey) -> String {
        let text = STANDARD.encode([SPKI_PREFIX.as_slice(), &key.0].concat());
        format!("-----BEGIN PUBLIC KEY-----\n{text}\n-----END PUBLIC KEY-----\n")
    }

    #[test]
    fn a_known_answer() {
        let signature = key().sign(&[0x72]);
        let expected = "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da\
                        085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00";
        let hex: String = signature.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, expected);
    }

    #[test]
    fn only_the_same_bytes_and_key_pass() {
        let (key, public) = (key(), key().public());
        let mut signature = key.sign(b"manifest");
        assert_eq!(PublicKey::from_pem(&public_pem(&public)).unwrap(), public);
        assert_eq!(public.verify(b"manifest", &signature), Ok(()));
        assert_eq!(public.verify(b"manifesT", &signature), Err(SignatureError::Wrong));
        assert_eq!(PublicKey([7; 32]).verify(b"manifest", &signature), Err(SignatureError::Wrong));
        assert_eq!(public.verify(b"manifest", &signature[..63]), Err(SignatureError::Length(63)));
        signature[5] ^= 1;
        assert_eq!(public.verify(b"manifest", &signature), Err(SignatureError::Wrong));
    }

    #[test]
    fn what_is_no_key_is_refused_without_showing_it() {
        let pem = |label: &str, text: &str| format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----");
        for bad in ["", "hunter2", &pem("PUBLIC KEY", "aHVudGVyMg=="), &pem("PRIVATE KEY", "hunter2!")] {
            let told = SigningKey::from_pem(bad).unwrap_err();
            assert_eq!(told, SignatureError::NotPem("PRIVATE KEY"), "{bad}");
            assert!(!told.to_string().contains("hunter2"));
        }
        assert_eq!(SigningKey::from_pem(&pem("PRIVATE KEY", "aHVudGVyMg==")).unwrap_err(), SignatureError::NotEd25519);
        assert_eq!(PublicKey::from_pem(&pem("PUBLIC KEY", "aHVudGVyMg==")).unwrap_err(), SignatureError::NotEd25519);
    }
}
