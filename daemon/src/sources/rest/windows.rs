//! Windows of time: where each begins and ends, and how the API wants that written.

use crate::config::settings::WindowPartitions;
use crate::config::times::{Moment, Step, TimeFormat, zone};
use crate::model::mark::CursorValue;
use crate::model::partitions::{MAX_PARTITIONS, Partitions};
use crate::sources::{Cut, Range};
use jiff::Zoned;
use jiff::tz::TimeZone;

/// Compiled settings of windows.
#[derive(Debug)]
pub struct Windows {
    start: Moment,
    end: Moment,
    step: Step,
    overlap: Option<Step>,
    granularity: Option<Step>,
    format: TimeFormat,
    zone: TimeZone,
}

impl Windows {
    /// Compiles the settings; the error is the key and what is wrong with it.
    pub fn compile(settings: &WindowPartitions) -> Result<Self, (&'static str, String)> {
        let at = |key: &'static str| move |why: String| (key, why);
        let step =
            |key: &'static str, text: &Option<String>| text.as_deref().map(Step::parse).transpose().map_err(at(key));
        Ok(Self {
            start: Moment::parse(&settings.start).map_err(at("start"))?,
            end: Moment::parse(&settings.end).map_err(at("end"))?,
            step: Step::parse(&settings.step).map_err(at("step"))?,
            overlap: step("overlap", &settings.overlap)?,
            granularity: step("granularity", &settings.granularity)?,
            format: TimeFormat::parse(&settings.format).map_err(at("format"))?,
            zone: zone(&settings.timezone).map_err(at("timezone"))?,
        })
    }

    /// The windows of a task: `start` and `end` of each, as the API wants them. None where the end is not after the start.
    pub fn partitions(&self, cut: &Cut) -> Result<Partitions, String> {
        let mut list = Partitions::new(vec!["start".into(), "end".into()]);
        let (start, end) = self.bounds(cut)?;
        for (start, end) in self.between(&start, &end)? {
            let end = match &self.granularity {
                // What is shorter than the granularity is the one unit that it begins in.
                Some(less) => less.after(&end, -1).ok_or("a window lies too far back")?.max(start.clone()),
                None => end,
            };
            let (start, end) = (self.format.write(&start)?, self.format.write(&end)?);
            list.push([start.as_str(), end.as_str()]).map_err(|_| too_many())?;
        }
        Ok(list)
    }

    /// Where the first window begins and the last one ends.
    fn bounds(&self, cut: &Cut) -> Result<(Zoned, Zoned), String> {
        let fixed = |moment: &Moment| moment.resolve(cut.now, &self.zone).ok_or("the calendar does not know that time");
        let range = |bound: &Option<CursorValue>| {
            let read = |bound: &CursorValue| {
                let time = match bound {
                    CursorValue::Instant(at) => Some(*at),
                    other => self.format.read(&other.to_string()),
                };
                let time = time.ok_or("what the task reads from is no time, so it cannot be cut into windows");
                time.map(|time| time.to_zoned(self.zone.clone()))
            };
            bound.as_ref().map(read).transpose()
        };
        let Range { start, end } = cut.range.clone().unwrap_or_default();
        let start = range(&start)?.map_or_else(|| fixed(&self.start), Ok)?;
        let end = range(&end)?.map_or_else(|| fixed(&self.end), Ok)?;
        Ok((start, end))
    }

    /// Cuts the time from `start` to `end`, each window counted from `start`.
    fn between(&self, start: &Zoned, end: &Zoned) -> Result<Vec<(Zoned, Zoned)>, String> {
        let mut windows = Vec::new();
        let (mut from, mut steps) = (start.clone(), 0);
        while from < *end {
            if windows.len() >= MAX_PARTITIONS as usize {
                return Err(too_many());
            }
            steps += 1;
            // Counted from the start, so that a month that begins on the 31st does not stay on the 28th after February.
            let to = self.step.after(start, steps).map_or_else(|| end.clone(), |to| to.min(end.clone()));
            if to <= from {
                // A day that a zone has left out altogether.
                continue;
            }
            let early = match &self.overlap {
                Some(overlap) => overlap.after(&from, -1).map_or_else(|| start.clone(), |to| to.max(start.clone())),
                None => from.clone(),
            };
            windows.push((early, to.clone()));
            from = to;
        }
        Ok(windows)
    }
}

fn too_many() -> String {
    format!("these are more than {MAX_PARTITIONS} windows: take a longer step or a later start")
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn windows(settings: Value) -> Windows {
        Windows::compile(&serde_json::from_value(settings).unwrap()).unwrap()
    }

    fn cut(range: Option<(&str, &str)>) -> Cut {
        let bound = |text: &str| (!text.is_empty()).then(|| CursorValue::parse(text));
        let range = range.map(|(start, end)| Range { start: bound(start), end: bound(end) });
        Cut { range, ..Cut::at("2024-03-05T12:00:00Z".parse().unwrap()) }
    }

    fn pairs(settings: Value, range: Option<(&str, &str)>) -> Vec<String> {
        let list = windows(settings).partitions(&cut(range)).unwrap();
        (0..list.len()).map(|index| list.row(index).collect::<Vec<_>>().join("/")).collect()
    }

    #[test]
    fn days_weeks_and_months() {
        let days = json!({ "start": "2024-03-03", "step": "1d", "format": "%Y-%m-%d" });
        assert_eq!(pairs(days, None), ["2024-03-03/2024-03-04", "2024-03-04/2024-03-05", "2024-03-05/2024-03-05"]);
        let inclusive = json!({ "start": "2024-03-03", "step": "1d", "granularity": "1d", "format": "%Y-%m-%d" });
        assert_eq!(pairs(inclusive, None), ["2024-03-03/2024-03-03", "2024-03-04/2024-03-04", "2024-03-05/2024-03-05"]);
        let months = json!({ "start": "2023-12-31", "end": "2024-03-31", "step": "1mo", "format": "%m%d" });
        assert_eq!(pairs(months, None), ["1231/0131", "0131/0229", "0229/0331"]);
        let epoch = json!({ "start": "now - 1h", "step": "30m", "granularity": "1s", "format": "epoch" });
        assert_eq!(pairs(epoch, None), ["1709636400/1709638199", "1709638200/1709639999"]);
        assert!(pairs(json!({ "start": "now", "step": "1d" }), None).is_empty());
    }

    #[test]
    fn the_range_of_an_incremental_task_counts() {
        let days = json!({ "start": "2020-01-01", "step": "1d", "format": "epoch_ms" });
        let told = pairs(days.clone(), Some(("2024-03-04T00:00:00Z", "2024-03-05T00:00:00Z")));
        assert_eq!(told, ["1709510400000/1709596800000"]);
        assert_eq!(
            pairs(days.clone(), Some(("1709510400000", "1709596800000"))),
            told,
            "numbers in the unit of the format"
        );
        assert_eq!(pairs(days.clone(), Some(("2024-03-05T00:00:00Z", ""))), ["1709596800000/1709640000000"]);
        assert!(windows(days).partitions(&cut(Some(("yesterday", "")))).is_err());
    }

    #[test]
    fn windows_overlap_but_never_begin_before_the_first() {
        let days =
            json!({ "start": "2024-03-03", "end": "2024-03-06", "step": "1d", "overlap": "36h", "format": "%d-%H" });
        assert_eq!(pairs(days, None), ["03-00/04-00", "03-00/05-00", "03-12/06-00"]);
    }

    #[test]
    fn a_million_is_the_end() {
        let seconds = json!({ "start": "2000-01-01", "step": "1s" });
        assert!(windows(seconds).partitions(&cut(None)).unwrap_err().contains("longer step"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        /// Without overlap the windows cover the whole time once, whatever the step and the zone, also where clocks change.
        #[test]
        fn windows_have_no_gap_and_no_overlap(
            start in 0i64..4_000_000_000,
            length in 1i64..60_000_000,
            step in prop::sample::select(vec!["7h", "1d", "36h", "1w", "1mo", "1y", "1mo 1d", "1d 1h"]),
            zone in prop::sample::select(vec!["UTC", "Europe/Paris", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "Pacific/Apia", "Africa/Casablanca"]),
        ) {
            let text = |seconds: i64| Timestamp::from_second(seconds).unwrap().to_string();
            let (start, end) = (text(start), text(start + length));
            let made = windows(json!({ "start": start, "end": end, "step": step, "timezone": zone }));
            let (first, last) = made.bounds(&cut(None)).unwrap();
            let windows = made.between(&first, &last).unwrap();
            prop_assert_eq!(windows.first().map(|w| w.0.timestamp().to_string()), Some(start));
            prop_assert_eq!(windows.last().map(|w| w.1.timestamp().to_string()), Some(end));
            for pair in windows.windows(2) {
                prop_assert_eq!(&pair[0].1, &pair[1].0);
            }
            prop_assert!(windows.iter().all(|(start, end)| start < end));
        }
    }
}
