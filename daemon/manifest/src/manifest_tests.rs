//! The manifest's JSON never changes by accident, and nothing impossible is read.

use super::*;
use serde_json::json;

pub(crate) fn sample() -> Manifest {
    let offset =
        |pages: u64| json!({ "partition": 0, "cursor": { "page": pages + 1 }, "pages": pages, "records": pages * 2 });
    let segment = |n: u64| Segment {
        name: format!("part-0-{n:06}.csv"),
        rows: 2,
        bytes: 10 + n,
        sha256: "0a".repeat(32),
        crc32c: crc32c_hex(0x00ab_cdef),
        plain_sha256: None,
        plain_bytes: None,
        lane: 0,
        n,
        revision: 0,
        first_offset: offset(n),
        last_offset: offset(n + 1),
    };
    Manifest {
        version: 1,
        export: "shop-nightly".into(),
        stream: "orders".into(),
        task: "20261121T024501Z-9f86d081".into(),
        created_at: "2026-11-21T02:45:01Z".into(),
        mode: Mode::Full,
        format: "csv".into(),
        compression: None,
        encryption: None,
        parquet_encryption: false,
        encrypted_columns: Vec::new(),
        signature: None,
        schema: json!({ "fields": [{ "name": "id", "type": "integer" }] }),
        schema_version: 1,
        primary_key: vec!["id".into()],
        cursor_field: None,
        shift_protection: "none".into(),
        limited_by: None,
        chain: ChainPosition { id: "20261121T024501Z-9f86d081".into(), position: 0 },
        offsets: vec![LaneOffsets { lane: 0, first: offset(0), last: offset(2) }],
        marks: Marks::default(),
        counts: Counts { read: 5, written: 4, rejected: 1, ..Counts::default() },
        pages: 2,
        source_bytes: 99,
        segments: vec![segment(0), segment(1)],
        daemon_version: "0.1.0".into(),
    }
}

#[test]
fn golden() {
    let mut manifest = sample();
    manifest.segments.truncate(1);
    let expected = include_str!("../golden/manifest-v1.json");
    assert_eq!(String::from_utf8(manifest.to_bytes().unwrap()).unwrap(), expected);
}

#[test]
fn the_frozen_manifest_of_version_1_stays_readable() {
    let mut text = include_str!("../golden/manifest-v1.json").to_owned();
    text = text.replace("\"written\": 4", "\"written\": 2").replace("\"rejected\": 1", "\"rejected\": 3");
    let manifest = Manifest::parse(text.as_bytes()).unwrap();
    assert_eq!(manifest.segments[0].crc32c, "00abcdef");
    // What a later 1.x adds must not stop us.
    let more = text.replacen('{', "{ \"later\": [1],", 1);
    assert_eq!(Manifest::parse(more.as_bytes()).unwrap(), manifest);
}

#[test]
fn reads_back() {
    let mut manifest = sample();
    manifest.compression = Some("gzip".into());
    manifest.cursor_field = Some("updated_at".into());
    manifest.marks.after = Some(json!("2026-01-01"));
    manifest.mode = Mode::Incremental;
    assert_eq!(Manifest::parse(&manifest.to_bytes().unwrap()).unwrap(), manifest);
}

#[test]
fn what_encryption_adds_reads_back() {
    let mut manifest = sample();
    manifest.encryption = Some(Encryption { format: "age".into(), recipients: vec!["age1x".into()] });
    manifest.parquet_encryption = true;
    manifest.encrypted_columns = vec!["email".into()];
    manifest.signature = Some(Signed { algorithm: "ed25519".into(), key_id: "00".into() });
    manifest.segments[0].plain_sha256 = Some("0b".repeat(32));
    manifest.segments[0].plain_bytes = Some(9);
    let text = String::from_utf8(manifest.to_bytes().unwrap()).unwrap();
    assert_eq!(Manifest::parse(text.as_bytes()).unwrap(), manifest);
    let at = |word: &str| text.find(word).unwrap_or_else(|| panic!("{word} is not in {text}"));
    let order =
        ["\"encryption\"", "\"parquet_encryption\": true", "\"encrypted_columns\"", "\"key_id\"", "\"plain_sha256\""];
    assert!(order.map(at).is_sorted(), "{text}");
}

#[test]
fn the_boundary_is_listed_in_order_and_reads_back() {
    let record = |n: u8| (vec![n, 0xff], [n; 32]);
    let marks = Marks { fingerprint: Some("f00d".into()), ..Marks::default() };
    let listed = marks.clone().with_boundary(&[record(2), record(1), record(2)]);
    assert_eq!(listed, marks.clone().with_boundary(&[record(1), record(2)]), "whatever the order");
    assert_eq!(listed.boundary().unwrap(), Some(vec![record(1), record(2)]));
    let mut manifest = sample();
    manifest.marks = listed;
    assert_eq!(Manifest::parse(&manifest.to_bytes().unwrap()).unwrap(), manifest);
    // A text of any length may be a cursor value; an empty list is no missing one.
    assert_eq!(marks.clone().with_boundary(&[]).boundary().unwrap(), Some(vec![]));
    assert_eq!(marks.boundary().unwrap(), None);
    let many: Vec<_> = (0..=MAX_BOUNDARY).map(|n| (n.to_be_bytes().to_vec(), [0; 32])).collect();
    assert_eq!(marks.clone().with_boundary(&many).boundary, None);
    assert!(marks.with_boundary(&many[1..]).boundary.is_some());
}

#[test]
fn errors_name_the_place() {
    let text = String::from_utf8(sample().to_bytes().unwrap()).unwrap();
    let wrong = text.replace("\"pages\": 2,\n  \"source_bytes\"", "\"pages\": \"two\",\n  \"source_bytes\"");
    assert_ne!(wrong, text);
    let line = wrong.lines().position(|l| l.contains("\"two\"")).unwrap() + 1;
    match Manifest::parse(wrong.as_bytes()).unwrap_err() {
        ParseError::Json { line: found, column, message, .. } => {
            assert_eq!(found, line);
            assert!(column > 0 && !message.contains("at line"), "{message}");
        }
        other => panic!("{other}"),
    }
    let cut = &text.as_bytes()[..text.len() / 2];
    assert!(matches!(Manifest::parse(cut), Err(ParseError::Json { line: 2.., .. })));
    let newer = text.replacen("\"version\": 1", "\"version\": 2", 1);
    assert_eq!(Manifest::parse(newer.as_bytes()), Err(ParseError::Newer { what: "manifest", found: 2 }));
}

#[test]
fn what_cannot_be_is_refused() {
    type Change = fn(&mut Manifest);
    let changes: [(&str, Change); 10] = [
        ("marks.boundary[1]", |m| m.marks.boundary = Some(vec!["A".repeat(44), "AAAA".into()])),
        ("marks.boundary has more", |m| m.marks.boundary = Some(vec!["A".repeat(44); MAX_BOUNDARY + 1])),
        ("plain_sha256", |m| m.segments[0].plain_sha256 = Some("x".into())),
        ("plain file name", |m| m.segments[1].name = "../part".into()),
        ("twice", |m| m.segments[1].name = m.segments[0].name.clone()),
        ("sha256", |m| m.segments[1].sha256 = "AA".repeat(32)),
        ("crc32c", |m| m.segments[1].crc32c = "1".into()),
        ("counts.written", |m| m.segments[1].rows = 3),
        ("counts.written", |m| m.segments[1].rows = u64::MAX),
        ("counts.read", |m| m.counts.duplicate = 1),
    ];
    for (word, change) in changes {
        let mut bad = sample();
        change(&mut bad);
        let error = Manifest::parse(&bad.to_bytes().unwrap()).unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
    }
}

#[test]
fn plain_names() {
    for good in ["part-0-000000.parquet", "a", "a..b", "_manifest.json"] {
        assert!(is_plain_name(good), "{good}");
    }
    for bad in ["", ".", "..", "../a", "a/b", "a\\b", "a\0", "a\nb", "\u{202e}a", ".hidden", "-rf", &"a".repeat(256)] {
        assert!(!is_plain_name(bad), "{bad:?}");
    }
}

#[test]
fn sums_are_what_sha256sum_takes() {
    let sums = sha256sums(&sample(), b"abc");
    assert_eq!(sums.lines().count(), 3);
    assert_eq!(sums.lines().next().unwrap(), format!("{}  part-0-000000.csv", "0a".repeat(32)));
    // FIPS 180-2 appendix B.1.
    let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad  _manifest.json";
    assert_eq!(sums.lines().last(), Some(abc));
}
