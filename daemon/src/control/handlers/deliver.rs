//! Destinations of a task: one more that is filled back, or one that it goes on without.

use crate::control::body;
use crate::control::reads;
use crate::control::reply::{Failure, Reply};
use crate::control::service::Call;
use crate::control::wire;
use crate::ledger::input::DropDestination;
use crate::queue::handle::Order;
use saas_export_api::{Deliver, Delivering};

/// `POST /v1/tasks/{task}/deliver`: `{"to": NAME}` fills a destination back, `{"drop": NAME}` releases what one holds.
pub async fn deliver(call: Call) -> Result<Reply, Failure> {
    call.target.query.only(&[])?;
    let ask: Deliver = body::decode(&call.body)?;
    let row = reads::task(&call.state, call.arg(0)).await?;
    let (actor, hooks) = (call.caller.actor.0.clone(), &call.state.hooks);
    let started = |destination: String, files| Delivering { task: row.id.to_string(), destination, files };
    match (ask.to, ask.drop) {
        (Some(to), None) => {
            let order = hooks.back_fill(row.clone(), to.clone(), actor).await.map_err(wire::refusal)?;
            let done = call.state.queue.order(row.id.clone(), Order::Add(order)).await.map_err(wire::refusal)?;
            Reply::started(wire::task_path(&row.id), started(to, done.deliveries))
        }
        (None, Some(name)) => {
            let order = Order::Drop(DropDestination { name: name.clone(), actor });
            let done = call.state.queue.order(row.id.clone(), order).await.map_err(wire::refusal)?;
            let files = done.freed.len() as u64;
            hooks.free(row.clone(), done.freed).await.map_err(wire::refusal)?;
            Reply::sync(started(name, files))
        }
        _ => Err(Failure::invalid("say either \"to\" or \"drop\", with the name of a destination")),
    }
}
