//! `get`: downloads the files of a task, each checked while it is written; a stream's manifest comes last.

use crate::args::Get;
use crate::client::{Client, encode};
use crate::download::{Download, Wanted, Wrote};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::human;
use crate::out::Out;
use saas_export_api::{TaskDetail, size};
use saas_export_manifest::{MANIFEST_NAME, Manifest, SUMS_NAME, beside, is_plain_name};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// What was done, for the end of the command.
#[derive(Default)]
struct Sum {
    files: Vec<Value>,
    wrong: Vec<String>,
    written: u64,
    kept: u64,
    bytes: u64,
}

/// Downloads.
pub async fn get(args: Get, client: &Client, out: Out) -> Result<Exit, Failure> {
    let detail: TaskDetail = client.get(&format!("/v1/tasks/{}", encode(&args.task))).await?;
    let task = detail.task.id.clone();
    let streams = streams(&detail, args.destination.as_deref())?;
    let download = Download::new(client, &task, args.destination.as_deref(), &args.output, out);
    let (mut sum, mut found) = (Sum::default(), BTreeSet::new());
    for stream in &streams {
        let manifest = match download.manifest(stream).await {
            Ok(manifest) => manifest,
            Err(failure) if failure.exit == Exit::Mismatch => {
                sum.wrong.push(failure.message);
                continue;
            }
            Err(failure) => return Err(failure),
        };
        let wanted = wanted(stream, &manifest, &args.files, &mut found)?;
        one_stream(&download, stream, wanted, &mut sum, out).await?;
    }
    if let Some(missing) = args.files.iter().find(|file| !found.contains(*file) && sum.wrong.is_empty()) {
        return Err(Failure::new(Exit::NotFound, format!("task {task} has no file {missing:?}"))
            .hint(format!("exportctl files {task} lists them")));
    }
    download.finish();
    let absent = if args.files.is_empty() { absent(&detail, &streams) } else { Vec::new() };
    if out.json {
        out.document(&json!({ "task": task, "files": sum.files, "problems": sum.wrong, "absent": absent }))?;
    }
    if !sum.wrong.is_empty() {
        let message = format!("not as the manifest says, and not kept:\n{}", sum.wrong.join("\n"));
        return Err(Failure::new(Exit::Mismatch, message).hint(format!("exportctl verify {task}")));
    }
    if !absent.is_empty() {
        let at = args.destination.as_deref().map(|name| format!(" at {name}")).unwrap_or_default();
        let message = format!("not the whole task: not published{at}, or pruned since: {}", absent.join(", "));
        return Err(Failure::new(Exit::Conflict, message)
            .hint(format!("exportctl show {task} says why; repeat the command once they are published")));
    }
    let kept = if sum.kept > 0 { format!("; {} there already", human::many(sum.kept, "file")) } else { String::new() };
    out.say(&format!("{} written, {}{kept}", human::many(sum.written, "file"), size(sum.bytes)));
    Ok(Exit::Ok)
}

/// The streams of a task that are published, at one destination or at any.
fn streams(detail: &TaskDetail, destination: Option<&str>) -> Result<Vec<String>, Failure> {
    let there = detail.manifests.iter().filter(|found| found.published_at.is_some() && found.pruned_at.is_none());
    let here = there.filter(|found| destination.is_none_or(|name| name == found.destination));
    let streams: BTreeSet<String> = here.map(|found| found.stream.clone()).collect();
    // They become names of directories.
    if let Some(odd) = streams.iter().find(|stream| !is_plain_name(stream)) {
        return Err(Failure::new(Exit::Failed, format!("{odd:?} is no name of a stream")));
    }
    if !streams.is_empty() {
        return Ok(streams.into_iter().collect());
    }
    let at = destination.map(|name| format!(" at {name:?}")).unwrap_or_default();
    let pruned = detail.manifests.iter().find_map(|found| found.pruned_at.as_deref());
    Err(match pruned {
        Some(when) => {
            Failure::new(Exit::Conflict, format!("the files of the task were pruned{at} at {}", human::moment(when)))
        }
        None => Failure::new(Exit::NotFound, format!("nothing of the task is published{at}"))
            .hint(format!("exportctl show {}", detail.task.id)),
    })
}

/// The streams of a task that are not among those that are there, although they did not end with an error.
fn absent<'a>(detail: &'a TaskDetail, there: &[String]) -> Vec<&'a str> {
    let good = detail.streams.iter().filter(|stream| stream.error.is_none());
    good.map(|stream| stream.name.as_str()).filter(|name| !there.iter().any(|found| found == name)).collect()
}

/// What is to be written of a stream, in the order in which it is written: the manifest last.
fn wanted(
    stream: &str,
    manifest: &[u8],
    files: &[String],
    found: &mut BTreeSet<String>,
) -> Result<Vec<Wanted>, Failure> {
    let not_ours =
        |why: String| Failure::new(Exit::Failed, format!("the manifest of {stream} is not understood: {why}"));
    let listed = Manifest::parse(manifest).map_err(|error| not_ours(error.to_string()))?;
    let signed = serde_json::from_slice::<Value>(manifest).is_ok_and(|raw| raw.get("signature").is_some());
    let mut all: Vec<Wanted> = Vec::with_capacity(listed.segments.len() + 3);
    for segment in listed.segments {
        if !is_plain_name(&segment.name) {
            return Err(not_ours(format!("{:?} is no plain name", segment.name)));
        }
        all.push(Wanted {
            name: segment.name,
            bytes: Some(segment.bytes),
            sha256: Some(segment.sha256),
            content: None,
        });
    }
    let plain = |name: &str| Wanted { name: name.to_owned(), bytes: None, sha256: None, content: None };
    all.push(plain(SUMS_NAME));
    all.extend(beside().iter().filter(|name| signed && **name != SUMS_NAME).map(|name| plain(name)));
    all.push(Wanted { content: Some(manifest.to_vec()), ..plain(MANIFEST_NAME) });
    if files.is_empty() {
        return Ok(all);
    }
    let mut asked = |wanted: &Wanted| {
        let whole = format!("{stream}/{}", wanted.name);
        let named: Vec<&String> = files.iter().filter(|file| **file == wanted.name || **file == whole).collect();
        found.extend(named.iter().map(|name| (*name).clone()));
        !named.is_empty()
    };
    all.retain(|wanted| asked(wanted));
    Ok(all)
}

/// Writes what is wanted of a stream. Where a file is not what it must be, the stream gets no manifest: it is not whole.
async fn one_stream(
    download: &Download<'_>,
    stream: &str,
    wanted: Vec<Wanted>,
    sum: &mut Sum,
    out: Out,
) -> Result<(), Failure> {
    download.expect(wanted.iter().filter_map(|wanted| wanted.bytes).sum());
    let mut whole = true;
    for wanted in wanted {
        if wanted.name == MANIFEST_NAME && !whole {
            continue;
        }
        let path = download.path(stream, &wanted.name);
        let (kept, bytes) = match download.file(stream, &wanted).await {
            Ok(Wrote::New(bytes)) => (false, bytes),
            Ok(Wrote::Kept(bytes)) => (true, bytes),
            Err(failure) if failure.exit == Exit::Mismatch => {
                whole = false;
                sum.wrong.push(failure.message);
                continue;
            }
            Err(failure) => return Err(failure),
        };
        sum.kept += u64::from(kept);
        sum.written += u64::from(!kept);
        sum.bytes += if kept { 0 } else { bytes };
        if out.json {
            sum.files
                .push(json!({ "stream": stream, "name": wanted.name, "path": path, "bytes": bytes, "kept": kept }));
        } else {
            out.data(&format!("{}\n", human::clean(&path.display().to_string())))?;
        }
    }
    Ok(())
}
