//! The files that people write: config.yaml and auth.env.

use super::CANARY;
use saas_export_daemon::config;
use saas_export_daemon::config::authenv;

/// config.yaml: every mistake is told, and what is accepted can be stored and read again with the same meaning.
pub fn config(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match config::parse(text, "config.yaml") {
        Err(problems) => assert!(!problems.to_string().trim().is_empty(), "a refusal without a word"),
        Ok(config) => {
            for export in config.exports.keys() {
                let Some(effective) = config.effective_for(export.as_str()) else { continue };
                let again =
                    config::settings::Config::from_effective(&effective).expect("what was accepted is accepted again");
                assert_eq!(again.effective_for(export.as_str()), Some(effective), "a task would see other settings");
            }
        }
    }
}

/// auth.env: no message shows what stands behind a `=`.
pub fn auth_env(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if text.contains(CANARY) {
        // The fuzzer has learnt it: where it stands for a name it may be shown.
        return;
    }
    let hidden: Vec<String> = text.split('\n').map(|line| line.replacen('=', &format!("={CANARY}"), 1)).collect();
    match authenv::parse(&hidden.join("\n"), "auth.env") {
        Err(problems) => {
            let said = format!("{problems} {problems:?}");
            assert!(!said.contains(CANARY), "a value is shown: {said}");
        }
        Ok(values) => {
            assert!(values.keys().all(|name| authenv::is_name(name)));
            assert!(!format!("{values:?}").contains(CANARY), "a value is shown");
        }
    }
}
