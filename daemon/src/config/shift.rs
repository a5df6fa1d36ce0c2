//! What a stream's paginator allows against shifts: records that change places while the pages are read.

use super::settings::{OnShift, Paginate, Stream};

/// How a shift of the pages is kept from losing or repeating records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shift {
    /// One answer holds everything.
    Whole,
    /// The source keeps the place: a cursor or a URL of its own leads on.
    Source,
    /// Each page begins with the last record of the page before it.
    Overlap,
    /// Pages are numbered; when the total changes, those around it are asked for again and compared.
    Total,
    /// Pages are numbered; records that come again are noticed, and after an interruption the last page is compared. A record
    /// that vanishes in front of the page being read hides another.
    Repeats,
    /// Nothing would be noticed.
    None,
}

/// Parts of names of parameters that ask for an order.
const ORDERS: [&str; 3] = ["sort", "order", "ordering"];

impl Shift {
    /// What the paginator of a stream allows.
    pub fn of(stream: &Stream) -> Self {
        match &stream.paginate {
            Paginate::None {} => Self::Whole,
            Paginate::Cursor(_) | Paginate::NextUrl(_) | Paginate::Link(_) => Self::Source,
            Paginate::Page(_) | Paginate::Offset(_) if stream.on_shift == OnShift::Keep => Self::None,
            Paginate::Offset(offset) if offset.overlap && offset.limit > 1 => Self::Overlap,
            Paginate::Page(_) | Paginate::Offset(_) if stream.total.is_some() => Self::Total,
            Paginate::Page(_) | Paginate::Offset(_) if !stream.primary_key.is_empty() => Self::Repeats,
            Paginate::Page(_) | Paginate::Offset(_) => Self::None,
        }
    }

    /// The stable word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::Source => "source",
            Self::Overlap => "overlap",
            Self::Total => "total",
            Self::Repeats => "repeats",
            Self::None => "none",
        }
    }
}

/// Whether a parameter of the stream's requests asks for an order: `sort`, `order_by`, `orderBy[]` and the like. Without one
/// many an API gives records in any order, and in another one on the next page.
pub fn ordered(stream: &Stream) -> bool {
    let asks = |name: &str| {
        // Words of the name: `sort_by`, `page[sort]`, `orderBy`.
        let mut words = vec![String::new()];
        for c in name.chars() {
            if !c.is_alphanumeric() || c.is_uppercase() {
                words.push(String::new());
            }
            if let Some(last) = words.last_mut().filter(|_| c.is_alphanumeric()) {
                last.extend(c.to_lowercase());
            }
        }
        let joined: String = name.to_lowercase();
        words.iter().any(|word| ORDERS.contains(&word.as_str())) || joined.ends_with("orderby")
    };
    let body = stream.body.as_ref().and_then(|body| body.as_object());
    stream.query.keys().any(|name| asks(name))
        || body.is_some_and(|body| body.keys().any(|name| asks(name)))
        || stream.path.split_once('?').is_some_and(|(_, query)| query.split('&').any(|pair| asks(name_of(pair))))
}

fn name_of(pair: &str) -> &str {
    pair.split('=').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn stream(paginate: Value, more: Value) -> Stream {
        let mut stream = json!({ "path": "/orders", "paginate": paginate });
        stream.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        serde_json::from_value(stream).unwrap()
    }

    #[test]
    fn only_counted_pages_can_shift() {
        let (page, offset) = (json!({ "page": {} }), json!({ "offset": { "limit": 100 } }));
        let cursor = json!({ "cursor": { "from": "$.next", "param": "cursor" } });
        let (key, total) = (json!({ "primary_key": ["id"] }), json!({ "total": "$.total" }));
        let apart = json!({ "offset": { "limit": 100, "overlap": false } });
        for (paginate, more, word) in [
            (&cursor, json!({}), "source"),
            (&json!({ "link": {} }), key.clone(), "source"),
            (&json!({ "none": {} }), json!({}), "whole"),
            (&page, json!({}), "none"),
            (&page, key.clone(), "repeats"),
            (&page, total.clone(), "total"),
            (&offset, json!({}), "overlap"),
            (&json!({ "offset": { "limit": 1 } }), json!({}), "none"),
            (&apart, key, "repeats"),
            (&apart, total, "total"),
            (&offset, json!({ "on_shift": "keep" }), "none"),
        ] {
            assert_eq!(Shift::of(&stream(paginate.clone(), more.clone())).word(), word, "{paginate} {more}");
        }
    }

    #[test]
    fn an_order_is_asked_for_by_many_names() {
        let asks = |query: Value| ordered(&stream(json!({ "page": {} }), json!({ "query": query })));
        assert!(!asks(json!({ "border": "1", "resort": "x", "orders": "all" })));
        for order in ["sort", "sort_by", "orderBy", "page[sort]", "$orderby", "order", "ordering", "sortOrder"] {
            assert!(asks(json!({ order: "id" })), "{order}");
        }
    }
}
