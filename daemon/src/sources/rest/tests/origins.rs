//! Credentials reach the configured origin and nothing else; a proxy is used as configured.

use super::*;
use crate::base::error::{Classify as _, ErrorClass};
use crate::net::http::tests::server::{Got, Reply, Server};

/// Every slot that can hold a secret, and an open one.
fn secretive() -> Value {
    json!({
        "auth": { "bearer": { "token": "${TOKEN}" } },
        "headers": { "x-api-key": "${TOKEN}", "x-literal": "c4nary-literal", "accept": "application/vnd.shop+json" },
        "query": { "key": "${TOKEN}" },
    })
}

fn stream() -> Value {
    json!({
        "headers": { "x-stream": "a ${TOKEN}" }, "query": { "sig": "${TOKEN}", "q": "open" },
        "paginate": { "next_url": { "from": "$.next" } },
    })
}

fn one(id: u64) -> Reply {
    Reply::json(&json!({ "data": [{ "id": id }] }))
}

async fn other() -> Server {
    Server::start(|_, _| one(2)).await
}

fn assert_clean(got: &Got) {
    let text = got.text();
    let encoded: String = url::form_urlencoded::byte_serialize(CANARY.as_bytes()).collect();
    for form in ["c4nary", "YzRuYXJ5", encoded.as_str(), "authorization", "x-api-key", "x-literal", "x-stream", "sig="]
    {
        assert!(!text.contains(form), "{form} arrived at another origin: {text}");
    }
}

#[tokio::test]
async fn a_listed_origin_gets_the_request_and_no_credentials() {
    for status in [301, 302, 303, 307, 308] {
        for by_redirect in [true, false] {
            let other = other().await;
            // The home server writes the query it got into the link, as many do.
            let target = other.url.clone();
            let home = Server::start(move |got, _| {
                let query = got.target.split_once('?').unwrap().1;
                let link = format!("{target}/elsewhere?{query}&page=2");
                if by_redirect {
                    Reply::status(status, &[("location", &link)], "")
                } else {
                    Reply::json(&json!({ "data": [{ "id": 1 }], "next": link }))
                }
            })
            .await;
            let rest = with(secretive(), json!({ "allowed_origins": [other.url] }));
            let pages = read(open_all(&source(&home.url, stream(), rest))).await;
            assert_eq!(ids(&pages), if by_redirect { vec![2] } else { vec![1, 2] });
            let first = &home.got()[0];
            assert_eq!(first.headers["authorization"], format!("Bearer {CANARY}"));
            assert_eq!((first.headers["x-api-key"].as_str(), first.query["key"].as_str()), (CANARY, CANARY));
            assert_eq!(
                (first.headers["x-stream"].clone(), first.query["sig"].as_str()),
                (format!("a {CANARY}"), CANARY)
            );
            let there = &other.got()[0];
            assert_clean(there);
            assert_eq!((there.query["q"].as_str(), there.query["page"].as_str()), ("open", "2"));
            assert_eq!(there.headers["accept"], "application/vnd.shop+json");
            for page in pages {
                assert!(!serde_json::to_string(&page.offset_after).unwrap().contains("c4nary"));
            }
        }
    }
}

#[tokio::test]
async fn other_origins_are_refused_and_never_asked() {
    let other = other().await;
    let port = other.url.rsplit(':').next().unwrap().to_owned();
    let links = [
        other.url.clone(),
        format!("//127.0.0.1:{port}/x"),
        format!("http://localhost:{port}/"),
        format!("http://127.0.0.1.:{port}/"),
        format!("http://HOME@127.0.0.1:{port}/"),
        format!("\\\\127.0.0.1:{port}/"),
        format!("/\\127.0.0.1:{port}/"),
        format!("https://127.0.0.1:{port}/"),
        "ftp://127.0.0.1/".to_owned(),
    ];
    for link in links {
        for by_redirect in [true, false] {
            let to = link.clone();
            let home = Server::start(move |got, _| {
                let to = to.replace("HOME", &got.headers["host"]);
                let next = Reply::json(&json!({ "data": [{ "id": 1 }], "next": to }));
                if by_redirect { Reply::status(302, &[("location", &to)], "") } else { next }
            })
            .await;
            let (error, text) = failure(&source(&home.url, stream(), secretive())).await;
            assert_eq!(error.class(), ErrorClass::Config, "{text}");
            assert!(text.contains("URL") && !text.contains("sig="), "{text}");
        }
    }
    assert!(other.got().is_empty());
}

#[tokio::test]
async fn redirects_at_home_keep_the_credentials_and_end() {
    let home = Server::start(|got, _| {
        let hop: u64 = got.path.trim_start_matches("/hop").parse().unwrap_or(0);
        if hop < 5 { Reply::status(307, &[("location", &format!("/hop{}", hop + 1))], "") } else { one(hop) }
    })
    .await;
    let pages = read(open_all(&source(&home.url, stream(), secretive()))).await;
    assert_eq!(ids(&pages), [5]);
    for got in home.got() {
        assert_eq!(got.headers["authorization"], format!("Bearer {CANARY}"));
        assert_eq!(got.query["key"], CANARY);
    }
    let round = Server::start(|_, _| Reply::status(302, &[("location", "/again")], "")).await;
    let (_, text) = failure(&source(&round.url, stream(), secretive())).await;
    assert!(text.contains("more than 5 redirects"), "{text}");
    assert_eq!(round.got().len(), 6);
}

#[tokio::test]
async fn a_post_follows_only_what_keeps_it_a_post() {
    for (status, follows) in [(301, false), (302, false), (303, false), (307, true), (308, true)] {
        let home = Server::start(move |got, _| match got.path.as_str() {
            "/orders" => Reply::status(status, &[("location", "/there")], ""),
            _ => one(1),
        })
        .await;
        let source = source(&home.url, json!({ "method": "POST", "body": { "a": 1 } }), secretive());
        if follows {
            assert_eq!(ids(&read(open_all(&source)).await), [1]);
            let there = &home.got()[1];
            assert_eq!((there.method.as_str(), there.json()), ("POST", json!({ "a": 1 })));
        } else {
            let (_, text) = failure(&source).await;
            assert!(
                text.contains("a redirect that is not followed") && text.contains("/there: write that in"),
                "{text}"
            );
        }
    }
}

#[tokio::test]
async fn every_kind_of_auth_arrives() {
    let kinds = [
        (json!({ "bearer": { "token": "${TOKEN}" } }), "authorization", format!("Bearer {CANARY}")),
        (
            json!({ "basic": { "username": "us:er", "password": "${TOKEN}" } }),
            "authorization",
            "Basic dXM6ZXI6YzRuYXJ5LXQwa2VuLys=".to_owned(),
        ),
        (json!({ "api_key": { "header": "X-Key", "value": "${TOKEN}" } }), "x-key", CANARY.to_owned()),
    ];
    for (auth, header, value) in kinds {
        let home = Server::start(|_, _| one(1)).await;
        read(open_all(&source(&home.url, json!({}), json!({ "auth": auth })))).await;
        assert_eq!(home.got()[0].headers[header], value);
    }
    let home = Server::start(|_, _| one(1)).await;
    let auth = json!({ "api_key": { "query": "api key", "value": "${TOKEN}" } });
    read(open_all(&source(&home.url, json!({}), json!({ "auth": auth })))).await;
    assert_eq!(home.got()[0].query["api key"], CANARY);
    for auth in [json!({ "header": "a", "query": "b", "value": "x" }), json!({ "value": "x" })] {
        let error = try_source(&home.url, json!({}), json!({ "auth": { "api_key": auth } })).unwrap_err().to_string();
        assert!(error.contains("`sources.shop.rest.auth.api_key`: give exactly one"), "{error}");
    }
    let error = try_source(&home.url, json!({}), json!({ "auth": { "bearer": { "token": "c4nary\n" } } })).unwrap_err();
    assert!(error.to_string().contains("line break") && !format!("{error:?}").contains("c4nary"), "{error}");
}

#[tokio::test]
async fn a_credential_in_the_path_of_a_link_is_refused_and_a_user_name_is_not() {
    for (part, user, refused) in [(CANARY, "AC0123456789", true), ("AC0123456789", "AC0123456789", false)] {
        let part: String = url::form_urlencoded::byte_serialize(part.as_bytes()).collect();
        let home = Server::start(move |got, _| {
            let next = (got.path == "/orders").then(|| format!("/accounts/{part}/orders"));
            Reply::json(&json!({ "data": [{ "id": 1 }], "next": next }))
        })
        .await;
        let rest = json!({ "auth": { "basic": { "username": user, "password": "${TOKEN}" } } });
        let source = source(&home.url, stream(), rest);
        if refused {
            let (_, text) = failure(&source).await;
            assert!(text.contains("a credential of ours"), "{text}");
        } else {
            assert_eq!(read(open_all(&source)).await.len(), 2);
        }
    }
}

#[tokio::test]
async fn a_proxy_is_used_as_configured() {
    let proxy =
        Server::start(|got, _| if got.method == "CONNECT" { Reply::status(407, &[], "") } else { one(9) }).await;
    let home = Server::start(|_, _| one(1)).await;
    let settings = |no_proxy: Value| json!({ "proxy": { "url": proxy.url, "username": "me", "password": "${TOKEN}", "no_proxy": no_proxy } });
    let through = source("http://api.shop.example/v2", json!({}), settings(json!([])));
    assert_eq!(ids(&read(open_all(&through)).await), [9]);
    let got = &proxy.got()[0];
    assert_eq!(got.target, "http://api.shop.example/v2/orders");
    assert_eq!(got.headers["proxy-authorization"], "Basic bWU6YzRuYXJ5LXQwa2VuLys=");
    let direct = source(&home.url, json!({}), settings(json!(["127.0.0.0/8", ".internal"])));
    assert_eq!(ids(&read(open_all(&direct)).await), [1]);
    assert!(!home.got()[0].headers.contains_key("proxy-authorization"));
    let (error, text) = failure(&source("https://api.shop.example", json!({}), settings(json!([])))).await;
    assert_eq!(error.class(), ErrorClass::Auth, "{text}");
    let got = proxy.got().pop().unwrap();
    assert_eq!((got.method.as_str(), got.target.as_str()), ("CONNECT", "api.shop.example:443"));
    assert_eq!(got.headers["proxy-authorization"], "Basic bWU6YzRuYXJ5LXQwa2VuLys=");
}

#[tokio::test]
async fn settings_of_origins_are_checked() {
    for (base, rest, key) in [
        ("api.example", json!({}), "base_url"),
        ("ftp://api.example", json!({}), "base_url"),
        ("https://me@api.example", json!({}), "base_url"),
        ("https://api.example?a=b", json!({}), "base_url"),
        ("https://api.example", json!({ "allowed_origins": ["https://cdn.example/path"] }), "allowed_origins"),
    ] {
        let error = try_source(base, json!({}), rest).unwrap_err().to_string();
        assert!(error.contains(&format!("`sources.shop.rest.{key}`")), "{error}");
    }
}

#[tokio::test]
async fn a_body_with_a_secret_stays_at_home() {
    for (body, arrives) in
        [(json!({ "key": ["k ${TOKEN}"], "plain": "$${x}" }), false), (json!({ "key": "open" }), true)]
    {
        let other = other().await;
        let link = format!("{}/elsewhere", other.url);
        let home = Server::start(move |_, _| Reply::status(307, &[("location", &link)], "")).await;
        let rest = json!({ "allowed_origins": [other.url] });
        let source = source(&home.url, json!({ "method": "POST", "body": body }), rest);
        if arrives {
            assert_eq!(ids(&read(open_all(&source)).await), [2]);
            continue;
        }
        let (error, text) = failure(&source).await;
        assert_eq!(error.class(), ErrorClass::Config);
        assert!(text.contains("the request's body has a credential in it"), "{text}");
        assert_eq!(home.got()[0].json(), json!({ "key": [format!("k {CANARY}")], "plain": "${x}" }));
        assert!(other.got().is_empty());
    }
}

#[tokio::test]
async fn a_stored_url_whose_origin_is_no_longer_listed_is_told_as_such() {
    let home = Server::start(|_, _| one(1)).await;
    let source = source(&home.url, stream(), json!({}));
    let cursor = crate::model::offset::PageCursor::Url("https://cdn.shop.example/next?key=x".into());
    let mut pages = open(&source, LaneId { lane: 0, of: 1 }, Offset { cursor, ..Offset::start(0) });
    let error = pages.next().await.unwrap_err();
    let text = Chain(&error).to_string();
    assert!(text.contains("the request is not sent: the URL leads to https://cdn.shop.example:443"), "{text}");
    assert!(text.contains("`allowed_origins`") && !text.contains("redirect") && !text.contains("key"), "{text}");
}

#[tokio::test]
async fn the_proxys_secrets_are_masked_too() {
    let home = Server::start(|_, _| {
        let message = format!("you sent {CANARY} and bWU6YzRuYXJ5LXQwa2VuLys= through an api gateway");
        Reply::status(404, &[], &json!({ "message": message }).to_string())
    })
    .await;
    let proxy = json!({ "proxy": { "url": home.url, "username": "api", "password": "${TOKEN}" } });
    let (_, text) = failure(&source("http://api.shop.example", json!({}), proxy)).await;
    assert!(text.contains("you sent [secret] and ") && text.contains("through an api gateway"), "{text}");
}

#[tokio::test]
async fn https_never_leads_to_http_even_where_that_is_listed() {
    let other = other().await;
    let body = json!({ "data": [{ "id": 1 }], "next": format!("{}/orders?page=2", other.url) }).to_string();
    let home = crate::net::http::tests::serve_text(&[&rustls::version::TLS13], false, &body);
    let ca_file = crate::net::http::tests::file("ca.pem");
    let rest = with(secretive(), json!({ "tls": { "ca_file": ca_file }, "allowed_origins": [other.url] }));
    let (error, text) = failure(&source(home.trim_end_matches('/'), stream(), rest)).await;
    assert_eq!(error.class(), ErrorClass::Config, "{text}");
    assert!(text.contains("from https to http"), "{text}");
    assert!(other.got().is_empty());
}

#[tokio::test]
async fn the_token_goes_to_the_api_alone() {
    let tokens = Server::start(|_, _| Reply::json(&json!({ "access_token": "canary-access" }))).await;
    let other = Server::start(|_, _| Reply::json(&json!({ "data": [{ "id": 2 }] }))).await;
    let next = format!("{}/more", other.url);
    let api = Server::start(move |_, _| Reply::json(&json!({ "data": [{ "id": 1 }], "next": next }))).await;
    let source = source(
        &api.url,
        json!({ "paginate": { "next_url": { "from": "$.next" } } }),
        json!({
            "auth": { "oauth2": {
                "token_url": format!("{}/token", tokens.url), "client_id": "me", "client_secret": "${TOKEN}",
            } },
            "allowed_origins": [other.url],
        }),
    );
    assert_eq!(read(open_all(&source)).await.len(), 2);
    assert_eq!(api.got()[0].headers["authorization"], "Bearer canary-access");
    for server in [&api, &other] {
        let encoded = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, CANARY);
        assert!(server.got().iter().all(|got| !got.text().contains(CANARY) && !got.text().contains(&encoded)));
    }
    assert!(!other.got()[0].text().contains("canary"), "another origin that is allowed gets nothing");
    assert!(!tokens.got()[0].text().contains("canary-access"));
}
