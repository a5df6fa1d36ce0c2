//! Adds values of a partition's parent to the records of its pages.

use crate::record::json::{JsonError, Scanner};
use bytes::Bytes;
use serde_json::Value;
use std::ops::Range;

/// What a partition's keys of included fields begin with; no template can name them.
const PREFIX: &str = "include.";

/// The key under which a partition keeps the JSON text of an included field.
pub fn key(field: &str) -> String {
    format!("{PREFIX}{field}")
}

/// The fields that each record of a partition gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Include {
    /// Their names.
    names: Vec<String>,
    /// `"name":value` of all of them, with commas between.
    members: String,
}

impl Include {
    /// The included fields among the values of a partition; `None` where there are none.
    pub fn of<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Option<Self> {
        let fields: Vec<_> =
            pairs.into_iter().filter_map(|(key, json)| Some((key.strip_prefix(PREFIX)?, json))).collect();
        let members: Vec<String> = fields.iter().map(|(name, json)| format!("{}:{json}", Value::from(*name))).collect();
        let names = fields.iter().map(|(name, _)| (*name).to_owned()).collect();
        (!members.is_empty()).then(|| Self { names, members: members.join(",") })
    }

    /// The records of a body, each with the fields before its own; own ones of the same name are left out. What is no
    /// object stays as it is.
    pub fn add(&self, body: &[u8], records: &[Range<u32>]) -> (Bytes, Vec<Range<u32>>) {
        let mut out = Vec::with_capacity(body.len() + records.len() * (self.members.len() + 2));
        let mut places = Vec::with_capacity(records.len());
        for range in records {
            let record = body.get(range.start as usize..range.end as usize).unwrap_or_default();
            let start = out.len();
            if self.write(record, &mut out).is_err() {
                out.truncate(start);
                out.extend_from_slice(record);
            }
            places.push(place(start)..place(out.len()));
        }
        (out.into(), places)
    }

    fn write(&self, record: &[u8], out: &mut Vec<u8>) -> Result<(), JsonError> {
        let mut scanner = Scanner::new(record);
        let mut more = scanner.open(b'{')?;
        let mut scratch = Vec::new();
        out.push(b'{');
        out.extend_from_slice(self.members.as_bytes());
        while more {
            scanner.skip_whitespace();
            let start = scanner.pos();
            let name = scanner.key()?.decode(&mut scratch).map(<[u8]>::to_vec);
            scanner.skip_value()?;
            let own = name.is_ok_and(|name| self.names.iter().any(|own| own.as_bytes() == name));
            if !own {
                out.push(b',');
                out.extend_from_slice(scanner.slice(start..scanner.pos()));
            }
            more = scanner.more(b'}')?;
        }
        out.push(b'}');
        Ok(())
    }
}

/// A page is smaller than 4 GiB by far: its body has a limit of 1 GB, and what is added is bounded by the request.
fn place(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn added(record: &str) -> String {
        let include = Include::of([("start", "x"), ("include.account", "12"), ("include.b\"", "\"ü\"")]).unwrap();
        let body = format!("[0,{record}]");
        let (out, places) = include.add(body.as_bytes(), &[1..2, 3..3 + record.len() as u32]);
        assert_eq!(&out[places[0].start as usize..places[0].end as usize], b"0", "no object");
        String::from_utf8(out[places[1].start as usize..places[1].end as usize].to_vec()).unwrap()
    }

    #[test]
    fn fields_come_first_and_replace_their_like() {
        assert_eq!(added("{}"), r#"{"account":12,"b\"":"ü"}"#);
        assert_eq!(added(r#"{ "id" : 1.50 , "x":{} }"#), r#"{"account":12,"b\"":"ü","id" : 1.50,"x":{}}"#);
        assert_eq!(added(r#"{"account":1,"id":2,"acc\u006funt":3}"#), r#"{"account":12,"b\"":"ü","id":2}"#);
        assert_eq!(Include::of([("start", "x"), ("parent.id", "1")]), None);
    }

    proptest! {
        #[test]
        fn nothing_else_changes(fields in prop::collection::btree_map("[a-c]{1,3}", any::<i32>(), 0..5)) {
            let record = json!(fields);
            let mut wanted = json!({ "account": 12, "b\"": "ü" });
            wanted.as_object_mut().unwrap().extend(record.as_object().unwrap().clone());
            let got: Value = serde_json::from_str(&added(&record.to_string())).unwrap();
            prop_assert_eq!(got, wanted);
        }
    }
}
