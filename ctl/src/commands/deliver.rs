//! `deliver`: one more destination for a task, or one less; and the table of a task's destinations.

use super::show;
use crate::args::Deliver;
use crate::client::{Client, encode};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::human;
use crate::out::{Colour, Out};
use crate::table::{Cell, Table};
use hyper::Method;
use saas_export_api::{self as api, Delivering, TaskDestination, TaskSummary, size};

/// Fills a destination back, or releases what one holds.
pub async fn deliver(args: Deliver, client: &Client, out: Out) -> Result<Exit, Failure> {
    let path = format!("/v1/tasks/{}/deliver", encode(&args.task));
    let adds = args.to.is_some();
    let order = api::Deliver { to: args.to, drop: args.drop };
    let body = serde_json::to_vec(&order).map_err(|error| Failure::usage(error.to_string()))?;
    let answer = client.patient(Method::POST, &path, Some(body)).await?;
    let Some(done) = show::<Delivering>(answer, out)? else { return Ok(Exit::Ok) };
    let (task, name) = (human::clean(&done.task), human::clean(&done.destination));
    let files = human::many(done.files, "file");
    out.say(&match (adds, done.files) {
        (true, 0) => format!("{name} is being filled back from {task}: exportctl show {task}"),
        (true, _) => format!("{files} of {task} go to {name} now: exportctl show {task}"),
        (false, _) => format!(
            "{task} goes on without {name}, {files} left the spool: exportctl deliver {task} --to {name} fills it back"
        ),
    });
    Ok(Exit::Ok)
}

/// The destinations of one task.
pub fn table(destinations: &[TaskDestination]) -> Table {
    let mut table = Table::new(&["DESTINATION", "FILES>", "SIZE>", "SENT>", "NEXT TRY", "WHY"]);
    for place in destinations {
        table.row(cells(place));
    }
    table
}

/// The destinations of open tasks that are behind, or have trouble.
pub fn behind(tasks: &[TaskSummary]) -> Table {
    let mut table = Table::new(&["TASK", "DESTINATION", "FILES>", "SIZE>", "SENT>", "NEXT TRY", "WHY"]);
    for task in tasks {
        for place in task.destinations.iter().filter(|place| place.error.is_some() || place.delivered < place.files) {
            let [name, files, size, sent, next, why] = cells(place);
            table.row([human::clean(&task.id).into(), name, files, size, sent, next, why]);
        }
    }
    table
}

fn cells(place: &TaskDestination) -> [Cell; 6] {
    let files = format!("{}/{}", human::count(place.delivered), human::count(place.files));
    let sent = if place.sent_bytes > 0 { size(place.sent_bytes) } else { String::new() };
    let why = match (&place.error, place.published, place.filling) {
        (Some(error), _, _) => Cell::coloured(human::clean(error), Colour::Yellow),
        (None, true, false) => "published".into(),
        (None, _, true) => "being filled back".into(),
        (None, false, false) => "".into(),
    };
    [
        human::clean(&place.name).into(),
        files.into(),
        size(place.delivered_bytes).into(),
        sent.into(),
        place.next_try.as_deref().map(human::moment).unwrap_or_default().into(),
        why,
    ]
}
