//! How fast sources are asked, and what limits that, as a table.

use crate::human;
use crate::out::Colour;
use crate::table::{Cell, Table};
use jiff::Timestamp;
use saas_export_api::{RateLimit, RateWindow, SourceRate};

/// The sources, a row each.
pub fn table(sources: &[SourceRate], now: Timestamp) -> Table {
    let mut table = Table::new(&["SOURCE", "REQUESTS>", "RATE>", "LIMIT", "LEFT", "AT ONCE>", "429>", "WAITS FOR"]);
    for source in sources {
        let waiting = source.waiting.as_ref();
        let why = waiting.map(|waiting| {
            let left = left(waiting.until.as_deref(), now).map(|left| format!(" ({left})")).unwrap_or_default();
            format!("{}{left}", human::clean(&waiting.reason))
        });
        table.row([
            human::clean(&source.source).into(),
            human::count(source.requests).into(),
            human::rate(source.rate).into(),
            source.limit.as_ref().map(limit).unwrap_or_default().into(),
            source.window.as_ref().map(|shown| window(shown, now)).unwrap_or_default().into(),
            format!("{} of {}", source.under_way, source.concurrency).into(),
            Cell::coloured(
                human::count(source.refused),
                if source.refused > 0 { Colour::Yellow } else { Colour::Plain },
            ),
            why.unwrap_or_default().into(),
        ]);
    }
    table
}

/// `9.9/s (learnt)`.
fn limit(limit: &RateLimit) -> String {
    format!("{} ({})", human::rate(limit.per_second), human::clean(&limit.from))
}

/// `12 of 5,000 for 3m 40s`.
fn window(window: &RateWindow, now: Timestamp) -> String {
    let of = window.limit.map(|limit| format!(" of {}", human::count(limit))).unwrap_or_default();
    let time = left(Some(&window.ends_at), now).map(|left| format!(" for {left}")).unwrap_or_default();
    format!("{}{of}{time}", human::count(window.left))
}

fn left(until: Option<&str>, now: Timestamp) -> Option<String> {
    human::seconds_between(Some(&now.to_string()), until).map(human::duration)
}

#[cfg(test)]
mod tests {
    use super::*;
    use saas_export_api::Waiting;

    #[test]
    fn a_source_tells_its_rate_its_limit_and_why_it_waits() {
        let source = SourceRate {
            source: "shop".into(),
            rate: 9.84,
            under_way: 1,
            concurrency: 4,
            limit: Some(RateLimit { per_second: 9.9, from: "learnt".into() }),
            window: Some(RateWindow { limit: Some(5000), left: 12, ends_at: "2026-11-21T02:48:40Z".into() }),
            requests: 4988,
            refused: 3,
            waiting: Some(Waiting { reason: "it must".into(), until: Some("2026-11-21T02:45:10Z".into()) }),
        };
        let now: Timestamp = "2026-11-21T02:45:00Z".parse().unwrap();
        let text = table(&[source], now).render(false, None);
        let row = text.lines().nth(1).unwrap();
        for part in
            ["shop", "4,988", "9.8/s", "9.9/s (learnt)", "12 of 5,000 for 3m 40s", "1 of 4", " 3 ", "it must (10s)"]
        {
            assert!(row.contains(part), "{part}: {row}");
        }
    }
}
