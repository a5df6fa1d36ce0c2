//! A collection that changes: rows with a time of their last change, changed by tests between requests or at one of them.
//!
//! `GET /v2/table/{page|offset|cursor|next-url}/items?updated_since=&updated_until=&order=id|newest` answers
//! `{"data", "total", "next"}`: both bounds inclusive; `page`/`per_page`, `offset`/`limit`, or `cursor` (the last id seen).
//! `part=&parts=` leaves the rows whose id has this remainder.

use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Path prefix of the collection.
pub const PREFIX: &str = "/v2/table/";

/// Rows of a page unless the client asks otherwise.
const PAGE: usize = 10;

/// A change of the collection.
#[derive(Clone, Debug)]
pub enum Change {
    /// A row is there, with this text, changed at this time.
    Put(u64, String, String),
    /// A row is gone.
    Remove(u64),
}

/// The rows by id, and what changes when.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// Time of the last change and text.
    rows: BTreeMap<u64, (String, String)>,
    /// Changes that happen before the n-th request (from 1) is answered.
    planned: BTreeMap<u64, Vec<Change>>,
    requests: u64,
    /// The queries so far.
    queries: Vec<String>,
    /// Rows given so far.
    given: u64,
    /// The request from which on nobody is answered.
    held: Option<u64>,
    /// Fields that only later rows have: the first id of them, and the name.
    later: Vec<(u64, &'static str)>,
}

impl Table {
    /// Carries out changes now.
    pub fn change(&mut self, changes: impl IntoIterator<Item = Change>) {
        for change in changes {
            match change {
                Change::Put(id, at, text) => drop(self.rows.insert(id, (at, text))),
                Change::Remove(id) => drop(self.rows.remove(&id)),
            }
        }
    }

    /// Carries out changes before the n-th request from now (from 1) is answered.
    pub fn plan(&mut self, request: u64, changes: Vec<Change>) {
        self.planned.entry(self.requests + request).or_default().extend(changes);
    }

    /// The n-th request from now (from 1) and all later ones wait until they are let go.
    pub fn hold(&mut self, request: u64) {
        self.held = Some(self.requests + request);
    }

    /// Lets requests go.
    pub fn release(&mut self) {
        self.held = None;
    }

    /// Whether the next request has to wait.
    pub fn holds(&self) -> bool {
        self.held.is_some_and(|from| self.requests + 1 >= from)
    }

    /// Rows from this id on have one field more.
    pub fn widen(&mut self, from: u64, name: &'static str) {
        self.later.push((from, name));
    }

    /// Forgets what was asked and given so far.
    pub fn forget_queries(&mut self) {
        self.queries.clear();
        self.given = 0;
    }

    /// The queries since then.
    pub fn queries(&self) -> &[String] {
        &self.queries
    }

    /// Rows given since then.
    pub fn given(&self) -> u64 {
        self.given
    }

    /// The rows as they are now, by id, as the API gives them.
    pub fn rows(&self) -> BTreeMap<u64, Value> {
        self.rows.iter().map(|(id, (at, text))| (*id, self.row(*id, at, text))).collect()
    }

    /// Answers a request; `origin` is what next URLs start with.
    pub fn answer(&mut self, origin: &str, path: &str, query: &str) -> (u16, String) {
        self.requests += 1;
        if let Some(changes) = self.planned.remove(&self.requests) {
            self.change(changes);
        }
        self.queries.push(query.to_owned());
        let params: BTreeMap<String, String> = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let Some(pager) = path.strip_prefix(PREFIX).and_then(|rest| rest.strip_suffix("/items")) else {
            return (404, r#"{"error":"no such table"}"#.into());
        };
        let bound = |name: &str| params.get(name).cloned();
        let (since, until) = (bound("updated_since"), bound("updated_until"));
        let wanted = |at: &String| {
            since.as_ref().is_none_or(|since| at >= since) && until.as_ref().is_none_or(|until| at <= until)
        };
        let number = |name: &str, default: usize| params.get(name).and_then(|n| n.parse().ok()).unwrap_or(default);
        let (part, parts) = (number("part", 0) as u64, number("parts", 1).max(1) as u64);
        let mut rows: Vec<(u64, &str, &str)> = self
            .rows
            .iter()
            .filter(|(id, (at, _))| *id % parts == part % parts && wanted(at))
            .map(|(id, (at, text))| (*id, at.as_str(), text.as_str()))
            .collect();
        if params.get("order").is_some_and(|order| order == "newest") {
            rows.sort_by(|a, b| (b.1, b.0).cmp(&(a.1, a.0)));
        }
        let (start, limit) = match pager {
            "page" => {
                let size = number("per_page", PAGE).max(1);
                (number("page", 1).saturating_sub(1) * size, size)
            }
            "offset" => (number("offset", 0), number("limit", PAGE).max(1)),
            "cursor" | "next-url" => {
                let after = number("cursor", 0) as u64;
                let seen = |row: &(u64, &str, &str)| row.0 == after;
                (
                    rows.iter().position(seen).map_or_else(|| rows.partition_point(|row| row.0 <= after), |at| at + 1),
                    PAGE,
                )
            }
            _ => return (404, r#"{"error":"no such pager"}"#.into()),
        };
        let total = rows.len();
        let page: Vec<_> = rows.into_iter().skip(start).take(limit).collect();
        let last = page.last().filter(|_| start + limit < total).map(|row| row.0);
        let next = match pager {
            "cursor" => json!(last),
            "next-url" => {
                let keep: Vec<_> = params.iter().filter(|(name, _)| *name != "cursor").collect();
                let url = |last: u64| {
                    let mut query = url::form_urlencoded::Serializer::new(String::new());
                    query.extend_pairs(keep).append_pair("cursor", &last.to_string());
                    format!("{origin}{path}?{}", query.finish())
                };
                json!(last.map(url))
            }
            _ => Value::Null,
        };
        let data: Vec<Value> = page.iter().map(|(id, at, text)| self.row(*id, at, text)).collect();
        self.given += data.len() as u64;
        (200, json!({ "data": data, "total": total, "next": next }).to_string())
    }

    fn row(&self, id: u64, at: &str, text: &str) -> Value {
        let mut row = json!({ "id": id, "updated_at": at, "text": text });
        self.later.iter().filter(|(from, _)| id >= *from).for_each(|(_, name)| row[*name] = id.into());
        row
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(rows: u64) -> Table {
        let mut table = Table::default();
        table.change(
            (1..=rows).map(|id| Change::Put(id, format!("2024-01-01T00:00:{:02}Z", id % 60), format!("t{id}"))),
        );
        table
    }

    fn ids(answer: &(u16, String)) -> Vec<u64> {
        let value: Value = serde_json::from_str(&answer.1).unwrap();
        value["data"].as_array().unwrap().iter().map(|row| row["id"].as_u64().unwrap()).collect()
    }

    #[test]
    fn every_pager_gives_every_row_once() {
        let mut table = table(25);
        assert_eq!(ids(&table.answer("", "/v2/table/page/items", "page=3")), [21, 22, 23, 24, 25]);
        assert_eq!(ids(&table.answer("", "/v2/table/offset/items", "offset=8&limit=3")), [9, 10, 11]);
        assert_eq!(ids(&table.answer("", "/v2/table/cursor/items", "cursor=20")), [21, 22, 23, 24, 25]);
        assert!(
            table
                .answer("http://h", "/v2/table/next-url/items", "x=1")
                .1
                .contains("http://h/v2/table/next-url/items?x=1&cursor=10")
        );
        assert_eq!(table.answer("", "/v2/table/none/items", "").0, 404);
        assert_eq!((table.queries().len(), table.given()), (5, 23));
        assert_eq!(ids(&table.answer("", "/v2/table/page/items", "part=13&parts=10")), [3, 13, 23]);
        table.hold(2);
        assert!(!table.holds());
        assert_eq!(table.answer("", "/v2/table/page/items", "").0, 200);
        assert!(table.holds());
        table.release();
        assert!(!table.holds());
        table.widen(24, "more");
        let last: Value = serde_json::from_str(&table.answer("", "/v2/table/page/items", "page=3").1).unwrap();
        assert_eq!([2, 3].map(|at| last["data"][at].get("more").and_then(Value::as_u64)), [None, Some(24)]);
    }

    #[test]
    fn changes_come_when_they_are_planned() {
        let mut table = table(3);
        table.plan(2, vec![Change::Remove(1), Change::Put(9, "2025".into(), "new".into())]);
        assert_eq!(ids(&table.answer("", "/v2/table/page/items", "")), [1, 2, 3]);
        assert_eq!(ids(&table.answer("", "/v2/table/page/items", "order=newest")), [9, 3, 2]);
        assert_eq!(ids(&table.answer("", "/v2/table/page/items", "updated_since=2024-01-01T00:00:03Z")), [3, 9]);
        assert_eq!(ids(&table.answer("", "/v2/table/page/items", "updated_until=2024-01-01T00:00:02Z")), [2]);
    }
}
