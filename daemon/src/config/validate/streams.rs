//! Streams: requests, paginators, partitions, declared types.

use super::Check;
use crate::config::path::KeyPath;
use crate::config::problem::Mistake;
use crate::config::settings::{Method, NumberPages, OffsetPages, Paginate, ParamIn, PartitionBy, Rest, Stream};
use crate::config::units::SecretText;
use crate::model::schema::{RESCUED, Type};
use std::collections::BTreeMap;

/// Parts of a stream; each has a row in the ledger.
const MAX_PARTITIONS: usize = 10_000;

impl Check<'_> {
    pub(super) fn stream(&mut self, path: &KeyPath, rest: &Rest, stream: &Stream) {
        self.request_path(&path.key("path"), &stream.path);
        self.headers(&path.key("headers"), &stream.headers, rest.auth.as_ref());
        self.query(&path.key("query"), &stream.query, rest.auth.as_ref());
        self.json_path(&path.key("records"), &stream.records);
        if let Some(total) = &stream.total {
            self.place_in_answer(&path.key("total"), total);
        }
        self.body(path, stream);
        let both = [&rest.query, &stream.query];
        let query: &[&BTreeMap<String, SecretText>] = if in_body(&stream.paginate) { &[] } else { &both };
        self.paginate(&path.key("paginate"), stream, query);
        self.partition(path, stream);
        self.fields(path, stream);
    }

    fn body(&mut self, path: &KeyPath, stream: &Stream) {
        let Some(body) = &stream.body else { return };
        let here = path.key("body");
        if stream.method == Method::Get {
            self.wrong(Mistake::key(&here, "a GET has no body").hint("write method: POST"));
        }
        if in_body(&stream.paginate) && !body.is_object() {
            let mistake = Mistake::value(&here, "must be a map, because the paginator puts its values into it");
            self.wrong(mistake.hint("write body: {} or paginate with in: query"));
        }
    }

    fn paginate(&mut self, path: &KeyPath, stream: &Stream, query: &[&BTreeMap<String, SecretText>]) {
        let kind = match &stream.paginate {
            Paginate::None {} => "none",
            Paginate::Cursor(pages) => {
                let path = path.key("cursor");
                self.place_in_answer(&path.key("from"), &pages.from);
                self.param_name(&path.key("param"), &pages.param, query);
                "cursor"
            }
            Paginate::NextUrl(pages) => {
                self.place_in_answer(&path.key("next_url").key("from"), &pages.from);
                "next_url"
            }
            Paginate::Link(pages) => {
                if pages.rel.is_empty() || pages.rel.contains(|c: char| c.is_whitespace() || c.is_control()) {
                    let mistake = Mistake::value(&path.key("link").key("rel"), "is not one relation");
                    self.wrong(mistake.hint("write e.g. next"));
                }
                "link"
            }
            Paginate::Page(pages) => {
                self.page_numbers(&path.key("page"), pages, query);
                "page"
            }
            Paginate::Offset(pages) => {
                self.offsets(&path.key("offset"), pages, query);
                "offset"
            }
        };
        if in_body(&stream.paginate) && stream.method == Method::Get {
            let mistake = Mistake::value(&path.key(kind).key("in"), "a GET has no body to put parameters in");
            self.wrong(mistake.hint("write method: POST, or in: query"));
        }
    }

    fn page_numbers(&mut self, path: &KeyPath, pages: &NumberPages, query: &[&BTreeMap<String, SecretText>]) {
        self.param_name(&path.key("param"), &pages.param, query);
        if let Some(param) = &pages.size_param {
            self.param_name(&path.key("size_param"), param, query);
            if *param == pages.param {
                self.wrong(Mistake::value(&path.key("size_param"), "is the same as param"));
            }
            if pages.size.is_none() {
                self.wrong(Mistake::key(&path.key("size_param"), "stands without size").hint("write e.g. size: 100"));
            }
        } else if pages.size.is_some() {
            let mistake = Mistake::key(&path.key("size"), "stands without size_param, so it would not be sent");
            self.wrong(mistake.hint("write e.g. size_param: per_page"));
        }
    }

    fn offsets(&mut self, path: &KeyPath, pages: &OffsetPages, query: &[&BTreeMap<String, SecretText>]) {
        self.param_name(&path.key("param"), &pages.param, query);
        self.param_name(&path.key("limit_param"), &pages.limit_param, query);
        if pages.param == pages.limit_param {
            self.wrong(Mistake::value(&path.key("limit_param"), "is the same as param"));
        }
    }

    fn partition(&mut self, path: &KeyPath, stream: &Stream) {
        let Some(PartitionBy::List(list)) = &stream.partition else { return };
        let values = path.key("partition").key("list").key("values");
        if list.values.len() > MAX_PARTITIONS {
            let message = format!("has {} values; at most {MAX_PARTITIONS} are supported", list.values.len());
            self.wrong(Mistake::value(&values, message));
        }
        self.repeated(&values, list.values.iter().map(String::as_str));
    }

    fn fields(&mut self, path: &KeyPath, stream: &Stream) {
        let keys = path.key("primary_key");
        self.repeated(&keys, stream.primary_key.iter().map(String::as_str));
        for (index, field) in stream.primary_key.iter().enumerate() {
            if field.is_empty() {
                self.wrong(Mistake::value(&keys.item(index), "is empty"));
            }
        }
        for (field, text) in &stream.types {
            let here = path.key("types").key(field);
            if field.split('.').any(str::is_empty) {
                self.wrong(Mistake::key(&here, "is not the name of a field"));
            }
            if field.split('.').next() == Some(RESCUED) {
                self.wrong(Mistake::key(&here, format!("{RESCUED:?} is a column of the daemon's own")));
            }
            if let Err(why) = Type::parse(text) {
                self.wrong(Mistake::value(&here, why));
            }
        }
    }
}

fn in_body(paginate: &Paginate) -> bool {
    let place = match paginate {
        Paginate::Cursor(pages) => pages.place,
        Paginate::Page(pages) => pages.place,
        Paginate::Offset(pages) => pages.place,
        Paginate::None {} | Paginate::NextUrl(_) | Paginate::Link(_) => ParamIn::Query,
    };
    place == ParamIn::Body
}
