//! The routes: from a request to the page it means, and from a page to the words around its records.

use super::auth::{self, Auth};
use super::data::View;
use super::rng::mix;
use http::Method;
use std::collections::BTreeMap;

/// A way of paging.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pager {
    /// `?cursor=`, answer `{"data", "next_cursor", "total"}`.
    Cursor,
    /// `?after=`, answer `{"data", "next"}` with an absolute URL.
    NextUrl,
    /// `?page=`, answer an array, with a `Link` header.
    Link,
    /// `?page=&per_page=`, answer `{"data", "page", "total"}`, with `X-Total-Count`.
    Paged,
    /// `?offset=&limit=`, answer `{"items", "total"}`.
    Offset,
    /// POST `{"cursor", "limit"}`, answer `{"data", "next_cursor"}`.
    Search,
    /// No paging: an array of everything.
    All,
    /// The accounts instead of orders: `?page=&per_page=`, answer `{"data", "total"}`.
    Accounts,
}

impl Pager {
    /// The word in the oracle's report.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cursor => "cursor",
            Self::NextUrl => "next-url",
            Self::Link => "link",
            Self::Paged => "paged",
            Self::Offset => "offset",
            Self::Search => "search",
            Self::All => "all",
            Self::Accounts => "accounts",
        }
    }
}

/// A request, read.
#[derive(Debug)]
pub struct Ask {
    /// What credentials it needs.
    pub auth: Auth,
    /// The way of paging.
    pub pager: Pager,
    /// Which records.
    pub view: View,
    /// First record of the page.
    pub start: u64,
    /// Most records of the page.
    pub limit: u64,
    /// Where this collection is, as the client wrote it, without the query.
    pub path: String,
}

/// Why a request cannot be answered: status and sentence.
pub type Refused = (u16, &'static str);

/// What reading a request needs to know of the API.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Seed of the data set; cursors depend on it.
    pub seed: u64,
    /// Records of a page unless the client asks for fewer.
    pub page_size: u64,
    /// Most records of a page.
    pub max_page: u64,
    /// Accounts that the orders are dealt to.
    pub accounts: u64,
}

/// What an account is called in paths: it needs to be encoded there.
pub fn account_name(k: u64) -> String {
    format!("acc {k}")
}

/// The number of an account, from its encoded name.
fn read_account(encoded: &str, accounts: u64) -> Option<u64> {
    let name = url::form_urlencoded::parse(encoded.as_bytes()).next()?.0.into_owned();
    name.strip_prefix("acc ")?.parse().ok().filter(|k| *k < accounts)
}

/// The seconds of the parameters `since` and `until` (exclusive) or `to` (inclusive): numbers or RFC 3339.
fn time(params: &Params) -> Result<Option<(i64, i64)>, Refused> {
    let second = |name: &str| match params.get(name) {
        None => Ok(None),
        Some(text) => {
            let number = text.parse::<i64>().ok();
            let time = || text.parse::<jiff::Timestamp>().ok().map(|time| time.as_second());
            number.or_else(time).map(Some).ok_or((422, "a parameter is not a time"))
        }
    };
    let end = second("until")?.or(second("to")?.map(|to| to + 1));
    Ok(second("since")?.map(|since| (since, end.unwrap_or(i64::MAX))))
}

/// The opaque cursor of record `k`; it carries a check, so that nobody makes one up.
pub fn cursor(seed: u64, k: u64) -> String {
    format!("{k:x}.{:06x}", mix(seed, k, 99) & 0xff_ffff)
}

fn read_cursor(seed: u64, text: &str) -> Result<u64, Refused> {
    let k = text.split_once('.').and_then(|(k, _)| u64::from_str_radix(k, 16).ok());
    k.filter(|k| cursor(seed, *k) == text).ok_or((400, "unknown cursor"))
}

/// The parameters of a request, from its query or its body.
pub type Params = BTreeMap<String, String>;

/// Reads a query.
pub fn query_params(query: &str) -> Params {
    url::form_urlencoded::parse(query.as_bytes()).into_owned().collect()
}

/// Reads the JSON object of a POST; numbers and texts are parameters.
pub fn body_params(body: &[u8]) -> Result<Params, Refused> {
    let object: serde_json::Map<String, serde_json::Value> =
        serde_json::from_slice(body).map_err(|_| (400, "the body is not a JSON object"))?;
    let texts = object.into_iter().filter_map(|(key, value)| match value {
        serde_json::Value::String(text) => Some((key, text)),
        serde_json::Value::Number(number) => Some((key, number.to_string())),
        _ => None,
    });
    Ok(texts.collect())
}

/// Whether this request's parameters come in its body.
pub fn wants_body(path: &str) -> bool {
    auth::split(path).2.ends_with("/search/orders")
}

/// Reads a request.
pub fn read(method: &Method, path: &str, params: &Params, limits: Limits) -> Result<Ask, Refused> {
    let (_, auth, rest) = auth::split(path);
    let parts: Vec<&str> = rest.trim_start_matches('/').split('/').collect();
    let mut account = None;
    let (pager, region) = match parts.as_slice() {
        ["v2", "accounts"] => (Pager::Accounts, None),
        ["v2", "accounts", name, "orders"] => {
            account = Some(read_account(name, limits.accounts).ok_or((404, "no such account"))?);
            (Pager::Cursor, None)
        }
        ["v2", "orders"] => (Pager::Cursor, None),
        ["v2", "regions", region, "orders"] => (Pager::Cursor, Some(*region)),
        ["v2", "next-url", "orders"] => (Pager::NextUrl, None),
        ["v2", "link", "orders"] => (Pager::Link, None),
        ["v2", "paged", "orders"] => (Pager::Paged, None),
        ["v2", "offset", "orders"] => (Pager::Offset, None),
        ["v2", "search", "orders"] => (Pager::Search, None),
        ["v2", "all", "orders"] => (Pager::All, None),
        _ => return Err((404, "no such resource")),
    };
    if (pager == Pager::Search) != (method == Method::POST) || (pager != Pager::Search && method != Method::GET) {
        return Err((405, "wrong method"));
    }
    let mut view = match region.or(params.get("region").map(String::as_str)) {
        None => account.map_or(View::ALL, |k| View::account(k, limits.accounts)),
        Some(name) => View::region(name).ok_or((404, "no such region"))?,
    };
    if let Some((since, until)) = time(params)? {
        view = view.between(since, until);
    }
    let number = |name: &str| match params.get(name) {
        None => Ok(None),
        Some(text) => text.parse::<u64>().map(Some).map_err(|_| (422, "a parameter is not a number")),
    };
    let size = number("per_page")?.or(number("limit")?).unwrap_or(limits.page_size);
    let limit = if pager == Pager::All { u64::MAX } else { size.clamp(1, limits.max_page) };
    let from_cursor = |name: &str| match params.get(name).filter(|text| !text.is_empty()) {
        None => Ok(0),
        Some(text) => read_cursor(limits.seed, text),
    };
    let start = match pager {
        Pager::Cursor | Pager::Search => from_cursor("cursor")?,
        Pager::NextUrl => from_cursor("after")?,
        Pager::Link | Pager::Paged | Pager::Accounts => {
            let page = number("page")?.unwrap_or(1);
            page.checked_sub(1).ok_or((422, "pages start at 1"))?.saturating_mul(limit)
        }
        Pager::Offset => number("offset")?.unwrap_or(0),
        Pager::All => 0,
    };
    Ok(Ask { auth, pager, view, start, limit, path: path.to_owned() })
}

/// What stands around the records of a page, and the headers of its paging.
#[derive(Debug, Default)]
pub struct Envelope {
    /// Before the array.
    pub before: String,
    /// Behind it.
    pub after: String,
    /// More headers.
    pub headers: Vec<(&'static str, String)>,
}

/// What the words around a page say.
#[derive(Clone, Copy, Debug)]
pub struct Around<'a> {
    /// First record of the next page.
    pub next: Option<u64>,
    /// Records of the view.
    pub total: u64,
    /// Seed of the cursors.
    pub seed: u64,
    /// What next URLs start with.
    pub origin: &'a str,
}

impl Ask {
    /// The URL of this collection with one parameter replaced; the key is never repeated.
    fn url(&self, params: &Params, origin: &str, name: &str, value: &str) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        let keep = params.iter().filter(|(key, _)| key.as_str() != name && key.as_str() != "api_key");
        query.extend_pairs(keep).append_pair(name, value);
        format!("{origin}{}?{}", self.path, query.finish())
    }

    /// Composes what stands around a page.
    pub fn envelope(&self, params: &Params, around: &Around<'_>) -> Envelope {
        let Around { next, total, seed, origin } = *around;
        let token = next.map_or("null".into(), |k| format!("\"{}\"", cursor(seed, k)));
        let page = |k: u64| k / self.limit + 1;
        let wrap =
            |name: &str, after: String| Envelope { before: format!("{{\"{name}\":"), after, headers: Vec::new() };
        match self.pager {
            Pager::Cursor => wrap("data", format!(",\"next_cursor\":{token},\"total\":{total}}}")),
            Pager::Search => wrap("data", format!(",\"next_cursor\":{token}}}")),
            Pager::NextUrl => {
                let url = |k| format!("\"{}\"", self.url(params, origin, "after", &cursor(seed, k)));
                wrap("data", format!(",\"next\":{}}}", next.map_or("null".into(), url)))
            }
            Pager::Link => {
                let url = |n: u64| self.url(params, origin, "page", &n.to_string());
                let first = format!("<{}>; rel=\"first\"", url(1));
                let link = match next {
                    Some(k) => format!("{first}, <{}>; title=\"a, b\"; rel=\"next last-known\"", url(page(k))),
                    None => first,
                };
                Envelope { headers: vec![("link", link)], ..Envelope::default() }
            }
            Pager::Paged => {
                let mut envelope = wrap("data", format!(",\"page\":{},\"total\":{total}}}", page(self.start)));
                envelope.headers.push(("x-total-count", total.to_string()));
                envelope
            }
            Pager::Offset => wrap("items", format!(",\"total\":{total}}}")),
            Pager::All => Envelope::default(),
            Pager::Accounts => wrap("data", format!(",\"total\":{total}}}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { seed: 5, page_size: 100, max_page: 1000, accounts: 7 };

    fn get(path: &str, query: &str) -> Result<Ask, Refused> {
        read(&Method::GET, path, &query_params(query), LIMITS)
    }

    #[test]
    fn cursors_cannot_be_made_up() {
        let ask = get("/v2/orders", &format!("cursor={}", cursor(5, 300))).unwrap();
        assert_eq!((ask.start, ask.limit), (300, 100));
        for bad in ["12c", "12c.000000", &cursor(6, 300)] {
            assert_eq!(get("/v2/orders", &format!("cursor={bad}")).unwrap_err().0, 400);
        }
    }

    #[test]
    fn pages_and_offsets() {
        assert_eq!(get("/v2/paged/orders", "page=3&per_page=50").unwrap().start, 100);
        assert_eq!(get("/bearer/v2/offset/orders", "offset=30&limit=10").unwrap().start, 30);
        assert_eq!(get("/v2/paged/orders", "page=0").unwrap_err().0, 422);
        assert_eq!(get("/v2/paged/orders", "page=x").unwrap_err().0, 422);
        assert_eq!(get("/v2/search/orders", "").unwrap_err().0, 405);
        assert_eq!(get("/v2/regions/mars/orders", "").unwrap_err().0, 404);
        assert_eq!(get("/v2/regions/us/orders", "").unwrap().view, View::region("us").unwrap());
        assert_eq!(get("/v2/accounts/acc%205/orders", "").unwrap().view, View::account(5, 7));
        assert_eq!(get("/v2/accounts/acc%207/orders", "").unwrap_err().0, 404);
        let window = get("/v2/orders", "since=2024-01-01T00:00:10Z&until=1704067220").unwrap().view;
        assert_eq!((window.first, window.len(1000)), (10, 10));
        assert_eq!(get("/v2/orders", "since=1704067210&to=1704067219").unwrap().view, window);
    }

    #[test]
    fn next_urls_keep_parameters_but_never_the_key() {
        let params = query_params("api_key=secret&limit=7&page=2");
        let ask = read(&Method::GET, "/query-key/v2/link/orders", &params, LIMITS).unwrap();
        let link =
            &ask.envelope(&params, &Around { next: Some(14), total: 100, seed: 5, origin: "http://h" }).headers[0].1;
        assert!(link.contains("<http://h/query-key/v2/link/orders?limit=7&page=3>"), "{link}");
        assert!(!link.contains("secret"));
    }
}
