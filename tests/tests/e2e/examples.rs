//! The example sources: each loads as it stands, with the secrets that its head names.

use saas_export_tests::harness::bed::{Bed, PATIENCE};
use saas_export_tests::harness::programs::{finish, program};
use std::path::Path;
use std::process::Command;

/// The well-known APIs that have an example.
const APIS: [&str; 10] =
    ["github", "hubspot", "jira", "notion", "pagerduty", "salesforce", "shopify", "slack", "stripe", "zendesk"];

#[test]
fn every_example_loads_and_says_which_secrets_it_needs() {
    let bed = Bed::with_records(1);
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../etc/export/examples");
    let mut names: Vec<String> = std::fs::read_dir(&dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().trim_end_matches(".yaml").to_owned())
        .collect();
    names.sort();
    assert_eq!(names, APIS);
    let mut wrong = Vec::new();
    for name in names {
        let path = dir.join(format!("{name}.yaml"));
        let text = std::fs::read_to_string(&path).unwrap();
        let named =
            |line: &str| line.strip_prefix("#   ")?.split_once('=').map(|(name, _)| format!("{name}=placeholder\n"));
        let secrets: String = text.lines().filter_map(named).collect();
        assert!(!secrets.is_empty(), "{name} names no secrets");
        bed.write_files("", &secrets);
        let mut check = Command::new(program("saas-export-daemon"));
        check.arg("--check-config").arg("--config").arg(&path).arg("--auth-env").arg(bed.path("auth.env"));
        check.env_remove("CREDENTIALS_DIRECTORY");
        let ended = finish(&mut check, PATIENCE);
        if ended.code != Some(0) {
            wrong.push(ended.stdout);
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
