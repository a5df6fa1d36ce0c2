//! Notifications: what was told to whom; trying one again; and a test of a recipient.

use crate::control::reply::{Failure, Reply};
use crate::control::service::Call;
use crate::control::wire;
use crate::ledger::NoticeFilter;
use crate::ledger::input::AuditEntry;
use crate::ledger::rows::{NoticeRow, NoticeState};
use saas_export_api::{ErrorCode, Notification, NotificationState, NotificationTest};

/// Messages that a list has unless it is asked for more.
const LIST_DEFAULT: u32 = 50;
/// The longest list.
const LIST_MOST: u32 = 1000;

/// `GET /v1/notifications?recipient=&state=&limit=`: newest first.
pub async fn list(call: Call) -> Result<Reply, Failure> {
    let query = &call.target.query;
    query.only(&["recipient", "state", "limit"])?;
    let state = query.get("state").map(|word| {
        NoticeState::from_word(word).ok_or_else(|| {
            Failure::invalid(format!("parameter \"state\": {word:?} is none of waiting, sent, given_up"))
        })
    });
    let filter = NoticeFilter {
        recipient: query.get("recipient").map(str::to_owned),
        state: state.transpose()?,
        limit: query.number("limit", LIST_DEFAULT, LIST_MOST)?,
    };
    let rows = call.state.ledger.notices(&filter).await.map_err(wire::ledger_error)?;
    Reply::sync(rows.iter().map(notification).collect::<Vec<_>>())
}

/// `POST /v1/notifications/{notification}/retry`: has one that waits or was given up tried again now.
pub async fn retry(call: Call) -> Result<Reply, Failure> {
    call.target.query.only(&[])?;
    let id = call.arg(0);
    let retried = call.state.ledger.retry_notice(id, &call.caller.actor.0).await.map_err(wire::ledger_error)?;
    match retried {
        Some((row, true)) => Reply::sync(notification(&row)),
        Some((row, false)) => {
            Err(Failure::new(ErrorCode::Conflict, format!("{id} was sent to {} already", row.recipient)))
        }
        None => Err(Failure::new(ErrorCode::NotFound, format!("there is no notification {id:?}"))
            .hint("exportctl notifications lists them")),
    }
}

/// `POST /v1/recipients/{recipient}/test`: sends a message about nothing, and waits for what becomes of it.
pub async fn test(call: Call) -> Result<Reply, Failure> {
    call.target.query.only(&[])?;
    let recipient = call.arg(0).to_owned();
    let sent = tokio::select! {
        sent = call.state.hooks.notify_test(recipient.clone()) => sent,
        () = call.stop.cancelled() => return Err(Failure::new(ErrorCode::Unavailable, "the daemon is going down")),
    };
    let entry = AuditEntry {
        actor: call.caller.actor.0.clone(),
        action: "notification_test".into(),
        reason: match &sent {
            Ok(_) => format!("to {recipient}"),
            Err(refused) => refused.to_string(),
        },
        ..AuditEntry::default()
    };
    call.state.ledger.audit(entry).await.map_err(wire::ledger_error)?;
    Reply::sync(NotificationTest { recipient, done: sent.map_err(wire::refusal)? })
}

fn notification(row: &NoticeRow) -> Notification {
    let waits = row.state == NoticeState::Waiting;
    Notification {
        id: row.id.clone(),
        recipient: row.recipient.clone(),
        event: row.event.clone(),
        task: row.task.to_string(),
        export: row.export.clone(),
        state: match row.state {
            NoticeState::Waiting => NotificationState::Waiting,
            NoticeState::Sent => NotificationState::Sent,
            NoticeState::GivenUp => NotificationState::GivenUp,
        },
        created_at: wire::time(row.created_at),
        attempts: row.attempts,
        next_at: waits.then(|| wire::time(row.next_at)),
        settled_at: row.settled_at.map(wire::time),
        error: row.error.clone(),
    }
}
