//! Killed within segments so large that blocks and lines are encoded while the next are gathered.

use crate::compare::{assert_exact, assert_tidy, parts};
use crate::crash::Parts;
use crate::torture;
use saas_export_tests::harness::bed::{Bed, PATIENCE};
use saas_export_tests::harness::chance::Chance;
use saas_export_tests::harness::config;
use saas_export_tests::sample::{Fault, Options};
use serde_json::{Value, json};
use std::time::Duration;

/// More than the least size of segments that are encoded so, 16 MB; a megabyte of text is a block.
const CHUNK: &str = "17MB";

/// Records in an answer.
const PAGE: u64 = 1000;

/// Answers per second, each of some 500 kB.
const RATE: f64 = 25.0;

/// A format, and so many records that they become two segments and more.
struct Large {
    format: &'static str,
    settings: Value,
    records: u64,
}

impl Large {
    fn bed(&self) -> Bed {
        let mut bed = Bed::new(Options { records: self.records, page_size: PAGE, ..Options::default() });
        bed.config["daemon"]["replay_limit"] = "1s".into();
        let mut export = config::export("shop", "cursor", self.format, CHUNK);
        export["format"][self.format] = self.settings.clone();
        // Dying so often before anything is committed is what a task gives up at.
        export["attempts"] = 50.into();
        bed.export("shop", export);
        bed
    }

    /// The output of an undisturbed run.
    fn undisturbed(&self) -> Parts {
        let bed = self.bed();
        let daemon = bed.start();
        daemon.run_to_success("shop");
        assert_exact(&bed, "shop");
        let parts = parts(&bed, "shop", "lake");
        assert!(parts.len() >= 2, "{parts:?}");
        parts
    }

    /// How often it was killed before it came to the same end.
    fn killed(&self, chance: &mut Chance, most: u64, wanted: &Parts) -> u64 {
        let bed = self.bed();
        bed.api.set_faults(vec![Fault::rate(RATE)]);
        // Sooner than the source lets any run end.
        let longest = Duration::from_secs_f64((self.records / PAGE) as f64 / RATE * 0.75);
        let longest = u64::try_from(longest.as_micros()).expect("a run ends");
        let mut daemon = bed.start();
        let id = daemon.run("shop");
        let mut kills = 0;
        while kills < most {
            std::thread::sleep(Duration::from_micros(chance.below(longest)));
            daemon.kill();
            daemon = bed.start();
            if daemon.task(&id)["task"]["state"] == "succeeded" {
                break;
            }
            kills += 1;
        }
        daemon.wait_for(&id, &["succeeded"], PATIENCE);
        assert_exact(&bed, "shop");
        assert_eq!(&parts(&bed, "shop", "lake"), wanted, "the output differs from an undisturbed run");
        assert_tidy(&bed, "shop", "cursor");
        bed.ctl(&["verify", &id]).expect(0);
        kills
    }
}

/// Each format at random moments that a seed tells. What compresses well takes many records to fill a segment: those with `--long`.
#[test]
fn killed_within_large_segments() {
    let large = |format, settings, records| Large { format, settings, records };
    let mut all = vec![large("csv", json!({}), 120_000), large("avro", json!({ "compression": "none" }), 120_000)];
    if torture() {
        all.push(large("ndjson", json!({ "compression": "zstd" }), 600_000));
        all.push(large("csv", json!({ "compression": "gzip" }), 600_000));
    }
    let (runs, most) = if torture() { (4, 6) } else { (2, 3) };
    let mut chance = Chance::of_this_run("kills within large segments");
    for large in &all {
        let wanted = large.undisturbed();
        let kills: u64 = (0..runs).map(|_| large.killed(&mut chance, most, &wanted)).sum();
        assert!(kills >= runs, "{kills} kills of {runs} runs");
        println!(
            "torture: {kills} kills of {runs} runs of {} in segments of {CHUNK} held, lost 0, duplicated 0",
            large.format
        );
    }
}
