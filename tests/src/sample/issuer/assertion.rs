//! Checks signed assertions by the public halves of the fixtures' keys.

use super::ASSERTION_ISSUER;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_2048_8192_SHA256,
    RsaKeyPair, UnparsedPublicKey,
};
use serde_json::Value;

const RSA: &str = include_str!("../../../fixtures/keys/rsa.pem");
const P256: &str = include_str!("../../../fixtures/keys/p256.pem");

/// Whether an assertion is good and none of those that were `seen` before; else why not.
pub fn check(assertion: &str, seen: &[String]) -> Result<(), &'static str> {
    if seen.iter().any(|before| before == assertion) {
        return Err("the assertion was used before");
    }
    let (signed, signature) = assertion.rsplit_once('.').ok_or("no assertion")?;
    let (header, claims) = signed.split_once('.').ok_or("no assertion")?;
    let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).map_err(|_| "not base64url");
    let json = |text: &str| serde_json::from_slice::<Value>(&decode(text)?).map_err(|_| "not JSON");
    let (header, claims, signature) = (json(header)?, json(claims)?, decode(signature)?);
    if !verified(header["alg"].as_str().unwrap_or_default(), signed.as_bytes(), &signature) {
        return Err("the signature is wrong");
    }
    let now = jiff::Timestamp::now().as_second();
    let time = |name: &str| claims[name].as_i64().unwrap_or_default();
    let right = claims["iss"] == ASSERTION_ISSUER
        && claims["aud"].as_str().is_some_and(|aud| aud.ends_with("/_issuer/token"))
        && claims["jti"].is_string()
        && claims["sub"].is_string()
        && time("iat") <= now + 1
        && time("exp") > now;
    if right { Ok(()) } else { Err("a claim is wrong") }
}

fn verified(algorithm: &str, signed: &[u8], signature: &[u8]) -> bool {
    match algorithm {
        "RS256" => {
            let pair = RsaKeyPair::from_pkcs8(&der(RSA)).expect("the fixture is an RSA key");
            UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, pair.public()).verify(signed, signature).is_ok()
        }
        "ES256" => {
            let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &der(P256), &SystemRandom::new());
            let pair = pair.expect("the fixture is a P-256 key");
            UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, pair.public_key()).verify(signed, signature).is_ok()
        }
        _ => false,
    }
}

fn der(pem: &str) -> Vec<u8> {
    let lines: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    STANDARD.decode(lines).expect("the fixture is PEM")
}
