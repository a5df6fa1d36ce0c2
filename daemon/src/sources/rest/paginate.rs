//! From one page to the next: pure functions of the paginator, the cursor of a page and what came with it.

use super::link;
use super::spec::At;
use crate::config::param::body_path;
use crate::config::settings::{Paginate, ParamIn};
use crate::model::offset::PageCursor;
use crate::record::locate::Located;
use http::{HeaderMap, HeaderName, header};
use serde::de::IgnoredAny;
use serde_json::Value;

/// Where a single value of an answer stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the body: the slot of the locator.
    Slot(usize),
    /// In a header.
    Header(HeaderName),
}

/// A parameter of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Param {
    /// In the query, by this name.
    Query(String),
    /// In the JSON body, behind these keys.
    Body(Vec<String>),
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
        param: Param,
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
        param: Param,
        /// The first page.
        start: u64,
        /// Parameter and value of the page size.
        size: Option<(Param, u64)>,
        /// Statuses that are the end, behind the first page.
        end_status: Vec<u16>,
    },
    /// Offset and limit.
    Offset {
        /// Parameter of the offset.
        param: Param,
        /// Parameter of the limit.
        limit_param: Param,
        /// Records per page.
        limit: u64,
        /// Whether each page but the first begins with the last record of the page before it.
        overlap: bool,
        /// Statuses that are the end, behind the first page.
        end_status: Vec<u16>,
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
            Self::Header(name) => header_text(name, seen)?,
            Self::Slot(slot) => match slot_text(*slot, seen).map(|json| (json, serde_json::from_str(json))) {
                None | Some((_, Ok(Value::Null | Value::Bool(false)))) => None,
                Some((_, Ok(Value::String(text)))) => Some(text),
                // The digits as they stand there, not as a number would be written again.
                Some((json, Ok(Value::Number(_)))) => Some(json.to_owned()),
                Some(_) => return Err("the value that should lead on is neither text nor number".to_owned()),
            },
        };
        Ok(text.filter(|text| !text.is_empty()))
    }

    /// The value as JSON text, as it stands there; `None` where there is none, or null, false or an empty one.
    pub fn read_json(&self, seen: &Seen<'_>) -> Result<Option<String>, String> {
        let slot = match self {
            Self::Header(name) => return Ok(header_text(name, seen)?.map(|text| Value::from(text).to_string())),
            Self::Slot(slot) => *slot,
        };
        let json = slot_text(slot, seen);
        Ok(json.filter(|json| !matches!(*json, "null" | "false" | "\"\"" | "[]" | "{}")).map(str::to_owned))
    }
}

fn header_text(name: &HeaderName, seen: &Seen<'_>) -> Result<Option<String>, String> {
    let text = seen.headers.get(name).map(|value| value.to_str().map(str::trim)).transpose();
    let text = text.map_err(|_| format!("the header {name} is not ASCII text"))?;
    Ok(text.filter(|text| !text.is_empty()).map(str::to_owned))
}

/// What the locator found; the whole body has passed as JSON, so that this is text.
fn slot_text<'a>(slot: usize, seen: &Seen<'a>) -> Option<&'a str> {
    let range = seen.located.values.get(slot).cloned().flatten()?;
    let json = seen.body.get(range.start as usize..range.end as usize)?;
    std::str::from_utf8(json).ok().map(str::trim)
}

impl Param {
    /// Compiles the name of a parameter, or its place in the body.
    pub fn compile(text: &str, place: ParamIn) -> Result<Self, String> {
        match place {
            ParamIn::Query => Ok(Self::Query(text.to_owned())),
            ParamIn::Body => body_path(text).map(Self::Body).ok_or_else(|| "this is no place in the body".to_owned()),
        }
    }

    /// A token in the form in which this parameter takes it: as it is, or as JSON. A body's tokens are JSON already,
    /// unless somebody has set the offset by hand.
    fn token(&self, token: &str) -> String {
        match self {
            Self::Body(_) if serde_json::from_str::<IgnoredAny>(token).is_err() => Value::from(token).to_string(),
            Self::Query(_) | Self::Body(_) => token.to_owned(),
        }
    }
}

impl Pager {
    /// Compiles the settings of a paginator; the JSONPaths it needs come along. `watched` says whether shifts are of interest.
    pub fn compile(settings: &Paginate, watched: bool) -> Result<(Self, Vec<String>), At> {
        let mut paths = Vec::new();
        let mut place = |key: &str, text: &str| {
            Place::compile(text, &mut paths).map_err(|reason| At::new(&format!("paginate.{key}"), &reason))
        };
        let param = |key: &str, text: &str, place: ParamIn| {
            Param::compile(text, place).map_err(|reason| At::new(&format!("paginate.{key}"), &reason))
        };
        let pager = match settings {
            Paginate::None {} => Self::None,
            Paginate::Cursor(c) => {
                Self::Cursor { from: place("cursor.from", &c.from)?, param: param("cursor.param", &c.param, c.place)? }
            }
            Paginate::NextUrl(n) => Self::NextUrl { from: place("next_url.from", &n.from)? },
            Paginate::Link(l) => Self::Link { rel: l.rel.clone() },
            Paginate::Page(p) => {
                let size = p.size_param.as_deref().zip(p.size.map(u64::from));
                if size.is_none() && p.size_param.is_some() {
                    return Err(At::new("paginate.page.size", "`size_param` needs a `size`"));
                }
                let size = size.map(|(text, size)| Ok((param("page.size_param", text, p.place)?, size))).transpose()?;
                let end_status = p.end_status.clone();
                Self::Page { param: param("page.param", &p.param, p.place)?, start: p.start, size, end_status }
            }
            Paginate::Offset(o) if o.limit == 0 => {
                return Err(At::new("paginate.offset.limit", "at least 1 is needed"));
            }
            Paginate::Offset(o) => Self::Offset {
                param: param("offset.param", &o.param, o.place)?,
                limit_param: param("offset.limit_param", &o.limit_param, o.place)?,
                limit: u64::from(o.limit),
                // A page of one record that overlaps leads nowhere.
                overlap: watched && o.overlap && o.limit > 1,
                end_status: o.end_status.clone(),
            },
        };
        Ok((pager, paths))
    }

    /// Whether its parameters go into the body.
    pub fn in_body(&self) -> bool {
        match self {
            Self::Cursor { param, .. } | Self::Page { param, .. } | Self::Offset { param, .. } => {
                matches!(param, Param::Body(_))
            }
            Self::None | Self::NextUrl { .. } | Self::Link { .. } => false,
        }
    }

    /// The parameters of the page at `cursor`, which begins `overlap` records before it, each with its text (in a body: its
    /// JSON text); `None` where the cursor is not one of this paginator's.
    pub fn parameters(&self, cursor: &PageCursor, overlap: u64) -> Option<Vec<(&Param, String)>> {
        Some(match (self, cursor) {
            (Self::None | Self::NextUrl { .. } | Self::Link { .. } | Self::Cursor { .. }, PageCursor::Start) => vec![],
            (Self::NextUrl { .. } | Self::Link { .. }, PageCursor::Url(_)) => vec![],
            (Self::Cursor { param, .. }, PageCursor::Token(token)) => vec![(param, param.token(token))],
            (Self::Page { param, size, .. }, _) => {
                let number = (param, self.position(cursor)?.to_string());
                let size = size.iter().map(|(param, size)| (param, size.to_string()));
                std::iter::once(number).chain(size).collect()
            }
            (Self::Offset { param, limit_param, limit, .. }, _) => {
                let first = self.position(cursor)?.saturating_sub(overlap);
                vec![(param, first.to_string()), (limit_param, limit.to_string())]
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

    /// Records at the beginning of the page at `cursor` that were on the page before it.
    pub fn overlap(&self, cursor: &PageCursor) -> u64 {
        u64::from(self.overlaps() && self.position(cursor).is_some_and(|position| position > 0))
    }

    /// Whether its pages overlap.
    pub fn overlaps(&self) -> bool {
        matches!(self, Self::Offset { overlap: true, .. })
    }

    /// The page of `records` records before the one at `cursor`, where it can be asked for once more to see whether the pages
    /// have shifted.
    pub fn before(&self, cursor: &PageCursor, records: u64) -> Option<PageCursor> {
        match (self, cursor) {
            (Self::Page { start, .. }, PageCursor::Page(number)) if number > start => {
                Some(PageCursor::Page(number - 1))
            }
            (Self::Offset { overlap: false, .. }, PageCursor::Record(number)) => {
                number.checked_sub(records).map(PageCursor::Record)
            }
            _ => None,
        }
    }

    /// Whether a page can be asked for before the one in front of it is there.
    pub fn addressable(&self) -> bool {
        matches!(self, Self::Page { .. } | Self::Offset { .. })
    }

    /// The records of a page that it asks for.
    pub fn size(&self) -> Option<u64> {
        match self {
            Self::Page { size, .. } => size.as_ref().map(|(_, size)| *size),
            Self::Offset { limit, .. } => Some(*limit),
            Self::None | Self::Cursor { .. } | Self::NextUrl { .. } | Self::Link { .. } => None,
        }
    }

    /// Its key in the settings.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Cursor { .. } => "cursor",
            Self::NextUrl { .. } => "next_url",
            Self::Link { .. } => "link",
            Self::Page { .. } => "page",
            Self::Offset { .. } => "offset",
        }
    }

    /// Whether an answer of this status to the request for the page at `cursor` says that there are no more pages.
    pub fn ends_with(&self, cursor: &PageCursor, status: u16) -> bool {
        match self {
            Self::Page { end_status, .. } | Self::Offset { end_status, .. } => {
                *cursor != PageCursor::Start && end_status.contains(&status)
            }
            _ => false,
        }
    }

    /// The cursor after the page at `cursor`, where that can be told in advance: `seen` records were on the last page, if
    /// there was one (those included that overlap), for an API may give fewer than it is asked for.
    pub fn guess(&self, cursor: &PageCursor, seen: Option<u64>) -> Option<PageCursor> {
        let position = self.position(cursor)?;
        match self {
            Self::Page { .. } => position.checked_add(1).map(PageCursor::Page),
            Self::Offset { limit, .. } => {
                let new = seen.unwrap_or(*limit).saturating_sub(self.overlap(cursor));
                position.checked_add(new).map(PageCursor::Record)
            }
            _ => None,
        }
    }

    /// Where the page at `cursor` leads, the first `overlap` records of which are not new.
    pub fn next(&self, cursor: &PageCursor, overlap: u64, seen: &Seen<'_>) -> Result<Lead, String> {
        let records = (seen.located.records.len() as u64).saturating_sub(overlap);
        match self {
            Self::None => Ok(Lead::End),
            Self::Cursor { from, param } => {
                let token = if matches!(param, Param::Body(_)) { from.read_json(seen) } else { from.read(seen) };
                Ok(token?.map_or(Lead::End, |token| Lead::Cursor(PageCursor::Token(token))))
            }
            Self::NextUrl { from } => Ok(from.read(seen)?.map_or(Lead::End, Lead::Reference)),
            Self::Link { rel } => {
                let headers = seen.headers.get_all(header::LINK).into_iter().map(|value| value.to_str());
                let headers =
                    headers.collect::<Result<Vec<_>, _>>().map_err(|_| "the Link header is not ASCII text")?;
                let target = link::find(headers, rel).map_err(|error| error.to_string())?;
                Ok(target.map_or(Lead::End, |target| Lead::Reference(target.to_owned())))
            }
            // Never `total`: many an API caps it, or counts something else.
            Self::Page { .. } | Self::Offset { .. } if records == 0 => Ok(Lead::End),
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
