//! `files` and `verify`.

use super::{offline, resolve, typed};
use crate::args::{Files as FilesArgs, Verify};
use crate::client::{Client, encode};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::human;
use crate::out::{Colour, Out};
use crate::table::Table;
use hyper::Method;
use saas_export_api::{FileEntry, Files, VerifyReport, size};
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
    let mut document: Value = client.get(&path).await?;
    let files: Files = typed(document.clone())?;
    let chosen = choose(&files, args.destination.as_deref());
    if out.json {
        // As JSON every copy is shown, because each says at which destination it is.
        if let (Some(name), Some(list)) = (&args.destination, document["files"].as_array_mut()) {
            list.retain(|file| file["destination"] == name.as_str());
        }
        out.document(&document)?;
    } else if args.long {
        out.data(&table(chosen.as_deref().unwrap_or_default()).render(out.colours, None))?;
    } else {
        for file in chosen.iter().flatten() {
            out.data(&format!("{}\n", file.path))?;
        }
    }
    if !files.notes.is_empty() {
        let message = format!("the list is not complete:\n{}", files.notes.join("\n"));
        return Err(Failure::new(Exit::Failed, message));
    }
    chosen.map(|_| Exit::Ok)
}

/// The files with what is known about them.
fn table(files: &[&FileEntry]) -> Table {
    let mut table = Table::new(&["TASK", "STREAM", "NAME", "RECORDS>", "SIZE>", "PATH"]);
    for file in files {
        table.row([
            human::clean(&file.task).into(),
            human::clean(&file.stream).into(),
            human::clean(&file.name).into(),
            human::count(file.rows).into(),
            size(file.bytes).into(),
            human::clean(&file.path).into(),
        ]);
    }
    table
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

/// Reads published files and compares them: a task's with the ledger, a directory's with its own manifest.
pub async fn verify(args: Verify, client: &Client, out: Out) -> Result<Exit, Failure> {
    let (document, measure) = match (&args.dir, &args.task) {
        (Some(dir), _) => (offline::verify(dir, args.public_key.as_deref())?, "the manifest"),
        (None, task) => {
            let mut path = format!("/v1/tasks/{}/verify", encode(task.as_deref().unwrap_or_default()));
            let destination = args.destination.as_ref().map(|name| format!("destination={}", encode(name)));
            let query: Vec<String> = destination.into_iter().chain(args.deep.then(|| "deep".to_owned())).collect();
            if !query.is_empty() {
                path.push_str(&format!("?{}", query.join("&")));
            }
            (client.patient(Method::POST, &path, None).await?, "the ledger")
        }
    };
    let report: VerifyReport = typed(document.clone())?;
    if out.json {
        out.document(&document)?;
    } else {
        for problem in &report.problems {
            let place = format!("{} {}", problem.destination, problem.path);
            out.data(&format!("{}: {}\n", human::clean(place.trim_start()), human::clean(&problem.problem)))?;
        }
    }
    for name in &report.skipped {
        out.say(&format!("not verified: {}, which lets nothing be read", human::clean(name)));
    }
    let read = format!("{}, {} read", human::many(report.files, "file"), size(report.bytes));
    if report.ok {
        let good = Colour::Green.paint(&format!("all as {measure} says"), out.live && out.colours);
        out.say(&format!("{good}: {read}"));
        return Ok(Exit::Ok);
    }
    let wrong = human::count(report.problems.len() as u64);
    Err(Failure::new(Exit::Mismatch, format!("{wrong} of these are not what {measure} says: {read}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files() -> Files {
        let entry = |destination: &str, path: &str| FileEntry {
            task: "t".into(),
            stream: "orders".into(),
            destination: destination.into(),
            name: String::new(),
            path: path.into(),
            bytes: 1,
            rows: 1,
            sha256: "00".into(),
        };
        Files {
            export: "shop".into(),
            destinations: vec!["dead".into(), "lake".into(), "copy".into()],
            files: vec![entry("copy", "/c/1"), entry("lake", "/l/1"), entry("lake", "/l/2")],
            notes: vec![],
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
