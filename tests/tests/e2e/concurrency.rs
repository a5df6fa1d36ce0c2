//! The output does not depend on how many connections ran.

use crate::compare::{assert_exact, parts};
use saas_export_tests::harness::bed::Bed;
use saas_export_tests::harness::config;
use saas_export_tests::sample::{Fault, Kind};

#[test]
fn one_four_and_sixteen_connections_give_the_same_bytes() {
    for pager in ["paged", "offset"] {
        for (format, layout) in [("parquet", "parts"), ("ndjson", "parts"), ("avro", "parts"), ("avro", "single")] {
            let mut first = None;
            for connections in [1u64, 4, 16] {
                let mut bed = Bed::with_records(8000);
                bed.config["sources"]["shop"]["rest"]["rate"] = serde_json::json!({ "concurrency": connections });
                let mut export = config::export("shop", pager, format, "200kB");
                export["layout"] = layout.into();
                bed.export("shop", export);
                // Pages that are asked for together come back in another order.
                bed.api.set_faults(vec![Fault::new(Kind::Delay).ms(15)]);
                let daemon = bed.start();
                daemon.run_to_success("shop");
                assert_exact(&bed, "shop");
                let most = bed.api.truth().most_at_once;
                assert!(most <= connections, "{most} requests at once with {connections} allowed");
                assert!(connections == 1 || most > 1, "{pager} says how many pages there are, so it is read ahead");
                let parts = parts(&bed, "shop", "lake");
                assert_eq!(
                    first.get_or_insert_with(|| parts.clone()),
                    &parts,
                    "{pager}, {format}, {layout}, {connections}"
                );
            }
        }
    }
}
