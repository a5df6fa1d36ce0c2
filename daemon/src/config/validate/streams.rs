//! Streams: requests, paginators, declared types.

use super::Check;
use super::auth::auth_param;
use super::requests::Fixed;
use crate::config::param::body_path;
use crate::config::path::KeyPath;
use crate::config::problem::Mistake;
use crate::config::settings::{Method, NumberPages, Paginate, ParamIn, Rest, Stream, TotalMismatch};
use crate::model::schema::{RESCUED, Type};

/// Statuses that are never the end: credentials, time-outs, too many requests.
const NEVER_THE_END: [u16; 6] = [401, 403, 407, 408, 425, 429];

impl Check<'_> {
    pub(super) fn stream(&mut self, path: &KeyPath, rest: &Rest, stream: &Stream) {
        self.request_path(&path.key("path"), &stream.path);
        self.headers(&path.key("headers"), &stream.headers, rest.auth.as_ref());
        self.query(&path.key("query"), &stream.query, rest.auth.as_ref());
        self.json_path(&path.key("records"), &stream.records);
        if let Some(total) = &stream.total {
            self.place_in_answer(&path.key("total"), total);
        }
        if stream.total_mismatch == TotalMismatch::Fail && stream.total.is_none() {
            let mistake = Mistake::key(&path.key("total_mismatch"), "stands without total");
            self.wrong(mistake.hint("write e.g. total: $.total"));
        }
        self.answers(&path.key("answers"), &stream.answers);
        if let Some(checksum) = &stream.checksum {
            self.checksum(&path.key("checksum"), checksum);
        }
        self.body(path, stream);
        let fixed = Fixed { query: [&rest.query, &stream.query], auth: auth_param(rest.auth.as_ref()) };
        self.paginate(&path.key("paginate"), stream, &fixed);
        self.incremental(path, stream, &fixed);
        self.partition(path, rest, stream);
        self.fields(path, stream);
        self.transform(path, stream);
        self.schema(path, stream);
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

    fn paginate(&mut self, path: &KeyPath, stream: &Stream, fixed: &Fixed<'_>) {
        let kind = match &stream.paginate {
            Paginate::None {} => "none",
            Paginate::Cursor(pages) => {
                let path = path.key("cursor");
                self.place_in_answer(&path.key("from"), &pages.from);
                self.params(&path, stream, fixed, &[("param", &pages.param)]);
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
                let path = path.key("page");
                let size = pages.size_param.as_deref().map(|param| ("size_param", param));
                let params: Vec<_> = std::iter::once(("param", pages.param.as_str())).chain(size).collect();
                self.params(&path, stream, fixed, &params);
                self.page_size(&path, pages);
                self.end_status(&path, &pages.end_status);
                "page"
            }
            Paginate::Offset(pages) => {
                let path = path.key("offset");
                self.params(&path, stream, fixed, &[("param", &pages.param), ("limit_param", &pages.limit_param)]);
                self.end_status(&path, &pages.end_status);
                "offset"
            }
        };
        if in_body(&stream.paginate) && stream.method == Method::Get {
            let mistake = Mistake::value(&path.key(kind).key("in"), "a GET has no body to put parameters in");
            self.wrong(mistake.hint("write method: POST, or in: query"));
        }
    }

    /// The parameters that a paginator sets: keys of the settings, and what they say.
    fn params(&mut self, path: &KeyPath, stream: &Stream, fixed: &Fixed<'_>, params: &[(&str, &str)]) {
        let in_body = in_body(&stream.paginate);
        for (key, name) in params {
            if in_body {
                self.body_param(&path.key(*key), name, stream.body.as_ref());
            } else {
                self.query_param(&path.key(*key), name, fixed);
            }
        }
        let [(_, first), (key, second)] = params else { return };
        let same = match (body_path(first), body_path(second)) {
            (Some(first), Some(second)) if in_body => first.starts_with(&second) || second.starts_with(&first),
            _ => first == second,
        };
        if same {
            let message = if first == second { "is the same as param" } else { "and param lie within one another" };
            self.wrong(Mistake::value(&path.key(*key), message));
        }
    }

    fn page_size(&mut self, path: &KeyPath, pages: &NumberPages) {
        match (&pages.size_param, pages.size) {
            (Some(_), None) => {
                let mistake = Mistake::key(&path.key("size_param"), "stands without size");
                self.wrong(mistake.hint("write e.g. size: 100"));
            }
            (None, Some(_)) => {
                let mistake = Mistake::key(&path.key("size"), "stands without size_param, so it would not be sent");
                self.wrong(mistake.hint("write e.g. size_param: per_page"));
            }
            (Some(_), Some(_)) | (None, None) => {}
        }
    }

    /// Some statuses say something else for sure: taken for the end they would lose records without a word.
    fn end_status(&mut self, path: &KeyPath, statuses: &[u16]) {
        for (index, status) in statuses.iter().enumerate() {
            if NEVER_THE_END.contains(status) {
                let message = format!("{status} speaks of credentials or haste, never of the end");
                self.wrong(Mistake::value(&path.key("end_status").item(index), message));
            }
        }
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
