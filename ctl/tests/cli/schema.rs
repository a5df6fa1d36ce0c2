//! `exportctl schema` against a daemon that answers from a script.

use super::*;

#[test]
fn schemas_are_shown_and_compared() {
    let report = r#"{"export":"shop","format":"parquet","streams":[
        {"stream":"orders","records":100,"version":3,"columns":[
            {"field":"id","type":"integer","column":"INT64"},
            {"field":"new","type":"date","column":"DATE","before":"new"}],
         "misfits":[{"field":"new","values":7,"why":"new"}],"rejected":1,"notes":["a note"]},
        {"stream":"users","records":0,"columns":[],"misfits":[],"rejected":0,"notes":[],"error":"failed to read it"}]}"#;
    let diff = r#"{"export":"shop","older":"a","newer":"b","streams":[{"stream":"orders","older":1,"newer":2,
        "fields":[{"field":"x","change":"widened","from":"integer","to":"float"}]}]}"#;
    let daemon = Daemon::new(move |line, _| match line {
        line if line.contains("/schema/diff") => sync(diff),
        line if line.contains("/schema") => sync(report),
        _ => sync("{}"),
    });
    let output = daemon.run(&["schema", "shop", "--stream", "a b", "--param", "region=eu"]);
    assert_eq!(daemon.asked(), ["GET /v1/exports/shop/schema?stream=a%20b&param.region=eu"]);
    assert_eq!(output.status.code(), Some(1), "a stream that could not be read is a failure");
    let text = stdout(&output);
    assert!(text.starts_with("orders: 100 records in the first page, version 3 in the ledger\n"), "{text}");
    assert!(text.contains("new    date     DATE    new"), "{text}");
    assert!(text.contains("would be rescued: 7 values of new") && text.contains("would be rejected: 1"), "{text}");
    assert!(text.contains("note: a note") && text.contains("failed to read it"), "{text}");
    assert!(stdout(&daemon.run(&["schema", "shop", "--json"])).contains("\"before\": \"new\""));
    let output = daemon.run(&["schema", "diff", "2026a", "2026b"]);
    assert_eq!(daemon.asked().pop().unwrap(), "GET /v1/tasks/2026a/schema/diff/2026b");
    assert!(stdout(&output).contains("orders  widened  x      integer  float"), "{}", stdout(&output));
    let output = daemon.run(&["schema", "diff", "shop"]);
    assert_eq!(daemon.asked().pop().unwrap(), "GET /v1/exports/shop/schema/diff");
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(daemon.run(&["schema"]).status.code(), Some(2));
}
