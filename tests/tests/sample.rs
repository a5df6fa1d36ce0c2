//! The sample API over a real socket: every way of paging gives every record, credentials count, faults happen.

use saas_export_tests::harness::http::{Answer, call};
use saas_export_tests::sample::{API_KEY, BASIC_PASSWORD, BASIC_USER, BEARER_TOKEN};
use saas_export_tests::sample::{Fault, Kind, Options, SampleApi, View};
use serde_json::{Value, json};

const RECORDS: u64 = 250;

fn api() -> SampleApi {
    SampleApi::start(Options { records: RECORDS, ..Options::default() }).unwrap()
}

fn get(api: &SampleApi, target: &str) -> Answer {
    call(api.addr, "GET", target, &[], b"").unwrap()
}

fn ids(array: &Value) -> Vec<u64> {
    array.as_array().unwrap().iter().map(|record| record["id"].as_u64().unwrap()).collect()
}

/// Follows a way of paging: `next` makes the next target of an answer.
fn follow(api: &SampleApi, first: &str, field: &str, next: impl Fn(&Answer, &Value) -> Option<String>) -> Vec<u64> {
    let mut all = Vec::new();
    let mut target = Some(first.to_owned());
    while let Some(at) = target {
        let answer = get(api, &at);
        assert_eq!(answer.status, 200, "{at}");
        let body = answer.json();
        all.extend(ids(if field.is_empty() { &body } else { &body[field] }));
        assert!(all.len() as u64 <= RECORDS, "paging does not end");
        target = next(&answer, &body);
    }
    all
}

fn path_of(api: &SampleApi, url: &str) -> String {
    url.strip_prefix(&api.origin()).expect("next URLs lead to this API").to_owned()
}

#[test]
fn every_way_of_paging_gives_every_record() {
    let api = api();
    let everything: Vec<u64> = View::ALL.ids(RECORDS).collect();
    let cursor = |base: &'static str| {
        move |_: &Answer, body: &Value| body["next_cursor"].as_str().map(|c| format!("{base}?cursor={c}"))
    };
    assert_eq!(follow(&api, "/v2/orders", "data", cursor("/v2/orders")), everything);
    let next_url = |_: &Answer, body: &Value| body["next"].as_str().map(|url| path_of(&api, url));
    assert_eq!(follow(&api, "/v2/next-url/orders", "data", next_url), everything);
    let link = |answer: &Answer, _: &Value| {
        let link = answer.header("link").unwrap();
        let next = link.split(", <").find(|part| part.contains("rel=\"next"))?;
        Some(path_of(&api, next.trim_start_matches('<').split('>').next().unwrap()))
    };
    assert_eq!(follow(&api, "/v2/link/orders", "", link), everything);
    let paged = |answer: &Answer, body: &Value| {
        assert_eq!(answer.header("x-total-count").unwrap(), RECORDS.to_string());
        let page = body["page"].as_u64().unwrap();
        (page * 100 < RECORDS).then(|| format!("/v2/paged/orders?page={}", page + 1))
    };
    assert_eq!(follow(&api, "/v2/paged/orders", "data", paged), everything);
    assert_eq!(follow(&api, "/v2/all/orders", "", |_, _| None), everything);
    for region in ["eu", "us", "ap"] {
        let base = format!("/v2/regions/{region}/orders");
        let next = |_: &Answer, body: &Value| body["next_cursor"].as_str().map(|c| format!("{base}?cursor={c}"));
        let expected: Vec<u64> = View::region(region).unwrap().ids(RECORDS).collect();
        assert_eq!(follow(&api, &base, "data", next), expected);
    }
    let offset: Vec<u64> = (0..5)
        .flat_map(|n| ids(&get(&api, &format!("/v2/offset/orders?offset={}&limit=50", n * 50)).json()["items"]))
        .collect();
    assert_eq!(offset, everything);
    let truth = api.truth();
    assert!(truth.served_whole("cursor", View::ALL, RECORDS));
    assert_eq!(truth.pages_asked_again(), 0);
}

#[test]
fn a_post_carries_its_cursor_in_the_body() {
    let api = api();
    let (mut all, mut cursor) = (Vec::new(), Value::Null);
    loop {
        let body = json!({ "cursor": cursor, "limit": 90 }).to_string();
        let answer = call(api.addr, "POST", "/v2/search/orders", &[], body.as_bytes()).unwrap().json();
        all.extend(ids(&answer["data"]));
        cursor = answer["next_cursor"].clone();
        if cursor.is_null() {
            break;
        }
    }
    assert_eq!(all, View::ALL.ids(RECORDS).collect::<Vec<_>>());
    assert_eq!(call(api.addr, "POST", "/v2/search/orders", &[], b"[").unwrap().status, 400);
}

#[test]
fn credentials_count() {
    use base64::Engine as _;
    let api = api();
    let pair = base64::engine::general_purpose::STANDARD.encode(format!("{BASIC_USER}:{BASIC_PASSWORD}"));
    let key = url::form_urlencoded::byte_serialize(API_KEY.as_bytes()).collect::<String>();
    let cases = [
        ("/bearer/v2/orders".to_owned(), ("authorization", format!("Bearer {BEARER_TOKEN}"))),
        ("/basic/v2/orders".to_owned(), ("authorization", format!("Basic {pair}"))),
        ("/key/v2/orders".to_owned(), ("x-api-key", API_KEY.to_owned())),
        (format!("/query-key/v2/orders?api_key={key}"), ("x-nothing", String::new())),
    ];
    for (target, (name, value)) in &cases {
        assert_eq!(call(api.addr, "GET", target, &[(name, value)], b"").unwrap().status, 200, "{target}");
        let bare = target.split('?').next().unwrap();
        assert_eq!(get(&api, bare).status, 401, "{bare}");
        assert_eq!(call(api.addr, "GET", bare, &[(name, "wrong")], b"").unwrap().status, 401, "{bare}");
    }
    assert_eq!(api.truth().unauthorized, 8);
}

#[test]
fn faults_happen_as_asked() {
    let api = api();
    let first = |fault: Fault| {
        api.reset();
        api.set_faults(vec![fault]);
        call(api.addr, "GET", "/v2/orders", &[], b"")
    };
    let throttled = first(Fault::new(Kind::Throttle).seconds(7)).unwrap();
    assert_eq!((throttled.status, throttled.header("retry-after")), (429, Some("7")));
    let dated = first(Fault::new(Kind::ThrottleDate).seconds(60)).unwrap();
    let date = dated.header("retry-after").unwrap();
    assert!(date.ends_with(" GMT") && date.len() == 29, "{date}");
    for status in [500, 502, 503] {
        assert_eq!(first(Fault::status(status)).unwrap().status, status);
    }
    assert!(first(Fault::new(Kind::Reset)).is_err());
    let cut = first(Fault::new(Kind::TruncatedJson)).unwrap();
    assert!(cut.status == 200 && serde_json::from_slice::<Value>(&cut.body).is_err());
    assert!(String::from_utf8(first(Fault::new(Kind::InvalidUtf8)).unwrap().body).is_err());
    assert_eq!(first(Fault::new(Kind::NonObject)).unwrap().json()["data"][0], 42);
    let started = std::time::Instant::now();
    assert_eq!(first(Fault::new(Kind::Stall).ms(60)).unwrap().status, 200);
    assert_eq!(first(Fault::new(Kind::StallBody).ms(60)).unwrap().status, 200);
    assert!(started.elapsed().as_millis() >= 120);
    let repeated = first(Fault::new(Kind::RepeatedCursor)).unwrap().json();
    let again = get(&api, &format!("/v2/orders?cursor={}", repeated["next_cursor"].as_str().unwrap())).json();
    assert_eq!((ids(&again["data"])[0], &again["next_cursor"]), (1, &repeated["next_cursor"]));
    assert_eq!(api.truth().faults[&Kind::RepeatedCursor], 2);
}

#[test]
fn a_stall_for_ever_ends_with_the_client() {
    let api = api();
    api.set_faults(vec![Fault::new(Kind::Stall)]);
    let stalled = std::net::TcpStream::connect(api.addr).unwrap();
    std::io::Write::write_all(&mut &stalled, b"GET /v2/orders HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    assert!(api.wait_until(std::time::Duration::from_secs(5), |truth| truth.under_way == 1));
    drop(stalled);
    assert!(api.wait_until(std::time::Duration::from_secs(5), |truth| truth.under_way == 0));
}

#[test]
fn the_control_endpoints_set_faults_and_tell_the_truth() {
    let api = api();
    let post = |path: &str, body: &str| call(api.addr, "POST", path, &[], body.as_bytes()).unwrap().status;
    assert_eq!(post("/_control/faults", r#"[{"kind":"status","status":503,"at":[1]}]"#), 200);
    assert_eq!(post("/_control/faults", r#"[{"kind":"sttus"}]"#), 422);
    assert_eq!(get(&api, "/v2/orders").status, 503);
    assert_eq!(get(&api, "/v2/orders").status, 200);
    let truth = get(&api, "/_control/truth").json();
    assert_eq!(truth["pages"]["cursor/all"], json!([[0, 100, 2, 1]]));
    assert_eq!(truth["ids"]["all"]["count"], RECORDS);
    assert_eq!(truth["ids"]["us"]["first"], 2);
    assert_eq!(truth["faults"]["status"], 1);
    assert_eq!(post("/_control/reset", ""), 200);
    assert_eq!(get(&api, "/_control/truth").json()["requests"], 0);
}
