//! Takes over the tasks that ran when the daemon died (promise 11).

use super::Ledger;
use super::codec::all;
use super::error::LedgerError;
use super::input::Change;
use super::rows::TaskRow;
use super::tasks::apply;
use crate::base::ids::TaskId;
use crate::model::task::TaskEvent;

impl Ledger {
    /// Puts every task that another start of the daemon left Processing back into the queue, at its old place, and
    /// returns them in the order of the queue. Holding the state directory's lock proves that the other one is dead.
    /// The attempt that was cut off counts unless it committed something.
    pub async fn recover(&self) -> Result<Vec<TaskRow>, LedgerError> {
        self.write(|tx| {
            let ids = all(
                tx,
                "SELECT id FROM tasks WHERE state = 'processing' AND instance IS NOT ?1 ORDER BY queue_pos",
                [tx.instance],
                |row| row.get::<_, String>(0).map(TaskId::known),
            )?;
            let reason = "the daemon that ran it ended without stopping it".to_owned();
            let change = Change { reason, ..Change::default() };
            ids.iter().map(|id| apply(tx, id, TaskEvent::Recover, &change)).collect()
        })
        .await
    }
}
