//! Exports to a server that takes files by HTTP PUT: with a token that stands still, and with one that is got and renewed.

use crate::compare::{sha256, walk};
use saas_export_tests::harness::bed::Bed;
use saas_export_tests::harness::config;
use saas_export_tests::harness::programs::skipped;
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// A server that was started, or a note that none was.
fn server() -> Option<Value> {
    let Ok(text) = std::env::var("SAAS_EXPORT_TEST_HTTP") else {
        skipped("HTTP PUT: no server was started (tests/stores/http.sh)");
        return None;
    };
    Some(serde_json::from_str(&text).unwrap())
}

/// Exports to `url` twice, and compares what lies below `files`.
fn exports(mut bed: Bed, url: &str, auth: Value, files: &Path) {
    bed.config["destinations"]["far"] = json!({ "http": { "url": url, "auth": auth } });
    let mut export = config::export("shop", "cursor", "ndjson", "64kB");
    export["to"] = json!(["lake", "far"]);
    bed.export("shop", export);
    let daemon = bed.start();
    let tasks = [daemon.run_to_success("shop"), daemon.run_to_success("shop")];
    for task in &tasks {
        let names = |root: &Path| {
            let dir = root.join("shop/cursor").join(task);
            let mut names: Vec<_> =
                walk(&dir).iter().map(|path| (path.file_name().unwrap().to_owned(), sha256(path))).collect();
            names.sort();
            names
        };
        let there = names(files);
        assert!(there.len() >= 4, "{there:?}");
        // The manifests differ in nothing either: they hold no place.
        assert_eq!(there, names(&bed.lake()));
    }
    let latest = std::fs::read_to_string(files.join("shop/cursor/latest.json")).unwrap();
    assert!(latest.contains(&tasks[1]), "{latest}");
    assert!(walk(&files.join(".saas-export")).is_empty(), "the probe is deleted");
}

#[test]
fn an_export_goes_to_a_web_server() {
    let Some(server) = server() else { return };
    let mut bed = Bed::with_records(1000);
    bed.auth_env += &format!("PUT_TOKEN='{}'\n", server["token"].as_str().unwrap());
    let auth = json!({ "bearer": { "token": "${PUT_TOKEN}" } });
    for (name, root) in [("nginx", "nginx_root"), ("apache", "apache_root")] {
        let dir = format!("e2e-{}", std::process::id());
        let url = format!("{}/{dir}/{{key}}", server[name].as_str().unwrap());
        let mut one = Bed::with_records(1000);
        one.auth_env.clone_from(&bed.auth_env);
        let files = Path::new(server[root].as_str().unwrap()).join(&dir);
        // Directories above the key are the operator's to make; the server writes as another user.
        std::fs::create_dir_all(&files).unwrap();
        std::fs::set_permissions(&files, std::fs::Permissions::from_mode(0o777)).unwrap();
        exports(one, &url, auth.clone(), &files);
    }
}

#[test]
fn an_export_goes_to_a_web_server_with_tokens_of_a_token_server() {
    let Some(server) = server() else { return };
    let mut bed = Bed::with_records(1000);
    bed.auth_env += &config::token_secrets();
    let auth = config::oauth2(&bed.api, json!({}));
    let dir = format!("oauth/e2e-{}", std::process::id());
    let url = format!("{}/{dir}/{{key}}", server["nginx"].as_str().unwrap());
    let files = Path::new(server["nginx_root"].as_str().unwrap()).join(&dir);
    exports(bed, &url, auth, &files);
}
