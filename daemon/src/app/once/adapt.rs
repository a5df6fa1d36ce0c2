//! The configuration with what the command line says instead, held to the same rules.

use crate::app::cli::Once;
use crate::base::ids::Name;
use crate::config::path::KeyPath;
use crate::config::problem::Mistake;
use crate::config::settings::{Config, Destination, LocalDestination};
use crate::config::units::{Mode, Size};
use crate::config::{validate, walk};
use std::io;
use std::path::{Component, Path, PathBuf};

/// Name of the destination that `--output` makes.
const OUTPUT: &str = "output";

/// The adapted configuration, or what is wrong with the command line, a line each.
pub fn adapt(mut config: Config, once: &Once) -> Result<Config, Vec<String>> {
    let before = mistakes(&config, &once.export);
    if let Some(threads) = once.threads {
        config.daemon.threads = threads;
    }
    if let Some(dir) = &once.state_dir {
        config.daemon.state_dir = place("--state-dir", dir)?;
    }
    let size = once.chunk_size.clone().map(Size::try_from).transpose();
    let size = size.map_err(|why| vec![format!("--chunk-size: {why}")])?;
    let output = Name::new(OUTPUT).map_err(|error| vec![error.to_string()])?;
    let Some(export) = config.exports.get_mut(once.export.as_str()) else { return Ok(config) };
    if let Some(size) = size {
        export.chunk_size = size;
    }
    if let Some(path) = &once.output {
        let root = place("--output", path)?;
        export.to = vec![output.clone()];
        config.destinations.insert(output, Destination::Local(LocalDestination { root, mode: Mode(0o640) }));
    }
    let new = mistakes(&config, &once.export).into_iter().filter(|mistake| !before.contains(mistake));
    let lines: Vec<String> = new.map(|mistake| told(&mistake, &once.export)).collect();
    if lines.is_empty() { Ok(config) } else { Err(lines) }
}

/// What is wrong with the part of a configuration that one export uses.
fn mistakes(config: &Config, export: &str) -> Vec<Mistake> {
    let Some(part) = config.effective_for(export) else { return Vec::new() };
    let walked = walk::walk(&part);
    match serde_json::from_value::<Config>(walked.value) {
        Ok(part) if walked.mistakes.is_empty() => validate::validate(&part),
        _ => walked.mistakes,
    }
}

/// A mistake under the name of the option behind it.
fn told(mistake: &Mistake, export: &str) -> String {
    let options = [
        (KeyPath::of(&["daemon", "threads"]), "--threads"),
        (KeyPath::of(&["daemon", "state_dir"]), "--state-dir"),
        (KeyPath::of(&["destinations", OUTPUT]), "--output"),
        (KeyPath::of(&["exports", export, "chunk_size"]), "--chunk-size"),
    ];
    let option = options.iter().find(|(path, _)| mistake.path.within(path));
    let at = option.map_or_else(|| mistake.path.to_string(), |(_, option)| (*option).to_owned());
    let hint = mistake.hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default();
    format!("{at}: {}{hint}", mistake.message)
}

/// A path of the command line as an absolute one that goes straight there; nothing of it needs to exist.
fn place(option: &str, path: &Path) -> Result<PathBuf, Vec<String>> {
    straight(path).map_err(|error| vec![format!("{option}: failed to use {}: {error}", path.display())])
}

fn straight(path: &Path) -> io::Result<PathBuf> {
    let mut straight = PathBuf::new();
    for part in std::path::absolute(path)?.components() {
        if part == Component::ParentDir {
            // Behind a link, `..` is the parent of where the link leads.
            straight = straight.canonicalize().unwrap_or(straight);
            straight.pop();
        } else {
            straight.push(part);
        }
    }
    Ok(straight)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;

    const CONFIG: &str = "
version: 1
daemon: { state_dir: /srv/state }
sources: { s: { rest: { base_url: https://a.example, streams: { x: { path: /x } } } } }
destinations: { lake: { local: { root: /srv/lake } }, other: { local: { root: /srv/other } } }
exports: { e: { source: s, to: [lake] }, f: { source: s, to: [other] } }
";

    fn once() -> Once {
        Once {
            export: "e".into(),
            params: vec![],
            streams: vec![],
            full: false,
            from: None,
            to: None,
            threads: None,
            chunk_size: None,
            output: None,
            format: None,
            state_dir: None,
        }
    }

    #[test]
    fn the_limits_of_the_file_hold_on_the_command_line() {
        let cases = [
            (Once { threads: Some(257), ..once() }, "--threads: "),
            (Once { chunk_size: Some("1kB".into()), ..once() }, "--chunk-size: "),
            (Once { chunk_size: Some("50".into()), ..once() }, "--chunk-size: \"50\" has no unit"),
            (Once { output: Some("/srv/state/out".into()), ..once() }, "--output: lies within daemon.state_dir"),
            (Once { output: Some("/srv/x/../state".into()), ..once() }, "--output: is the same directory as"),
            (Once { output: Some("/".into()), ..once() }, "--output: must not be the root"),
            (Once { state_dir: Some("/srv/lake/state".into()), ..once() }, "destinations.lake.local.root: contains"),
        ];
        for (once, expected) in cases {
            let told = adapt(parse(CONFIG, "f").unwrap(), &once).unwrap_err();
            assert_eq!(told.len(), 1, "{told:?}");
            assert!(told[0].starts_with(expected), "{told:?} does not start with {expected:?}");
        }
    }

    #[test]
    fn what_is_given_is_taken() {
        let once = Once {
            threads: Some(16),
            chunk_size: Some("64kB".into()),
            output: Some("./out/../here".into()),
            state_dir: Some("state".into()),
            ..once()
        };
        let config = adapt(parse(CONFIG, "f").unwrap(), &once).unwrap();
        assert_eq!((config.daemon.threads, config.exports["e"].chunk_size), (16, Size(64_000)));
        let here = std::env::current_dir().unwrap();
        assert_eq!(config.daemon.state_dir, here.join("state"));
        let local = config.destinations["output"].local().unwrap();
        assert_eq!((&local.root, config.exports["e"].to.len()), (&here.join("here"), 1));
        // The root of another export's destination is no conflict: that export does not run.
        let other = Once { output: Some("/srv/other".into()), ..self::once() };
        assert!(adapt(parse(CONFIG, "f").unwrap(), &other).is_ok());
        let lake = Once { output: Some("/srv/lake".into()), ..self::once() };
        assert!(adapt(parse(CONFIG, "f").unwrap(), &lake).is_ok());
    }
}
