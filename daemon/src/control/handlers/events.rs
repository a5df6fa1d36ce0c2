//! The event stream: the ledger's audit as lines of JSON, replayable from any position.

use crate::control::reply::{BodyError, Failure, Reply};
use crate::control::service::Call;
use crate::control::wire;
use crate::ledger::Ledger;
use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Lines that are read and sent at once.
const LINES: u32 = 500;

/// `GET /v1/events?since=SEQ&follow`: what came after SEQ; with `follow` also what is yet to come.
pub async fn events(call: Call) -> Result<Reply, Failure> {
    let query = &call.target.query;
    query.only(&["since", "follow"])?;
    let tail = Tail {
        since: query.number("since", 0, i64::MAX)?,
        follow: query.flag("follow")?,
        changes: call.state.ledger.changes(),
        ledger: call.state.ledger.clone(),
        stop: call.stop,
        failed: false,
    };
    let lines = stream::unfold(tail, |mut tail| async move {
        let lines = tail.next().await?;
        Some((Ok::<_, BodyError>(Frame::data(lines)), tail))
    });
    Ok(Reply::Lines(StreamBody::new(lines).boxed_unsync()))
}

/// A reader of the audit.
struct Tail {
    ledger: Ledger,
    changes: watch::Receiver<i64>,
    since: i64,
    follow: bool,
    stop: CancellationToken,
    failed: bool,
}

impl Tail {
    /// The next lines; none at the end.
    async fn next(&mut self) -> Option<Bytes> {
        while !self.failed {
            // Seen before reading: what comes while reading is then read in the next turn.
            self.changes.borrow_and_update();
            let rows = match self.ledger.audit_since(self.since, LINES).await {
                Ok(rows) => rows,
                Err(error) => {
                    // The head is sent, so the refusal becomes the last line.
                    self.failed = true;
                    return Some(wire::error_line(wire::ledger_error(error)));
                }
            };
            if let Some(last) = rows.last() {
                self.since = last.seq;
                return Some(rows.into_iter().flat_map(wire::event_line).collect());
            }
            if !self.follow {
                return None;
            }
            tokio::select! {
                changed = self.changes.changed() => changed.ok()?,
                () = self.stop.cancelled() => return None,
            }
        }
        None
    }
}
