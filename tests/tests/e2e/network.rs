//! The network itself fails, packet by packet, in a namespace of the test's own: it is slow, loses, swallows, refuses, resets, and
//! forgets names. Every destination that there is takes part, and holds exactly what it should in the end.

use crate::compare::assert_exact;
use crate::matrix::{self, all_of};
use crate::torture;
use saas_export_tests::harness::bed::{Bed, PATIENCE};
use saas_export_tests::harness::chance::Chance;
use saas_export_tests::harness::netns::Net;
use saas_export_tests::harness::programs::wait_until;
use saas_export_tests::sample::Fault;
use std::time::{Duration, Instant};

/// What is wrong with the network.
#[derive(Clone, Debug)]
enum Wrong {
    /// So many kilobits a second, for all of the run.
    Slow(u32),
    /// One packet in so many is lost, for all of the run.
    Loses(u32),
    /// Every connection is reset, then this happens to packets for a while.
    Packets(&'static str),
    /// Connections are reset again and again.
    Resets,
    /// One of these after the other.
    Everything(Duration),
}

/// Nothing of TCP comes through.
const BLACK_HOLE: &str = "meta l4proto tcp counter drop";
/// Nobody answers to who wants to connect.
const NO_ANSWER: &str = "tcp flags & (syn | ack) == syn counter drop";
/// Nobody listens.
const REFUSED: &str = "tcp flags & (syn | ack) == syn counter reject with tcp reset";
/// Connections stall in the middle of something.
const STALLS: &str = "meta l4proto tcp quota over 60 kbytes counter drop";
/// Connections end in the middle of something.
const CUT: &str = "meta l4proto tcp quota over 60 kbytes counter reject with tcp reset";

const WHILE: Duration = Duration::from_millis(1500);

impl Wrong {
    fn befalls(&self, net: &Net) {
        match self {
            Self::Slow(kbit) => net.rate(Some(*kbit)),
            Self::Loses(one_in) => net.rules(&format!("meta l4proto tcp numgen random mod {one_in} == 0 drop")),
            Self::Packets(rules) => {
                net.rules(rules);
                net.reset_connections();
                std::thread::sleep(WHILE);
                assert!(net.struck() > 0, "no packet met {rules}");
                net.rules("");
            }
            Self::Resets => (0..15).for_each(|_| {
                net.reset_connections();
                std::thread::sleep(WHILE / 15);
            }),
            Self::Everything(long) => {
                let (begun, mut chance) = (Instant::now(), Chance::of_this_run("network"));
                while begun.elapsed() < *long {
                    net.rate((chance.below(3) == 0).then(|| 2000 + 1000 * chance.below(20) as u32));
                    net.rules(chance.one_of::<&str>(&["", BLACK_HOLE, NO_ANSWER, REFUSED, STALLS, CUT]));
                    if chance.below(2) == 0 {
                        net.reset_connections();
                    }
                    std::thread::sleep(Duration::from_millis(100 + chance.below(900)));
                }
            }
        }
    }
}

#[test]
fn every_destination_is_exact_whatever_becomes_of_the_packets() {
    let Some(net) = Net::enter() else { return };
    let long = Duration::from_secs(if torture() { 120 } else { 6 });
    let cases = [
        Wrong::Slow(8000),
        Wrong::Loses(10),
        Wrong::Packets(BLACK_HOLE),
        Wrong::Packets(NO_ANSWER),
        Wrong::Packets(REFUSED),
        Wrong::Packets(STALLS),
        Wrong::Packets(CUT),
        Wrong::Resets,
        Wrong::Everything(long),
    ];
    all_of(&cases, |wrong| {
        let mut scene = matrix::scene();
        let rest = &mut scene.bed.config["sources"]["shop"]["rest"];
        rest["keep_alive"] = serde_json::json!({ "read_timeout": "1s", "connect_timeout": "1s" });
        scene.bed.config["exports"]["shop"]["attempts"] = 50.into();
        // Slow enough that it meets the fault, and that the last pages come behind it.
        scene.bed.api.set_faults(vec![Fault::rate(8.0)]);
        let daemon = scene.start();
        let id = daemon.run("shop");
        std::thread::sleep(Duration::from_millis(300));
        wrong.befalls(&net);
        // What goes on for all of the run does so until here.
        if !matches!(wrong, Wrong::Slow(_) | Wrong::Loses(_)) {
            net.rules("");
            net.rate(None);
        }
        daemon.wait_for(&id, &["succeeded"], PATIENCE);
        net.rules("");
        net.rate(None);
        drop(daemon);
        scene.judge();
    });
    println!("torture: {} faults of the network held, lost 0, duplicated 0", cases.len());
}

#[test]
fn a_name_that_is_forgotten_is_asked_for_again() {
    let Some(net) = Net::enter() else { return };
    let mut bed = Bed::with_records(2000);
    let rest = &mut bed.config["sources"]["shop"]["rest"];
    rest["base_url"] = rest["base_url"].as_str().expect("a URL").replace("127.0.0.1", "api.sxd.test").into();
    rest["retry"]["attempts"] = 3.into();
    bed.config["exports"]["shop"]["attempts"] = 20.into();
    bed.api.set_faults(vec![Fault::rate(10.0)]);
    net.hosts(&["api.sxd.test"]);
    let daemon = bed.start();
    let id = daemon.run("shop");
    assert!(bed.api.wait_until(PATIENCE, |truth| truth.requests >= 3));
    net.hosts(&[]);
    net.reset_connections();
    assert!(wait_until(PATIENCE, || daemon.stderr().contains("api.sxd.test")), "{}", daemon.stderr());
    let said = daemon.stderr();
    let line = said.lines().find(|line| line.contains("api.sxd.test")).expect("it was found a moment ago");
    assert!(line.contains("name") || line.contains("dns") || line.contains("resolv"), "says what is wrong: {line}");
    net.hosts(&["api.sxd.test"]);
    daemon.wait_for(&id, &["succeeded"], PATIENCE);
    assert_exact(&bed, "shop");
}
