//! Completion scripts: every shell takes its own, and bash offers what the daemon names.

use super::{Daemon, TASK, exportctl, stdout, summary, sync};
use std::path::Path;
use std::process::Command;

fn daemon() -> Daemon {
    Daemon::new(|request, _| match request.split('?').next().unwrap_or_default() {
        "GET /v1/exports" => {
            let export = |name: &str| {
                format!(
                    r#"{{"name":"{name}","source":"s","streams":[],"to":[],"format":"csv","params":{{}},"paused":false}}"#
                )
            };
            sync(&format!("[{},{}]", export("shop-nightly"), export("crm")))
        }
        "GET /v1/tasks" => sync(&format!("[{}]", summary("failed"))),
        _ => None,
    })
}

/// The script in a file of its own.
fn script(dir: &Path, shell: &str) -> String {
    let output = exportctl(Path::new("/nonexistent/sock"), &["completions", shell]).output().unwrap();
    assert!(output.status.success() && stdout(&output).contains("waitready"), "{shell}");
    let path = dir.join(format!("exportctl.{shell}"));
    std::fs::write(&path, stdout(&output)).unwrap();
    path.display().to_string()
}

#[test]
fn every_shell_understands_its_script() {
    let dir = tempfile::tempdir().unwrap();
    for (shell, check) in [("bash", "-n"), ("zsh", "-n"), ("fish", "--no-execute")] {
        let path = script(dir.path(), shell);
        match Command::new(shell).args([check, &path]).output() {
            Ok(done) => assert!(done.status.success() && done.stderr.is_empty(), "{shell}: {done:?}"),
            Err(_) => assert_ne!(shell, "bash", "bash is always there"),
        }
    }
}

#[test]
fn bash_offers_what_the_daemon_names() {
    let (daemon, dir) = (daemon(), tempfile::tempdir().unwrap());
    let path = script(dir.path(), "bash");
    let programs = Path::new(env!("CARGO_BIN_EXE_exportctl")).parent().unwrap().display().to_string();
    let offered = |line: &str| -> Vec<String> {
        let words: Vec<&str> = line.split(' ').collect();
        let (last, before) = (words.len() - 1, words[words.len() - 2]);
        let text = format!(
            "source {path}; COMP_WORDS=({}); COMP_CWORD={last}; _exportctl_with_names exportctl '{}' '{before}'; \
             printf '%s\\n' \"${{COMPREPLY[@]}}\"",
            words.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" "),
            words[last]
        );
        let mut bash = Command::new("bash");
        bash.args(["-c", &text]).env("SAAS_EXPORT_SOCKET", daemon.socket());
        bash.env("PATH", format!("{programs}:{}", std::env::var("PATH").unwrap()));
        let done = bash.output().unwrap();
        assert!(done.status.success() && done.stderr.is_empty(), "{line}: {done:?}");
        stdout(&done).lines().map(str::to_owned).collect()
    };
    assert_eq!(offered("exportctl run "), ["shop-nightly", "crm"]);
    assert_eq!(offered("exportctl run --wait sh"), ["shop-nightly"]);
    assert_eq!(offered("exportctl retry 2026"), [TASK]);
    assert_eq!(offered("exportctl pause "), ["shop-nightly", "crm", TASK]);
    assert_eq!(offered("exportctl offsets show c"), ["crm"]);
    assert_eq!(offered("exportctl schema diff 2"), [TASK]);
    assert_eq!(offered("exportctl schema d"), ["diff"]);
    assert!(offered("exportctl run --f").contains(&"--format".to_owned()));
    assert!(!offered("exportctl run --format ").contains(&"crm".to_owned()));
    assert!(offered("exportctl off").contains(&"offsets".to_owned()));
    assert!(offered("exportctl offsets s").contains(&"set".to_owned()));
}

#[test]
fn names_are_asked_for_in_silence() {
    let daemon = daemon();
    assert_eq!(stdout(&daemon.run(&["names", "both"])), format!("shop-nightly\ncrm\n{TASK}\n"));
    assert_eq!(stdout(&daemon.run(&["names", "tasks"])), format!("{TASK}\n"));
    let help = daemon.run(&["--help"]);
    assert!(!stdout(&help).contains("  names"), "{}", stdout(&help));
}
