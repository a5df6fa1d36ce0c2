//! Offsets: one document, read and written.

use crate::control::body;
use crate::control::reads;
use crate::control::reply::{Failure, Reply};
use crate::control::service::Call;
use crate::control::wire;
use crate::ledger::input::{LaneMove, OffsetTarget, SetOffsets};
use saas_export_api::{ErrorCode, OffsetsDoc};

/// `GET /v1/tasks/{task}/offsets`.
pub async fn show(call: Call) -> Result<Reply, Failure> {
    call.target.query.only(&[])?;
    let row = reads::task(&call.state, call.arg(0)).await?;
    Reply::sync(reads::offsets(&call.state, &row).await?)
}

/// `GET /v1/exports/{export}/offsets`: its marks, and the offsets of its newest open task.
pub async fn of_export(call: Call) -> Result<Reply, Failure> {
    call.target.query.only(&[])?;
    let config = call.state.config();
    let (name, _) = reads::export(&config, call.arg(0))?;
    Reply::sync(reads::marks(&call.state, name).await?)
}

/// `PUT /v1/exports/{export}/offsets`: sets each mark of the document that does not stand where it says.
pub async fn set_marks(call: Call) -> Result<Reply, Failure> {
    call.target.query.only(&[])?;
    let config = call.state.config();
    let (name, _) = reads::export(&config, call.arg(0))?;
    let wanted: OffsetsDoc = body::decode(&call.body)?;
    if wanted.export != name.as_str() {
        let message = format!("the document is of export {:?}", wanted.export);
        return Err(Failure::new(ErrorCode::Conflict, message).hint(format!("read the offsets of {name} first")));
    }
    if let Some(task) = wanted.task {
        let message = format!("the document has lanes of the task {task}");
        return Err(Failure::new(ErrorCode::Conflict, message)
            .hint(format!("set them by `exportctl offsets set {task}`; marks are set while no task is open")));
    }
    let standing = reads::marks(&call.state, name).await?;
    let mut marks = Vec::new();
    for (stream, offsets) in &wanted.streams {
        let Some(mark) = &offsets.mark else { continue };
        if standing.streams.get(stream).and_then(|known| known.mark.as_ref()) != Some(mark) {
            let value = wire::mark_value(mark)
                .ok_or_else(|| Failure::invalid(format!("the mark of stream {stream:?} is not of its kind")))?;
            marks.push((stream.clone(), value));
        }
    }
    if !marks.is_empty() {
        call.state.ledger.set_marks(name.as_str(), marks, &call.caller.actor.0).await.map_err(wire::ledger_error)?;
    }
    Reply::sync(reads::marks(&call.state, name).await?)
}

/// `DELETE /v1/exports/{export}/offsets?stream=`: forgets the marks; the next task reads everything.
pub async fn reset_marks(call: Call) -> Result<Reply, Failure> {
    call.target.query.only(&["stream"])?;
    let config = call.state.config();
    let (name, _) = reads::export(&config, call.arg(0))?;
    let (stream, actor) = (call.target.query.get("stream"), &call.caller.actor.0);
    call.state.ledger.reset_marks(name.as_str(), stream, actor).await.map_err(wire::ledger_error)?;
    Reply::sync(reads::marks(&call.state, name).await?)
}

/// `PUT /v1/tasks/{task}/offsets`: moves each lane of the document that does not stand where it says. The ledger refuses
/// what is no boundary of a segment, and tasks whose offsets something else may be moving.
pub async fn set(call: Call) -> Result<Reply, Failure> {
    call.target.query.only(&[])?;
    let row = reads::task(&call.state, call.arg(0)).await?;
    let wanted: OffsetsDoc = body::decode(&call.body)?;
    if wanted.task.as_deref() != Some(row.id.as_str()) || wanted.export != row.export {
        let task = wanted.task.unwrap_or_default();
        let message = format!("the document is of task {task:?} of export {:?}", wanted.export);
        return Err(Failure::new(ErrorCode::Conflict, message)
            .hint(format!("read the offsets of {} of {} first", row.id, row.export)));
    }
    let standing = reads::offsets(&call.state, &row).await?;
    let order = SetOffsets {
        target: OffsetTarget::Task(row.id.clone()),
        moves: moves(&wanted, &standing)?,
        actor: call.caller.actor.0.clone(),
        reason: "set by an operator".into(),
    };
    if !order.moves.is_empty() {
        call.state.ledger.set_offsets(order).await.map_err(wire::ledger_error)?;
    }
    Reply::sync(reads::offsets(&call.state, &row).await?)
}

/// What has to move so that the lanes stand as wanted. Streams and lanes that the document leaves out stay.
fn moves(wanted: &OffsetsDoc, standing: &OffsetsDoc) -> Result<Vec<LaneMove>, Failure> {
    let mut moves = Vec::new();
    for (stream, offsets) in &wanted.streams {
        for lane in &offsets.lanes {
            let place = format!("lane {} of stream {stream:?}", lane.lane);
            let known = standing.streams.get(stream).and_then(|known| known.lanes.iter().find(|l| l.lane == lane.lane));
            let known = known.ok_or_else(|| Failure::new(ErrorCode::NotFound, format!("the task has no {place}")))?;
            if known.revision != lane.revision {
                let message =
                    format!("{place} has revision {} by now, the document has {}", known.revision, lane.revision);
                return Err(Failure::new(ErrorCode::Conflict, message).hint("read the offsets again"));
            }
            if known.offset != lane.offset {
                let offset = wire::offset(lane.offset.clone());
                moves.push(LaneMove { stream: stream.clone(), lane: lane.lane, offset });
            }
        }
    }
    Ok(moves)
}

/// `DELETE /v1/tasks/{task}/offsets?stream=`: every lane of the stream, or of all streams, goes back to its start.
pub async fn reset(call: Call) -> Result<Reply, Failure> {
    call.target.query.only(&["stream"])?;
    let row = reads::task(&call.state, call.arg(0)).await?;
    let target = OffsetTarget::Task(row.id.clone());
    let (stream, actor) = (call.target.query.get("stream"), &call.caller.actor.0);
    let reset = call.state.ledger.reset_offsets(target, stream, actor, "reset by an operator");
    reset.await.map_err(wire::ledger_error)?;
    Reply::sync(reads::offsets(&call.state, &row).await?)
}
