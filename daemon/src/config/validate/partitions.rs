//! How streams are cut into parts: lists, windows, parents, products, and that no stream is its own ancestor.

use super::Check;
use crate::base::ids::Name;
use crate::config::param::record_path;
use crate::config::path::KeyPath;
use crate::config::problem::{Mistake, did_you_mean};
use crate::config::settings::{Factor, ListPartitions, ParentPartitions, PartitionBy, Rest, Stream, WindowPartitions};
use crate::config::template::is_word;
use crate::config::times::{Moment, Step, TimeFormat, zone};
use crate::config::units::shown;
use jiff::{Timestamp, Zoned};
use std::collections::BTreeSet;

/// Values of a list; longer ones are no configuration any more.
const MAX_LIST: usize = 10_000;
/// Factors of a product.
const MAX_FACTORS: usize = 8;

impl Check<'_> {
    pub(super) fn partition(&mut self, path: &KeyPath, rest: &Rest, stream: &Stream) {
        let Some(partition) = &stream.partition else { return };
        let here = path.key("partition");
        if let PartitionBy::Product(factors) = partition
            && !(1..=MAX_FACTORS).contains(&factors.len())
        {
            let message = format!("has {} factors: 1 to {MAX_FACTORS} are supported", factors.len());
            self.wrong(Mistake::value(&here.key("product"), message));
        }
        let mut taken = BTreeSet::new();
        let mut parents = BTreeSet::new();
        for (path, factor) in factors(&here, partition) {
            let keys = factor.keys();
            if let Some(key) = keys.iter().find(|key| taken.contains(*key)) {
                let name = key.strip_prefix("parent.").unwrap_or(key);
                let mistake = Mistake::value(&path, format!("{} is already a value of another factor", shown(name)));
                self.wrong(mistake.hint("lists take a name, parents name their values; windows may be there once"));
            }
            taken.extend(keys);
            match factor {
                Factor::List(list) => self.list(&path, list),
                Factor::Windows(windows) => self.time_windows(&path, windows, stream),
                Factor::Parent(parent) => {
                    self.parent(&path, rest, parent);
                    if !parents.insert(&parent.stream) {
                        let mistake = Mistake::value(&path.key("stream"), "is already the parent of another factor");
                        self.wrong(mistake.hint("put the values of both into one factor"));
                    }
                }
            }
        }
    }

    fn list(&mut self, path: &KeyPath, list: &ListPartitions) {
        let values = path.key("values");
        if list.values.len() > MAX_LIST {
            let message = format!("has {} values; at most {MAX_LIST} are supported", list.values.len());
            self.wrong(Mistake::value(&values, message));
        }
        self.repeated(&values, list.values.iter().map(String::as_str));
        if let Some(name) = &list.name {
            self.word(&path.key("name"), name);
        }
    }

    /// A name that templates can ask for.
    fn word(&mut self, path: &KeyPath, name: &str) {
        if !is_word(name) {
            let mistake = Mistake::value(path, "a template cannot name this value");
            self.wrong(mistake.hint("use letters, digits and _, starting with a letter"));
        }
    }

    fn time_windows(&mut self, path: &KeyPath, windows: &WindowPartitions, stream: &Stream) {
        let mut step = |key: &str, text: &str| self.parsed(&path.key(key), Step::parse(text));
        let length = step("step", &windows.step);
        let overlap = windows.overlap.as_deref().map(|text| step("overlap", text));
        let granularity = windows.granularity.as_deref().and_then(|text| step("granularity", text));
        let start = self.parsed(&path.key("start"), Moment::parse(&windows.start));
        let end = self.parsed(&path.key("end"), Moment::parse(&windows.end));
        let format = self.parsed(&path.key("format"), TimeFormat::parse(&windows.format));
        let zone = self.parsed(&path.key("timezone"), zone(&windows.timezone));
        if overlap.is_some() && stream.primary_key.is_empty() {
            let mistake =
                Mistake::key(&path.key("overlap"), "gives records twice, and nothing says which are the same");
            self.wrong(mistake.hint("add primary_key to the stream").about(path.clone()));
        }
        let (Some(length), Some(start), Some(end), Some(format), Some(zone)) = (length, start, end, format, zone)
        else {
            return;
        };
        // Any time will do: the shortest month shows what the others show.
        let some = Timestamp::UNIX_EPOCH.to_zoned(zone.clone());
        let after = |step: &Step| step.after(&some, 1);
        if granularity.is_some_and(|less| later(&after(&less), &after(&length))) {
            self.wrong(Mistake::value(&path.key("granularity"), "is longer than step"));
        }
        let written = |at: &Zoned| format.write(at).ok();
        if granularity.is_none() && after(&length).is_some_and(|next| written(&next) == written(&some)) {
            let mistake =
                Mistake::value(&path.key("step"), "is so short that start and end look the same in this format");
            self.wrong(mistake.hint("take a longer step or a finer format"));
        }
        let fixed = |moment: &Moment| !matches!(moment, Moment::Now(_));
        let at = |moment: &Moment| moment.resolve(Timestamp::UNIX_EPOCH, &zone);
        if fixed(&start) && fixed(&end) && !later(&at(&end), &at(&start)) {
            self.wrong(Mistake::value(&path.key("end"), "is not after start"));
        }
    }

    /// What a text says, or a mistake.
    fn parsed<T>(&mut self, path: &KeyPath, parsed: Result<T, String>) -> Option<T> {
        parsed.map_err(|why| self.wrong(Mistake::value(path, why))).ok()
    }

    fn parent(&mut self, path: &KeyPath, rest: &Rest, parent: &ParentPartitions) {
        if !rest.streams.contains_key(&parent.stream) {
            let mistake =
                Mistake::value(&path.key("stream"), format!("there is no stream {:?}", parent.stream.as_str()));
            self.wrong(match did_you_mean(parent.stream.as_str(), rest.streams.keys().map(Name::as_str)) {
                Some(meant) => mistake.hint(format!("did you mean {meant:?}?")),
                None => mistake.hint("a parent is another stream of the same source"),
            });
        }
        for (name, place) in &parent.values {
            let here = path.key("values").key(name);
            if !is_word(name) {
                let mistake = Mistake::key(&here, "a template cannot name this value");
                self.wrong(mistake.hint("use letters, digits and _, starting with a letter"));
            }
            if place.is_empty() || (!place.starts_with('$') && place.split('.').any(str::is_empty)) {
                self.wrong(
                    Mistake::value(&here, "is not the name of a field").hint("write e.g. id, owner.id or $.owner.id"),
                );
            } else {
                self.json_path(&here, &record_path(place));
            }
        }
        for (field, name) in &parent.include {
            let here = path.key("include").key(field);
            if field.is_empty() {
                self.wrong(Mistake::key(&here, "is not the name of a field"));
            }
            if !parent.values.contains_key(name) {
                let mistake = Mistake::value(&here, format!("{} is not among values", shown(name)));
                self.wrong(mistake.hint("write the name of one of the values").about(path.key("values")));
            }
        }
    }

    /// No stream may need its own records before it can be read. Each circle is told once.
    pub(super) fn ancestors(&mut self, path: &KeyPath, rest: &Rest) {
        let mut told: BTreeSet<&Name> = BTreeSet::new();
        for name in rest.streams.keys() {
            let Some(circle) = circle(rest, name) else { continue };
            if circle.iter().any(|name| told.contains(name)) {
                continue;
            }
            told.extend(&circle);
            let names: Vec<&str> = circle.iter().chain(circle.first()).map(|name| name.as_str()).collect();
            let message = format!("the parents lead round in a circle: {}", names.join(" → "));
            let partition = rest.streams.get(name).and_then(|stream| stream.partition.as_ref());
            let here = path.key(name.as_str()).key("partition");
            let at = partition
                .into_iter()
                .flat_map(|partition| factors(&here, partition))
                .find(|(_, factor)| matches!(factor, Factor::Parent(parent) if circle.contains(&&parent.stream)));
            let at = at.map_or(here.clone(), |(path, _)| path.key("stream"));
            self.wrong(Mistake::value(&at, message).hint("one of them must be read without the other"));
        }
    }
}

/// The factors of a partition, each with the path to its settings.
pub(super) fn factors<'a>(path: &KeyPath, partition: &'a PartitionBy) -> Vec<(KeyPath, Factor<'a>)> {
    let product = matches!(partition, PartitionBy::Product(_));
    let of = |(index, factor): (usize, Factor<'a>)| {
        let path = if product { path.key("product").item(index) } else { path.clone() };
        (path.key(factor.kind()), factor)
    };
    partition.factors().into_iter().enumerate().map(of).collect()
}

fn later(a: &Option<Zoned>, b: &Option<Zoned>) -> bool {
    a.as_ref().zip(b.as_ref()).is_some_and(|(a, b)| a > b)
}

/// The way from a stream over its ancestors back to it, if there is one.
fn circle<'a>(rest: &'a Rest, start: &'a Name) -> Option<Vec<&'a Name>> {
    let mut ways = vec![vec![start]];
    let mut seen = BTreeSet::new();
    while let Some(way) = ways.pop() {
        let partition =
            way.last().and_then(|name| rest.streams.get(*name)).and_then(|stream| stream.partition.as_ref());
        for parent in partition.into_iter().flat_map(PartitionBy::parents) {
            if parent.stream == *start {
                return Some(way);
            }
            if seen.insert(&parent.stream) {
                ways.push(way.iter().copied().chain([&parent.stream]).collect());
            }
        }
    }
    None
}
