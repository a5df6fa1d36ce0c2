//! Which record is which: the primary key of each record of a page, as digests that tell whether pages have shifted.

use super::field::field;
use crate::base::ids::hex;
use sha2::{Digest as _, Sha256};
use std::hash::{DefaultHasher, Hasher as _};

/// Bytes of a digest that are kept.
const KEPT: usize = 8;

/// Tells the records of a stream apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// Paths of the primary key's fields; none where the stream has no key.
    key: Vec<Vec<String>>,
    /// Whether a record with the same key and other content is another record for [`Identities::keys`].
    exact: bool,
}

/// Which records a page has, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identities {
    /// Of each record that has every field of the primary key. They are good for this process alone.
    pub keys: Vec<u64>,
    /// Digest over all records: of their keys, or of what they hold where they have none. The same in every process.
    pub all: String,
    /// Digest of the first record, where there is one.
    pub first: Option<String>,
    /// Digest of the last record, where there is one.
    pub last: Option<String>,
}

impl Identity {
    /// By the fields of a primary key (dots for nested fields). `exact` where something else shows that pages have shifted,
    /// so that a key which comes again with other content only shows that the key is none.
    pub fn new(primary_key: &[String], exact: bool) -> Self {
        let path = |field: &String| field.split('.').map(str::to_owned).collect();
        Self { key: primary_key.iter().map(path).collect(), exact }
    }

    /// The identities of a page's records.
    pub fn page<'a>(&self, records: impl Iterator<Item = &'a [u8]>) -> Identities {
        let (mut found, mut all, mut text) = (Identities::default(), Sha256::new(), Vec::new());
        let mut last = None;
        for raw in records {
            text.clear();
            if self.write_key(raw, &mut text) {
                let mut hasher = DefaultHasher::new();
                hasher.write(&text);
                if self.exact {
                    hasher.write_u32(crc32c::crc32c(raw));
                }
                found.keys.push(hasher.finish());
            } else {
                // Far cheaper than to digest what may be megabytes, and only ever compared with its neighbours.
                text.clear();
                text.extend_from_slice(&crc32c::crc32c(raw).to_le_bytes());
                text.extend_from_slice(&(raw.len() as u64).to_le_bytes());
            }
            all.update(&text);
            if last.is_none() {
                found.first = Some(short(&text));
            }
            last.get_or_insert_with(Vec::new).clone_from(&text);
        }
        found.all = hex(all.finalize().get(..KEPT).unwrap_or_default());
        found.last = last.map(|text| short(&text));
        found
    }

    /// Writes the JSON texts of the key's fields, each behind its length. False where one is missing or null.
    fn write_key(&self, raw: &[u8], out: &mut Vec<u8>) -> bool {
        let mut whole = !self.key.is_empty();
        for path in &self.key {
            let value = field(raw, path).filter(|value| *value != b"null");
            whole &= value.is_some();
            let value = value.unwrap_or_default();
            out.extend_from_slice(&(value.len() as u64).to_le_bytes());
            out.extend_from_slice(value);
        }
        whole
    }
}

impl Identities {
    /// What an offset keeps of a page of `records` records: how many, and which.
    pub fn tail(&self, records: usize) -> String {
        format!("{records}:{}", self.all)
    }
}

/// How many records a [`Identities::tail`] is of; `None` where it is the digest of a single record.
pub fn count_of(tail: &str) -> Option<usize> {
    tail.split_once(':')?.0.parse().ok()
}

fn short(text: &[u8]) -> String {
    hex(Sha256::digest(text).get(..KEPT).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn identities(key: &[&str], records: &[&str]) -> Identities {
        let key: Vec<String> = key.iter().map(|field| (*field).to_owned()).collect();
        Identity::new(&key, false).page(records.iter().map(|record| record.as_bytes()))
    }

    #[test]
    fn a_changed_value_is_no_other_record_but_a_changed_key_is() {
        let before = identities(&["id"], &[r#"{"id":1,"n":1}"#, r#"{"id":2,"n":1}"#]);
        assert_eq!(before, identities(&["id"], &[r#"{"n":2,"id":1}"#, r#"{"id": 2}"#]));
        let other = identities(&["id"], &[r#"{"id":1}"#, r#"{"id":3}"#]);
        assert_eq!(before.first, other.first);
        assert_ne!((&before.all, &before.last), (&other.all, &other.last));
        assert_eq!((before.keys.len(), before.keys[0]), (2, other.keys[0]));
    }

    #[test]
    fn where_it_is_exact_other_content_is_another_record_but_the_same_place() {
        let exact = Identity::new(&["id".to_owned()], true);
        let page = |record: &str| exact.page([record.as_bytes()].into_iter());
        let (one, other) = (page(r#"{"id":1,"n":1}"#), page(r#"{"id":1,"n":2}"#));
        assert_ne!(one.keys, other.keys);
        assert_eq!(one.last, other.last);
    }

    #[test]
    fn without_a_whole_key_the_record_itself_counts() {
        for key in [&[][..], &["id"][..], &["id", "x"][..]] {
            let one = identities(key, &[r#"{"id":null,"n":1}"#]);
            let other = identities(key, &[r#"{"id":null,"n":2}"#]);
            assert_ne!(one.all, other.all, "{key:?}");
            assert!(one.keys.is_empty());
        }
    }

    #[test]
    fn a_tail_says_how_many_records_it_is_of() {
        let found = identities(&["id"], &[r#"{"id":1}"#]);
        assert_eq!(count_of(&found.tail(17)), Some(17));
        assert_eq!(count_of(&found.all), None);
    }

    #[test]
    fn fields_of_a_key_do_not_run_together() {
        let one = identities(&["a", "b"], &[r#"{"a":"x","b":"yz"}"#]);
        assert_ne!(one.keys, identities(&["a", "b"], &[r#"{"a":"xy","b":"z"}"#]).keys);
        assert_eq!(one.all.len(), 16);
        assert_eq!(identities(&["a"], &[]).last, None);
    }

    proptest! {
        #[test]
        fn any_record_is_survived(text in "\\PC{0,40}") {
            let found = identities(&["id"], &[&text]);
            prop_assert!(found.keys.len() <= 1 && found.first == found.last);
        }
    }
}
