//! A destination whose name means another place than before.

use crate::compare::walk;
use crate::several::{bed, published, tree, until};
use serde_json::json;

#[test]
fn what_lies_only_where_a_destination_was_before_is_not_forgotten() {
    let mut bed = bed(1000, &[]);
    let daemon = bed.start();
    let id = daemon.run_to_success("shop");
    drop(daemon);
    let mut one_file = bed.config["exports"]["shop"].clone();
    one_file["layout"] = "single".into();
    bed.export("whole", one_file);
    let old = bed.lake();
    bed.config["destinations"]["lake"] = json!({ "local": { "root": bed.path("moved") } });
    bed.config["destinations"]["copy"] = json!({ "local": { "root": bed.path("copy") } });
    bed.config["destinations"]["old"] = json!({ "local": { "root": old } });
    let daemon = bed.start();
    let refused = bed.ctl(&["deliver", &id, "--to", "lake"]).expect(7);
    assert!(refused.stderr.contains("where lake was before it moved"), "{refused:?}");
    let refused = bed.ctl(&["deliver", &id, "--to", "old"]).expect(7);
    assert!(refused.stderr.contains("knows as lake"), "{refused:?}");
    bed.ctl(&["verify", &id, "--deep"]).expect(0);
    // With a copy elsewhere the name may move.
    bed.ctl(&["deliver", &id, "--to", "copy"]).expect(0);
    until(&daemon, &id, "copy", |place| published(place) && place["filling"].is_null());
    bed.ctl(&["deliver", &id, "--to", "lake"]).expect(0);
    until(&daemon, &id, "lake", |place| published(place) && place["filling"].is_null());
    let files = tree(&old.join("shop"));
    assert!(!files.is_empty());
    assert_eq!(tree(&bed.path("moved").join("shop")), files);
    // So may a task whose file was put together from parts.
    let whole = daemon.run_to_success("whole");
    bed.ctl(&["deliver", &whole, "--to", "copy"]).expect(0);
    until(&daemon, &whole, "copy", |place| published(place) && place["filling"].is_null());
    assert_eq!(tree(&bed.path("copy").join("whole")), tree(&bed.path("moved").join("whole")));
    assert!(walk(&bed.path("moved").join(".saas-export/spool")).is_empty());
}
