//! Which secret goes to which server.

use super::*;
use serde_json::json;

fn partner(host: &str, secret: &str) -> Value {
    json!({ "sftp": { "host": host, "user": "us", "root": "in", "auth": { "password": { "password": secret } } } })
}

/// A configuration in force with these destinations, and a source that has a token.
fn now(destinations: Value) -> Config {
    let rest = json!({
        "base_url": "https://api.shop.example", "auth": { "bearer": { "token": "${SHOP_TOKEN}" } },
        "streams": { "orders": { "path": "/orders", "records": "$[*]", "paginate": { "none": {} } } },
    });
    let config = json!({
        "version": 1, "sources": { "shop": { "rest": rest } }, "destinations": destinations,
        "exports": {},
    });
    serde_json::from_value(config).unwrap()
}

fn stored(value: Value) -> Settings {
    serde_json::from_value(value).unwrap()
}

/// What keeps the destination `partner` closed.
fn held(before: Value, destinations: Value) -> Option<(String, String)> {
    match settings("partner", &stored(before), &now(destinations)) {
        Ok(_) => None,
        Err(PruneError::Withheld { secret, owner, .. }) => Some((secret, owner)),
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn an_old_server_does_not_get_the_secret_of_the_new_one() {
    let before = || partner("old.example", "${PARTNER_PASSWORD}");
    let owned = |owner: &str| Some(("PARTNER_PASSWORD".to_owned(), owner.to_owned()));
    let moved = json!({ "partner": partner("new.example", "x${PARTNER_PASSWORD}") });
    assert_eq!(held(before(), moved), owned("the destination partner"));
    let renamed = json!({ "other": partner("new.example", "${PARTNER_PASSWORD}") });
    assert_eq!(held(before(), renamed), owned("the destination other"));
    let of_source = partner("old.example", "${SHOP_TOKEN}");
    assert_eq!(held(of_source, json!({})), Some(("SHOP_TOKEN".into(), "the source shop".into())));
}

#[test]
fn a_secret_goes_where_it_belongs() {
    let before = || partner("old.example", "${PARTNER_PASSWORD}");
    assert_eq!(held(before(), json!({ "partner": partner("old.example", "${PARTNER_PASSWORD}") })), None);
    assert_eq!(held(before(), json!({ "partner": partner("new.example", "${NEW_PASSWORD}") })), None);
    assert_eq!(held(before(), json!({})), None, "nobody else has the name");
    let mut elsewhere = partner("old.example", "${PARTNER_PASSWORD}");
    elsewhere["sftp"]["root"] = "out".into();
    assert_eq!(held(before(), json!({ "partner": elsewhere })), None, "the same server knows it");
    // What is in force is opened, whoever else has the secret.
    let both = json!({ "partner": before(), "other": partner("new.example", "${PARTNER_PASSWORD}") });
    assert_eq!(held(before(), both), None);
}
