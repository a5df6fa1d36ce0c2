//! How a stream is cut into partitions: its factors, compiled once, and the list that a task makes of them.

use super::include;
use super::spec::At;
use super::windows::Windows;
use crate::base::ids::Name;
use crate::config::param::record_path;
use crate::config::settings::{Factor, ParentPartitions, PartitionBy};
use crate::model::partitions::Partitions;
use crate::record::locate::{Locator, text_of};
use crate::sources::{Cut, Parent};
use std::collections::BTreeMap;

/// The compiled factors of a stream; none where it is one partition.
#[derive(Debug, Default)]
pub struct Split {
    factors: Vec<(String, Part)>,
}

#[derive(Debug)]
enum Part {
    List(Partitions),
    Windows(Box<Windows>),
    Parent(ParentPart),
}

#[derive(Debug)]
struct ParentPart {
    stream: Name,
    /// What a record of the parent gives: the key of a partition's value, and where it stands.
    values: BTreeMap<String, String>,
    /// Fields that each record of the stream gets, and the place of their value.
    include: BTreeMap<String, String>,
}

impl Split {
    /// Compiles the settings.
    pub fn compile(settings: Option<&PartitionBy>) -> Result<Self, At> {
        let Some(settings) = settings else { return Ok(Self::default()) };
        let product = matches!(settings, PartitionBy::Product(_));
        let mut factors = Vec::new();
        for (index, factor) in settings.factors().into_iter().enumerate() {
            let inside = if product { format!(".product[{index}]") } else { String::new() };
            let key = format!("partition{inside}.{}", factor.kind());
            let part = Part::compile(&factor).map_err(|at| at.below(&key))?;
            factors.push((key, part));
        }
        if factors.is_empty() {
            return Err(At::new("partition.product", "at least one factor is needed"));
        }
        Ok(Self { factors })
    }

    /// The streams that it needs records of.
    pub fn parents(&self) -> Vec<Parent> {
        let parent = |part: &ParentPart| {
            let mut places: Vec<String> = part.values.values().cloned().collect();
            places.sort_unstable();
            places.dedup();
            Parent { stream: part.stream.clone(), places }
        };
        self.factors
            .iter()
            .filter_map(|(_, part)| if let Part::Parent(part) = part { Some(parent(part)) } else { None })
            .collect()
    }

    /// The partitions of a task, in the order in which they are read: the last factor changes fastest.
    pub fn partitions(&self, cut: &Cut) -> Result<Partitions, At> {
        let mut all = Partitions::single();
        for (key, part) in &self.factors {
            let list = part.partitions(cut).map_err(|reason| At::new(key, &reason))?;
            all = all.times(&list).map_err(|error| At::new("partition", &error.to_string()))?;
        }
        Ok(all)
    }
}

impl Part {
    fn compile(factor: &Factor<'_>) -> Result<Self, At> {
        match factor {
            Factor::List(list) if list.values.is_empty() => Err(At::new("values", "at least one value is needed")),
            Factor::List(list) => {
                let mut rows = Partitions::new(factor.keys());
                for value in &list.values {
                    rows.push([value.as_str()]).map_err(|error| At::new("values", &error.to_string()))?;
                }
                Ok(Self::List(rows))
            }
            Factor::Windows(windows) => {
                let windows = Windows::compile(windows).map_err(|(key, reason)| At::new(key, &reason))?;
                Ok(Self::Windows(Box::new(windows)))
            }
            Factor::Parent(parent) => ParentPart::compile(parent).map(Self::Parent),
        }
    }

    fn partitions(&self, cut: &Cut) -> Result<Partitions, String> {
        match self {
            Self::List(rows) => Ok(rows.clone()),
            Self::Windows(windows) => windows.partitions(cut),
            Self::Parent(parent) => parent.partitions(cut),
        }
    }
}

impl ParentPart {
    fn compile(settings: &ParentPartitions) -> Result<Self, At> {
        let mut values = BTreeMap::new();
        for (name, text) in &settings.values {
            let path = record_path(text);
            Locator::new("$", &[&path]).map_err(|error| At::new(&format!("values.{name}"), &error.to_string()))?;
            values.insert(name.clone(), path);
        }
        let mut include = BTreeMap::new();
        for (field, name) in &settings.include {
            let Some(path) = values.get(name) else {
                return Err(At::new(&format!("include.{field}"), "this is not the name of one of the `values`"));
            };
            include.insert(field.clone(), path.clone());
        }
        let values = values.into_iter().map(|(name, path)| (format!("parent.{name}"), path)).collect();
        Ok(Self { stream: settings.stream.clone(), values, include })
    }

    fn partitions(&self, cut: &Cut) -> Result<Partitions, String> {
        let Some(rows) = cut.parents.get(&self.stream) else {
            return Err(format!("the records of stream {} are not known", self.stream));
        };
        let column = |path: &String| rows.keys().iter().position(|key| key == path);
        let named = self.values.iter().map(|(key, path)| (key.clone(), column(path), false));
        let added = self.include.iter().map(|(field, path)| (include::key(field), column(path), true));
        let columns: Vec<_> = named.chain(added).collect();
        let mut list = Partitions::new(columns.iter().map(|(key, ..)| key.clone()).collect());
        for index in 0..rows.len() {
            let row: Vec<&str> = rows.row(index).collect();
            let texts = columns.iter().map(|(key, column, as_json)| {
                let json = column.and_then(|column| row.get(column)).copied().unwrap_or_default();
                match (*as_json, json) {
                    (true, "") => Ok("null".to_owned()),
                    (true, json) => Ok(json.to_owned()),
                    (false, json) => plain(json).ok_or_else(|| not_plain(key)),
                }
            });
            let texts = texts.collect::<Result<Vec<String>, String>>()?;
            list.push(texts.iter().map(String::as_str)).map_err(|error| error.to_string())?;
        }
        Ok(list)
    }
}

/// The text of a JSON string, number, true or false; the digits of a number as they stand there.
fn plain(json: &str) -> Option<String> {
    match json {
        "true" | "false" => Some(json.to_owned()),
        "\"\"" => Some(String::new()),
        _ => text_of(json.as_bytes()).map(std::borrow::Cow::into_owned),
    }
}

fn not_plain(key: &str) -> String {
    format!("the value of {{{{ {key} }}}} is no text, number, true or false in some records of the parent")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn split(settings: Value) -> Split {
        Split::compile(Some(&serde_json::from_value(settings).unwrap())).unwrap()
    }

    fn cut() -> Cut {
        let mut rows = Partitions::new(vec!["$['id']".into(), "$.owner.name".into()]);
        for (id, owner) in [("12345678901234567890", "\"Zoë\\n\""), ("\"b/c\"", "true")] {
            rows.push([id, owner]).unwrap();
        }
        Cut {
            parents: [(Name::new("accounts").unwrap(), rows)].into(),
            ..Cut::at("2024-01-03T00:00:00Z".parse().unwrap())
        }
    }

    fn told(split: &Split) -> Vec<Vec<(String, String)>> {
        let list = split.partitions(&cut()).unwrap();
        let row = |index| list.pairs(index).map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        (0..list.len()).map(row).collect()
    }

    #[test]
    fn a_stream_without_partitions_is_one() {
        assert_eq!(Split::default().partitions(&cut()).unwrap(), Partitions::single());
    }

    #[test]
    fn a_product_of_all_kinds_in_its_order() {
        let split = split(json!({ "product": [
            { "list": { "values": ["eu", "us"], "name": "region" } },
            { "parent": { "stream": "accounts", "values": { "id": "id", "owner": "$.owner.name" }, "include": { "account": "id" } } },
            { "windows": { "start": "2024-01-01", "step": "1d", "format": "%d" } },
        ] }));
        assert_eq!(
            split.parents(),
            [Parent { stream: Name::new("accounts").unwrap(), places: vec!["$.owner.name".into(), "$['id']".into()] }]
        );
        let rows = told(&split);
        assert_eq!(rows.len(), 8);
        let texts: Vec<String> =
            rows.iter().map(|row| row.iter().map(|(_, value)| value.as_str()).collect::<Vec<_>>().join("|")).collect();
        assert_eq!(texts[0], "eu|12345678901234567890|Zoë\n|12345678901234567890|01|02");
        assert_eq!(texts[1], "eu|12345678901234567890|Zoë\n|12345678901234567890|02|03");
        assert_eq!(texts[2], "eu|b/c|true|\"b/c\"|01|02");
        assert_eq!(texts[7], "us|b/c|true|\"b/c\"|02|03");
        let keys: Vec<&str> = rows[0].iter().map(|(key, _)| key.as_str()).collect();
        assert_eq!(keys, ["region", "parent.id", "parent.owner", "include.account", "start", "end"]);
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        for (settings, key) in [
            (json!({ "list": { "values": [] } }), "partition.list.values"),
            (json!({ "product": [] }), "partition.product"),
            (json!({ "windows": { "start": "never", "step": "1d" } }), "partition.windows.start"),
            (
                json!({ "product": [{ "windows": { "start": "now", "step": "x" } }] }),
                "partition.product[0].windows.step",
            ),
            (json!({ "parent": { "stream": "a", "values": { "x": "$[" } } }), "partition.parent.values.x"),
            (
                json!({ "parent": { "stream": "a", "values": { "x": "x" }, "include": { "f": "y" } } }),
                "partition.parent.include.f",
            ),
        ] {
            let error = Split::compile(Some(&serde_json::from_value(settings).unwrap())).unwrap_err();
            assert_eq!(error.key, key);
        }
        let unknown = split(json!({ "parent": { "stream": "others", "values": { "x": "x" } } }));
        assert!(unknown.partitions(&cut()).is_err());
    }
}
