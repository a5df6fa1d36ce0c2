//! One request, from its head to its answer: every check that holds for all routes, in order.

use super::ControlState;
use super::access::{Access, Caller};
use super::reply::{Failure, Reply, ReplyBody};
use super::routes::{self, Found};
use super::server::Limits;
use super::target::Target;
use super::{reads, repeat, wire};
use bytes::Bytes;
use http::header::ORIGIN;
use http::{HeaderMap, Method, Request, Response};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Body;
use saas_export_api::ErrorCode;
use std::error::Error;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// A request that passed every check.
pub struct Call {
    /// The daemon.
    pub state: Arc<ControlState>,
    /// Who asks.
    pub caller: Caller,
    /// What stood in the place of each `{…}` of the route's path.
    pub args: Vec<String>,
    /// The query.
    pub target: Target,
    /// The body.
    pub body: Bytes,
    /// Cancelled when the daemon goes down.
    pub stop: CancellationToken,
}

impl Call {
    /// The n-th `{…}` of the route's path.
    pub fn arg(&self, n: usize) -> &str {
        self.args.get(n).map_or("", String::as_str)
    }
}

/// Answers a request; a refusal is an answer, too.
pub async fn respond<B>(
    state: Arc<ControlState>,
    caller: Caller,
    stop: CancellationToken,
    limits: Limits,
    request: Request<B>,
) -> Response<ReplyBody>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    match answer(state, caller, stop, limits, request).await {
        Ok(reply) => reply.into_response(),
        Err(failure) => failure.into_response(),
    }
}

async fn answer<B>(
    state: Arc<ControlState>,
    caller: Caller,
    stop: CancellationToken,
    limits: Limits,
    request: Request<B>,
) -> Result<Reply, Failure>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let (head, body) = request.into_parts();
    refuse_browsers(&head.headers)?;
    // A caller without any right learns nothing, not even which paths there are; only the group for what they try.
    let usual = if head.method == Method::GET { Access::Read } else { Access::Operate };
    let target = Target::parse(head.uri.path(), head.uri.query());
    let tried = target.as_ref().ok().and_then(|target| routes::find(&head.method, &target.segments).ok());
    let wants = tried.map_or(usual, |found| found.route.access);
    caller.access.map_or_else(|| caller.require(wants), |_| Ok(()))?;
    let target = target?;
    let Found { route, args } = routes::find(&head.method, &target.segments)?;
    caller.require(route.access)?;
    let body = receive(body, limits).await?;
    if route.method == Method::GET {
        let call = Call { state, caller, args, target, body, stop };
        return (route.handler)(call).await;
    }
    refuse_while_unwell(&state).await?;
    let key = repeat::key(&head.headers)?;
    let call = Call { state, caller, args, target, body, stop };
    repeat::once(key, &head.method, head.uri.path(), call, route.handler).await
}

/// A page in a browser has no business here, even if a proxy brings it to the socket.
fn refuse_browsers(headers: &HeaderMap) -> Result<(), Failure> {
    if headers.contains_key(ORIGIN) {
        return Err(Failure::new(
            ErrorCode::Forbidden,
            "requests with an Origin header, as browsers send, are refused",
        ));
    }
    Ok(())
}

/// While the ledger takes no writes nothing that changes something is begun; what only looks still answers.
async fn refuse_while_unwell(state: &ControlState) -> Result<(), Failure> {
    let why = match tokio::time::timeout(reads::LEDGER_PATIENCE, state.ledger.heartbeat()).await {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(error)) => wire::ledger_error(error).error.message,
        Err(_) => format!("its writer has not answered for {} s", reads::LEDGER_PATIENCE.as_secs()),
    };
    Err(Failure::new(ErrorCode::Unavailable, format!("the ledger takes no writes: {why}"))
        .hint("status and tasks still answer; see journalctl -u saas-export-daemon"))
}

/// The whole body, if it is small and comes in time.
async fn receive<B>(body: B, limits: Limits) -> Result<Bytes, Failure>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let too_large = || {
        let message = format!("the body is larger than {} bytes", limits.body_bytes);
        Failure::new(ErrorCode::TooLarge, message)
    };
    if body.size_hint().lower() > limits.body_bytes as u64 {
        return Err(too_large());
    }
    let collected = tokio::time::timeout(limits.body_timeout, Limited::new(body, limits.body_bytes).collect());
    match collected.await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => Err(too_large()),
        Ok(Err(_)) => Err(Failure::invalid("the body ended early")),
        Err(_) => {
            let message = format!("the body took longer than {} s", limits.body_timeout.as_secs_f32());
            Err(Failure::new(ErrorCode::Timeout, message))
        }
    }
}
