//! What a stream's paginator allows against shifts: records that change places while the pages are read.

use super::settings::{Paginate, Stream};

/// How a shift of the pages is kept from losing or repeating records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shift {
    /// One answer holds everything.
    Whole,
    /// The source keeps the place: a cursor or a URL of its own leads on.
    Source,
    /// Pages are counted, in an order that the request asks for.
    Order,
    /// Pages are counted, and nothing is known of their order.
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
            Paginate::Page(_) | Paginate::Offset(_) if ordered(stream) => Self::Order,
            Paginate::Page(_) | Paginate::Offset(_) => Self::None,
        }
    }

    /// The stable word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::Source => "source",
            Self::Order => "order",
            Self::None => "none",
        }
    }
}

/// Whether a parameter of the request asks for an order: `sort`, `order_by`, `orderBy[]` and the like.
fn ordered(stream: &Stream) -> bool {
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
    use serde_json::json;

    fn shift(paginate: serde_json::Value, query: serde_json::Value) -> Shift {
        let stream = json!({ "path": "/orders", "paginate": paginate, "query": query });
        Shift::of(&serde_json::from_value(stream).unwrap())
    }

    #[test]
    fn only_counted_pages_can_shift() {
        let cursor = json!({ "cursor": { "from": "$.next", "param": "cursor" } });
        assert_eq!(shift(cursor, json!({})), Shift::Source);
        assert_eq!(shift(json!({ "link": {} }), json!({})), Shift::Source);
        assert_eq!(shift(json!({ "none": {} }), json!({})), Shift::Whole);
        assert_eq!(shift(json!({ "page": {} }), json!({})), Shift::None);
        let offset = json!({ "offset": { "limit": 100 } });
        assert_eq!(shift(offset.clone(), json!({ "border": "1", "resort": "x", "orders": "all" })), Shift::None);
        for order in ["sort", "sort_by", "orderBy", "page[sort]", "$orderby", "order", "ordering", "sortOrder"] {
            assert_eq!(shift(offset.clone(), json!({ order: "id" })), Shift::Order, "{order}");
        }
    }
}
