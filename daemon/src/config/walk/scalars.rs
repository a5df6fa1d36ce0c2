//! Texts, numbers and switches, with their units and limits.

use super::{Walker, found};
use crate::base::ids::Name;
use crate::config::path::KeyPath;
use crate::config::problem::Mistake;
use crate::config::schema::Shape;
use crate::config::units::{Mode, Size, Span, SpanOrNever};
use serde_json::Value;

impl Walker {
    /// A value that is neither map nor list. Nothing of it is shown unless it is a size, a duration, a mode or a name.
    pub(super) fn scalar(&mut self, shape: &Shape, kind: &str, value: &Value, path: &KeyPath) -> Option<Value> {
        let outcome = match kind {
            "string" => text(shape, value),
            "integer" => number(shape, value, true),
            "number" => number(shape, value, false),
            "boolean" if value.is_boolean() => Ok(()),
            "boolean" => Err(mismatch("true or false", value, switch(value))),
            _ => Ok(()),
        };
        match outcome {
            Ok(()) => Some(value.clone()),
            Err((message, hint)) => {
                self.wrong(Mistake { hint, ..Mistake::value(path, message) });
                None
            }
        }
    }
}

type Wrong = (String, Option<String>);

fn mismatch(expected: &str, value: &Value, hint: Option<&str>) -> Wrong {
    (format!("expected {expected}, found {}", found(value)), hint.map(str::to_owned))
}

/// The switch that a word of older YAML meant.
fn switch(value: &Value) -> Option<&'static str> {
    match value.as_str()?.to_ascii_lowercase().as_str() {
        "yes" | "on" | "y" | "true" => Some("write true"),
        "no" | "off" | "n" | "false" => Some("write false"),
        _ => None,
    }
}

fn text(shape: &Shape, value: &Value) -> Result<(), Wrong> {
    let scalar = matches!(value, Value::Number(_) | Value::Bool(_));
    let expected = match shape.name {
        Some("Size") if scalar => return Err(mismatch("a size", value, Some("add the unit, e.g. 50MB or 16MiB"))),
        Some("Span") if scalar => return Err(mismatch("a duration", value, Some("add the unit, e.g. 30s or 500ms"))),
        Some("SpanOrNever") if scalar => {
            return Err(mismatch("a duration or never", value, Some("write e.g. 35d, or never")));
        }
        Some("Mode") if scalar => return Err(mismatch("a file mode", value, Some("put it in quotes, e.g. \"0640\""))),
        Some("Name") => "a name",
        _ => "text",
    };
    let Value::String(text) = value else {
        return Err(mismatch(expected, value, scalar.then_some("put it in quotes")));
    };
    match shape.name {
        Some("Size") => within(shape, Size::try_from(text.clone()).map_err(|error| (error, None))?),
        Some("Span") => within(shape, Span::try_from(text.clone()).map_err(|error| (error, None))?),
        Some("SpanOrNever") => match SpanOrNever::try_from(text.clone()).map_err(|error| (error, None))?.0 {
            Some(span) => within(shape, Span(span)),
            None => Ok(()),
        },
        Some("Mode") => Mode::try_from(text.clone()).map(drop).map_err(|error| (error, None)),
        Some("Name") => Name::new(text).map(drop).map_err(|error| (error.to_string(), None)),
        _ => Ok(()),
    }
}

/// Whether a size or duration lies within `x-minimum` and `x-maximum`.
fn within<T>(shape: &Shape, value: T) -> Result<(), Wrong>
where
    T: PartialOrd + TryFrom<String>,
{
    let limit = |key| shape.limit(key).and_then(Value::as_str);
    let parse = |text: Option<&str>| text.and_then(|text| T::try_from(text.to_owned()).ok());
    let (least, most) = (limit("x-minimum"), limit("x-maximum"));
    let low = parse(least).is_some_and(|least| value < least);
    let high = parse(most).is_some_and(|most| value > most);
    match low || high {
        true => Err((format!("must be between {} and {}", least.unwrap_or("0"), most.unwrap_or("any")), None)),
        false => Ok(()),
    }
}

fn number(shape: &Shape, value: &Value, whole: bool) -> Result<(), Wrong> {
    let expected = if whole { "a whole number" } else { "a number" };
    let Value::Number(number) = value else {
        let quoted = value.as_str().is_some_and(|text| text.parse::<f64>().is_ok());
        return Err(mismatch(expected, value, quoted.then_some("remove the quotes")));
    };
    if whole && number.as_u64().is_none() {
        let negative = number.as_i64().is_some();
        return match negative {
            true => Err((limits(shape).unwrap_or_else(|| "must not be negative".into()), None)),
            false => Err(("expected a whole number".into(), None)),
        };
    }
    let value = number.as_f64().unwrap_or(f64::INFINITY);
    let limit = |key| shape.limit(key).and_then(Value::as_f64);
    let largest = match shape.limit("format").and_then(Value::as_str) {
        Some("uint32") => f64::from(u32::MAX),
        _ => f64::INFINITY,
    };
    let good = limit("minimum").is_none_or(|least| value >= least)
        && limit("exclusiveMinimum").is_none_or(|least| value > least)
        && value <= limit("maximum").unwrap_or(largest).min(largest);
    match good {
        true => Ok(()),
        false => Err((limits(shape).unwrap_or_else(|| "out of range".into()), None)),
    }
}

/// The limits of a number in words.
pub(in crate::config) fn limits(shape: &Shape) -> Option<String> {
    let limit = |key| shape.limit(key).map(short);
    Some(match (limit("minimum"), limit("maximum"), limit("exclusiveMinimum")) {
        (Some(least), Some(most), _) if least == most => format!("must be {least}"),
        (Some(least), Some(most), _) => format!("must be between {least} and {most}"),
        (Some(least), None, _) => format!("must be at least {least}"),
        (None, Some(most), _) => format!("must be at most {most}"),
        (None, None, Some(least)) => format!("must be more than {least}"),
        (None, None, None) => return None,
    })
}

/// A limit without a needless `.0`.
fn short(value: &Value) -> String {
    let text = value.to_string();
    text.strip_suffix(".0").map(str::to_owned).unwrap_or(text)
}
