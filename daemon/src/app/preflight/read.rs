//! Credentials and the first page of a stream: what came, and where it leads.

use super::steps::{Found, Steps};
use crate::base::clock;
use crate::base::error::Chain;
use crate::base::ids::Name;
use crate::config::settings::{OnShift, Paginate, Rest, Stream};
use crate::config::shift::{Shift, ordered};
use crate::model::offset::PageCursor;
use crate::record::page::Page;
use crate::sources::rest::{First, RestError, RestSource, Trouble};
use saas_export_api::plural;
use serde_json::Value;

/// Numbers of records that look like the default size of a page.
const ROUND: [usize; 8] = [10, 20, 25, 30, 50, 100, 200, 500];

/// A stream that is asked for its first page.
pub struct Asked<'a> {
    /// The export.
    pub export: &'a Name,
    /// The stream.
    pub stream: &'a Name,
    /// What the steps are told of.
    pub subject: &'a str,
    /// The stream's settings.
    pub settings: &'a Stream,
    /// The source's settings.
    pub rest: &'a Rest,
}

/// Why there is no page.
pub enum Refused {
    /// The credentials are not accepted: no other stream needs to be tried.
    Credentials,
    /// Something about this stream.
    Stream,
}

/// Asks for the first page; tells of the credentials, if nothing was told of them yet, and of the page.
pub async fn first(steps: &mut Steps, asked: &Asked<'_>, source: RestSource) -> Result<Option<Page>, Refused> {
    let left = steps.left();
    if left.is_zero() {
        steps.skip(asked.subject, "first_page", "the time of the check is over");
        return Err(Refused::Stream);
    }
    let start = clock::monotonic();
    let got = tokio::time::timeout(left, source.first_page(asked.stream, clock::now())).await;
    let time = clock::since(start);
    let of_source = format!("source {}", source.name());
    if !steps.told(&of_source, "auth") {
        steps.push(&of_source, "auth", time, auth(asked.rest, got.as_ref().ok()));
    }
    let (found, page) = match got {
        Err(_) => {
            let waiting = source.stats().waiting().borrow().as_ref().map(|waiting| waiting.reason.clone());
            let why = waiting.unwrap_or_else(|| format!("no answer within {} s", left.as_secs()));
            (Found::fail(why, "try again later; `rate` and `keep_alive` say how long is waited"), Err(Refused::Stream))
        }
        Ok(Err(error)) => {
            let credentials = error.trouble() == Trouble::Credentials;
            let refused = if credentials { Refused::Credentials } else { Refused::Stream };
            (failed(&error), Err(refused))
        }
        Ok(Ok(first)) => (page_found(asked.settings, &first), Ok(first.page)),
    };
    steps.push(asked.subject, "first_page", time, found);
    page
}

/// What the first answer says of the credentials.
fn auth(rest: &Rest, got: Option<&Result<First, RestError>>) -> Found {
    // The kind is the one key of its map.
    let kind = rest.auth.as_ref().and_then(|auth| match serde_json::to_value(auth) {
        Ok(Value::Object(map)) => map.keys().next().cloned(),
        _ => None,
    });
    let trouble = match got {
        None => return Found::skip("nothing was answered"),
        Some(Ok(_)) => None,
        Some(Err(error)) => Some(error.trouble()),
    };
    match (kind, trouble) {
        (None, Some(Trouble::Credentials)) => {
            Found::fail("the API wants credentials, and none are configured", "write `auth` in the source")
        }
        (Some(kind), Some(Trouble::Credentials)) => Found::fail(
            format!("{kind}: not accepted"),
            "check the value in auth.env (expired? of another account or environment?) and the kind of `auth`",
        ),
        (Some(kind), Some(Trouble::Rights)) => Found::warn(
            format!("{kind}: the API knows it or not, but forbids the first page (403)"),
            "give the token the right (scope) to read this, or check whether it is the right one",
        ),
        (_, Some(Trouble::Way)) => Found::skip("the server was not reached"),
        (None, _) => Found::skip("no credentials are configured"),
        (Some(kind), _) => Found::ok(format!("{kind}: accepted")),
    }
}

fn failed(error: &RestError) -> Found {
    let hint = match error.trouble() {
        Trouble::Credentials => "see the step auth",
        Trouble::Rights => "the credentials need the right (scope) to read this stream",
        Trouble::Way => "see the steps above; with a proxy, whether it lets this through",
        Trouble::Makes => "this check has probably made one: look for it at the API, and correct path, method and body",
        Trouble::Request => "try it by hand, e.g. with curl, and compare with the API's documentation",
    };
    Found::fail(format!("failed to {}", Chain(error)), hint)
}

/// What came, and where it leads.
fn page_found(stream: &Stream, first: &First) -> Found {
    let Some(page) = &first.page else {
        return Found::warn("there is nothing to ask for: a parent of the stream has no records", "");
    };
    let count = page.records.len();
    let mut text = format!("{count} {} at {}", plural(count, "record"), stream.records);
    if first.partitions > 1 {
        text.push_str(&format!(" in the first of {} partitions", first.partitions));
    }
    text.push_str(&format!("; {}", next(stream, page)));
    if let Some(total) = page.total {
        text.push_str(&format!("; the source says {total} in all"));
    }
    let ends = ended(page);
    let short = page.total.is_some_and(|total| total > count as u64);
    if count == 0 {
        return Found::warn(
            text,
            "if that can be right, set allow_empty: true in the export; else check path, query and records",
        );
    }
    if ends && short {
        return Found::warn(text, "there are more, but no way to them: check `paginate`");
    }
    if let (Some(place), None) = (&stream.total, page.total) {
        return Found::warn(
            text,
            format!("the answer says no number at `total: {place}`: check it, shifts are noticed by it"),
        );
    }
    if ends && ROUND.contains(&count) && page.total.is_none() {
        return Found::warn(text, format!("exactly {count} may be the size of a page: check `paginate`"));
    }
    Found::ok(text)
}

/// Whether the first page is the last one of its partition.
fn ended(page: &Page) -> bool {
    page.offset_after.cursor == PageCursor::End || page.offset_after.partition != page.offset_before.partition
}

fn next(stream: &Stream, page: &Page) -> String {
    match (&stream.paginate, ended(page)) {
        (Paginate::None {}, _) => "no paginator: this page is all".into(),
        (Paginate::Cursor(pages), true) => format!("the last page: nothing at {}", pages.from),
        (Paginate::NextUrl(pages), true) => format!("the last page: no URL at {}", pages.from),
        (Paginate::Link(pages), true) => format!("the last page: no Link with rel={}", pages.rel),
        (Paginate::Page(_) | Paginate::Offset(_), true) => "the last page".into(),
        (Paginate::Cursor(_), false) => "a cursor leads on".into(),
        (Paginate::NextUrl(_), false) => "a URL leads on".into(),
        (Paginate::Link(_), false) => "a link leads on".into(),
        (Paginate::Page(pages), false) => format!("next is {} {}", pages.param, number(page)),
        (Paginate::Offset(pages), false) => format!("next is {} {}", pages.param, number(page)),
    }
}

fn number(page: &Page) -> u64 {
    match page.offset_after.cursor {
        PageCursor::Page(number) | PageCursor::Record(number) => number,
        _ => 0,
    }
}

/// What the paginator allows against records that change places meanwhile.
pub fn shift(stream: &Stream) -> Found {
    let shift = Shift::of(stream);
    let (what, hint) = match shift {
        Shift::Whole => ("one answer holds everything", None),
        Shift::Source => ("the source keeps the place between pages", None),
        Shift::Overlap => ("each page begins with the last record of the page before it", None),
        Shift::Total => ("pages are counted, and compared when the total changes", None),
        Shift::Repeats => (
            "pages are counted; records that come twice are noticed, but one that vanishes meanwhile can hide another",
            Some("set `total` if the API says how many records there are, or use a cursor if it has one"),
        ),
        Shift::None if stream.on_shift == OnShift::Keep => (
            "pages are taken as they come, as `on_shift: keep` says",
            Some("remove `on_shift` to have records noticed that come or go meanwhile"),
        ),
        Shift::None => (
            "pages are counted, so that records which appear or vanish meanwhile move the others, and nothing shows it",
            Some("set `primary_key`, and `total` if the API says it; a cursor is better, if the API has one"),
        ),
    };
    let counted = matches!(shift, Shift::Overlap | Shift::Total | Shift::Repeats | Shift::None);
    let unordered = counted && !ordered(stream);
    let order = if unordered { "; no order is asked for" } else { "" };
    let words = format!("{}: {what}{order}", shift.word());
    let keyless = counted && stream.primary_key.is_empty();
    let hint = hint.or(unordered.then_some("ask for an order in which new records come last (e.g. by id or creation)"));
    match hint.or(keyless.then_some("set `primary_key`: without it a record that changes is taken for another one")) {
        Some(hint) => Found::warn(words, hint),
        None => Found::ok(words),
    }
}
