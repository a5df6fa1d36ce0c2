//! The text that is scraped: OpenMetrics 1.0 (github.com/prometheus/OpenMetrics, specification/OpenMetrics.md).

use super::families::{ALL, Family, Kind};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// The type of the text.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The samples of one moment.
#[derive(Debug, Default)]
pub struct Exposition(BTreeMap<&'static str, BTreeMap<String, f64>>);

impl Exposition {
    /// Adds a sample. One of the same family and labels replaces it: the format allows none twice.
    pub fn add(&mut self, family: &Family, labels: &[(&str, &str)], value: f64) {
        let text: Vec<String> = labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
        self.0.entry(family.name).or_default().insert(text.join(","), value);
    }

    /// The whole text, families in the order of their table.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for family in ALL {
            let Some(samples) = self.0.get(family.name) else { continue };
            let kind = match family.kind {
                Kind::Gauge => "gauge",
                Kind::Counter => "counter",
                Kind::Info => "info",
            };
            let _ = writeln!(text, "# TYPE {} {kind}", family.name);
            if !family.unit.is_empty() {
                let _ = writeln!(text, "# UNIT {} {}", family.name, family.unit);
            }
            let _ = writeln!(text, "# HELP {} {}", family.name, escaped(family.help));
            let name = family.sample();
            for (labels, value) in samples {
                let labels = if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
                let _ = writeln!(text, "{name}{labels} {}", number(*value));
            }
        }
        text.push_str("# EOF\n");
        text
    }
}

/// Text in a label or a help.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn number(value: f64) -> String {
    if value.is_nan() {
        "NaN".into()
    } else if value.is_infinite() {
        if value > 0.0 { "+Inf".into() } else { "-Inf".into() }
    } else {
        value.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::super::families as f;
    use super::*;

    #[test]
    fn a_text_to_the_letter() {
        let mut exposition = Exposition::default();
        exposition.add(&f::READ, &[("export", "shop"), ("stream", "a\"b\\c\nd")], 3.0);
        exposition.add(&f::READ, &[("export", "shop"), ("stream", "b")], 1e18);
        exposition.add(&f::BUILD, &[("version", "1.2.3")], 1.0);
        exposition.add(&f::THROTTLED, &[], 0.25);
        exposition.add(&f::THROTTLED, &[], 1.5);
        let wanted = "# TYPE saas_export_build info\n\
            # HELP saas_export_build Version of the daemon.\n\
            saas_export_build_info{version=\"1.2.3\"} 1\n\
            # TYPE saas_export_records_read counter\n\
            # HELP saas_export_records_read Records read, of committed files.\n\
            saas_export_records_read_total{export=\"shop\",stream=\"a\\\"b\\\\c\\nd\"} 3\n\
            saas_export_records_read_total{export=\"shop\",stream=\"b\"} 1000000000000000000\n\
            # TYPE saas_export_throttled_seconds counter\n\
            # UNIT saas_export_throttled_seconds seconds\n\
            # HELP saas_export_throttled_seconds Time that requests waited because of rate limits, summed over requests.\n\
            saas_export_throttled_seconds_total 1.5\n\
            # EOF\n";
        assert_eq!(exposition.text(), wanted);
        assert_eq!(Exposition::default().text(), "# EOF\n");
    }

    #[test]
    fn numbers_that_are_none() {
        assert_eq!([f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.5].map(number), ["NaN", "+Inf", "-Inf", "-0.5"]);
    }
}
