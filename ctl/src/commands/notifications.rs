//! `notifications`: what was told to whom, trying one again, and a test of a recipient.

use super::{fetch, show};
use crate::args::{ListNotifications, Notifications, Notify};
use crate::client::{Client, encode};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::human;
use crate::out::{Colour, Out};
use crate::table::{Cell, Table};
use hyper::Method;
use jiff::Timestamp;
use saas_export_api::{Notification, NotificationState, NotificationTest};
use serde_json::Value;
use std::fmt::Write as _;

/// Lists them, or does something with one.
pub async fn notifications(args: Notifications, client: &Client, out: Out) -> Result<Exit, Failure> {
    match args.act {
        None => list(args.list, client, out).await,
        Some(Notify::List(args)) => list(args, client, out).await,
        Some(Notify::Retry { id }) => retry(&id, client, out).await,
        Some(Notify::Test { recipient }) => test(&recipient, client, out).await,
    }
}

async fn list(args: ListNotifications, client: &Client, out: Out) -> Result<Exit, Failure> {
    let mut path = format!("/v1/notifications?limit={}", args.limit);
    if let Some(recipient) = &args.recipient {
        let _ = write!(path, "&recipient={}", encode(recipient));
    }
    if let Some(state) = &args.state {
        let _ = write!(path, "&state={}", encode(state));
    }
    let Some(all) = fetch::<Vec<Notification>>(client, &path, out).await? else { return Ok(Exit::Ok) };
    let mut table = Table::new(&["ID", "RECIPIENT", "EVENT", "EXPORT", "TASK", "STATE", "TRIES>", "CREATED", "WHY"]);
    let now = Timestamp::now();
    for one in &all {
        table.row([
            human::clean(&one.id).into(),
            human::clean(&one.recipient).into(),
            human::clean(&one.event).into(),
            human::clean(&one.export).into(),
            human::clean(&one.task).into(),
            state(one.state),
            human::count(u64::from(one.attempts)).into(),
            human::ago(&one.created_at, now).into(),
            why(one).into(),
        ]);
    }
    if table.is_empty() {
        out.say("no such notifications");
    } else {
        out.data(&table.render(out.colours, out.width))?;
    }
    Ok(Exit::Ok)
}

fn why(one: &Notification) -> String {
    let error = human::clean(one.error.as_deref().unwrap_or_default());
    match one.next_at.as_deref().filter(|_| !error.is_empty()) {
        Some(next) => format!("{error}; again at {}", human::moment(next)),
        None => error,
    }
}

fn state(state: NotificationState) -> Cell {
    let colour = match state {
        NotificationState::Waiting => Colour::Yellow,
        NotificationState::Sent => Colour::Green,
        NotificationState::GivenUp => Colour::Red,
    };
    Cell::coloured(state.word(), colour)
}

async fn retry(id: &str, client: &Client, out: Out) -> Result<Exit, Failure> {
    let document: Value =
        client.patient(Method::POST, &format!("/v1/notifications/{}/retry", encode(id)), None).await?;
    if let Some(one) = show::<Notification>(document, out)? {
        out.say(&format!("{} is tried again", human::clean(&one.id)));
    }
    Ok(Exit::Ok)
}

async fn test(recipient: &str, client: &Client, out: Out) -> Result<Exit, Failure> {
    let path = format!("/v1/recipients/{}/test", encode(recipient));
    let document: Value = client.patient(Method::POST, &path, None).await?;
    if let Some(done) = show::<NotificationTest>(document, out)? {
        out.say(&format!("told {}: {}", human::clean(&done.recipient), human::clean(&done.done)));
    }
    Ok(Exit::Ok)
}
