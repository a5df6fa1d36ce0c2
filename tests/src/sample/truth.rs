//! The oracle: what was asked, what was served, and which ids an export must hold.

use super::data::{Data, REGIONS, View};
use super::faults::Kind;
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;

/// Which page: the way of paging, the view, and the first record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PageKey {
    /// The way of paging, e.g. `cursor`.
    pub pager: &'static str,
    /// The view.
    pub view: View,
    /// The view's first record on the page.
    pub start: u64,
}

/// How often a page was asked for and served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PageCount {
    /// Records on the page.
    pub records: u64,
    /// Requests, whatever became of them.
    pub asked: u64,
    /// Whole, faultless answers.
    pub served: u64,
}

/// What the API has seen since its start or the last reset.
#[derive(Clone, Debug, Default)]
pub struct Truth {
    /// Requests for data with sufficient credentials.
    pub requests: u64,
    /// Requests refused with 401.
    pub unauthorized: u64,
    /// Requests that carried any credential at all.
    pub with_credentials: u64,
    /// Requests for which there is no route, or with wrong parameters.
    pub misdirected: u64,
    /// Faults, by kind.
    pub faults: BTreeMap<Kind, u64>,
    /// Connections accepted.
    pub connections: u64,
    /// Requests under way now.
    pub under_way: u64,
    /// Most requests under way at the same time.
    pub most_at_once: u64,
    /// Every page that was asked for.
    pub pages: BTreeMap<PageKey, PageCount>,
}

/// The ids a view must give, in a form that does not grow with them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Expected {
    /// First id.
    pub first: u64,
    /// Distance between two ids.
    pub step: u64,
    /// Number of ids.
    pub count: u64,
    /// SHA-256 over the ids in order, each as decimal digits and a line feed.
    pub sha256: String,
}

impl Truth {
    /// Pages asked for more than once.
    pub fn pages_asked_again(&self) -> u64 {
        self.pages.values().filter(|page| page.asked > 1).count() as u64
    }

    /// Requests beyond the first of each page.
    pub fn repeated_requests(&self) -> u64 {
        self.pages.values().map(|page| page.asked.saturating_sub(1)).sum()
    }

    /// Whether each record of a view was served at least once by a way of paging.
    pub fn served_whole(&self, pager: &str, view: View, records: u64) -> bool {
        let mut next = 0;
        for (key, page) in self.pages.iter().filter(|(key, _)| key.pager == pager && key.view == view) {
            // The empty page that says where the end is, or one asked for in vain.
            if page.records == 0 && key.start >= view.len(records) {
                continue;
            }
            if page.served == 0 || key.start > next {
                return false;
            }
            next = next.max(key.start + page.records);
        }
        next >= view.len(records)
    }

    /// The whole as JSON, for `GET /_control/truth`.
    pub fn to_json(&self, data: &Data) -> serde_json::Value {
        let mut pages: BTreeMap<String, Vec<serde_json::Value>> = BTreeMap::new();
        for (key, page) in &self.pages {
            let row = serde_json::json!([key.start, page.records, page.asked, page.served]);
            pages.entry(format!("{}/{}", key.pager, key.view.name())).or_default().push(row);
        }
        let views = REGIONS.iter().filter_map(|region| View::region(region)).chain([View::ALL]);
        let ids: BTreeMap<_, _> = views.map(|view| (view.name(), expected(data, view))).collect();
        serde_json::json!({
            "seed": data.seed,
            "records": data.records,
            "ids": ids,
            "requests": self.requests,
            "unauthorized": self.unauthorized,
            "with_credentials": self.with_credentials,
            "misdirected": self.misdirected,
            "connections": self.connections,
            "most_at_once": self.most_at_once,
            "faults": self.faults,
            "pages_asked_again": self.pages_asked_again(),
            "repeated_requests": self.repeated_requests(),
            "page_columns": ["start", "records", "asked", "served"],
            "pages": pages,
        })
    }
}

/// The ids a view must give.
pub fn expected(data: &Data, view: View) -> Expected {
    Expected {
        first: view.first + 1,
        step: view.step,
        count: view.len(data.records),
        sha256: ids_sha256(view.ids(data.records)),
    }
}

/// SHA-256 over ids in order, each as decimal digits and a line feed.
pub fn ids_sha256(ids: impl Iterator<Item = u64>) -> String {
    let mut hash = Sha256::new();
    for id in ids {
        hash.update(format!("{id}\n"));
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_or_an_unserved_page_is_seen() {
        let mut truth = Truth::default();
        let key = |start| PageKey { pager: "cursor", view: View::ALL, start };
        truth.pages.insert(key(0), PageCount { records: 10, asked: 1, served: 1 });
        truth.pages.insert(key(10), PageCount { records: 10, asked: 3, served: 1 });
        assert!(truth.served_whole("cursor", View::ALL, 20));
        assert!(!truth.served_whole("cursor", View::ALL, 21));
        assert_eq!((truth.pages_asked_again(), truth.repeated_requests()), (1, 2));
        truth.pages.insert(key(10), PageCount { records: 10, asked: 3, served: 0 });
        assert!(!truth.served_whole("cursor", View::ALL, 20));
    }

    #[test]
    fn ids_hash_in_order() {
        assert_ne!(ids_sha256([1, 2].into_iter()), ids_sha256([2, 1].into_iter()));
        assert_ne!(ids_sha256([1, 2].into_iter()), ids_sha256([12].into_iter()));
    }
}
