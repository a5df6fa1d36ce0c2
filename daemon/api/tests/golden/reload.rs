//! What the daemon says of itself and of its configuration.

use super::{check, text};
use saas_export_api::{CheckReport, ReloadReport, Version};

#[test]
fn version_and_configuration() {
    let version = Version {
        name: text("saas-export-daemon"),
        version: text("0.1.0"),
        api: vec![text("v1")],
        extensions: vec![],
        openapi: text("/v1/openapi.json"),
    };
    check("version", &version);
    let reload = ReloadReport {
        applied: vec![text("exports.crm: new")],
        needs_restart: vec![text("daemon.state_dir")],
        notes: vec![],
    };
    check("reload_report", &reload);
    let notes = vec![text("export shop is gone; what is open runs to its end: 20261121T024501Z-9f86d081")];
    check("reload_report_notes", &ReloadReport { notes, ..reload });
    let problem = text("config.yaml:3:5: exports.crm.sorce: unknown key; did you mean source?");
    check("check_report", &CheckReport { config: text("/etc/export/config.yaml"), ok: false, problems: vec![problem] });
}
