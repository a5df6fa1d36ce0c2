//! `--print-drop-in`: what the service's unit has to know of the configured directories.

use super::bad_config;
use super::engine::Files;
use crate::config;
use crate::config::settings::{Config, Destination};
use crate::host::log;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Where systemd looks for drop-ins of the unit.
const PLACE: &str = "/etc/systemd/system/saas-export-daemon.service.d/directories.conf";
/// What the unit itself makes writable (`StateDirectory=`).
const STATE: &str = "/var/lib/saas-export";

/// Prints the drop-in for the configuration; secrets are not needed.
pub fn run(files: &Files) -> ExitCode {
    log::start(log::FOREGROUND);
    let config = match config::load(&files.config, None) {
        Ok(config) => config,
        Err(problems) => return bad_config(&problems.list().iter().map(ToString::to_string).collect::<Vec<_>>()),
    };
    let printed = text(&config).and_then(|text| io::stdout().lock().write_all(text.as_bytes()));
    match printed {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            eprintln!("saas-export-daemon: failed to print the drop-in: {error}");
            ExitCode::FAILURE
        }
        // Whoever reads has enough.
        Ok(()) | Err(_) => ExitCode::SUCCESS,
    }
}

/// The drop-in: every local root, and the state directory where it is another one.
fn text(config: &Config) -> io::Result<String> {
    let roots = config.destinations.values().filter_map(Destination::local).map(|local| local.root.as_path());
    let state = Some(config.daemon.state_dir.as_path()).filter(|dir| !dir.starts_with(STATE));
    let dirs: BTreeSet<PathBuf> = roots.chain(state).map(std::path::absolute).collect::<io::Result<_>>()?;
    let mut text = String::from(
        "# Written by saas-export-daemon --print-drop-in. To put it in use:\n\
         #   sudo mkdir -p /etc/systemd/system/saas-export-daemon.service.d\n",
    );
    let _ = writeln!(text, "#   saas-export-daemon --print-drop-in | sudo tee {PLACE}");
    text.push_str("#   sudo systemctl daemon-reload && sudo systemctl restart saas-export-daemon\n");
    if dirs.is_empty() {
        text.push_str("# No export writes to a directory of this machine: there is nothing to add.\n");
        return Ok(text);
    }
    text.push_str("[Unit]\n# Mounted before the service starts; one that cannot be mounted keeps it from starting.\n");
    for dir in &dirs {
        let _ = writeln!(text, "RequiresMountsFor={}", word(dir)?);
    }
    text.push_str("\n[Service]\n# \"-\": one that is missing holds up its own exports only.\n");
    for dir in &dirs {
        let _ = writeln!(text, "ReadWritePaths={}", word(&optional(dir))?);
    }
    Ok(text)
}

/// The path, with the sign of systemd for one that may be missing.
fn optional(dir: &Path) -> PathBuf {
    let mut whole = OsString::from("-");
    whole.push(dir);
    whole.into()
}

/// A path as a word of a unit (systemd.syntax(7)): quoted, and without specifiers.
fn word(path: &Path) -> io::Result<String> {
    let no_text = || io::Error::new(io::ErrorKind::InvalidData, format!("{} is no UTF-8", path.display()));
    let text = path.to_str().ok_or_else(no_text)?;
    let plain = |c: char| c.is_alphanumeric() || "/._-+@:,=".contains(c);
    if text.chars().all(plain) {
        return Ok(text.to_owned());
    }
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '%' => quoted.push_str("%%"),
            c if c.is_control() => {
                c.encode_utf8(&mut [0; 4]).bytes().for_each(|byte| quoted.push_str(&format!("\\x{byte:02x}")));
            }
            c => quoted.push(c),
        }
    }
    Ok(quoted + "\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(state: &str, roots: &[&str]) -> String {
        let destinations: serde_json::Map<_, _> = (0..)
            .zip(roots)
            .map(|(n, root)| (format!("d{n}"), serde_json::json!({ "local": { "root": root } })))
            .collect();
        let config = serde_json::json!({
            "version": 1, "daemon": { "state_dir": state }, "sources": {}, "destinations": destinations, "exports": {},
        });
        text(&serde_json::from_value(config).unwrap()).unwrap()
    }

    /// The lines that systemd reads.
    fn settings(text: &str) -> Vec<&str> {
        text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).collect()
    }

    #[test]
    fn every_root_is_named_once() {
        let text = of("/var/lib/saas-export", &["/srv/exports", "/data/a b", "/srv/exports"]);
        assert_eq!(
            settings(&text),
            [
                "[Unit]",
                "RequiresMountsFor=\"/data/a b\"",
                "RequiresMountsFor=/srv/exports",
                "[Service]",
                "ReadWritePaths=\"-/data/a b\"",
                "ReadWritePaths=-/srv/exports",
            ]
        );
    }

    #[test]
    fn another_state_directory_is_named_and_the_usual_one_is_not() {
        assert_eq!(settings(&of("/var/lib/saas-export", &[])), Vec::<&str>::new());
        let text = of("/big/state", &[]);
        assert_eq!(settings(&text)[3], "ReadWritePaths=-/big/state");
    }

    #[test]
    fn what_a_unit_would_read_otherwise_is_quoted() {
        assert_eq!(word(Path::new("/a/100%")).unwrap(), "\"/a/100%%\"");
        assert_eq!(word(Path::new("/a/\"b\\c")).unwrap(), "\"/a/\\\"b\\\\c\"");
        assert_eq!(word(Path::new("/a/ä\n")).unwrap(), "\"/a/ä\\x0a\"");
        assert_eq!(word(Path::new("/a/$b")).unwrap(), "\"/a/$b\"");
    }
}
