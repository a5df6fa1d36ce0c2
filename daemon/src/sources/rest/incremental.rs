//! How an incremental stream asks for the records between two bounds: what is written into its partitions and requests.

use super::paginate::Param;
use super::spec::At;
use crate::config::cursor::CursorFormat;
use crate::config::settings::Incremental;
use crate::config::times::TimeFormat;
use crate::model::mark::CursorValue;
use crate::model::partitions::Partitions;
use crate::sources::{Cut, Range};
use jiff::tz::TimeZone;

/// Where a partition keeps the lower bound; templates ask for it by the same name.
const START: &str = "incremental.start";
/// Where a partition keeps the upper bound.
const END: &str = "incremental.end";

/// The compiled settings of an incremental stream.
#[derive(Debug)]
pub struct Bounds {
    start: Option<Param>,
    end: Option<Param>,
    format: TimeFormat,
    /// Of what is written.
    zone: TimeZone,
    /// Where the first task starts.
    beginning: Option<CursorValue>,
}

/// The parameters that every request of a partition carries.
#[derive(Debug, Default)]
pub struct Asked {
    /// In the query: name and text.
    pub in_query: Vec<(String, String)>,
    /// In the body: path and JSON text.
    pub in_body: Vec<(Vec<String>, String)>,
}

impl Bounds {
    /// Compiles the settings.
    pub fn compile(settings: &Incremental) -> Result<Self, At> {
        let param = |key: &str, text: Option<&String>| {
            let param = text.map(|text| Param::compile(text, settings.place)).transpose();
            param.map_err(|reason| At::new(&format!("incremental.{key}"), &reason))
        };
        let cursor =
            CursorFormat::compile(settings).map_err(|(key, reason)| At::new(&format!("incremental.{key}"), &reason))?;
        let format = TimeFormat::parse(&settings.format).map_err(|reason| At::new("incremental.format", &reason))?;
        // What has an offset is best in UTC, which every API reads.
        let zone = if format == TimeFormat::Rfc3339 { TimeZone::UTC } else { cursor.zone().clone() };
        Ok(Self {
            start: param("param", settings.param.as_ref())?,
            end: param("end_param", settings.end_param.as_ref())?,
            format,
            zone,
            beginning: settings.start.as_deref().map(|start| cursor.bound(start)),
        })
    }

    /// What a first task asks for.
    pub fn first(&self) -> Range {
        Range { start: self.beginning.clone(), end: None }
    }

    /// The values of every partition of the stream in a task. They are stored with it, so that a later attempt asks the
    /// same.
    pub fn values(&self, cut: &Cut) -> Result<Partitions, At> {
        let range = cut.range.clone().unwrap_or_default();
        let text = |value: &CursorValue| match value {
            CursorValue::Instant(at) => self
                .format
                .write(&at.to_zoned(self.zone.clone()))
                .map_err(|reason| At::new("incremental.format", &reason)),
            other => Ok(other.to_string()),
        };
        let start = range.start.as_ref().map(text).transpose()?;
        let end = text(&range.end.unwrap_or(CursorValue::Instant(cut.now)))?;
        let mut values = Partitions::new(vec![START.to_owned(), END.to_owned()]);
        // A template may ask for the lower bound where there is none: the beginning.
        let row = [start.as_deref().unwrap_or_default(), end.as_str()];
        values.push(row).map_err(|error| At::new("incremental", &error.to_string()))?;
        Ok(values)
    }

    /// The parameters that these values become. A first task without a lower bound asks for everything.
    pub fn ask<'a>(&self, values: impl IntoIterator<Item = (&'a str, &'a str)>) -> Asked {
        let mut asked = Asked::default();
        for (key, text) in values.into_iter().filter(|(_, text)| !text.is_empty()) {
            let param = match key {
                START => &self.start,
                END => &self.end,
                _ => continue,
            };
            match param {
                None => {}
                Some(Param::Query(name)) => asked.in_query.push((name.clone(), text.to_owned())),
                Some(Param::Body(path)) => asked.in_body.push((path.clone(), self.json(text))),
            }
        }
        asked
    }

    /// A bound as JSON: a number as such. Digits that a strftime format wrote, or with zeros in front, are a text.
    fn json(&self, text: &str) -> String {
        let is_number =
            matches!(CursorValue::parse(text), number @ CursorValue::Number(_) if number.to_string() == text);
        match self.format {
            TimeFormat::Pattern(_) => serde_json::Value::from(text).to_string(),
            _ if is_number => text.to_owned(),
            _ => serde_json::Value::from(text).to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    /// What is asked for from a mark on, by a task created at 2024-06-01: the texts of the bounds, and their JSON.
    fn asked(settings: Value, mark: Option<&str>) -> [String; 4] {
        let mut all = json!({ "cursor_field": "at", "param": "a", "end_param": "b" });
        all.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
        let told = |place: &str| {
            let mut all = all.clone();
            all["in"] = place.into();
            let settings: Incremental = serde_json::from_value(all).unwrap();
            let bounds = Bounds::compile(&settings).unwrap();
            let start = mark.map(|mark| CursorFormat::compile(&settings).unwrap().bound(mark));
            let range = Range { start: start.or(bounds.first().start), end: None };
            let cut = Cut { range: Some(range), ..Cut::at("2024-06-01T00:00:00Z".parse().unwrap()) };
            let values = bounds.values(&cut).unwrap();
            assert_eq!(values.len(), 1);
            bounds.ask(values.pairs(0))
        };
        let (query, body) = (told("query").in_query, told("body").in_body);
        let query = |name: &str| query.iter().find(|(n, _)| n == name).map(|(_, text)| text.clone());
        let body = |name: &str| body.iter().find(|(path, _)| path == &[name]).map(|(_, text)| text.clone());
        [query("a"), query("b"), body("a"), body("b")].map(Option::unwrap_or_default)
    }

    #[test]
    fn bounds_are_written_as_the_api_wants_them() {
        let now = "2024-06-01T00:00:00Z";
        let minutes = "%Y-%m-%d %H:%M";
        let with = |mut settings: Value, key: &str, value: &str| {
            settings[key] = value.into();
            settings
        };
        let epoch_ms = |settings| with(settings, "cursor_format", "epoch_ms");
        let paris = |settings| with(settings, "timezone", "Europe/Paris");
        for (settings, mark, [start, end], quoted) in [
            (json!({}), Some("2024-05-01T10:00:00.5Z"), ["2024-05-01T10:00:00.5Z", now], true),
            (json!({}), Some("2024-05-01T10:00:00.000+0200"), ["2024-05-01T08:00:00Z", now], true),
            (json!({}), None, ["", now], true),
            (json!({ "format": "epoch" }), Some("2024-05-01T10:00:00.9Z"), ["1714557600", "1717200000"], false),
            (json!({ "format": "epoch_ms", "start": "0" }), None, ["0", "1717200000000"], false),
            (json!({ "format": "epoch_ms" }), Some("1714557600123"), ["1714557600123", "1717200000000"], false),
            (epoch_ms(json!({})), Some("1714557600123"), ["2024-05-01T10:00:00.123Z", now], true),
            (epoch_ms(json!({ "format": "epoch" })), Some("1714557600123"), ["1714557600", "1717200000"], false),
            (json!({ "format": ">=%Y-%m-%d" }), Some("2024-05-01T10:00:00Z"), [">=2024-05-01", ">=2024-06-01"], true),
            (json!({ "format": "%Y%m%d" }), Some("2024-05-01"), ["20240501", "20240601"], true),
            (json!({ "format": "%d%m" }), Some("2024-05-01"), ["0105", "0106"], true),
            (
                paris(json!({ "format": minutes })),
                Some("2024-05-01T10:00:59"),
                ["2024-05-01 10:00", "2024-06-01 02:00"],
                true,
            ),
            (paris(json!({ "start": "2024-05-01" })), None, ["2024-04-30T22:00:00Z", now], true),
            (json!({ "cursor_format": "text" }), Some("0017"), ["0017", now], true),
        ] {
            let json = |text: &str| if quoted && !text.is_empty() { format!("{text:?}") } else { text.to_owned() };
            let wanted = [start.to_owned(), end.to_owned(), json(start), json(end)];
            assert_eq!(asked(settings.clone(), mark), wanted, "{settings} {mark:?}");
        }
    }
}
