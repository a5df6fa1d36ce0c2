//! Configurations for the tests, as a JSON tree (JSON is YAML): a whole one to start from, and its pieces.

use crate::sample::issuer::{CLIENT_ID, CLIENT_SECRET, FIRST_REFRESH};
use crate::sample::{API_KEY, BASIC_PASSWORD, BASIC_USER, BEARER_TOKEN, SampleApi};
use serde_json::{Value, json};
use std::path::Path;

/// What auth.env holds: every credential that the sample API knows, quoted in every way there is.
pub fn auth_env() -> String {
    let password = BASIC_PASSWORD.replace('"', "\\\"");
    format!(
        "# credentials of the sample API\n\nSHOP_TOKEN={BEARER_TOKEN}\nexport SHOP_USER='{BASIC_USER}'\n\
         SHOP_PASSWORD=\"{password}\"\n SHOP_KEY = {API_KEY}\n"
    )
}

/// A kind of credentials: the sample API's path prefix and the `auth:` of a source.
pub fn logins() -> Vec<(&'static str, &'static str, Value)> {
    vec![
        ("none", "", Value::Null),
        ("bearer", "/bearer", json!({ "bearer": { "token": "${SHOP_TOKEN}" } })),
        ("basic", "/basic", json!({ "basic": { "username": "${SHOP_USER}", "password": "${SHOP_PASSWORD}" } })),
        ("key", "/key", json!({ "api_key": { "header": "X-Api-Key", "value": "${SHOP_KEY}" } })),
        ("query-key", "/query-key", json!({ "api_key": { "query": "api_key", "value": "${SHOP_KEY}" } })),
    ]
}

/// More of auth.env, for the sample's token server.
pub fn token_secrets() -> String {
    format!("CLIENT_ID='{CLIENT_ID}'\nCLIENT_SECRET='{CLIENT_SECRET}'\nFIRST_REFRESH={FIRST_REFRESH}\n")
}

/// `auth:` with OAuth 2.0 at the sample's token server, over these parts.
pub fn oauth2(api: &SampleApi, more: Value) -> Value {
    let mut oauth2 = json!({
        "token_url": format!("{}/_issuer/token", api.issuer_origin()),
        "client_id": "${CLIENT_ID}",
        "client_secret": "${CLIENT_SECRET}",
    });
    if let (Value::Object(oauth2), Value::Object(more)) = (&mut oauth2, more) {
        oauth2.extend(more);
    }
    json!({ "oauth2": oauth2 })
}

/// The same with the grant of a refresh token.
pub fn refresh_token(api: &SampleApi) -> Value {
    oauth2(api, json!({ "grant": { "refresh_token": { "token": "${FIRST_REFRESH}" } } }))
}

/// `paginate:` for the changing collection of the sample API, ten rows a page: `page`, `offset`, `cursor` or `next-url`.
pub fn table_pager(pager: &str) -> Value {
    match pager {
        "page" => json!({ "page": { "size_param": "per_page", "size": 10 } }),
        "offset" => json!({ "offset": { "limit": 10 } }),
        "cursor" => json!({ "cursor": { "from": "$.next", "param": "cursor" } }),
        _ => json!({ "next_url": { "from": "$.next" } }),
    }
}

/// Every stream of the sample API, by the word for its way of paging.
pub fn streams() -> Value {
    json!({
        "cursor": {
            "path": "/orders",
            "records": "$.data[*]",
            "primary_key": ["id"],
            "total": "$.total",
            "paginate": { "cursor": { "from": "$.next_cursor", "param": "cursor" } },
        },
        "next-url": {
            "path": "/next-url/orders",
            "records": "$.data[*]",
            "primary_key": ["id"],
            "paginate": { "next_url": { "from": "$.next" } },
        },
        "link": {
            "path": "/link/orders",
            "records": "$[*]",
            "primary_key": ["id"],
            "paginate": { "link": {} },
        },
        "paged": {
            "path": "/paged/orders",
            "records": "$.data[*]",
            "primary_key": ["id"],
            "total": "header X-Total-Count",
            "paginate": { "page": { "param": "page", "size_param": "per_page", "size": 100 } },
        },
        "offset": {
            "path": "/offset/orders",
            "records": "$.items[*]",
            "primary_key": ["id"],
            "total": "$.total",
            "paginate": { "offset": { "limit": 100 } },
        },
        "search": {
            "path": "/search/orders",
            "method": "POST",
            "body": { "limit": 100 },
            "records": "$.data[*]",
            "primary_key": ["id"],
            "paginate": { "cursor": { "from": "$.next_cursor", "param": "cursor", "in": "body" } },
        },
        "all": { "path": "/all/orders", "records": "$[*]", "primary_key": ["id"], "paginate": { "none": {} } },
    })
}

/// The partitioned stream: one part for each region.
pub fn regions(lanes: u32) -> Value {
    json!({
        "path": "/regions/{{ partition.value }}/orders",
        "records": "$.data[*]",
        "primary_key": ["id"],
        "paginate": { "cursor": { "from": "$.next_cursor", "param": "cursor" } },
        "partition": { "list": { "values": ["eu", "us", "ap"] } },
        "lanes": lanes,
    })
}

/// A source: an origin with a path prefix, credentials and streams; impatient, so that tests are quick.
pub fn source(origin: &str, prefix: &str, auth: &Value, streams: &Value) -> Value {
    let mut rest = json!({
        "base_url": format!("{origin}{prefix}/v2"),
        "retry": { "attempts": 6, "initial": "20ms", "max": "200ms" },
        "streams": streams,
    });
    if !auth.is_null() {
        rest["auth"] = auth.clone();
    }
    json!({ "rest": rest })
}

/// An export of one stream.
pub fn export(source: &str, stream: &str, format: &str, chunk_size: &str) -> Value {
    let mut kind = serde_json::Map::new();
    kind.insert(format.to_owned(), json!({}));
    json!({ "source": source, "streams": [stream], "to": ["lake"], "format": kind, "chunk_size": chunk_size })
}

/// A whole configuration in `dir`: the sample API without credentials, one local destination, and the export `shop` of
/// the cursor stream to NDJSON in files of 64 kB.
pub fn base(origin: &str, dir: &Path) -> Value {
    json!({
        "version": 1,
        "daemon": {
            "state_dir": dir.join("state"),
            "socket": dir.join("control.sock"),
        },
        "sources": { "shop": source(origin, "", &Value::Null, &streams()) },
        "destinations": { "lake": { "local": { "root": dir.join("lake") } } },
        "exports": { "shop": export("shop", "cursor", "ndjson", "64kB") },
    })
}
