//! The data set: record i as a pure function of the seed and i, and the text the API makes of it.

use super::rng::mix;
use super::words::{CITIES, COUNTRIES, FIRST_NAMES, LAST_NAMES, NOTES, STATUSES, TAGS, Word};
use std::io::Write as _;

/// The values of the `region` field; record i has region i mod 3.
pub const REGIONS: [&str; 3] = ["eu", "us", "ap"];

/// Microseconds from 1970 to the first record's `created_at`, 2024-01-01T00:00:00Z.
const FIRST_CREATED: i64 = 1_704_067_200_000_000;

/// A data set: a seed, a size, and where its shape changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Data {
    /// Decides every value.
    pub seed: u64,
    /// Records in all.
    pub records: u64,
    /// Changes of the shape.
    pub shape: Shape,
}

/// How the shape of records changes along the data set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Shape {
    /// Records at or behind this position have a field `discount_code`.
    pub late_field: Option<u64>,
    /// In records at or behind this position `quantity` is a text such as `"7 pcs"`.
    pub type_change: Option<u64>,
}

/// A part of the data set, in order: every record, or those of one region or account, and of these the ones of a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct View {
    /// Position of the first record.
    pub first: u64,
    /// Distance between two records.
    pub step: u64,
    /// Position behind the last record, where that is not the end of the data set.
    pub end: u64,
}

impl View {
    /// Every record.
    pub const ALL: Self = Self { first: 0, step: 1, end: u64::MAX };

    /// The records of a region, if there is such a region.
    pub fn region(name: &str) -> Option<Self> {
        let first = REGIONS.iter().position(|region| *region == name)? as u64;
        Some(Self { first, step: REGIONS.len() as u64, end: u64::MAX })
    }

    /// The records of account `k` of so many.
    pub fn account(k: u64, accounts: u64) -> Self {
        Self { first: k, step: accounts, end: u64::MAX }
    }

    /// Of these records those that were created from second `since` to before second `until`, since 1970.
    #[must_use]
    pub fn between(self, since: i64, until: i64) -> Self {
        let position = |second: i64| u64::try_from(second - FIRST_CREATED / 1_000_000).unwrap_or(0);
        let skipped = position(since).saturating_sub(self.first).div_ceil(self.step);
        Self { first: self.first + skipped * self.step, step: self.step, end: self.end.min(position(until)) }
    }

    /// `all`, the region's name, or numbers.
    pub fn name(self) -> String {
        let whole = self.end == u64::MAX;
        match (self.first, self.step) {
            (0, 1) if whole => "all".into(),
            (first, 3) if whole && first < 3 => REGIONS[first as usize].into(),
            (first, step) => format!("{first}+{step}..{}", self.end),
        }
    }

    /// Records of the view in a data set of `records`.
    pub fn len(self, records: u64) -> u64 {
        records.min(self.end).saturating_sub(self.first).div_ceil(self.step)
    }

    /// Position in the data set of the view's record `k`.
    pub fn position(self, k: u64) -> u64 {
        self.first + k * self.step
    }

    /// The ids of the view, in order.
    pub fn ids(self, records: u64) -> impl Iterator<Item = u64> {
        (0..self.len(records)).map(move |k| self.position(k) + 1)
    }
}

/// One record, as values; the API's text comes from [`Record::write_json`].
#[derive(Clone, Copy, Debug)]
pub struct Record {
    position: u64,
    seed: u64,
    shape: Shape,
}

impl Data {
    /// The record at a position (from 0).
    pub fn record(&self, position: u64) -> Record {
        Record { position, seed: self.seed, shape: self.shape }
    }

    /// Appends the JSON array of a view's records `start..start + len`.
    pub fn write_array(&self, out: &mut Vec<u8>, view: View, start: u64, len: u64) {
        out.push(b'[');
        for k in start..start + len {
            if k != start {
                out.push(b',');
            }
            self.record(view.position(k)).write_json(out);
        }
        out.push(b']');
    }
}

impl Record {
    fn bits(&self, field: u64) -> u64 {
        mix(self.seed, self.position, field)
    }

    /// The primary key: position + 1.
    pub fn id(&self) -> u64 {
        self.position + 1
    }

    /// A version 4 UUID.
    pub fn uuid(&self) -> String {
        let (a, b) = (self.bits(1), self.bits(2));
        format!(
            "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
            a >> 32,
            (a >> 16) & 0xffff,
            a & 0xfff,
            0x8000 | (b >> 48) & 0x3fff,
            b & 0xffff_ffff_ffff
        )
    }

    /// `created_at` in microseconds since 1970; grows with the id, whole milliseconds.
    pub fn created_us(&self) -> i64 {
        FIRST_CREATED + self.position as i64 * 1_000_000 + (self.bits(3) % 1000) as i64 * 1000
    }

    /// `updated_at` in microseconds since 1970.
    pub fn updated_us(&self) -> i64 {
        self.created_us() + (self.bits(4) % 86_400_000_000) as i64
    }

    /// First and last name.
    pub fn name(&self) -> String {
        let (first, last) = self.name_words();
        format!("{} {}", first.text, last.text)
    }

    fn name_words(&self) -> (&'static Word, &'static Word) {
        let bits = self.bits(5);
        (&FIRST_NAMES[(bits % 16) as usize], &LAST_NAMES[(bits >> 8) as usize % 8])
    }

    /// `customer@example` addresses, unique.
    pub fn email(&self) -> String {
        format!("user{}@shop.example", self.position)
    }

    /// Whole cents of `amount`.
    pub fn cents(&self) -> i64 {
        (self.bits(6) % 1_000_000) as i64 - 50_000
    }

    /// `amount` as the float that the API's text means.
    pub fn amount(&self) -> f64 {
        self.cents() as f64 / 100.0
    }

    /// `weight`, null in 40 % of the records.
    pub fn weight(&self) -> Option<f64> {
        let bits = self.bits(7);
        (bits % 10 >= 4).then(|| (bits >> 32) as f64 % 50_000.0 / 8.0)
    }

    /// `paid`.
    pub fn paid(&self) -> bool {
        self.bits(8) & 1 == 1
    }

    /// `quantity`, null in 40 % of the records.
    pub fn quantity(&self) -> Option<u64> {
        let bits = self.bits(9);
        (bits % 10 >= 4).then_some((bits >> 8) % 500)
    }

    /// Whether `quantity` is written as a text.
    pub fn quantity_is_text(&self) -> bool {
        self.shape.type_change.is_some_and(|after| self.position >= after)
    }

    /// `discount_code`, in the records that have the field.
    pub fn discount_code(&self) -> Option<String> {
        let has = self.shape.late_field.is_some_and(|after| self.position >= after);
        has.then(|| format!("D{:04}", self.bits(10) % 10_000))
    }

    /// `status`.
    pub fn status(&self) -> &'static str {
        STATUSES[(self.bits(11) % 4) as usize]
    }

    /// `region`.
    pub fn region(&self) -> &'static str {
        REGIONS[(self.position % 3) as usize]
    }

    /// `address.city`, `address.country`, `address.zip`.
    pub fn address(&self) -> (&'static str, &'static str, String) {
        let bits = self.bits(12);
        let city = (bits % 8) as usize;
        (CITIES[city], COUNTRIES[city], format!("{:05}", (bits >> 8) % 100_000))
    }

    /// `tags`: none to three.
    pub fn tags(&self) -> impl Iterator<Item = &'static str> {
        let bits = self.bits(13);
        (0..bits % 4).map(move |n| TAGS[((bits >> (8 + 8 * n)) % 6) as usize])
    }

    fn note_word(&self) -> &'static Word {
        &NOTES[(self.bits(14) % 8) as usize]
    }

    /// `note`.
    pub fn note(&self) -> &'static str {
        self.note_word().text
    }

    /// Appends the record as the API writes it.
    pub fn write_json(&self, out: &mut Vec<u8>) {
        let (first, last) = self.name_words();
        let (city, country, zip) = self.address();
        let _ = write!(out, "{{\"id\":{},\"uuid\":\"{}\",\"created_at\":\"", self.id(), self.uuid());
        write_instant(out, self.created_us(), 3);
        out.extend_from_slice(b"Z\",\"updated_at\":\"");
        write_instant(out, self.updated_us() + 7_200_000_000, 6);
        let _ = write!(
            out,
            "+02:00\",\"name\":\"{} {}\",\"email\":\"user{}@shop.example\",\"amount\":",
            first.json, last.json, self.position
        );
        let cents = self.cents();
        let sign = if cents < 0 { "-" } else { "" };
        let _ = write!(out, "{sign}{}.{:02}", cents.abs() / 100, cents.abs() % 100);
        let _ = match self.weight() {
            Some(weight) => write!(out, ",\"weight\":{weight:.3}"),
            None => write!(out, ",\"weight\":null"),
        };
        let _ = write!(out, ",\"paid\":{}", self.paid());
        let _ = match (self.quantity(), self.quantity_is_text()) {
            (Some(quantity), false) => write!(out, ",\"quantity\":{quantity}"),
            (Some(quantity), true) => write!(out, ",\"quantity\":\"{quantity} pcs\""),
            (None, _) => write!(out, ",\"quantity\":null"),
        };
        let _ = write!(
            out,
            ",\"status\":\"{}\",\"region\":\"{}\",\"address\":{{\"city\":\"{city}\",\"country\":\"{country}\",\"zip\":\"{zip}\"}},\"tags\":[",
            self.status(),
            self.region()
        );
        for (n, tag) in self.tags().enumerate() {
            let _ = write!(out, "{}\"{tag}\"", if n == 0 { "" } else { "," });
        }
        let _ = write!(out, "],\"note\":\"{}\",\"cancelled_at\":null", self.note_word().json);
        if let Some(code) = self.discount_code() {
            let _ = write!(out, ",\"discount_code\":\"{code}\"");
        }
        out.push(b'}');
    }
}

/// Appends `YYYY-MM-DDTHH:MM:SS.fff[fff]` of an instant after 1970 (no offset).
fn write_instant(out: &mut Vec<u8>, microseconds: i64, digits: u32) {
    let (days, rest) = (microseconds.div_euclid(86_400_000_000), microseconds.rem_euclid(86_400_000_000));
    let (year, month, day) = civil(days);
    let seconds = rest / 1_000_000;
    let fraction = rest % 1_000_000 / 10_i64.pow(6 - digits);
    let _ = write!(
        out,
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{fraction:0width$}",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60,
        width = digits as usize
    );
}

/// The proleptic Gregorian date of a day counted from 1970-01-01 (Hinnant's algorithm); far quicker than a calendar
/// library, and this runs for every record.
fn civil(days: i64) -> (i64, i64, i64) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let doe = z.rem_euclid(146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    (yoe + era * 400 + i64::from(month <= 2), month, doy - (153 * mp + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(record: &Record) -> serde_json::Value {
        let mut text = Vec::new();
        record.write_json(&mut text);
        serde_json::from_slice(&text).unwrap()
    }

    #[test]
    fn the_text_says_what_the_values_are() {
        let data = Data { seed: 7, records: 5000, shape: Shape { late_field: Some(90), type_change: Some(95) } };
        for position in 0..100 {
            let record = data.record(position);
            let value = json(&record);
            assert_eq!(value["id"], record.id());
            assert_eq!(value["name"], record.name());
            assert_eq!(value["amount"].as_f64(), Some(record.amount()));
            assert_eq!(value["weight"].as_f64(), record.weight());
            assert_eq!(value["note"], record.note());
            assert_eq!(value["tags"].as_array().unwrap().len(), record.tags().count());
            for (field, us) in [("created_at", record.created_us()), ("updated_at", record.updated_us())] {
                let instant: jiff::Timestamp = value[field].as_str().unwrap().parse().unwrap();
                assert_eq!(instant.as_microsecond(), us, "{field}");
            }
            assert_eq!(value.get("discount_code").is_some(), position >= 90);
            assert_eq!(value["quantity"].is_string(), position >= 95 && record.quantity().is_some());
        }
    }

    #[test]
    fn regions_are_the_data_set_without_overlap() {
        for records in [0, 1, 2, 3, 10, 1000] {
            let mut ids: Vec<u64> = REGIONS.iter().flat_map(|r| View::region(r).unwrap().ids(records)).collect();
            ids.sort_unstable();
            assert_eq!(ids, View::ALL.ids(records).collect::<Vec<_>>());
        }
    }

    #[test]
    fn windows_are_the_data_set_without_overlap() {
        let start = FIRST_CREATED / 1_000_000;
        for view in [View::ALL, View::region("us").unwrap(), View::account(4, 7)] {
            let parts = (-1..12).flat_map(|n| view.between(start + n * 9, start + n * 9 + 9).ids(100));
            assert_eq!(parts.collect::<Vec<_>>(), view.ids(100).collect::<Vec<_>>());
        }
    }

    #[test]
    fn another_seed_is_another_data_set() {
        let record = |seed| json(&Data { seed, records: 1, shape: Shape::default() }.record(0));
        assert_eq!(record(1), record(1));
        assert_ne!(record(1), record(2));
    }
}
