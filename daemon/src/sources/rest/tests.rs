//! The REST source against servers in the same process: pages, faults, origins.

mod checksums;
mod ends;
mod faults;
mod order;
mod origins;
mod packed;
mod pages;
mod parts;

use super::{RestPages, RestSource};
use crate::auth::{Place, Registry};
use crate::base::error::Chain;
use crate::base::ids::Name;
use crate::base::secret::{Resolve, Secret};
use crate::model::offset::{LaneId, Offset};
use crate::model::partitions::Partitions;
use crate::net::limit::Limiter;
use crate::record::page::Page;
use crate::sources::Cut;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What no server but the configured one, and no message, may ever see.
pub const CANARY: &str = "c4nary-t0ken/+";

/// Gives [`CANARY`] for `${TOKEN}`.
pub struct Secrets;

impl Resolve for Secrets {
    fn resolve(&self, text: &str) -> Result<Secret, String> {
        if text.replace("${TOKEN}", "").contains("${") {
            return Err("auth.env has no such name".to_owned());
        }
        Ok(Secret::new(text.replace("${TOKEN}", CANARY)))
    }
}

pub fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// Lays `over` over `under`, map by map.
fn merge(under: &mut Value, over: Value) {
    match (under, over) {
        (Value::Object(under), Value::Object(over)) => {
            over.into_iter().for_each(|(key, value)| merge(under.entry(key).or_insert(Value::Null), value));
        }
        (under, over) => *under = over,
    }
}

/// `rest` with `more` laid over it.
pub fn with(mut rest: Value, more: Value) -> Value {
    merge(&mut rest, more);
    rest
}

/// A source `shop` with one stream `orders`, and quick retries.
pub fn try_source(base_url: &str, stream: Value, rest: Value) -> Result<RestSource, super::RestError> {
    let mut settings = json!({
        "base_url": base_url,
        "retry": { "initial": "1ms", "max": "5ms" },
        "keep_alive": { "read_timeout": "5s", "connect_timeout": "5s" },
        "streams": { "orders": { "path": "/orders", "records": "$.data[*]" } },
    });
    merge(&mut settings, rest);
    merge(&mut settings, json!({ "streams": { "orders": stream } }));
    let settings: crate::config::settings::Rest = serde_json::from_value(settings).unwrap();
    let limiter = Arc::new(Limiter::new(&settings.rate));
    let place = Place { state_dir: std::env::temp_dir(), state_key: None };
    RestSource::new(name("shop"), &settings, &Secrets, limiter, &Registry::new(place))
}

pub fn source(base_url: &str, stream: Value, rest: Value) -> RestSource {
    try_source(base_url, stream, rest).unwrap()
}

pub fn partitions(source: &RestSource) -> Result<Partitions, super::RestError> {
    source.partitions(&name("orders"), &Cut::at("2024-01-03T00:00:00Z".parse().unwrap()))
}

pub fn open(source: &RestSource, lane: LaneId, from: Offset) -> RestPages {
    source.open(&name("orders"), Arc::new(partitions(source).unwrap()), lane, from).unwrap()
}

pub fn open_all(source: &RestSource) -> RestPages {
    open(source, LaneId { lane: 0, of: 1 }, Offset::start(0))
}

pub async fn read(mut pages: RestPages) -> Vec<Page> {
    let mut all: Vec<Page> = Vec::new();
    while let Some(page) = pages.next().await.unwrap_or_else(|error| panic!("{}", Chain(&error))) {
        if let Some(last) = all.last() {
            assert_eq!(last.offset_after, page.offset_before);
        }
        all.push(page);
    }
    assert!(pages.next().await.unwrap().is_none(), "the end stays the end");
    all
}

/// The error that reading ends with, as it is printed.
pub async fn failure(source: &RestSource) -> (super::RestError, String) {
    let mut pages = open_all(source);
    loop {
        match pages.next().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("no error"),
            Err(error) => {
                let text = Chain(&error).to_string();
                for shown in [text.clone(), format!("{error:?}")] {
                    assert!(!shown.contains("c4nary"), "{shown}");
                    assert!(!shown.contains("YzRuYXJ5"), "{shown}");
                }
                return (error, text);
            }
        }
    }
}

pub fn ids(pages: &[Page]) -> Vec<u64> {
    let id = |record: &[u8]| serde_json::from_slice::<Value>(record).unwrap()["id"].as_u64().unwrap();
    pages.iter().flat_map(|page| page.raw_records().map(id).collect::<Vec<_>>()).collect()
}

pub fn params(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}
