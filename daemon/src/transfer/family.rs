//! Parents and children in a task: who is read before whom, and what is taken of a parent's records.

use super::TaskRun;
use super::error::TransferError;
use crate::base::error::ErrorClass;
use crate::base::ids::Name;
use crate::model::partitions::{MAX_PARTITIONS, Partitions, TooMany};
use crate::record::locate::Locator;
use crate::record::page::Page;
use crate::sources::{Source, SourceError};
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

/// The streams of a task and their ancestors, whether the export has them or not.
#[derive(Debug, Default)]
pub struct Family {
    /// Parents before their children, else in the order of the export.
    order: Vec<Name>,
    /// The places in a parent's records that its children want.
    wanted: BTreeMap<Name, BTreeSet<String>>,
}

impl Family {
    /// The family of a task's streams.
    pub fn of(task: &TaskRun) -> Result<Self, TransferError> {
        let mut family = Self::default();
        for stream in &task.streams {
            let failed = |source| TransferError::Source { stream: stream.name.to_string(), source };
            family.add(&task.source, &stream.name, &mut BTreeSet::new()).map_err(failed)?;
        }
        Ok(family)
    }

    /// Adds a stream after its ancestors. Circles are refused with the configuration; here they only must not run for ever.
    fn add(&mut self, source: &Source, stream: &Name, above: &mut BTreeSet<Name>) -> Result<(), SourceError> {
        if self.order.contains(stream) || !above.insert(stream.clone()) {
            return Ok(());
        }
        for parent in source.parents(stream)? {
            self.add(source, &parent.stream, above)?;
            self.wanted.entry(parent.stream).or_default().extend(parent.places);
        }
        self.order.push(stream.clone());
        Ok(())
    }

    /// The streams in the order in which they are read.
    pub fn order(&self) -> &[Name] {
        &self.order
    }

    /// Takes what children want of a stream's records; `None` where it has no children.
    pub fn picker(&self, stream: &Name) -> Result<Option<Arc<Picker>>, TransferError> {
        self.wanted.get(stream).map(|places| Picker::new(stream, places.iter().cloned()).map(Arc::new)).transpose()
    }
}

/// Takes the values at some places out of records.
#[derive(Debug)]
pub struct Picker {
    stream: Name,
    places: Vec<String>,
    locator: Locator,
}

impl Picker {
    /// Takes the values at these places, in their order.
    pub fn new(stream: &Name, places: impl IntoIterator<Item = String>) -> Result<Self, TransferError> {
        let places: Vec<String> = places.into_iter().collect();
        let paths: Vec<&str> = places.iter().map(String::as_str).collect();
        let locator = Locator::new("$", &paths).map_err(|error| TransferError::Broken {
            message: format!("take the values of stream {stream} for its children: {error}"),
            class: ErrorClass::Config,
        })?;
        Ok(Self { stream: stream.clone(), places, locator })
    }

    /// The values of each record, in order, as JSON texts; empty where a record has none, `[]` for any list or object. A
    /// record that cannot be read has none.
    pub fn pick(&self, page: &Page) -> Result<Partitions, TooMany> {
        let mut rows = Partitions::new(self.places.clone());
        for raw in page.raw_records() {
            let Ok(found) = self.locator.locate(raw) else { continue };
            let texts = found.values.iter().map(|range| {
                let bytes = range.clone().and_then(|range| raw.get(range.start as usize..range.end as usize));
                match std::str::from_utf8(bytes.unwrap_or_default()).unwrap_or_default().trim() {
                    "null" => "",
                    text if text.starts_with(['[', '{']) => "[]",
                    text => text,
                }
            });
            rows.push(texts)?;
        }
        Ok(rows)
    }

    /// No values taken yet.
    pub fn taken(&self) -> Taken {
        Taken { rows: Partitions::new(self.places.clone()), seen: HashSet::new() }
    }

    /// The error of a parent whose values are more than can be kept.
    pub fn too_many(&self, error: TooMany) -> TransferError {
        too_many(&self.stream, error)
    }
}

/// The error of a parent whose values are more than can be kept.
pub fn too_many(stream: &Name, error: TooMany) -> TransferError {
    let message = format!("use the records of stream {stream} for its children: it failed to {error}");
    TransferError::Broken { message, class: ErrorClass::Config }
}

/// Rows without repetition.
#[derive(Debug)]
pub struct Taken {
    rows: Partitions,
    /// Digests of the rows that there were: half of SHA-256 each, so that two different rows are never taken for one.
    seen: HashSet<[u8; 16]>,
}

impl Taken {
    /// None yet, under these keys.
    pub fn new(keys: Vec<String>) -> Self {
        Self { rows: Partitions::new(keys), seen: HashSet::new() }
    }

    /// Adds a row unless it was there before.
    pub fn add<'a>(&mut self, row: impl Iterator<Item = &'a str> + Clone) -> Result<(), TooMany> {
        if !self.seen.insert(digest(row.clone())) {
            return Ok(());
        }
        if self.seen.len() > MAX_PARTITIONS as usize {
            return Err(TooMany);
        }
        self.rows.push(row)
    }

    /// Adds every row of a list under the same keys.
    pub fn add_all(&mut self, rows: &Partitions) -> Result<(), TooMany> {
        (0..rows.len()).try_for_each(|index| {
            let row: Vec<&str> = rows.row(index).collect();
            self.add(row.into_iter())
        })
    }

    /// The rows since the last call, in order.
    pub fn take(&mut self) -> Partitions {
        let keys = self.rows.keys().to_vec();
        std::mem::replace(&mut self.rows, Partitions::new(keys))
    }

    /// Rows since the last [`Taken::take`].
    pub fn rows(&self) -> u32 {
        self.rows.len()
    }

    /// Rows in all.
    pub fn count(&self) -> u32 {
        u32::try_from(self.seen.len()).unwrap_or(u32::MAX)
    }
}

fn digest<'a>(row: impl Iterator<Item = &'a str>) -> [u8; 16] {
    let mut hash = Sha256::new();
    for text in row {
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text);
    }
    let mut half = [0; 16];
    for (to, from) in half.iter_mut().zip(hash.finalize()) {
        *to = from;
    }
    half
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::offset::Offset;
    use proptest::prelude::*;

    fn page(records: &[&str]) -> Page {
        let (mut body, mut ranges) = (String::new(), Vec::new());
        for record in records {
            let start = body.len() as u32;
            body.push_str(record);
            ranges.push(start..body.len() as u32);
        }
        let offset = Offset::start(0);
        let body = body.into();
        Page {
            body,
            records: ranges,
            facts: crate::record::page::Facts::default(),
            offset_before: offset.clone(),
            offset_after: offset,
            total: None,
            made: None,
            permit: None,
        }
    }

    #[test]
    fn values_are_taken_as_they_stand_there() {
        let places = ["$.owner.name".to_owned(), "$['id']".to_owned()];
        let picker = Picker::new(&Name::new("accounts").unwrap(), places).unwrap();
        let records = [
            r#"{"id": 12345678901234567890 , "owner": {"name": "Zoë\n"}}"#,
            r#"{"id":null}"#,
            "7",
            r#"{"id":[1]}"#,
            "{",
        ];
        let rows = picker.pick(&page(&records)).unwrap();
        let told: Vec<Vec<&str>> = (0..rows.len()).map(|index| rows.row(index).collect()).collect();
        assert_eq!(told, [vec![r#""Zoë\n""#, "12345678901234567890"], vec!["", ""], vec!["", ""], vec!["", "[]"]]);
    }

    proptest! {
        #[test]
        fn rows_are_taken_once_in_the_order_of_their_first(rows in prop::collection::vec(("[ab]{0,2}", "[ab]{0,2}"), 0..30), cut in 0usize..30) {
            let mut taken = Taken::new(vec!["x".into(), "y".into()]);
            let mut told = Vec::new();
            let mut collect = |rows: Partitions| {
                told.extend((0..rows.len()).map(|index| rows.row(index).map(str::to_owned).collect::<Vec<_>>()));
            };
            for (n, (x, y)) in rows.iter().enumerate() {
                if n == cut {
                    collect(taken.take());
                }
                taken.add([x.as_str(), y.as_str()].into_iter()).unwrap();
            }
            collect(taken.take());
            let mut wanted: Vec<Vec<String>> = Vec::new();
            for (x, y) in rows {
                let row = vec![x, y];
                if !wanted.contains(&row) {
                    wanted.push(row);
                }
            }
            prop_assert_eq!(taken.count() as usize, wanted.len());
            prop_assert_eq!(told, wanted);
        }
    }
}
