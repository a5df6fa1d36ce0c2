//! A slow source must not lose hours: a kill or a pause late in a long segment repeats only `replay_limit` of fetching.

use crate::compare::{assert_exact, parts};
use crate::torture;
use nix::sys::signal::Signal;
use saas_export_tests::harness::bed::Bed;
use saas_export_tests::harness::config;
use saas_export_tests::sample::{Fault, Options};
use std::time::Duration;

/// A slow source with one long segment, and what may be asked for twice: `replay_limit` times the rate.
struct Slow {
    rate: f64,
    pages: u64,
    kill_at: u64,
    pause_at: u64,
    replay_limit: &'static str,
    allowed: u64,
}

fn slow() -> Slow {
    if torture() {
        Slow { rate: 5.0, pages: 1000, kill_at: 900, pause_at: 950, replay_limit: "10s", allowed: 50 }
    } else {
        Slow { rate: 50.0, pages: 300, kill_at: 270, pause_at: 285, replay_limit: "1s", allowed: 50 }
    }
}

const LONG: Duration = Duration::from_secs(400);

fn bed(slow: &Slow, format: &str) -> Bed {
    let mut bed = Bed::new(Options { records: slow.pages * 20, page_size: 20, ..Options::default() });
    bed.config["daemon"]["replay_limit"] = slow.replay_limit.into();
    bed.export("shop", config::export("shop", "cursor", format, "1GB"));
    bed
}

fn undisturbed(slow: &Slow, format: &str) -> std::collections::BTreeMap<String, String> {
    let bed = bed(slow, format);
    let daemon = bed.start();
    daemon.run_to_success("shop");
    let parts = parts(&bed, "shop", "lake");
    assert_eq!(parts.len(), 1, "everything is one segment");
    parts
}

fn at_most_replayed(bed: &Bed, slow: &Slow) {
    let truth = bed.api.truth();
    let again = truth.repeated_requests();
    assert!(again <= slow.allowed, "{again} of {} pages were asked for again", slow.pages);
    assert_eq!(truth.pages.len() as u64, slow.pages);
}

fn killed(format: &str) {
    let slow = slow();
    let wanted = undisturbed(&slow, format);
    let bed = bed(&slow, format);
    bed.api.set_faults(vec![Fault::rate(slow.rate)]);
    let daemon = bed.start();
    let id = daemon.run("shop");
    assert!(bed.api.wait_until(LONG, |truth| truth.requests >= slow.kill_at));
    daemon.kill();
    let daemon = bed.start();
    daemon.wait_for(&id, &["succeeded"], LONG);
    at_most_replayed(&bed, &slow);
    assert_exact(&bed, "shop");
    assert_eq!(parts(&bed, "shop", "lake"), wanted);
}

fn paused(format: &str) {
    let slow = slow();
    let wanted = undisturbed(&slow, format);
    let bed = bed(&slow, format);
    bed.api.set_faults(vec![Fault::rate(slow.rate)]);
    let daemon = bed.start();
    let id = daemon.run("shop");
    assert!(bed.api.wait_until(LONG, |truth| truth.requests >= slow.pause_at));
    bed.ctl(&["pause", &id]).expect(0);
    daemon.wait_for(&id, &["paused"], Duration::from_secs(2));
    daemon.signal(Signal::SIGTERM);
    let (status, said) = daemon.ended(Duration::from_secs(20));
    assert!(status.success(), "{status}: {said}");
    let daemon = bed.start();
    assert_eq!(daemon.task(&id)["task"]["state"], "paused");
    bed.ctl(&["resume", &id]).expect(0);
    daemon.wait_for(&id, &["succeeded"], LONG);
    at_most_replayed(&bed, &slow);
    assert_exact(&bed, "shop");
    assert_eq!(parts(&bed, "shop", "lake"), wanted);
}

#[test]
fn killed_late_in_a_long_segment() {
    killed("parquet");
}

#[test]
fn killed_late_in_a_long_text_segment() {
    killed("ndjson");
}

#[test]
fn paused_late_in_a_long_segment() {
    paused("parquet");
}

#[test]
fn a_source_that_changed_behind_the_journal_is_read_again() {
    let slow = Slow { rate: 50.0, pages: 100, kill_at: 80, pause_at: 0, replay_limit: "1s", allowed: 0 };
    let bed = bed(&slow, "ndjson");
    bed.api.set_faults(vec![Fault::rate(slow.rate)]);
    let daemon = bed.start();
    let id = daemon.run("shop");
    assert!(bed.api.wait_until(LONG, |truth| truth.requests >= slow.kill_at));
    daemon.kill();
    // From the second record on every record has another field now: the journal is of a data set that is gone.
    bed.api.set_faults(vec![Fault::new(saas_export_tests::sample::Kind::LateField).after(1)]);
    let daemon = bed.start();
    let detail = daemon.wait_for(&id, &["succeeded"], LONG);
    assert_exact(&bed, "shop");
    let notes = detail["streams"][0]["notes"].to_string();
    assert!(notes.contains("journal"), "the report says that the journal was dropped: {notes}");
    let file = &crate::compare::latest(&bed, "shop", "lake")[0];
    let without = crate::read::json(&file.path).iter().filter(|record| record.get("discount_code").is_none()).count();
    assert_eq!(without, 1, "no page of the old data set is left");
}
