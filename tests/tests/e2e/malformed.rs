//! Mistakes in config.yaml and auth.env: all at once, each with its place and a hint, and never a secret.

use saas_export_tests::harness::bed::{Bed, PATIENCE};
use saas_export_tests::harness::programs::{Ended, finish};
use std::os::unix::fs::PermissionsExt as _;

/// Runs `--check-config` over these texts.
fn check(config: &str, auth_env: &str) -> Ended {
    let bed = Bed::with_records(1);
    bed.write_files(config, auth_env);
    finish(bed.daemon_command().arg("--check-config"), PATIENCE)
}

fn said(ended: &Ended) -> String {
    format!("{}\n{}", ended.stdout, ended.stderr)
}

const GOOD: &str = r#"version: 1
sources:
  shop:
    rest:
      base_url: https://api.shop.example/v2
      auth: { bearer: { token: "${SHOP_TOKEN}" } }
      rate: { per_second: 10, concurrency: 8 }
      streams:
        orders:
          path: /orders
          records: $.data[*]
          primary_key: [id]
          paginate: { cursor: { from: $.next_cursor, param: cursor } }
destinations:
  lake: { local: { root: /srv/exports } }
exports:
  shop-nightly:
    source: shop
    streams: [orders]
    to: [lake]
    format: { parquet: { compression: zstd } }
    chunk_size: 50MB
"#;

#[test]
fn a_good_configuration_passes_and_its_schema_is_json() {
    check(GOOD, "SHOP_TOKEN=x\n").expect(0);
    let bed = Bed::with_records(1);
    let schema = bed.daemon(&["--config-schema"]).expect(0).json();
    assert!(schema["properties"]["sources"].is_object(), "{schema}");
}

#[test]
fn every_mistake_is_told_at_once_with_its_place() {
    let bad = GOOD
        .replace("streams:\n        orders", "stream:\n        orders")
        .replace("concurrency: 8", "concurency: 8")
        .replace("to: [lake]", "to: [lakes]")
        .replace("chunk_size: 50MB", "chunk_size: 50")
        .replace("compression: zstd", "compression: zsdt")
        .replace("https://api.shop.example/v2", "ftp://api.shop.example");
    let ended = check(&bad, "SHOP_TOKEN=x\n").expect(78);
    let said = said(&ended);
    for (place, words) in [
        ("config.yaml:5:", &["base_url", "http"][..]),
        ("config.yaml:7:", &["concurency", "did you mean", "concurrency"]),
        ("config.yaml:8:", &["stream", "did you mean", "streams"]),
        ("config.yaml:20:", &["lakes", "did you mean", "lake"]),
        ("config.yaml:21:", &["compression", "zstd"]),
        ("config.yaml:22:", &["chunk_size", "50MB"]),
    ] {
        assert!(said.contains(place), "no mistake at {place} in:\n{said}");
        for word in words {
            assert!(said.contains(word), "nothing of {word} in:\n{said}");
        }
    }
}

#[test]
fn broken_yaml_names_the_place_and_nothing_crashes() {
    let deep = format!("version: 1\nsources: {}{}", "[".repeat(20_000), "]".repeat(20_000));
    let cases: [(&str, &[u8]); 9] = [
        ("tab", b"version: 1\nsources:\n\tshop: {}\n"),
        ("open", b"version: 1\nsources: { shop: { rest: [\n"),
        ("twice", b"version: 1\nversion: 1\nsources: {}\ndestinations: {}\nexports: {}\n"),
        ("empty", b""),
        ("list", b"- 1\n- 2\n"),
        ("binary", b"\x00\x01\x02\xff\xfe"),
        ("latin-1", b"version: 1 # \xe4\n"),
        ("anchors", b"a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e]\ng: &g [*f,*f,*f,*f,*f,*f,*f,*f,*f]\nh: [*g,*g,*g,*g,*g,*g,*g,*g,*g]\n"),
        ("deep", deep.as_bytes()),
    ];
    for (what, text) in cases {
        let bed = Bed::with_records(1);
        bed.write_files("", "");
        std::fs::write(bed.path("config.yaml"), text).unwrap();
        let ended = finish(bed.daemon_command().arg("--check-config"), PATIENCE);
        assert_eq!(ended.code, Some(78), "{what}: {ended:?}");
        let said = said(&ended);
        assert!(said.contains("config.yaml"), "{what}: {said}");
        assert!(!said.contains("panicked"), "{what}: {said}");
    }
}

#[test]
fn auth_env_is_parsed_never_executed_and_never_shown() {
    let canary = "canary-7f3a";
    let marker = std::env::temp_dir().join(format!("saas-export-executed-{}", std::process::id()));
    let good =
        format!("# a comment\n\nexport SHOP_TOKEN='{canary} = $(touch {})'\nOTHER=\"a # b\"\n", marker.display());
    check(GOOD, &good).expect(0);
    assert!(!marker.exists(), "values are never executed");
    for (what, text, line) in [
        ("no equals sign", format!("SHOP_TOKEN={canary}\nthis is {canary}\n"), "auth.env:2"),
        ("an open quote", format!("SHOP_TOKEN=\"{canary}\n"), "auth.env:1"),
        ("a bad name", format!("SHOP_TOKEN=x\n1SHOP={canary}\n"), "auth.env:2"),
        ("a name twice", format!("SHOP_TOKEN={canary}\nSHOP_TOKEN={canary}\n"), "auth.env:2"),
    ] {
        let ended = check(GOOD, &text).expect(78);
        let said = said(&ended);
        assert!(said.contains(line), "{what}: {said}");
        assert!(!said.contains(canary), "{what}: the value is shown: {said}");
    }
    let unknown = said(&check(GOOD, "OTHER=x\n").expect(78));
    assert!(unknown.contains("SHOP_TOKEN") && unknown.contains("config.yaml:6:"), "{unknown}");
}

#[test]
fn a_readable_auth_env_is_refused() {
    for mode in [0o640, 0o604, 0o644, 0o660] {
        let bed = Bed::with_records(1);
        bed.write_files(GOOD, "SHOP_TOKEN=x\n");
        std::fs::set_permissions(bed.path("auth.env"), std::fs::Permissions::from_mode(mode)).unwrap();
        let ended = finish(bed.daemon_command().arg("--check-config"), PATIENCE);
        assert_eq!(ended.code, Some(78), "{mode:o}: {ended:?}");
        assert!(said(&ended).contains("0600"), "{mode:o}: {}", said(&ended));
        // systemd's credentials have a mode of systemd's choice.
        let ended =
            finish(bed.daemon_command().arg("--check-config").env("CREDENTIALS_DIRECTORY", bed.dir()), PATIENCE);
        assert_eq!(ended.code, Some(0), "{mode:o} in $CREDENTIALS_DIRECTORY: {ended:?}");
    }
}

#[test]
fn a_bad_configuration_does_not_start_and_does_not_replace_a_good_one() {
    let bed = Bed::with_records(300);
    let daemon = bed.start();
    bed.write_files("version: 1\n", &bed.auth_env);
    let ended = bed.ctl(&["reload"]);
    assert_ne!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stderr.contains("config.yaml"), "{}", ended.stderr);
    assert_ne!(bed.ctl(&["config", "check"]).code, Some(0));
    daemon.run_to_success("shop");
    drop(daemon);
    let ended = finish(&mut bed.daemon_command(), PATIENCE);
    assert_eq!(ended.code, Some(78), "{ended:?}");
}
