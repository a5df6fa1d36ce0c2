//! Records: every byte of JSON that a source may send.

use saas_export_daemon::model::offset::Offset;
use saas_export_daemon::record::convert::{Data, Eager, Layout, Plan};
use saas_export_daemon::record::infer::Sample;
use saas_export_daemon::record::json::{MAX_DEPTH, Problem};
use saas_export_daemon::record::locate::{LocateError, Locator};
use saas_export_daemon::record::page::{Facts, Page};
use serde::de::IgnoredAny;
use std::sync::{Arc, LazyLock};

static LOCATOR: LazyLock<Locator> = LazyLock::new(|| Locator::new("$[*]", &["$[0].id"]).expect("paths"));

static INSIDE: LazyLock<Locator> = LazyLock::new(|| Locator::new("$.d[*]", &["$.next"]).expect("paths"));

/// The body of an answer. It is JSON here where a parser that nobody here wrote says so; every record is written, or rejected with a
/// reason; two passes and one make the same of it.
pub fn records(data: &[u8]) {
    let located = LOCATOR.locate(data);
    let theirs = serde_json::from_slice::<IgnoredAny>(data.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(data));
    let deep = matches!(&located, Err(LocateError::Json(error)) if error.problem == Problem::Depth);
    let ours = !matches!(located, Err(LocateError::Empty | LocateError::Utf8(_) | LocateError::Json(_)));
    let utf8 = std::str::from_utf8(data).is_ok();
    // Both refuse what is nested too deep, but not at the same depth.
    let nested = data.iter().filter(|byte| matches!(byte, b'[' | b'{')).count() >= MAX_DEPTH as usize - 2;
    assert!(deep || nested || ours == (utf8 && theirs.is_ok()), "{located:?} {theirs:?}");
    let Ok(located) = located else { return };
    let facts = Facts { compact: located.compact, utf8: true, digest: None };
    let page = Page { body: data.to_vec().into(), records: located.records, facts, ..empty() };
    // The schema comes from the first half, so that the other half may not fit.
    let mut sample = Sample::default();
    let half = page.records.len().div_ceil(2);
    let first = Page { records: page.records[..half].to_vec(), body: page.body.clone(), ..empty() };
    sample.add(&first);
    // The same records where nothing looks into them: they may be converted while they are found.
    let inside = [b"{\"d\":", data.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(data), b",\"next\":1}"].concat();
    for layout in [Layout::Columns, Layout::Flat, Layout::Lines] {
        let plan = Arc::new(Plan::new(&sample.schema(), layout));
        let converted = plan.convert(&page, None);
        let rows = match &converted.data {
            Data::Batch(batch) => batch.num_rows(),
            Data::Lines(lines) => lines.iter().filter(|byte| **byte == b'\n').count(),
        };
        assert_eq!(rows + converted.rejected.len(), page.records.len(), "a record is lost");
        assert!(converted.counts.balanced() && converted.counts.written == rows as u64);
        let Some(mut eager) = Eager::new(&plan, &inside, 1) else { continue };
        let Ok(found) = INSIDE.locate_and_take(&inside, &mut eager) else {
            assert!(!converted.rejected.is_empty() || nested, "only a record that is refused stops it");
            continue;
        };
        let made = eager.finish(found.records.len());
        assert!(made.is_some() || !converted.rejected.is_empty(), "nothing is made, and nothing is wrong");
        if let Some(made) = made {
            assert_eq!(format!("{:?}", made.converted), format!("{converted:?}"));
        }
    }
}

fn empty() -> Page {
    let at = Offset::start(0);
    Page {
        body: Default::default(),
        records: Vec::new(),
        facts: Facts::default(),
        offset_before: at.clone(),
        offset_after: at,
        total: None,
        made: None,
        permit: None,
    }
}
