//! `files` and `verify`.

use super::{fetch, resolve, typed};
use crate::args::{Files as FilesArgs, Verify};
use crate::client::{Client, encode};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::human;
use crate::out::{Colour, Out};
use hyper::Method;
use saas_export_api::{FileEntry, Files, VerifyReport};
use serde_json::Value;

/// Paths of published data files, one per line and of one destination, so that other programs can take them as they are.
pub async fn files(args: FilesArgs, client: &Client, out: Out) -> Result<Exit, Failure> {
    let mut path = format!("{}/files", resolve(&args.target, client).await?);
    if args.latest {
        if path.starts_with("/v1/tasks/") {
            return Err(Failure::usage("--latest goes with an export, not with a task"));
        }
        path.push_str("?latest");
    }
    let Some(files) = fetch::<Files>(client, &path, out).await? else { return Ok(Exit::Ok) };
    let chosen = choose(&files, args.destination.as_deref())?;
    for file in &chosen {
        out.data(&format!("{}\n", file.path))?;
    }
    Ok(Exit::Ok)
}

/// The files at one destination: two copies of the same records are not one data set.
fn choose<'a>(files: &'a Files, destination: Option<&str>) -> Result<Vec<&'a FileEntry>, Failure> {
    let at =
        |name: &str| -> Vec<&'a FileEntry> { files.files.iter().filter(|file| file.destination == name).collect() };
    if let Some(name) = destination {
        let chosen = at(name);
        if chosen.is_empty() {
            let message = format!("nothing is published at {name:?}");
            return Err(
                Failure::new(Exit::NotFound, message).hint(format!("destinations: {}", files.destinations.join(", ")))
            );
        }
        return Ok(chosen);
    }
    files.destinations.iter().map(|name| at(name)).find(|chosen| !chosen.is_empty()).ok_or_else(|| {
        Failure::new(Exit::NotFound, "nothing is published yet").hint(format!("exportctl run {} --wait", files.export))
    })
}

/// Reads a task's published files and compares them with the ledger.
pub async fn verify(args: Verify, client: &Client, out: Out) -> Result<Exit, Failure> {
    let mut path = format!("/v1/tasks/{}/verify", encode(&args.task));
    if let Some(destination) = &args.destination {
        path.push_str(&format!("?destination={}", encode(destination)));
    }
    let document: Value = client.patient(Method::POST, &path, None).await?;
    let report: VerifyReport = typed(document.clone())?;
    if out.json {
        out.document(&document)?;
    } else {
        for problem in &report.problems {
            let place = format!("{} {}", problem.destination, problem.path);
            out.data(&format!("{}: {}\n", human::clean(&place), human::clean(&problem.problem)))?;
        }
    }
    let read = format!("{} files, {} read", human::count(report.files), human::bytes(report.bytes));
    if report.ok {
        out.say(&format!("{}: {read}", Colour::Green.paint("all as the ledger says", out.live && out.colours)));
        return Ok(Exit::Ok);
    }
    let message =
        format!("{} of these are not what the ledger says: {read}", human::count(report.problems.len() as u64));
    Err(Failure::new(Exit::Mismatch, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files() -> Files {
        let entry = |destination: &str, path: &str| FileEntry {
            task: "t".into(),
            stream: "orders".into(),
            destination: destination.into(),
            path: path.into(),
            bytes: 1,
            rows: 1,
            sha256: "00".into(),
        };
        Files {
            export: "shop".into(),
            destinations: vec!["dead".into(), "lake".into(), "copy".into()],
            files: vec![entry("copy", "/c/1"), entry("lake", "/l/1"), entry("lake", "/l/2")],
        }
    }

    #[test]
    fn copies_are_not_mixed() {
        let files = files();
        let paths = |destination| -> Vec<String> {
            choose(&files, destination).unwrap().iter().map(|file| file.path.clone()).collect()
        };
        assert_eq!(paths(None), ["/l/1", "/l/2"]);
        assert_eq!(paths(Some("copy")), ["/c/1"]);
        assert_eq!(choose(&files, Some("dead")).unwrap_err().exit, Exit::NotFound);
        assert_eq!(choose(&Files { files: vec![], ..files.clone() }, None).unwrap_err().exit, Exit::NotFound);
    }
}
