//! A strict reader of OpenMetrics 1.0 text: what it does not take, a scraper may refuse as a whole.

use std::collections::{BTreeMap, BTreeSet};

/// Labels, in order of name.
pub type Labels = BTreeMap<String, String>;

/// The samples of a text.
#[derive(Debug, Default)]
pub struct Metrics(BTreeMap<(String, Labels), f64>);

/// What is known of the family that is being read.
#[derive(Default)]
struct Family {
    name: String,
    kind: String,
    samples: bool,
}

impl Metrics {
    /// Reads a text.
    ///
    /// # Errors
    /// The first line that is not as the specification wants it, and why.
    pub fn parse(text: &str) -> Result<Self, String> {
        let body = text.strip_suffix("# EOF\n").ok_or("the text does not end with # EOF and a line feed")?;
        let (mut metrics, mut family, mut seen) = (Self::default(), Family::default(), BTreeSet::new());
        for line in body.lines() {
            let wrong = |why: &str| format!("{why}: {line}");
            if let Some(meta) = line.strip_prefix("# ") {
                let mut parts = meta.splitn(3, ' ');
                let (word, name) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
                let rest = parts.next().ok_or_else(|| wrong("metadata without a value"))?;
                if !is_name(name) {
                    return Err(wrong("no name of a metric"));
                }
                match word {
                    "TYPE" => {
                        if !seen.insert(name.to_owned()) {
                            return Err(wrong("a family comes twice"));
                        }
                        if !["gauge", "counter", "info"].contains(&rest) {
                            return Err(wrong("an unknown type"));
                        }
                        family = Family { name: name.into(), kind: rest.into(), samples: false };
                    }
                    "UNIT" if name != family.name || !name.ends_with(&format!("_{rest}")) || family.samples => {
                        return Err(wrong("a unit that the name does not end with, or out of place"));
                    }
                    "HELP" if name != family.name || family.samples => return Err(wrong("a help out of place")),
                    "UNIT" | "HELP" => {}
                    _ => return Err(wrong("unknown metadata")),
                }
                continue;
            }
            let (name, labels, value) = sample(line).map_err(|why| wrong(&why))?;
            let end = match family.kind.as_str() {
                "counter" => "_total",
                "info" => "_info",
                _ => "",
            };
            if name != format!("{}{end}", family.name) {
                return Err(wrong("a sample outside of its family, or with another ending than its type has"));
            }
            if family.kind == "counter" && !(value.is_finite() && value >= 0.0) || family.kind == "info" && value != 1.0
            {
                return Err(wrong("a value that its type cannot have"));
            }
            family.samples = true;
            if metrics.0.insert((name, labels), value).is_some() {
                return Err(wrong("a sample comes twice"));
            }
        }
        Ok(metrics)
    }

    /// The value of a sample, labels in any order.
    pub fn get(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        self.0.get(&(name.to_owned(), labels)).copied()
    }

    /// The names of all samples.
    pub fn names(&self) -> BTreeSet<&str> {
        self.0.keys().map(|(name, _)| name.as_str()).collect()
    }
}

fn is_name(name: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    name.starts_with(|c: char| word(c) && !c.is_ascii_digit()) && name.chars().all(word)
}

/// `name{label="value",…} number`.
fn sample(line: &str) -> Result<(String, Labels, f64), String> {
    let end = line.find(['{', ' ']).ok_or("no value")?;
    let (name, mut rest) = line.split_at(end);
    let mut labels = Labels::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        loop {
            let (label, after) = rest.split_once("=\"").ok_or("a label without a value")?;
            let (value, after) = quoted(after)?;
            if !is_name(label) || label.contains(':') || labels.insert(label.to_owned(), value).is_some() {
                return Err(format!("the label {label:?}"));
            }
            match after.strip_prefix(',') {
                Some(more) => rest = more,
                None => {
                    rest = after.strip_prefix('}').ok_or("labels without an end")?;
                    break;
                }
            }
        }
    }
    let number = rest.strip_prefix(' ').ok_or("no space before the value")?;
    let value: f64 = number.parse().map_err(|_| "no number".to_owned())?;
    if !is_name(name) || number.contains(' ') {
        return Err("not a name, or more than a value".into());
    }
    Ok((name.to_owned(), labels, value))
}

/// A text up to its closing quotation mark, and what comes after it.
fn quoted(text: &str) -> Result<(String, &str), String> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok((value, &text[at + 1..])),
            '\\' => match chars.next() {
                Some((_, 'n')) => value.push('\n'),
                Some((_, c @ ('\\' | '"'))) => value.push(c),
                _ => return Err("an escape that there is not".into()),
            },
            c => value.push(c),
        }
    }
    Err("a text without an end".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_right_is_read() {
        let text = "# TYPE a_seconds counter\n# UNIT a_seconds seconds\n# HELP a_seconds Time.\n\
                    a_seconds_total{x=\"1\",y=\"q\\\"\\\\\\n\"} 1.5\n# TYPE g gauge\ng 3\n# EOF\n";
        let metrics = Metrics::parse(text).unwrap();
        assert_eq!(metrics.get("a_seconds_total", &[("y", "q\"\\\n"), ("x", "1")]), Some(1.5));
        assert_eq!(metrics.get("g", &[]), Some(3.0));
    }

    #[test]
    fn what_is_wrong_is_found() {
        for bad in [
            "",
            "g 1\n# EOF\n",
            "# TYPE g gauge\ng 1\n# EOF",
            "# TYPE g gauge\ng 1\ng 2\n# EOF\n",
            "# TYPE c counter\nc 1\n# EOF\n",
            "# TYPE c counter\nc_total -1\n# EOF\n",
            "# TYPE g gauge\ng{a=\"1\",a=\"2\"} 1\n# EOF\n",
            "# TYPE g gauge\ng{a=\"\\x\"} 1\n# EOF\n",
            "# TYPE g gauge\ng  1\n# EOF\n",
            "# TYPE g gauge\n# UNIT g seconds\ng 1\n# EOF\n",
            "# TYPE g gauge\n# TYPE g gauge\n# EOF\n",
        ] {
            assert!(Metrics::parse(bad).is_err(), "{bad}");
        }
    }
}
