//! Assertions against keys that another program made, checked by another implementation's verification.

use super::*;
use proptest::prelude::*;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, KeyPair as _, RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256, UnparsedPublicKey,
};
use serde_json::Value;

const RSA: &str = include_str!("../../../../tests/fixtures/keys/rsa.pem");
const EC: &str = include_str!("../../../../tests/fixtures/keys/p256.pem");

fn claims() -> Claims {
    Claims {
        key_id: Some("k1".into()),
        issuer: Secret::new("me@example"),
        subject: Secret::new("somebody"),
        audience: "https://a.example/token".into(),
        scope: "read write".into(),
        lifetime: Duration::from_secs(120),
    }
}

fn parts(assertion: &str) -> (Value, Value, String, Vec<u8>) {
    let pieces: Vec<&str> = assertion.split('.').collect();
    let decode = |at: usize| URL_SAFE_NO_PAD.decode(pieces[at]).unwrap();
    let json = |at| serde_json::from_slice(&decode(at)).unwrap();
    (json(0), json(1), format!("{}.{}", pieces[0], pieces[1]), decode(2))
}

#[test]
fn assertions_are_signed_as_their_header_says() {
    for (algorithm, pem) in [(Algorithm::RS256, RSA), (Algorithm::PS256, RSA), (Algorithm::ES256, EC)] {
        let signer = Signer::new(&Secret::new(pem), algorithm, claims()).unwrap();
        let assertion = signer.assertion().unwrap();
        let (header, body, signed, signature) = parts(assertion.expose());
        assert_eq!(header, json!({ "alg": algorithm.word(), "typ": "JWT", "kid": "k1" }));
        assert_eq!((&body["iss"], &body["sub"]), (&json!("me@example"), &json!("somebody")));
        assert_eq!(body["exp"].as_i64().unwrap() - body["iat"].as_i64().unwrap(), 120);
        assert_eq!(body["scope"], "read write");
        let verified = match (&signer.key, algorithm) {
            (Key::Rsa(pair, _), Algorithm::PS256) => {
                UnparsedPublicKey::new(&RSA_PSS_2048_8192_SHA256, pair.public()).verify(signed.as_bytes(), &signature)
            }
            (Key::Rsa(pair, _), _) => {
                UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, pair.public()).verify(signed.as_bytes(), &signature)
            }
            (Key::Ecdsa(pair), _) => UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, pair.public_key())
                .verify(signed.as_bytes(), &signature),
        };
        assert!(verified.is_ok(), "{algorithm:?}");
        let again = parts(signer.assertion().unwrap().expose());
        assert_ne!(again.1["jti"], body["jti"], "no assertion is sent twice");
    }
}

#[test]
fn keys_in_one_line_are_read_and_wrong_ones_told() {
    let one_line = RSA.replace('\n', "\\n");
    assert!(Signer::new(&Secret::new(one_line), Algorithm::RS256, claims()).is_ok());
    for (pem, algorithm, told) in [
        (EC, Algorithm::RS256, "no RSA key"),
        (RSA, Algorithm::ES256, "no key of the curve"),
        (EC, Algorithm::ES384, "no key of the curve"),
        ("canary", Algorithm::RS256, "no private key in PEM form"),
    ] {
        let why = Signer::new(&Secret::new(pem), algorithm, claims()).err().unwrap();
        assert!(why.contains(told) && !why.contains("canary"), "{why}");
    }
}

proptest! {
    #[test]
    fn any_text_as_a_key_gets_an_answer(text in "\\PC{0,60}") {
        prop_assert!(Signer::new(&Secret::new(text), Algorithm::RS256, claims()).is_err());
    }
}
