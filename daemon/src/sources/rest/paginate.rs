//! From one page to the next: pure functions of the paginator, the cursor of a page and what came with it.

use super::link;
use super::spec::At;
use crate::config::settings::{Paginate, ParamIn};
use crate::model::offset::PageCursor;
use crate::record::locate::Located;
use http::{HeaderMap, HeaderName, header};
use serde_json::Value;

/// Where a single value of an answer stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the body: the slot of the locator.
    Slot(usize),
    /// In a header.
    Header(HeaderName),
}

/// A compiled paginator.
#[derive(Clone, Debug, PartialEq)]
pub enum Pager {
    /// One page is all.
    None,
    /// A cursor in the answer.
    Cursor {
        /// Where it stands.
        from: Place,
        /// Parameter that takes it.
        param: String,
        /// Where the parameter goes.
        place: ParamIn,
    },
    /// A URL in the answer.
    NextUrl {
        /// Where it stands.
        from: Place,
    },
    /// A link header.
    Link {
        /// The relation.
        rel: String,
    },
    /// A page number.
    Page {
        /// Parameter that takes it.
        param: String,
        /// The first page.
        start: u64,
        /// Parameter and value of the page size.
        size: Option<(String, u64)>,
        /// Where the parameters go.
        place: ParamIn,
    },
    /// Offset and limit.
    Offset {
        /// Parameter of the offset.
        param: String,
        /// Parameter of the limit.
        limit_param: String,
        /// Records per page.
        limit: u64,
        /// Where the parameters go.
        place: ParamIn,
    },
}

/// What came with a page.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// The headers.
    pub headers: &'a HeaderMap,
    /// The body.
    pub body: &'a [u8],
    /// What was found in it.
    pub located: &'a Located,
    /// Records of the partition up to the end of this page.
    pub partition_records: u64,
    /// Records of the partition in all, if the source says so.
    pub total: Option<u64>,
}

/// What the page says about the one after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lead {
    /// This was the last one.
    End,
    /// It is behind this cursor.
    Cursor(PageCursor),
    /// It is at this URL, not yet resolved or judged.
    Reference(String),
}

impl Place {
    /// Reads `header NAME`, or takes a JSONPath and adds it to `paths`.
    pub fn compile(text: &str, paths: &mut Vec<String>) -> Result<Self, String> {
        if let Some(name) = text.strip_prefix("header ") {
            let name = HeaderName::from_bytes(name.trim().as_bytes());
            return name.map(Self::Header).map_err(|_| "this is not the name of a header".to_owned());
        }
        paths.push(text.to_owned());
        Ok(Self::Slot(paths.len() - 1))
    }

    /// The value as text; `None` where there is none, or null, false or an empty one.
    pub fn read(&self, seen: &Seen<'_>) -> Result<Option<String>, String> {
        let text = match self {
            Self::Header(name) => match seen.headers.get(name).map(header::HeaderValue::to_str) {
                None => None,
                Some(Ok(text)) => Some(text.trim().to_owned()),
                Some(Err(_)) => return Err(format!("the header {name} is not ASCII text")),
            },
            Self::Slot(slot) => {
                let range = seen.located.values.get(*slot).cloned().flatten();
                let json = range.and_then(|range| seen.body.get(range.start as usize..range.end as usize));
                match json.map(serde_json::from_slice) {
                    None | Some(Ok(Value::Null | Value::Bool(false))) => None,
                    Some(Ok(Value::String(text))) => Some(text),
                    // The digits as they stand there, not as a number would be written again.
                    Some(Ok(Value::Number(_))) => json.map(|json| String::from_utf8_lossy(json).trim().to_owned()),
                    Some(_) => return Err("the value that should lead on is neither text nor number".to_owned()),
                }
            }
        };
        Ok(text.filter(|text| !text.is_empty()))
    }
}

impl Pager {
    /// Compiles the settings of a paginator; the JSONPaths it needs come along.
    pub fn compile(settings: &Paginate) -> Result<(Self, Vec<String>), At> {
        let mut paths = Vec::new();
        let mut place = |key: &str, text: &str| {
            Place::compile(text, &mut paths).map_err(|reason| At::new(&format!("paginate.{key}"), &reason))
        };
        let pager = match settings {
            Paginate::None {} => Self::None,
            Paginate::Cursor(c) => {
                Self::Cursor { from: place("cursor.from", &c.from)?, param: c.param.clone(), place: c.place }
            }
            Paginate::NextUrl(n) => Self::NextUrl { from: place("next_url.from", &n.from)? },
            Paginate::Link(l) => Self::Link { rel: l.rel.clone() },
            Paginate::Page(p) => {
                let size = p.size_param.clone().zip(p.size.map(u64::from));
                if size.is_none() && p.size_param.is_some() {
                    return Err(At::new("paginate.page.size", "`size_param` needs a `size`"));
                }
                Self::Page { param: p.param.clone(), start: p.start, size, place: p.place }
            }
            Paginate::Offset(o) if o.limit == 0 => {
                return Err(At::new("paginate.offset.limit", "at least 1 is needed"));
            }
            Paginate::Offset(o) => Self::Offset {
                param: o.param.clone(),
                limit_param: o.limit_param.clone(),
                limit: u64::from(o.limit),
                place: o.place,
            },
        };
        Ok((pager, paths))
    }

    /// Where its parameters go, if it has any.
    pub fn place(&self) -> Option<ParamIn> {
        match self {
            Self::Cursor { place, .. } | Self::Page { place, .. } | Self::Offset { place, .. } => Some(*place),
            _ => None,
        }
    }

    /// The parameters of the page at `cursor`; `None` where the cursor is not one of this paginator's.
    pub fn parameters(&self, cursor: &PageCursor) -> Option<Vec<(String, Value)>> {
        Some(match (self, cursor) {
            (Self::None | Self::NextUrl { .. } | Self::Link { .. } | Self::Cursor { .. }, PageCursor::Start) => vec![],
            (Self::NextUrl { .. } | Self::Link { .. }, PageCursor::Url(_)) => vec![],
            (Self::Cursor { param, .. }, PageCursor::Token(token)) => vec![(param.clone(), token.as_str().into())],
            (Self::Page { param, size, .. }, _) => {
                let number = (param.clone(), self.position(cursor)?.into());
                let size = size.iter().map(|(param, size)| (param.clone(), (*size).into()));
                std::iter::once(number).chain(size).collect()
            }
            (Self::Offset { param, limit_param, limit, .. }, _) => {
                vec![(param.clone(), self.position(cursor)?.into()), (limit_param.clone(), (*limit).into())]
            }
            _ => return None,
        })
    }

    /// The number of a page, or of its first record.
    fn position(&self, cursor: &PageCursor) -> Option<u64> {
        match (self, cursor) {
            (Self::Page { start, .. }, PageCursor::Start) => Some(*start),
            (Self::Page { .. }, PageCursor::Page(number)) => Some(*number),
            (Self::Offset { .. }, PageCursor::Start) => Some(0),
            (Self::Offset { .. }, PageCursor::Record(number)) => Some(*number),
            _ => None,
        }
    }

    /// Whether a page can be asked for before the one in front of it is there.
    pub fn addressable(&self) -> bool {
        matches!(self, Self::Page { .. } | Self::Offset { .. })
    }

    /// The cursor after a full page at `cursor`, where that can be told in advance.
    pub fn guess(&self, cursor: &PageCursor) -> Option<PageCursor> {
        let position = self.position(cursor)?;
        match self {
            Self::Page { .. } => position.checked_add(1).map(PageCursor::Page),
            Self::Offset { limit, .. } => position.checked_add(*limit).map(PageCursor::Record),
            _ => None,
        }
    }

    /// Where the page at `cursor` leads.
    pub fn next(&self, cursor: &PageCursor, seen: &Seen<'_>) -> Result<Lead, String> {
        let records = seen.located.records.len() as u64;
        match self {
            Self::None => Ok(Lead::End),
            Self::Cursor { from, .. } => {
                Ok(from.read(seen)?.map_or(Lead::End, |token| Lead::Cursor(PageCursor::Token(token))))
            }
            Self::NextUrl { from } => Ok(from.read(seen)?.map_or(Lead::End, Lead::Reference)),
            Self::Link { rel } => {
                let headers = seen.headers.get_all(header::LINK).into_iter().map(|value| value.to_str());
                let headers =
                    headers.collect::<Result<Vec<_>, _>>().map_err(|_| "the Link header is not ASCII text")?;
                let target = link::find(headers, rel).map_err(|error| error.to_string())?;
                Ok(target.map_or(Lead::End, |target| Lead::Reference(target.to_owned())))
            }
            // More records than `total` say that it is not to be trusted: the empty page will tell.
            Self::Page { .. } | Self::Offset { .. } if records == 0 || seen.total == Some(seen.partition_records) => {
                Ok(Lead::End)
            }
            Self::Page { .. } | Self::Offset { .. } => {
                let step = if matches!(self, Self::Page { .. }) { 1 } else { records };
                let position = self.position(cursor).and_then(|position| position.checked_add(step));
                let position = position.ok_or("the page's number is too large")?;
                let page = matches!(self, Self::Page { .. });
                Ok(Lead::Cursor(if page { PageCursor::Page(position) } else { PageCursor::Record(position) }))
            }
        }
    }
}
