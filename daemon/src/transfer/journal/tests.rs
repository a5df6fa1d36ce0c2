//! Torn, exchanged and foreign entries of a page journal.

use super::*;
use proptest::prelude::*;

fn page(n: u64, texts: &[String]) -> Page {
    let mut body = b"[".to_vec();
    let mut records = Vec::new();
    for text in texts {
        let start = body.len() as u32;
        body.extend_from_slice(text.as_bytes());
        records.push(start..body.len() as u32);
        body.push(b',');
    }
    let offset = |pages| Offset { pages, ..Offset::start(0) };
    Page {
        body: body.into(),
        records,
        offset_before: offset(n),
        facts: Facts::default(),
        offset_after: offset(n + 1),
        total: Some(9),
        made: None,
        permit: None,
    }
}

fn header() -> Header {
    let segment = SegmentId { stream: "s".into(), lane: 0, n: 3, revision: 0 };
    Header { segment, from: Offset::start(0), before: vec![PageDigest { digest: 1, bytes: 2, records: 3 }] }
}

fn own(sealed: bool) -> Option<Arc<Seal>> {
    sealed.then(|| Arc::new(Seal::new(&[1; 32]).unwrap()))
}

fn replay_of(path: &Path, sealed: bool) -> Replay {
    match Replay::open(path, own(sealed).as_ref()).unwrap() {
        Found::Replay(replay) => *replay,
        other => panic!("{other:?}"),
    }
}

/// A sealed journal of four pages, and where its entries end.
fn four_pages(path: &Path) -> Vec<usize> {
    let length = || std::fs::metadata(path).unwrap().len() as usize;
    let mut journal = Journal::create(path, &header(), own(true)).unwrap();
    let mut ends = vec![length()];
    for n in 0..4 {
        journal.add(&page(n, &[format!("{{\"id\":{n}}}")])).unwrap();
        ends.push(length());
    }
    ends
}

fn pages_of(path: &Path) -> Vec<u64> {
    let mut replay = replay_of(path, true);
    std::iter::from_fn(|| replay.next_page().unwrap()).map(|page| page.offset_before.pages).collect()
}

#[test]
fn sealed_entries_cannot_be_exchanged_or_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("j");
    let ends = four_pages(&path);
    let whole = std::fs::read(&path).unwrap();
    let entry = |n: usize| whole[ends[n]..ends[n + 1]].to_vec();
    assert_eq!(pages_of(&path), [0, 1, 2, 3]);
    let head = whole[..ends[0]].to_vec();
    std::fs::write(&path, [head.clone(), entry(0), entry(2), entry(3)].concat()).unwrap();
    assert_eq!(pages_of(&path), [0], "an entry is left out");
    std::fs::write(&path, [head.clone(), entry(1), entry(0)].concat()).unwrap();
    assert_eq!(pages_of(&path), [0; 0], "entries are exchanged");
    // The same journal begun once more: its entries are not those of the first one.
    let again = four_pages(&path);
    let fresh = std::fs::read(&path).unwrap();
    std::fs::write(&path, [fresh[..again[0]].to_vec(), entry(0)].concat()).unwrap();
    assert_eq!(pages_of(&path), [0; 0], "an entry is from a journal that was here before");
    // Under another name.
    let other = dir.path().join("k");
    std::fs::write(&other, &whole).unwrap();
    assert!(matches!(Replay::open(&other, own(true).as_ref()).unwrap(), Found::Closed));
}

#[test]
fn another_key_opens_nothing_and_a_plain_journal_is_not_taken_for_a_sealed_one() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("j");
    four_pages(&path);
    assert!(!std::fs::read(&path).unwrap().windows(4).any(|bytes| bytes == b"\"id\""));
    let other = Arc::new(Seal::new(&[2; 32]).unwrap());
    assert!(matches!(Replay::open(&path, Some(&other)).unwrap(), Found::Closed));
    assert!(matches!(Replay::open(&path, None).unwrap(), Found::Closed));
    Journal::create(&path, &header(), None).unwrap();
    assert!(matches!(Replay::open(&path, own(true).as_ref()).unwrap(), Found::Closed));
}

#[test]
fn a_journal_goes_on_behind_a_foreign_entry_as_if_it_were_torn() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("j");
    let ends = four_pages(&path);
    let mut bytes = std::fs::read(&path).unwrap();
    let third = bytes[ends[2]..ends[3]].to_vec();
    bytes.splice(ends[1]..ends[2], third);
    std::fs::write(&path, bytes).unwrap();
    let mut replay = replay_of(&path, true);
    while replay.next_page().unwrap().is_some() {}
    let mut journal = replay.into_journal().unwrap().unwrap();
    journal.add(&page(1, &["{}".into()])).unwrap();
    assert_eq!(pages_of(&path), [0, 1]);
}

/// As a power failure leaves a file whose length was written, and whose last bytes were not.
#[test]
fn zeros_behind_the_last_entry_are_a_torn_tail() {
    for zeros in [1, 7, 8, 9, 4096] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("j");
        four_pages(&path);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes.resize(bytes.len() + zeros, 0);
        std::fs::write(&path, bytes).unwrap();
        let mut replay = replay_of(&path, true);
        while replay.next_page().unwrap().is_some() {}
        replay.into_journal().unwrap().unwrap().add(&page(4, &["{}".into()])).unwrap();
        assert_eq!(pages_of(&path), [0, 1, 2, 3, 4], "{zeros}");
    }
    // Nothing but zeros is no journal.
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("j"), [0; 100]).unwrap();
    assert!(matches!(Replay::open(&dir.path().join("j"), None).unwrap(), Found::Nothing));
}

proptest! {
    #[test]
    fn whole_entries_survive_any_torn_tail(
        pages in prop::collection::vec(prop::collection::vec("[a-z{}\"]{0,30}", 0..5), 1..6),
        cut in 0u64..600,
        sealed in any::<bool>(),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("j");
        let mut journal = Journal::create(&path, &header(), own(sealed)).unwrap();
        let mut ends = vec![std::fs::metadata(&path).unwrap().len()];
        for (n, texts) in pages.iter().enumerate() {
            journal.add(&page(n as u64, texts)).unwrap();
            ends.push(std::fs::metadata(&path).unwrap().len());
        }
        drop(journal);
        let length = ends.last().unwrap().saturating_sub(cut);
        OpenOptions::new().write(true).open(&path).unwrap().set_len(length).unwrap();
        let whole = ends.iter().filter(|end| **end <= length).count();
        match Replay::open(&path, own(sealed).as_ref()).unwrap() {
            Found::Nothing => prop_assert_eq!(whole, 0),
            Found::Closed => prop_assert!(false, "it is the same key"),
            Found::Replay(mut replay) => {
                prop_assert_eq!(&replay.header, &header());
                let mut read = 0;
                while let Some(got) = replay.next_page().unwrap() {
                    let want = page(read as u64, &pages[read]);
                    prop_assert_eq!(PageDigest::of(&got), PageDigest::of(&want));
                    prop_assert_eq!(got.offset_after, want.offset_after);
                    read += 1;
                }
                prop_assert_eq!(read + 1, whole);
                let mut journal = replay.into_journal().unwrap().unwrap();
                journal.add(&page(99, &["{}".into()])).unwrap();
                let mut again = replay_of(&path, sealed);
                let mut count = 0;
                while again.next_page().unwrap().is_some() { count += 1; }
                prop_assert_eq!(count, read + 1);
            }
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("j");
        std::fs::write(&path, bytes).unwrap();
        let _ = Replay::open(&path, None);
        let _ = Replay::open(&path, own(true).as_ref());
    }
}
