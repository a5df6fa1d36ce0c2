//! Documents of our own in the manner of well-known APIs, and what is made of them.

use super::*;
use proptest::prelude::*;
use serde_json::json;

/// What is made of a document, loaded; the text with it.
#[track_caller]
fn made(document: &Value) -> (config::Config, String) {
    let made = make(&document.to_string(), "spec.json", None).unwrap_or_else(|error| panic!("{error}"));
    let config = config::parse(&made.text, "config.yaml").unwrap_or_else(|problems| {
        panic!("{:?}\n{}", problems.list(), made.text);
    });
    (config, made.text)
}

/// A document with these paths and components.
fn document(paths: Value, components: Value) -> Value {
    json!({
        "openapi": "3.0.3",
        "info": { "title": "Shop REST API", "version": "2" },
        "servers": [{ "url": "https://api.shop.example/v2/" }],
        "paths": paths,
        "components": components,
    })
}

fn get(query: Value, schema: Value) -> Value {
    let answer = json!({ "description": "ok", "content": { "application/json": { "schema": schema } } });
    json!({ "get": { "summary": "List them", "parameters": query, "responses": { "200": answer } } })
}

fn param(name: &str, schema: Value) -> Value {
    json!({ "name": name, "in": "query", "schema": schema })
}

fn item() -> Value {
    json!({ "type": "object", "properties": { "id": { "type": "string" }, "updated_at": { "type": "string" } } })
}

/// The lines of one stream of a document that has a single path.
#[track_caller]
fn lines(path: Value) -> String {
    let (_, text) = made(&document(json!({ "/orders": path }), json!({})));
    let start = text.find("        orders:\n").unwrap_or_else(|| panic!("{text}"));
    let end = text.find("\ndestinations:").unwrap();
    text[start..end].to_owned()
}

#[test]
fn paginators_are_known_by_their_names() {
    let list = || json!({ "type": "array", "items": item() });
    let string = || json!({ "type": "string" });
    let integer = || json!({ "type": "integer" });
    let wrapped = |more: Value| {
        let mut properties = more.as_object().unwrap().clone();
        properties.insert("data".into(), list());
        json!({ "type": "object", "properties": properties })
    };
    let cases = [
        (
            json!([param("limit", json!({ "type": "integer", "maximum": 100 })), param("starting_after", string())]),
            wrapped(json!({ "has_more": { "type": "boolean" } })),
            "paginate: { cursor: { from: \"$.data[-1].id\", param: starting_after } }",
        ),
        (
            json!([param("cursor", string())]),
            wrapped(json!({ "response_metadata": { "type": "object", "properties": { "next_cursor": string() } } })),
            "paginate: { cursor: { from: \"$.response_metadata.next_cursor\", param: cursor } }",
        ),
        (
            json!([param("pageToken", string())]),
            wrapped(json!({ "nextPageToken": string() })),
            "paginate: { cursor: { from: \"$.nextPageToken\", param: pageToken } }",
        ),
        (
            json!([
                param("offset", integer()),
                param("limit", json!({ "type": "integer", "default": 25, "maximum": 200 }))
            ]),
            wrapped(json!({})),
            "paginate: { offset: { param: offset, limit_param: limit, limit: 200 } }",
        ),
        (
            json!([param("page", integer()), param("per_page", json!({ "type": "integer", "maximum": 50 }))]),
            list(),
            "paginate: { page: { param: page, size_param: per_page, size: 50 } }",
        ),
        (
            json!([param("page[number]", json!({ "type": "integer", "minimum": 0 }))]),
            wrapped(json!({})),
            "paginate: { page: { param: \"page[number]\", start: 0 } }",
        ),
        (
            json!([param("page", integer())]),
            wrapped(json!({ "next": { "type": ["string", "null"], "format": "uri" }, "previous": string() })),
            "paginate: { next_url: { from: \"$.next\" } }",
        ),
        (
            json!([]),
            wrapped(json!({ "_links": { "type": "object", "properties": { "next": {
                "type": "object", "properties": { "href": string() } } } } })),
            "paginate: { next_url: { from: \"$._links.next.href\" } }   # check: is this a URL?",
        ),
        (json!([]), wrapped(json!({})), "# check: no paginator was recognised"),
    ];
    for (query, schema, expected) in cases {
        let text = lines(get(query, schema));
        assert!(text.contains(expected), "{expected} is not in\n{text}");
    }
    let mut linked =
        get(json!([param("per_page", json!({ "description": "", "type": "integer", "default": 30 }))]), list());
    linked["get"]["responses"]["200"]["headers"] = json!({ "Link": { "schema": string() } });
    linked["get"]["parameters"][0]["description"] = "The number of results per page (max 100).".into();
    let text = lines(linked);
    assert!(text.contains("paginate: { link: {} }") && text.contains("query: { per_page: \"100\" }"), "{text}");
}

#[test]
fn records_are_found_wherever_they_are_and_single_things_are_no_collections() {
    let list = || json!({ "type": "array", "items": { "$ref": "#/components/schemas/Order" } });
    let object = |properties: Value| json!({ "type": "object", "properties": properties });
    let paths = json!({
        "/plain": get(json!([]), list()),
        "/wrapped": get(json!([]), object(json!({ "tags": list(), "items": list() }))),
        "/deep": get(json!([]), object(json!({ "_embedded": object(json!({ "odd-name": list() })) }))),
        "/merged": get(json!([]), json!({ "allOf": [
            object(json!({ "total": { "type": "integer" } })), object(json!({ "data": list() })) ] })),
        "/one": get(json!([]), object(json!({ "id": { "type": "string" }, "lines": list() }))),
        "/words": get(json!([]), json!({ "type": "array", "items": { "type": "string" } })),
        "/orders/{id}": get(json!([]), object(json!({ "data": list() }))),
        "/cycle": get(json!([]), json!({ "$ref": "#/components/schemas/Loop" })),
        "/elsewhere": get(json!([]), json!({ "$ref": "other.yaml#/x" })),
    });
    let schemas = json!({ "schemas": {
        "Order": { "allOf": [item(), { "type": "object", "properties": { "self": { "$ref": "#/components/schemas/Order" } } }] },
        "Loop": { "$ref": "#/components/schemas/Loop" },
    } });
    let (config, text) = made(&document(paths, schemas));
    let settings::Source::Rest(rest) = config.sources.values().next().unwrap();
    let found: Vec<_> = rest.streams.iter().map(|(name, stream)| (name.as_str(), stream.records.as_str())).collect();
    let expected =
        [("deep", "$._embedded['odd-name'][*]"), ("merged", "$.data[*]"), ("plain", "$[*]"), ("wrapped", "$.items[*]")];
    assert_eq!(found, expected, "{text}");
    assert!(text.contains("\"$.items[*]\"   # check: the answer has more than one list"), "{text}");
    assert!(text.contains("total: $.total\n"), "{text}");
    assert!(rest.streams.values().all(|stream| stream.primary_key == ["id"]));
    assert_eq!(rest.base_url, "https://api.shop.example/v2");
    assert_eq!(config.sources.keys().next().unwrap().as_str(), "shop");
}

use crate::config::settings;

#[test]
fn credentials_become_ours() {
    let path = || json!({ "/orders": get(json!([]), json!({ "type": "array", "items": item() })) });
    let cases = [
        (json!({ "type": "http", "scheme": "bearer" }), "auth: { bearer: { token: \"${SHOP_TOKEN}\" } }"),
        (
            json!({ "type": "http", "scheme": "Basic" }),
            "auth: { basic: { username: \"${SHOP_USER}\", password: \"${SHOP_PASSWORD}\" } }",
        ),
        (
            json!({ "type": "apiKey", "in": "header", "name": "X-Key" }),
            "auth: { api_key: { header: X-Key, value: \"${SHOP_KEY}\" } }",
        ),
        (
            json!({ "type": "apiKey", "in": "query", "name": "key" }),
            "auth: { api_key: { query: key, value: \"${SHOP_KEY}\" } }",
        ),
        (
            json!({ "type": "oauth2", "flows": { "clientCredentials": {
                "tokenUrl": "https://auth.shop.example/token", "scopes": { "read": "" } } } }),
            "auth: { oauth2: { token_url: \"https://auth.shop.example/token\", client_id: \"${SHOP_CLIENT_ID}\", \
             client_secret: \"${SHOP_CLIENT_SECRET}\", scopes: [\"read\"], grant: { client_credentials: {} } } }",
        ),
    ];
    for (scheme, expected) in cases {
        let (_, text) = made(&document(path(), json!({ "securitySchemes": { "one": scheme } })));
        assert!(text.contains(expected), "{expected} is not in\n{text}");
    }
    let (_, text) = made(&document(path(), json!({})));
    assert!(text.contains("# check: the document names no credentials"), "{text}");
    let both = json!({ "securitySchemes": {
        "key": { "type": "apiKey", "in": "query", "name": "key" }, "token": { "type": "http", "scheme": "bearer" } } });
    let (_, text) = made(&document(path(), both));
    assert!(text.contains("# check: the API also knows: key") && text.contains("#   SHOP_TOKEN="), "{text}");
}

#[test]
fn path_parameters_come_from_parents_or_from_the_run() {
    let list = || json!({ "type": "array", "items": item() });
    let paths = json!({
        "/accounts": get(json!([]), list()),
        "/accounts/{account_id}/orders": get(json!([]), list()),
        "/shops/{shop}/orders/{order-id}/lines": get(json!([]), list()),
        "/search": get(json!([{ "name": "q", "in": "query", "required": true, "schema": {} },
            { "name": "kind", "in": "query", "required": true, "schema": { "enum": ["a", "b"] } }]), list()),
    });
    let text = make(&document(paths.clone(), json!({})).to_string(), "x", Some("shop")).unwrap().text;
    assert!(text.contains("{{ parent.account_id }}/orders"), "{text}");
    assert!(text.contains("partition: { parent: { stream: accounts, values: { account_id: \"$.id\" } } }"), "{text}");
    let (config, text) = made(&document(paths, json!({})));
    assert!(text.contains("path: \"/shops/{{ param.shop }}/orders/{{ param.order_id }}/lines\""), "{text}");
    assert!(text.contains("query: { q: \"{{ param.q }}\", kind: \"a\" }"), "{text}");
    let params: Vec<Vec<&str>> =
        config.exports.values().map(|export| export.params.keys().map(|name| name.as_str()).collect()).collect();
    assert!(
        params.contains(&vec![]) && params.contains(&vec!["order_id", "shop"]) && params.contains(&vec!["q"]),
        "{params:?}"
    );
}

#[test]
fn hints_at_what_changed() {
    let list = json!({ "type": "array", "items": item() });
    let text = lines(get(json!([param("updated_since", json!({ "type": "string" }))]), list));
    assert!(text.contains("# check: incremental: { cursor_field: updated_at, param: updated_since"), "{text}");
}

#[test]
fn what_our_rules_refuse_is_left_out_with_its_reason() {
    let list = || json!({ "type": "array", "items": item() });
    // The paginator would set the parameter that the credentials set.
    let paths = json!({
        "/good": get(json!([]), list()),
        "/bad": get(json!([param("page", json!({ "type": "integer" }))]), list()),
    });
    let key = json!({ "securitySchemes": { "key": { "type": "apiKey", "in": "query", "name": "page" } } });
    let (config, text) = made(&document(paths, key));
    let settings::Source::Rest(rest) = config.sources.values().next().unwrap();
    assert_eq!(rest.streams.keys().map(|name| name.as_str()).collect::<Vec<_>>(), ["good"]);
    assert!(text.contains("        # check: left out (") && text.contains("        # bad:\n"), "{text}");
}

#[test]
fn yaml_and_both_versions_are_read_and_others_are_refused() {
    let yaml = "openapi: 3.1.0\ninfo: { title: Shop, version: 1 }\nservers: [{ url: /v1 }]\npaths:\n  /orders:\n    get:\n      \
                responses:\n        200:\n          content:\n            application/hal+json:\n              schema: { type: \
                [array, 'null'], items: { type: object, properties: { uuid: { type: string } } } }\n";
    let made = make(yaml, "spec.yaml", Some("my-shop")).unwrap();
    assert!(made.text.contains("  my-shop:\n") && made.text.contains("primary_key: [uuid]"), "{}", made.text);
    assert!(made.text.contains("base_url: \"https://api.example.com/v1\""), "{}", made.text);
    assert!(made.text.contains("# check: the document names no server"), "{}", made.text);
    for (text, why) in [
        ("{\"swagger\": \"2.0\"}", "Swagger 2.0"),
        ("{\"openapi\": \"4.0.0\"}", "4.0.0"),
        ("{}", "no key `openapi`"),
        ("{\"openapi\": \"3.0.0\", \"paths\": {}}", "no GET operation"),
        ("{\"openapi\": ", "EOF"),
        ("a: [", "YAML"),
    ] {
        let error = make(text, "spec", None).unwrap_err().to_string();
        assert!(error.contains(why), "{text}: {error}");
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let keys = prop::sample::select(vec![
        "paths",
        "/a/{b}",
        "/a",
        "get",
        "responses",
        "200",
        "content",
        "application/json",
        "schema",
        "type",
        "items",
        "properties",
        "allOf",
        "oneOf",
        "$ref",
        "parameters",
        "name",
        "in",
        "data",
        "next",
        "id",
        "default",
        "servers",
        "url",
        "components",
        "securitySchemes",
        "flows",
        "headers",
        "Link",
        "maximum",
        "description",
    ]);
    let words = prop::sample::select(vec![
        "array",
        "object",
        "string",
        "#/paths",
        "#/components",
        "#",
        "query",
        "path",
        "{{x}}",
        "${Y}",
        "http://h/{v}",
        "\n- a",
        "x: #y",
    ]);
    let leaf = prop_oneof![
        words.prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        Just(Value::Null),
        Just(json!(true))
    ];
    leaf.prop_recursive(8, 64, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((keys.clone(), inner), 0..6).prop_map(|pairs| Value::Object(
                pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
            )),
        ]
    })
}

proptest! {
    /// Whatever a document says: no panic, and what comes out loads.
    #[test]
    fn what_is_made_always_loads(schema in any_json(), query in any_json(), text in "\\PC{0,30}", name in "\\PC{0,12}") {
        let item = json!({ "type": "object", "properties": { name.clone(): schema.clone(), "x": schema } });
        let mut one = get(json!([param(&name, query.clone()), param(&text, query)]), json!({ "type": "array", "items": item }));
        one["get"]["summary"] = text.clone().into();
        let mut whole = document(json!({ (format!("/{name}/{{{name}}}/x")): one, "/good": get(json!([]), json!({ "type": "array", "items": { "type": "object" } })) }), json!({}));
        whole["info"]["title"] = text.into();
        let made = make(&whole.to_string(), "spec", None).unwrap();
        prop_assert!(config::parse(&made.text, "config.yaml").is_ok(), "{}", made.text);
    }

    #[test]
    fn no_document_makes_it_panic(mut value in any_json()) {
        if let Value::Object(map) = &mut value {
            map.insert("openapi".into(), "3.1.0".into());
        }
        let _ = make(&value.to_string(), "spec", None);
    }
}
