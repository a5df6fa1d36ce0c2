//! The policy over any history: it never touches what must stay, says the same twice, and larger settings keep more.

use super::*;
use crate::base::ids::TaskId;
use crate::ledger::prunes::LinkAt;
use proptest::prelude::*;

const DAY: i64 = 24 * 3600;

fn now() -> Timestamp {
    Timestamp::from_second(2_000_000_000).unwrap()
}

/// A chain: which of its links are published there, and how many days ago the last of them was; whether something needs it.
fn chain(seq: i64, data_set: &str, published: &[bool], days: i64, held: bool) -> ChainAt {
    let id = format!("chain-{seq}");
    let link = |(position, _): (usize, &bool)| LinkAt {
        task: TaskId::known(format!("{id}-{position}")),
        position: position as u64,
        published_at: now() - SignedDuration::from_secs(days * DAY),
        files: 1,
        bytes: 10,
    };
    ChainAt {
        export: "shop".into(),
        stream: "orders".into(),
        destination: "lake".into(),
        chain: id.clone(),
        seq,
        data_set: data_set.into(),
        params: BTreeMap::new(),
        links: published.iter().enumerate().filter(|(_, there)| **there).map(link).collect(),
        linked: published.len() as u64,
        held_by: held.then(|| "a-task".into()),
    }
}

/// A full task and whether what followed it was published: failed and undelivered ones leave holes.
fn history() -> impl Strategy<Value = Vec<ChainAt>> {
    let one = (
        prop::sample::select(vec!["", "", "", r#"{"region":"eu"} csv"#]),
        prop::collection::vec(prop::bool::weighted(0.85), 1..5),
        0..60_i64,
        prop::bool::weighted(0.1),
    );
    prop::collection::vec(one, 0..12).prop_map(|chains| {
        let numbered = chains.into_iter().zip(1..);
        let made = numbered.map(|((set, links, days, held), seq)| chain(seq, set, &links, days, held));
        // Of which nothing is there, the ledger says nothing.
        made.filter(|chain| !chain.links.is_empty()).collect()
    })
}

fn settings() -> impl Strategy<Value = KeepAt> {
    (prop::option::of(1..6_u32), prop::option::of(1..50_u32)).prop_map(|(chains, days)| KeepAt { chains, days })
}

fn goes(fate: &Fate) -> bool {
    matches!(fate, Fate::Go(_))
}

fn gone(chains: &[ChainAt], keep: KeepAt) -> Vec<i64> {
    let fates = judge(chains, keep, now());
    assert_eq!(fates.len(), chains.len());
    chains.iter().zip(&fates).filter(|(_, fate)| goes(fate)).map(|(chain, _)| chain.seq).collect()
}

proptest! {
    #[test]
    fn the_newest_and_what_is_needed_always_stay(chains in history(), keep in settings()) {
        let gone = gone(&chains, keep);
        for one in &chains {
            let same: Vec<&ChainAt> = chains.iter().filter(|other| other.data_set == one.data_set).collect();
            let newest_whole = same.iter().filter(|chain| chain.whole()).map(|chain| chain.seq).max();
            let newest = same.iter().map(|chain| chain.seq).max();
            if gone.contains(&one.seq) {
                prop_assert!(one.held_by.is_none());
                prop_assert!(Some(one.seq) != newest && newest_whole.is_some_and(|whole| one.seq < whole));
                let newer = same.iter().filter(|other| other.whole() && other.seq > one.seq).count();
                prop_assert!(keep.chains.is_none_or(|most| newer >= most as usize));
                let age = now().duration_since(one.published_at()).as_secs() / DAY;
                prop_assert!(keep.days.is_none_or(|days| age >= i64::from(days)));
            }
        }
    }

    #[test]
    fn once_done_nothing_more_is_due(chains in history(), keep in settings()) {
        let first = gone(&chains, keep);
        let left: Vec<ChainAt> = chains.into_iter().filter(|chain| !first.contains(&chain.seq)).collect();
        prop_assert_eq!(gone(&left, keep), Vec::<i64>::new());
    }

    #[test]
    fn larger_settings_keep_more(chains in history(), keep in settings(), more in (0..4_u32, 0..30_u32)) {
        let larger = KeepAt { chains: keep.chains.map(|n| n + more.0), days: keep.days.map(|n| n + more.1) };
        let fewer = gone(&chains, larger);
        let most = gone(&chains, keep);
        prop_assert!(fewer.iter().all(|seq| most.contains(seq)), "{fewer:?} {most:?}");
        // A second setting beside the first keeps more as well, and none at all keeps everything.
        if keep.limits() {
            let both = KeepAt { chains: keep.chains.or(Some(2)), days: keep.days.or(Some(20)) };
            prop_assert!(gone(&chains, both).iter().all(|seq| most.contains(seq)));
        } else {
            prop_assert!(most.is_empty());
        }
    }

    #[test]
    fn what_is_due_does_not_depend_on_the_order(chains in history(), keep in settings()) {
        let mut turned = chains.clone();
        turned.reverse();
        let mut gone_then = gone(&turned, keep);
        gone_then.reverse();
        prop_assert_eq!(gone(&chains, keep), gone_then);
    }
}

#[test]
fn reasons_are_told() {
    let chains = [
        chain(1, "", &[true], 40, false),
        chain(2, "", &[true, false], 35, false),
        chain(3, "", &[true, true], 20, false),
        chain(4, "", &[true], 2, false),
        chain(5, "x", &[true], 90, false),
    ];
    let told = |keep: KeepAt| -> Vec<String> {
        let text = |fate| match fate {
            Fate::Keep(why) => format!("keep: {why}"),
            Fate::Go(why) => format!("go: {why}"),
        };
        judge(&chains, keep, now()).into_iter().map(text).collect()
    };
    assert_eq!(
        told(KeepAt { chains: Some(1), days: Some(30) }),
        [
            "go: 2 newer ones are whole (chains: 1), it is 40 days old (days: 30)",
            "go: 2 newer ones are whole (chains: 1), it is 35 days old (days: 30)",
            "keep: it is younger than 30 days",
            "keep: it is the newest",
            "keep: it is the newest",
        ]
    );
    assert_eq!(told(KeepAt { chains: Some(2), days: None })[2], "keep: it is among the newest 2");
    assert_eq!(told(KeepAt::default())[0], "keep: nothing limits how long it is kept");
}
