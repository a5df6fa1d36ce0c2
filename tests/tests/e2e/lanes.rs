//! Three partitions in one and in three lanes: the same records, and the same bytes each time.

use crate::compare::{assert_complete, latest, parts};
use saas_export_tests::harness::bed::Bed;
use saas_export_tests::harness::config;
use saas_export_tests::sample::{Fault, Kind, Options};

fn bed(lanes: u32) -> Bed {
    let mut bed = Bed::new(Options { records: 9000, ..Options::default() });
    bed.stream("regions", config::regions(lanes));
    bed.export("shop", config::export("shop", "regions", "parquet", "150kB"));
    bed.config["exports"]["shop"]["format"]["parquet"]["row_group_rows"] = 500.into();
    bed
}

#[test]
fn lanes_run_at_the_same_time_and_give_the_same_bytes_again() {
    let mut first = None;
    for round in 0..3u64 {
        let bed = bed(3);
        // Other delays each time, so that the lanes overtake one another differently.
        bed.api.set_faults(vec![Fault::new(Kind::Delay).ms(3 + 4 * round)]);
        let daemon = bed.start();
        daemon.run_to_success("shop");
        assert_complete(&bed, "shop");
        assert!(bed.api.truth().most_at_once >= 2, "lanes are read at the same time");
        let parts = parts(&bed, "shop", "lake");
        for lane in 0..3 {
            let of_lane = parts.keys().filter(|name| name.starts_with(&format!("regions/part-{lane}-"))).count();
            assert!(of_lane >= 2, "lane {lane} has segments of its own: {parts:?}");
        }
        assert_eq!(first.get_or_insert_with(|| parts.clone()), &parts, "round {round}");
    }
}

#[test]
fn a_lane_with_two_partitions_shares_its_segments() {
    let bed = bed(2);
    let daemon = bed.start();
    daemon.run_to_success("shop");
    assert_complete(&bed, "shop");
    let lane0: Vec<u64> = latest(&bed, "shop", "lake")
        .iter()
        .filter(|file| file.path.to_string_lossy().contains("part-0-"))
        .flat_map(|file| crate::read::ids(&file.path))
        .collect();
    let view = |name| saas_export_tests::sample::View::region(name).unwrap().ids(9000);
    assert_eq!(lane0, view("eu").chain(view("ap")).collect::<Vec<_>>(), "partitions 0 and 2, one after the other");
}

#[test]
fn the_sample_that_fixes_the_schema_asks_all_lanes_side_by_side() {
    // Nine pages in all: the sample reads everything.
    let mut bed = Bed::new(Options { records: 900, ..Options::default() });
    bed.stream("regions", config::regions(3));
    bed.export("shop", config::export("shop", "regions", "parquet", "150kB"));
    bed.api.set_faults(vec![Fault::new(Kind::Stall).ms(100)]);
    let daemon = bed.start();
    daemon.run_to_success("shop");
    assert_complete(&bed, "shop");
    assert_eq!(bed.api.truth().most_at_once, 3);
    assert_eq!(bed.api.truth().repeated_requests(), 0);
}
