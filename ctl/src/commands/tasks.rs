//! `tasks`, `show`, `watch`.

use super::fetch;
use crate::args::{Tasks, Watch};
use crate::client::{Client, encode};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::follow::{Follow, outcome};
use crate::human;
use crate::out::{Colour, Out};
use crate::table::{Cell, Table};
use jiff::Timestamp;
use saas_export_api::{StreamDetail, TaskDetail, TaskState, TaskSummary, size};
use std::fmt::Write as _;

/// The tasks, newest first.
pub async fn list(args: Tasks, client: &Client, out: Out) -> Result<Exit, Failure> {
    let mut path = format!("/v1/tasks?limit={}", args.limit);
    if let Some(export) = &args.export {
        let _ = write!(path, "&export={}", encode(export));
    }
    if !args.state.is_empty() {
        let words: Vec<&str> = args.state.iter().map(|state| state.word()).collect();
        let _ = write!(path, "&state={}", words.join(","));
    }
    let Some(tasks) = fetch::<Vec<TaskSummary>>(client, &path, out).await? else { return Ok(Exit::Ok) };
    let mut table = Table::new(&["TASK", "EXPORT", "STATE", "RECORDS>", "SIZE>", "TOOK>", "CREATED", "WHY"]);
    let now = Timestamp::now();
    for task in &tasks {
        let end = task.ended_at.clone().unwrap_or_else(|| now.to_string());
        let took = human::seconds_between(task.started_at.as_deref(), Some(&end));
        table.row([
            human::clean(&task.id).into(),
            human::clean(&task.export).into(),
            state(task.state),
            human::count(task.progress.records).into(),
            size(task.progress.bytes).into(),
            took.map(human::duration).unwrap_or_default().into(),
            human::ago(&task.created_at, now).into(),
            human::why(task).into(),
        ]);
    }
    if table.is_empty() {
        out.say("no such tasks");
    } else {
        out.data(&table.render(out.colours, out.width))?;
    }
    Ok(Exit::Ok)
}

/// Open tasks with their speed.
pub fn open_table(tasks: &[TaskSummary]) -> Table {
    let mut table = Table::new(&["TASK", "EXPORT", "STATE", "RECORDS>", "DONE>", "RATE>", "SIZE>", "ETA>", "WHY"]);
    for task in tasks {
        let progress = &task.progress;
        let total = progress.total.filter(|total| *total > 0);
        let rate = if progress.rate > 0.0 { human::rate(progress.rate) } else { String::new() };
        table.row([
            human::clean(&task.id).into(),
            human::clean(&task.export).into(),
            state(task.state),
            human::count(progress.records).into(),
            total.map(|total| human::percent(progress.records, total)).unwrap_or_default().into(),
            rate.into(),
            size(progress.bytes).into(),
            progress.eta_seconds.map(human::duration).unwrap_or_default().into(),
            human::why(task).into(),
        ]);
    }
    table
}

fn state(state: TaskState) -> Cell {
    Cell::coloured(state.word(), Colour::of_state(state))
}

/// Everything about a task.
pub async fn show(task: &str, client: &Client, out: Out) -> Result<Exit, Failure> {
    let path = format!("/v1/tasks/{}", encode(task));
    let Some(detail) = fetch::<TaskDetail>(client, &path, out).await? else { return Ok(Exit::Ok) };
    let mut text = facts(&detail.task, Timestamp::now(), out.colours);
    if !detail.streams.is_empty() {
        text.push('\n');
        text.push_str(&stream_table(&detail.streams).render(out.colours, None));
    }
    if !detail.task.destinations.is_empty() {
        text.push('\n');
        text.push_str(&super::deliver::table(&detail.task.destinations).render(out.colours, None));
    }
    if !detail.manifests.is_empty() {
        let mut table = Table::new(&["MANIFEST", "DESTINATION", "PUBLISHED"]);
        for manifest in &detail.manifests {
            let mut published = manifest.published_at.as_deref().map_or_else(|| "not yet".to_owned(), human::moment);
            if let Some(at) = &manifest.pruned_at {
                published.push_str(&format!(", pruned at {}", human::moment(at)));
            }
            let cells = [manifest.stream.as_str(), manifest.destination.as_str(), &published];
            table.row(cells.map(|cell| human::clean(cell).into()));
        }
        text.push('\n');
        text.push_str(&table.render(out.colours, None));
    }
    out.data(&text)?;
    Ok(Exit::Ok)
}

/// What is known about a task as a whole, a line each.
fn facts(task: &TaskSummary, now: Timestamp, colours: bool) -> String {
    let params: Vec<String> = task.params.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let state = Colour::of_state(task.state).paint(task.state.word(), colours);
    let attempt = if task.attempt > 1 { format!(" (attempt {})", task.attempt) } else { String::new() };
    let class = task.error_class.as_deref().map(|class| format!(" [{class}]")).unwrap_or_default();
    let why = human::why(task);
    let until = task.waiting.as_ref().and_then(|waiting| waiting.until.as_deref());
    let time = |time: &Option<String>| {
        let text = time.as_deref().map(|time| format!("{} ({})", human::moment(time), human::ago(time, now)));
        text.unwrap_or_default()
    };
    let lines = [
        ("task", human::clean(&task.id)),
        ("export", human::clean(&task.export)),
        ("params", human::clean(&params.join(" "))),
        ("format", human::clean(&task.format)),
        ("state", format!("{state}{attempt}")),
        ("why", if why.is_empty() { why } else { format!("{why}{}", human::clean(&class)) }),
        ("goes on", until.map(human::moment).unwrap_or_default()),
        ("retry at", task.retry_at.as_deref().map(human::moment).unwrap_or_default()),
        ("progress", human::progress(&task.progress)),
        ("asked by", human::clean(&task.actor)),
        ("created", time(&Some(task.created_at.clone()))),
        ("started", time(&task.started_at)),
        ("ended", time(&task.ended_at)),
    ];
    let mut text = String::new();
    for (name, value) in lines.iter().filter(|(_, value)| !value.is_empty()) {
        let _ = writeln!(text, "{}{}{value}", Colour::Dim.paint(name, colours), " ".repeat(10 - name.len()));
    }
    text
}

fn stream_table(streams: &[StreamDetail]) -> Table {
    let mut table = Table::new(&[
        "STREAM",
        "READ>",
        "WRITTEN>",
        "REJECTED>",
        "DROPPED>",
        "RESCUED>",
        "PAGES>",
        "SIZE>",
        "FILES>",
        "NOTE",
    ]);
    for stream in streams {
        let counts = &stream.counts;
        let rejected = Cell::coloured(
            human::count(counts.rejected),
            if counts.rejected > 0 { Colour::Yellow } else { Colour::Plain },
        );
        let mut notes: Vec<String> = stream.error.iter().chain(&stream.notes).map(|note| human::clean(note)).collect();
        if notes.is_empty() && stream.extracted {
            notes.push("all fetched".into());
        }
        table.row([
            human::clean(&stream.name).into(),
            human::count(counts.read).into(),
            human::count(counts.written).into(),
            rejected,
            human::count(counts.duplicate + counts.filtered + counts.over_limit).into(),
            human::count(counts.rescued).into(),
            human::count(stream.pages).into(),
            size(stream.bytes).into(),
            human::count(stream.segments).into(),
            notes.join("; ").into(),
        ]);
    }
    table
}

/// Live progress of a task to its end, or of all until none runs.
pub async fn watch(args: Watch, client: &Client, out: Out) -> Result<Exit, Failure> {
    let follow = Follow { client, out, cancel_on_interrupt: args.cancel_on_interrupt, timeout: None };
    let Some(task) = args.task else {
        let mut seen = false;
        follow
            .all(|task| {
                seen = true;
                if out.json { Ok(out.line(task)?) } else { Ok(()) }
            })
            .await?;
        out.say(if seen { "no task runs any more" } else { "no task runs" });
        return Ok(Exit::Ok);
    };
    // The whole id, so that a task that is created meanwhile cannot make its start ambiguous.
    let found: TaskDetail = client.get(&format!("/v1/tasks/{}", encode(&task))).await?;
    let each = |detail: &TaskDetail| if out.json { Ok(out.line(&detail.task)?) } else { Ok(()) };
    let detail = follow.until_it_ends(&found.task.id, each).await?;
    outcome(&detail.task, out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::live::tests::sample;

    #[test]
    fn facts_leave_out_what_is_not_known() {
        let now: Timestamp = "2026-11-21T02:50:12Z".parse().unwrap();
        let task = TaskSummary {
            reason: "refused: 403".into(),
            error_class: Some("auth".into()),
            ..sample(TaskState::Failed)
        };
        let text = facts(&task, now, false);
        assert!(text.contains("why       refused: 403 [auth]\n"), "{text}");
        assert!(text.contains("ended     2026-11-21T02:49:12Z (1m 00s ago)\n"), "{text}");
        assert!(!text.contains("params"), "{text}");
        assert!(!text.contains("retry at"), "{text}");
    }

    #[test]
    fn an_open_task_shows_only_figures_it_has() {
        let text = open_table(&[sample(TaskState::Processing)]).render(false, None);
        let row: Vec<&str> = text.lines().nth(1).unwrap().split_whitespace().collect();
        assert_eq!(row, ["20261121T024501Z-9f86d081", "shop", "processing", "1,000,000", "48.0", "MB"]);
    }
}
