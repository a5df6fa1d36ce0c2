//! `url`: a link to a published file.

use super::fetch;
use crate::args::Url;
use crate::client::{Client, encode};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::human;
use crate::out::Out;
use saas_export_api::{FileLink, TaskDetail};

/// Prints the link, and nothing else on stdout.
pub async fn url(args: Url, client: &Client, out: Out) -> Result<Exit, Failure> {
    let (stream, name) = match args.file.rsplit_once('/') {
        Some((stream, name)) => (stream.to_owned(), name.to_owned()),
        None => (only_stream(&args, client).await?, args.file.clone()),
    };
    let seconds = args.expires.as_secs();
    let mut path =
        format!("/v1/tasks/{}/links/{}/{}?expires={seconds}", encode(&args.task), encode(&stream), encode(&name));
    if let Some(destination) = &args.destination {
        path.push_str(&format!("&destination={}", encode(destination)));
    }
    let Some(link) = fetch::<FileLink>(client, &path, out).await? else { return Ok(Exit::Ok) };
    out.data(&format!("{}\n", human::clean(&link.url)))?;
    out.say(&format!("anybody with this link can read the file until {}", human::moment(&link.expires_at)));
    Ok(Exit::Ok)
}

/// The stream of a task that has only one.
async fn only_stream(args: &Url, client: &Client) -> Result<String, Failure> {
    let detail: TaskDetail = client.get(&format!("/v1/tasks/{}", encode(&args.task))).await?;
    let mut names: Vec<String> = detail.streams.into_iter().map(|stream| stream.name).collect();
    match (names.pop(), names.is_empty()) {
        (Some(name), true) => Ok(name),
        (last, _) => {
            names.extend(last);
            Err(Failure::usage(format!("{} may be of more than one stream", args.file))
                .hint(format!("write STREAM/NAME; streams: {}", names.join(", "))))
        }
    }
}
