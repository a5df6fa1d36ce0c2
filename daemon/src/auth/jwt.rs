//! Signed assertions (RFC 7519, 7523): claims, and a signature by the operator's key.

use super::error::AuthError;
use crate::base::clock;
use crate::base::ids::hex;
use crate::base::secret::Secret;
use crate::config::settings::Algorithm;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::{SecureRandom as _, SystemRandom};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, RSA_PKCS1_SHA256, RSA_PSS_SHA256,
    RsaEncoding, RsaKeyPair,
};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::json;
use std::fmt;
use std::time::Duration;

/// Random bytes of an assertion's id: no server sees one twice.
const ID_BYTES: usize = 16;

/// The key that signs.
enum Key {
    Rsa(Box<RsaKeyPair>, &'static dyn RsaEncoding),
    Ecdsa(Box<EcdsaKeyPair>),
}

/// Makes assertions.
pub struct Signer {
    key: Key,
    algorithm: Algorithm,
    /// What an assertion says, but for its times.
    pub claims: Claims,
}

/// What an assertion says, but for its times.
#[derive(Clone, Debug)]
pub struct Claims {
    /// `kid`.
    pub key_id: Option<String>,
    /// `iss`.
    pub issuer: Secret,
    /// `sub`.
    pub subject: Secret,
    /// `aud`.
    pub audience: String,
    /// `scope`; none where it is empty.
    pub scope: String,
    /// From `iat` to `exp`.
    pub lifetime: Duration,
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signer({:?})", self.algorithm)
    }
}

impl Signer {
    /// Reads a private key in PEM form; the error never holds any of it.
    pub fn new(pem: &Secret, algorithm: Algorithm, claims: Claims) -> Result<Self, String> {
        let key = read_key(pem, algorithm)?;
        Ok(Self { key, algorithm, claims })
    }

    /// A fresh assertion, in compact form.
    pub fn assertion(&self) -> Result<Secret, AuthError> {
        let random = SystemRandom::new();
        let failed = |_| AuthError::setting("auth.jwt_bearer.key", "it cannot sign");
        let mut id = [0; ID_BYTES];
        random.fill(&mut id).map_err(failed)?;
        let claims = &self.claims;
        let mut header = json!({ "alg": self.algorithm.word(), "typ": "JWT" });
        if let Some(key_id) = &claims.key_id {
            header["kid"] = key_id.as_str().into();
        }
        let now = clock::now().as_second();
        let lifetime = i64::try_from(claims.lifetime.as_secs()).unwrap_or(i64::MAX);
        let mut body = json!({
            "iss": claims.issuer.expose(),
            "sub": claims.subject.expose(),
            "aud": claims.audience,
            "iat": now,
            "exp": now.saturating_add(lifetime),
            "jti": hex(&id),
        });
        if !claims.scope.is_empty() {
            body["scope"] = claims.scope.as_str().into();
        }
        let part = |value: serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(header), part(body));
        let signature = match &self.key {
            Key::Rsa(pair, encoding) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(*encoding, &random, signed.as_bytes(), &mut signature).map_err(failed)?;
                signature
            }
            Key::Ecdsa(pair) => pair.sign(&random, signed.as_bytes()).map_err(failed)?.as_ref().to_vec(),
        };
        Ok(Secret::new(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))))
    }
}

fn read_key(pem: &Secret, algorithm: Algorithm) -> Result<Key, String> {
    // In single quotes, auth.env takes `\n` as two characters.
    let text = pem.expose().replace("\\n", "\n");
    let der = PrivateKeyDer::from_pem_slice(text.as_bytes())
        .map_err(|_| "it is no private key in PEM form (-----BEGIN PRIVATE KEY-----…)".to_owned())?;
    let encoding: &'static dyn RsaEncoding = match algorithm {
        Algorithm::RS256 => &RSA_PKCS1_SHA256,
        Algorithm::PS256 => &RSA_PSS_SHA256,
        Algorithm::ES256 => return ecdsa(&ECDSA_P256_SHA256_FIXED_SIGNING, &der, algorithm),
        Algorithm::ES384 => return ecdsa(&ECDSA_P384_SHA384_FIXED_SIGNING, &der, algorithm),
    };
    let pair = match &der {
        PrivateKeyDer::Pkcs8(der) => RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()),
        PrivateKeyDer::Pkcs1(der) => RsaKeyPair::from_der(der.secret_pkcs1_der()),
        _ => return Err(format!("it is no RSA key, which {} needs", algorithm.word())),
    };
    let pair =
        pair.map_err(|why| format!("it is no RSA key of 2048 to 8192 bits, which {} needs ({why})", algorithm.word()))?;
    Ok(Key::Rsa(Box::new(pair), encoding))
}

fn ecdsa(
    kind: &'static ring::signature::EcdsaSigningAlgorithm,
    der: &PrivateKeyDer<'_>,
    algorithm: Algorithm,
) -> Result<Key, String> {
    let PrivateKeyDer::Pkcs8(der) = der else {
        return Err("an EC key must be in PKCS#8 form (run: openssl pkcs8 -topk8 -nocrypt -in KEY)".to_owned());
    };
    let pair = EcdsaKeyPair::from_pkcs8(kind, der.secret_pkcs8_der(), &SystemRandom::new());
    let pair = pair.map_err(|why| format!("it is no key of the curve that {} needs ({why})", algorithm.word()))?;
    Ok(Key::Ecdsa(Box::new(pair)))
}

#[cfg(test)]
mod tests;
