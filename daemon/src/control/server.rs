//! Accepts connections on the control socket, within limits, and ends them when the daemon goes down.

use super::ControlState;
use super::access::{Caller, Judge};
use super::patience::Patient;
use super::reply::Failure;
use super::service::respond;
use crate::host::messages::Message;
use crate::host::peer::Peer;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use saas_export_api::ErrorCode;
use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// A request says what it wants in names and numbers; the largest document is one of offsets.
const BODY_BYTES: usize = 1 << 20;

/// Room for the request line and all headers.
const HEADER_BYTES: usize = 16 << 10;

/// How long a head may take to arrive; also how long a connection may idle between requests.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a client may take nothing of what is sent to it.
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);

/// Connections in all: each costs some tens of KiB.
const CONNECTIONS: usize = 256;

/// Connections of one user, so that a script gone wild leaves room for an administrator.
const CONNECTIONS_PER_UID: usize = 64;

/// Connections of one user who may do nothing: enough to be told so.
const CONNECTIONS_PER_STRANGER: usize = 4;

/// Connections above those that are being told so; more are closed without a word, or they would cost what the limit saves.
const REFUSALS: usize = 32;

/// How long answers under way may take when the daemon goes down.
const DRAIN: Duration = Duration::from_secs(2);

/// Pause after the kernel refused to accept, e.g. for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// The limits of the server; the defaults are the constants of this file.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of a body.
    pub body_bytes: usize,
    /// Bytes of the head of a request.
    pub header_bytes: usize,
    /// Time for a head to arrive, and of idleness.
    pub head_timeout: Duration,
    /// Time for a body to arrive.
    pub body_timeout: Duration,
    /// Time in which the client must take something.
    pub write_timeout: Duration,
    /// Connections in all.
    pub connections: usize,
    /// Connections of one user.
    pub per_uid: usize,
    /// Connections of one user who may do nothing.
    pub per_stranger: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes: BODY_BYTES,
            header_bytes: HEADER_BYTES,
            head_timeout: HEAD_TIMEOUT,
            body_timeout: BODY_TIMEOUT,
            write_timeout: WRITE_TIMEOUT,
            connections: CONNECTIONS,
            per_uid: CONNECTIONS_PER_UID,
            per_stranger: CONNECTIONS_PER_STRANGER,
        }
    }
}

/// Serves until `stop`; then lets answers under way finish, for a short while.
pub async fn serve(listener: &UnixListener, state: Arc<ControlState>, stop: CancellationToken) {
    serve_within(listener, state, stop, Limits::default()).await;
}

/// As [`serve`], within other limits.
pub async fn serve_within(listener: &UnixListener, state: Arc<ControlState>, stop: CancellationToken, limits: Limits) {
    let (seats, judge) = (Arc::new(Seats::default()), Arc::new(Judge::default()));
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                if let Some(seat) = seats.take(Seat::Any, limits.connections) {
                    let (state, seats, judge) = (state.clone(), seats.clone(), judge.clone());
                    let server = Connection { state, seats, judge, stop: stop.clone(), limits };
                    connections.spawn(server.run(stream, seat));
                } else if let Some(seat) = seats.take(Seat::Refused, REFUSALS) {
                    connections.spawn(async move {
                        refuse(stream, "the daemon has as many connections as it takes").await;
                        drop(seat);
                    });
                }
            }
            Err(error) => {
                tracing::warn!(MESSAGE_ID = Message::ControlTrouble.id(), %error, "failed to accept a connection on the control socket");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    connections.close();
    // Whoever is still busy then loses only an answer: what was asked is in the ledger.
    let _ = tokio::time::timeout(DRAIN, connections.wait()).await;
}

/// One connection, and what it takes to answer on it.
struct Connection {
    state: Arc<ControlState>,
    seats: Arc<Seats>,
    judge: Arc<Judge>,
    stop: CancellationToken,
    limits: Limits,
}

impl Connection {
    async fn run(self, stream: UnixStream, _seat: Seated) {
        let Ok(peer) = Peer::of(&stream) else { return };
        let Some(caller) = self.judge.judge(peer).await else { return };
        let most = if caller.access.is_some() { self.limits.per_uid } else { self.limits.per_stranger };
        let Some(_own) = self.seats.take(Seat::Of(caller.uid), most) else {
            return refuse(stream, &format!("{} has as many connections as one user may", caller.actor.0)).await;
        };
        self.answer(stream, caller).await;
    }

    async fn answer(&self, stream: UnixStream, caller: Caller) {
        let service = service_fn(|request| {
            let (state, caller, stop, limits) = (self.state.clone(), caller.clone(), self.stop.clone(), self.limits);
            async move { Ok::<_, Infallible>(respond(state, caller, stop, limits, request).await) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.limits.head_timeout)
            .max_buf_size(self.limits.header_bytes)
            .serve_connection(TokioIo::new(Patient::new(stream, self.limits.write_timeout)), service);
        tokio::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = self.stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, actor = %caller.actor.0, "a control connection ended early");
        }
    }
}

/// What connections are counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Seat {
    Any,
    Of(u32),
    Refused,
}

/// Counts connections.
#[derive(Default)]
struct Seats(Mutex<HashMap<Seat, usize>>);

/// A counted connection; given back when dropped.
struct Seated {
    seats: Arc<Seats>,
    seat: Seat,
}

impl Seats {
    fn take(self: &Arc<Self>, seat: Seat, most: usize) -> Option<Seated> {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = taken.entry(seat).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(Seated { seats: self.clone(), seat })
    }
}

impl Drop for Seated {
    fn drop(&mut self) {
        let mut taken = self.seats.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.get_mut(&self.seat) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.seat);
            }
        }
    }
}

/// Says why without reading the request, which would cost what the limit saves.
async fn refuse(mut stream: UnixStream, why: &str) {
    use http_body_util::BodyExt as _;
    let failure = Failure::new(ErrorCode::TooMany, why).hint("close idle connections and try again");
    let Ok(body) = failure.into_response().into_body().collect().await.map(|body| body.to_bytes()) else { return };
    let head = format!(
        "HTTP/1.1 429 Too Many Requests\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    let _ = stream.write_all(&[head.as_bytes(), &body].concat()).await;
    let _ = stream.shutdown().await;
}
