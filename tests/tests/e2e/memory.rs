//! Memory does not grow with the data set.

use crate::compare::latest;
use saas_export_tests::harness::bed::Bed;
use saas_export_tests::harness::config;
use saas_export_tests::sample::Options;
use std::time::Duration;

/// Peak memory of a daemon that exports so many records to Parquet.
pub fn peak(records: u64) -> u64 {
    let options = Options { records, page_size: 1000, cache_bytes: 1 << 20, ..Options::default() };
    let mut bed = Bed::new(options);
    bed.export("shop", config::export("shop", "cursor", "parquet", "50MB"));
    let daemon = bed.start();
    let id = daemon.run("shop");
    let detail = daemon.wait_for(&id, &["succeeded"], Duration::from_secs(3600));
    assert_eq!(detail["streams"][0]["counts"]["written"], records);
    let rows: u64 = latest(&bed, "shop", "lake").iter().map(|file| file.rows).sum();
    assert_eq!(rows, records);
    daemon.peak_memory()
}

/// The short export is longer than a row group, whose columns wait in memory. Some megabytes differ from run to run: the most of
/// short runs, the least of long ones.
#[test]
fn two_million_records_need_no_more_than_four_hundred_thousand() {
    let small = (0..4).map(|_| peak(400_000)).max().unwrap_or_default();
    let fits = |large: u64| large as f64 <= small as f64 * 1.10;
    let mut large = peak(2_000_000);
    for _ in 0..4 {
        if !fits(large) {
            large = large.min(peak(2_000_000));
        }
    }
    eprintln!("peak memory: {} MB for 400,000 records, {} MB for 2,000,000", small / 1_000_000, large / 1_000_000);
    assert!(large < 200_000_000, "{large}");
    assert!(fits(large), "{small} and {large} bytes");
}
