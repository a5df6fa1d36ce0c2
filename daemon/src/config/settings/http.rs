//! Servers that take files by HTTP PUT.

use super::{Auth, KeepAlive, Proxy, Tls, Transfer};
use crate::config::units::SecretText;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A server that takes files by HTTP PUT. An upload that breaks off begins again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HttpDestination {
    /// Where files go, e.g. `https://files.example/in/{key}`: `{key}` stands once, in the path or in the value of a query
    /// parameter. In the path its slashes stay. No redirect is followed.
    pub url: String,
    /// How requests are authenticated: each of a source's kinds. Credentials go to the origin of `url` alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<Auth>,
    /// Headers of every request.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, SecretText>,
    /// How a file is checked once it is stored.
    #[serde(default)]
    pub verify: HttpVerify,
    /// Connections and time-outs. `read_timeout` counts from the last byte that was sent; `answer_timeout` is for answers
    /// that carry no file.
    #[serde(default)]
    pub keep_alive: KeepAlive,
    /// An HTTP proxy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy: Option<Proxy>,
    /// TLS settings.
    #[serde(default)]
    pub tls: Tls,
    /// How fast and how parallel it is written to. `in_flight` has no effect: what is unconfirmed is a whole file.
    #[serde(default)]
    pub transfer: Transfer,
}

/// How a file is checked once it is stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HttpVerify {
    /// It is read back by GET, and its SHA-256 compared.
    #[default]
    ReadBack,
    /// Its size is asked for by HEAD, and compared.
    Size,
    /// Not at all: for a server that lets nobody read. What is already there cannot be adopted, and `latest.json` is
    /// written without a look at what is there.
    None,
}

impl HttpDestination {
    /// What stands in `url` for the key of a file.
    pub const KEY: &str = "{key}";

    /// Where `key` lies: `url` with the key filled in, percent-encoded for its place. In a path the slashes of a key stay.
    pub fn location(&self, key: &str) -> String {
        let in_path = self.url.find(Self::KEY).zip(self.url.find('?')).is_none_or(|(key, query)| key < query);
        self.url.replacen(Self::KEY, &encoded(key, in_path), 1)
    }
}

/// Percent-encodes all but the unreserved characters of RFC 3986 (section 2.3), and in a path the slash.
fn encoded(key: &str, in_path: bool) -> String {
    let mut text = String::with_capacity(key.len());
    for byte in key.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => text.push(char::from(byte)),
            b'/' if in_path => text.push('/'),
            _ => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(url: &str) -> HttpDestination {
        serde_json::from_value(serde_json::json!({ "url": url })).unwrap()
    }

    #[test]
    fn a_key_is_encoded_for_its_place() {
        let key = "shop/orders/2026 é/part-0+1.csv";
        let in_path = at("https://files.example/in/{key}?v=1").location(key);
        assert_eq!(in_path, "https://files.example/in/shop/orders/2026%20%C3%A9/part-0%2B1.csv?v=1");
        let in_query = at("https://files.example/in?file={key}").location(key);
        assert_eq!(in_query, "https://files.example/in?file=shop%2Forders%2F2026%20%C3%A9%2Fpart-0%2B1.csv");
    }

    proptest! {
        #[test]
        fn a_key_comes_back_from_its_url(key in "[^/?#.]{1,20}(/[^/?#.]{1,20}){0,2}") {
            let url = url::Url::parse(&at("https://files.example/in?file={key}").location(&key)).unwrap();
            let back = url.query_pairs().next().unwrap().1.into_owned();
            prop_assert_eq!(&back, &key);
            let url = url::Url::parse(&at("https://files.example/in/{key}").location(&key)).unwrap();
            prop_assert_eq!(url.path_segments().unwrap().count(), key.split('/').count() + 1);
            prop_assert!(url.query().is_none() && url.fragment().is_none());
        }
    }
}
