//! How an incremental stream asks for the records between two bounds: what is written into its partitions and requests.

use super::paginate::Param;
use super::spec::At;
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
        Ok(Self {
            start: param("param", settings.param.as_ref())?,
            end: param("end_param", settings.end_param.as_ref())?,
            format: TimeFormat::parse(&settings.format).map_err(|reason| At::new("incremental.format", &reason))?,
            beginning: settings.start.as_deref().map(CursorValue::parse),
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
            CursorValue::Instant(at) => {
                self.format.write(&at.to_zoned(TimeZone::UTC)).map_err(|reason| At::new("incremental.format", &reason))
            }
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
                Some(Param::Body(path)) => asked.in_body.push((path.clone(), json(text))),
            }
        }
        asked
    }
}

/// A bound as JSON: a number as such.
fn json(text: &str) -> String {
    match CursorValue::parse(text) {
        CursorValue::Number(_) if !text.starts_with("00") => text.to_owned(),
        _ => serde_json::Value::from(text).to_string(),
    }
}
