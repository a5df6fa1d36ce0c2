//! Providers against a token server in the same process: how often it is asked, by how many at once, and what it may answer.

use super::*;
use crate::base::clock;
use crate::base::error::{Chain, ErrorClass};
use crate::base::ids::Name;
use crate::base::secret::{Resolve, Secret};
use crate::config::settings::Rate;
use crate::config::settings::Rest;
use crate::net::credential::{Credential, CredentialFailure, CredentialProvider as _};
use crate::net::http::tests::server::{Got, Reply, Server};
use crate::net::limit::Limiter;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// Every secret is its name.
struct Names;
impl Resolve for Names {
    fn resolve(&self, text: &str) -> Result<Secret, String> {
        Ok(Secret::new(text.replace("${", "canary-").replace('}', "")))
    }
}

struct Scene {
    server: Server,
    provider: Provider,
    _state: tempfile::TempDir,
}

fn limiter(per_second: Option<f64>, concurrency: u32) -> Limiter {
    Limiter::new(&Rate { per_second, concurrency, ..Rate::default() })
}

fn settings(base_url: &str, auth: &Value) -> Rest {
    serde_json::from_value(json!({
        "base_url": base_url,
        "auth": auth,
        "retry": { "attempts": 3, "initial": "1ms", "max": "2ms" },
        "streams": {},
    }))
    .unwrap()
}

fn provider(state: &std::path::Path, rest: &Rest, limiter: Limiter) -> Result<Provider, AuthError> {
    let registry = Registry::new(Place { state_dir: state.to_owned(), state_key: None });
    let name = Name::new("shop").unwrap();
    registry.provider(&name, &Party::from(rest), &Names, &Arc::new(limiter)).map(Option::unwrap)
}

async fn scene(handler: impl Fn(&Got, usize) -> Reply + Send + Sync + 'static) -> Scene {
    let server = Server::start(handler).await;
    let state = tempfile::tempdir().unwrap();
    let auth = json!({ "oauth2": {
        "token_url": format!("{}/token", server.url), "client_id": "me", "client_secret": "${SECRET}",
    } });
    let rest = settings("https://api.example", &auth);
    let provider = provider(state.path(), &rest, limiter(None, 4)).unwrap();
    Scene { server, provider, _state: state }
}

fn token(n: usize, lifetime: f64) -> Reply {
    Reply::json(&json!({ "access_token": format!("canary-{n}"), "expires_in": lifetime }))
}

fn bearer(credential: &Credential) -> &str {
    credential.headers["authorization"].to_str().unwrap()
}

fn told(result: Result<Credential, CredentialFailure>) -> (ErrorClass, String) {
    let failure = result.unwrap_err();
    let text = Chain(&*failure).to_string();
    assert!(!text.contains("canary") && !format!("{failure:?}").contains("canary"), "{text} {failure:?}");
    (failure.class(), text)
}

#[tokio::test]
async fn one_renewal_serves_all_who_wait() {
    let scene = scene(|_, n| Reply::Late(Duration::from_millis(50), Box::new(token(n, 3600.0)))).await;
    let all = futures_util::future::join_all((0..50).map(|_| scene.provider.current(None))).await;
    assert!(all.iter().all(|got| bearer(got.as_ref().unwrap()) == "Bearer canary-0"));
    assert_eq!(scene.server.got().len(), 1);
    // Once for a refused one as well, and not at all for one that has been replaced already.
    let all = futures_util::future::join_all((0..50).map(|_| scene.provider.current(Some(1)))).await;
    assert!(all.iter().all(|got| got.as_ref().unwrap().generation == 2));
    scene.provider.current(Some(1)).await.unwrap();
    assert_eq!(scene.server.got().len(), 2);
}

#[tokio::test]
async fn a_compressed_token_is_unpacked_up_to_the_limit() {
    let packed = |body: &[u8]| {
        let body = zstd::encode_all(body, 3).unwrap();
        Reply::Answer { status: 200, headers: vec![("content-encoding", "zstd".to_owned())], body }
    };
    let small = scene(move |_, _| packed(br#"{"access_token":"canary-7","expires_in":60}"#)).await;
    assert_eq!(bearer(&small.provider.current(None).await.unwrap()), "Bearer canary-7");
    assert!(small.server.got()[0].headers["accept-encoding"].contains("zstd"));
    let bomb = scene(move |_, _| packed(&[b' '; 2 << 20])).await;
    let (_, text) = told(bomb.provider.current(None).await);
    assert!(text.contains("larger than"), "{text}");
    let broken = scene(move |_, _| Reply::status(200, &[("content-encoding", "gzip")], "canary")).await;
    let (class, text) = told(broken.provider.current(None).await);
    assert!(class == ErrorClass::Transient && text.contains("calls itself gzip"), "{text}");
}

#[tokio::test]
async fn a_wait_that_is_given_up_ends_no_renewal() {
    let scene = scene(|_, n| Reply::Late(Duration::from_millis(80), Box::new(token(n, 3600.0)))).await;
    let early = tokio::time::timeout(Duration::from_millis(20), scene.provider.current(None)).await;
    assert!(early.is_err());
    assert_eq!(bearer(&scene.provider.current(None).await.unwrap()), "Bearer canary-0");
    assert_eq!(scene.server.got().len(), 1);
}

#[tokio::test]
async fn a_token_is_renewed_before_it_expires() {
    let scene = scene(|_, n| token(n, 0.5)).await;
    assert_eq!(scene.provider.current(None).await.unwrap().generation, 1);
    assert_eq!(scene.provider.current(None).await.unwrap().generation, 1);
    tokio::time::sleep(Duration::from_millis(420)).await;
    assert_eq!(scene.provider.current(None).await.unwrap().generation, 2, "a fifth of its life is left");
}

#[tokio::test]
async fn a_refusal_is_told_to_all_without_asking_again() {
    let refused = r#"{"error":"invalid_client","error_description":"no client with canary-SECRET"}"#;
    let scene = scene(move |_, _| Reply::status(401, &[], refused)).await;
    for _ in 0..5 {
        let (class, text) = told(scene.provider.current(None).await);
        assert_eq!(class, ErrorClass::Auth);
        assert!(text.contains("invalid_client") && text.contains("client_secret"), "{text}");
    }
    assert_eq!(scene.server.got().len(), 1);
}

#[tokio::test]
async fn what_may_pass_is_tried_again() {
    let scene = scene(|_, n| match n {
        0 => Reply::status(503, &[], ""),
        1 => Reply::Reset,
        n => token(n, 3600.0),
    })
    .await;
    assert_eq!(bearer(&scene.provider.current(None).await.unwrap()), "Bearer canary-2");
    let down = self::scene(|_, _| Reply::status(502, &[], "")).await;
    assert_eq!(told(down.provider.current(None).await).0, ErrorClass::Transient);
    assert_eq!(down.server.got().len(), 3);
    let hour = self::scene(|_, _| Reply::status(429, &[("retry-after", "7200")], "")).await;
    assert_eq!(told(hour.provider.current(None).await).0, ErrorClass::Throttled(Duration::from_secs(7200)));
}

#[tokio::test]
async fn an_answer_that_is_none_is_told() {
    let elsewhere = Server::start(|_, n| token(n, 1.0)).await;
    let to = format!("{}/token", elsewhere.url);
    let scene = scene(move |_, _| Reply::status(307, &[("location", &to)], "")).await;
    let (class, text) = told(scene.provider.current(None).await);
    assert!(class == ErrorClass::Config && text.contains("a redirect, which is never followed"), "{text}");
    assert!(elsewhere.got().is_empty(), "the client's secret went nowhere else");
    for (body, words) in [
        ("<html>", "not a JSON object"),
        ("{}", "no access_token"),
        (r#"{"access_token":"a\nb"}"#, "no header may have"),
    ] {
        let scene = self::scene(move |_, _| Reply::status(200, &[], body)).await;
        let (_, text) = told(scene.provider.current(None).await);
        assert!(text.contains(words), "{text}");
    }
    let long = self::scene(|_, _| Reply::status(200, &[], &"x".repeat(2 << 20))).await;
    assert!(told(long.provider.current(None).await).1.contains("larger than"));
}

#[tokio::test]
async fn only_requests_to_the_apis_own_origin_take_a_turn() {
    for own in [false, true] {
        let server = Server::start(|_, n| token(n, 3600.0)).await;
        let state = tempfile::tempdir().unwrap();
        let auth = json!({ "oauth2": {
            "token_url": format!("{}/token", server.url), "client_id": "me", "client_secret": "${SECRET}",
        } });
        let base = if own { server.url.clone() } else { "https://api.example".to_owned() };
        let provider = provider(state.path(), &settings(&base, &auth), limiter(Some(5.0), 1)).unwrap();
        let start = clock::monotonic();
        for refused in [None, Some(1), Some(2)] {
            provider.current(refused).await.unwrap();
        }
        assert_eq!(clock::since(start) > Duration::from_millis(300), own);
    }
}

#[tokio::test]
async fn rotated_refresh_tokens_are_used_and_kept() {
    let server = Server::start(|got, n| {
        let form: Vec<(String, String)> = url::form_urlencoded::parse(&got.body).into_owned().collect();
        let refresh = form.iter().find(|(name, _)| name == "refresh_token").map(|(_, value)| value.as_str());
        let wanted = if n == 0 { "canary-FIRST".to_owned() } else { format!("canary-rotated-{}", n - 1) };
        assert_eq!(refresh, Some(wanted.as_str()));
        Reply::json(&json!({ "access_token": format!("canary-{n}"), "refresh_token": format!("canary-rotated-{n}") }))
    })
    .await;
    let state = tempfile::tempdir().unwrap();
    let auth = json!({ "oauth2": {
        "token_url": format!("{}/token", server.url), "client_id": "me", "client_secret": "${SECRET}",
        "grant": { "refresh_token": { "token": "${FIRST}" } },
    } });
    let rest = settings("https://api.example", &auth);
    for generation in [None, Some(1)] {
        provider(state.path(), &rest, limiter(None, 1)).unwrap().current(generation).await.unwrap();
    }
    let provider = provider(state.path(), &rest, limiter(None, 1)).unwrap();
    for generation in [None, Some(1)] {
        provider.current(generation).await.unwrap();
    }
    assert_eq!(server.got().len(), 4, "each with the token of the one before");
}

#[test]
fn a_key_that_is_none_is_told_before_anything_is_asked() {
    let state = tempfile::tempdir().unwrap();
    let auth = json!({ "jwt_bearer": { "token_url": "https://a.example/t", "key": "${KEY}", "issuer": "me" } });
    let error = provider(state.path(), &settings("https://api.example", &auth), limiter(None, 1)).unwrap_err();
    let text = Chain(&error).to_string();
    assert!(text.contains("auth.jwt_bearer.key") && !text.contains("canary"), "{text}");
}
