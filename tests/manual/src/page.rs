//! Keeps the generated blocks of a page up to date, and the page clean.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Where the pages are.
fn place(page: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging/man").join(page)
}

/// Compares the generated blocks of a page with what they should hold; `UPDATE_DOCS=1` writes them instead. The error says
/// what is wrong: a block that is not up to date, or one that is on one side only.
pub fn keep(page: &str, blocks: &[(&str, String)]) -> Result<(), String> {
    let path = place(page);
    let found = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let wanted = filled(&found, blocks).map_err(|why| format!("{page}: {why}"))?;
    if std::env::var_os("UPDATE_DOCS").is_some() {
        return std::fs::write(&path, wanted).map_err(|error| format!("{}: {error}", path.display()));
    }
    let at = found.lines().zip(wanted.lines()).position(|(found, wanted)| found != wanted);
    match at {
        None if found == wanted => Ok(()),
        at => {
            let line = at.unwrap_or(found.lines().count());
            let should = wanted.lines().nth(line).unwrap_or("the end");
            Err(format!(
                "{page}:{}: not up to date, run the tests with UPDATE_DOCS=1; it should be: {should}",
                line + 1
            ))
        }
    }
}

/// The page with other blocks.
fn filled(page: &str, blocks: &[(&str, String)]) -> Result<String, String> {
    let (mut text, mut inside, mut used) = (String::new(), None, Vec::new());
    for line in page.lines() {
        if let Some(name) = line.strip_prefix(".\\\" {") {
            let (_, content) = blocks.iter().find(|(own, _)| *own == name).ok_or(format!("nothing fills {name:?}"))?;
            text.push_str(&format!("{line}\n{content}"));
            inside = Some(name);
            used.push(name);
        } else if inside.is_some_and(|name| line.strip_prefix(".\\\" ") == Some(&format!("{name}}}"))) {
            text.push_str(&format!("{line}\n"));
            inside = None;
        } else if inside.is_none() {
            text.push_str(&format!("{line}\n"));
        }
    }
    if let Some(name) = inside {
        return Err(format!("the block {name:?} has no end"));
    }
    match blocks.iter().find(|(name, _)| !used.contains(name)) {
        Some((name, _)) => Err(format!("it has no block {name:?}")),
        None => Ok(text),
    }
}

/// Has mandoc look at a page. Where it is not installed, that is noted for `tests/run`.
pub fn lint(page: &str) -> Result<(), String> {
    let path = place(page);
    let Ok(done) = Command::new("mandoc").args(["-Tlint", "-W", "warning"]).arg(&path).output() else {
        return skipped("the man pages: mandoc is not installed");
    };
    let told = String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr);
    if done.status.success() && told.trim().is_empty() { Ok(()) } else { Err(format!("{page}: mandoc says\n{told}")) }
}

fn skipped(what: &str) -> Result<(), String> {
    use std::io::Write as _;
    let Some(path) = std::env::var_os("SAAS_EXPORT_SKIPS") else { return Ok(()) };
    let opened = std::fs::OpenOptions::new().create(true).append(true).open(path);
    opened.and_then(|mut file| writeln!(file, "{what}")).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_filled_and_none_is_forgotten() {
        let page = ".TH X 1\n.\\\" {a\nold\n.\\\" a}\n.SH END\n";
        assert_eq!(filled(page, &[("a", "new\n".into())]).unwrap(), page.replace("old", "new"));
        assert!(filled(page, &[]).unwrap_err().contains("nothing fills \"a\""));
        assert!(filled(page, &[("a", String::new()), ("b", String::new())]).unwrap_err().contains("no block \"b\""));
        assert!(filled(".\\\" {a\n", &[("a", String::new())]).unwrap_err().contains("no end"));
    }
}
