//! Waiting for tasks: survives a restart of the daemon, and Ctrl-C detaches.

use crate::client::{Client, encode};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::live::{Live, ending};
use crate::out::Out;
use saas_export_api::{Acted, TaskDetail, TaskState, TaskSummary};
use std::future::Future;
use std::time::Duration;
use tokio::time::Instant;

/// How long the daemon may be away, e.g. for a restart.
const AWAY: Duration = Duration::from_secs(60);

/// Time between two tries to reach it.
const TRY_AGAIN: Duration = Duration::from_millis(500);

/// The longest time to wait that is not "for ever": it keeps the arithmetic of instants in range.
const LONGEST: Duration = Duration::from_secs(365 * 86_400);

/// How to wait.
#[derive(Clone, Copy)]
pub struct Follow<'a> {
    /// Whom to ask.
    pub client: &'a Client,
    /// How to show it.
    pub out: Out,
    /// Ctrl-C cancels the task instead of detaching.
    pub cancel_on_interrupt: bool,
    /// The longest to wait.
    pub timeout: Option<Duration>,
}

impl Follow<'_> {
    /// Waits for the end of a task that is known to exist. Every answer on the way goes to `each`.
    pub async fn until_it_ends(
        &self,
        id: &str,
        mut each: impl FnMut(&TaskDetail) -> Result<(), Failure>,
    ) -> Result<TaskDetail, Failure> {
        let mut live = Live::new(self.out);
        let mut patience = Patience::default();
        let mut cancelling = false;
        let deadline = Instant::now() + self.timeout.unwrap_or(LONGEST).min(LONGEST);
        let path = format!("/v1/tasks/{}/wait?timeout={}", encode(id), self.tick().as_secs());
        loop {
            let answer = tokio::select! {
                answer = self.client.get_within::<TaskDetail>(&path, self.tick()) => answer,
                () = interrupted(), if !cancelling => {
                    if !self.cancel_on_interrupt {
                        return Err(detached(&format!("task {id} goes on"), &format!("exportctl watch {id}")));
                    }
                    live.say("cancelling");
                    let _: Acted = self.client.post(&format!("/v1/tasks/{}/cancel", encode(id)), None).await?;
                    cancelling = true;
                    continue;
                }
                () = tokio::time::sleep_until(deadline) => {
                    let message = format!("the time to wait is over; task {id} goes on");
                    return Err(Failure::new(Exit::TimedOut, message).hint(format!("exportctl watch {id}")));
                }
            };
            let Some(detail) = patience.judge(answer, &live).await? else { continue };
            each(&detail)?;
            if detail.task.state.closed() {
                return Ok(detail);
            }
            live.update(&detail.task);
        }
    }

    /// Shows every open task until none is pending or processing.
    pub async fn all(&self, mut each: impl FnMut(&TaskSummary) -> Result<(), Failure>) -> Result<(), Failure> {
        let mut live = Live::new(self.out);
        let mut patience = Patience::default();
        let mut shown: Vec<String> = Vec::new();
        let ask = async || self.client.get::<Vec<TaskSummary>>("/v1/tasks?state=pending,processing&limit=1000").await;
        // The first answer must come at once: a daemon that was never there is not waited for.
        let mut answer = ask().await?;
        loop {
            answer.reverse();
            for id in std::mem::take(&mut shown) {
                if answer.iter().all(|task| task.id != id) {
                    live.remove(&id);
                    let path = format!("/v1/tasks/{}", encode(&id));
                    if let Some(detail) = patience.judge(self.client.get::<TaskDetail>(&path).await, &live).await? {
                        each(&detail.task)?;
                        live.say(&ending(&detail.task, self.out.live && self.out.colours));
                    }
                }
            }
            for task in &answer {
                each(task)?;
                live.update(task);
            }
            if answer.is_empty() {
                return Ok(());
            }
            shown = answer.iter().map(|task| task.id.clone()).collect();
            answer = loop {
                let next = async {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    ask().await
                };
                let next = or_interrupted(next).await.ok_or_else(|| detached("all tasks go on", "exportctl watch"))?;
                if let Some(tasks) = patience.judge(next, &live).await? {
                    break tasks;
                }
            };
        }
    }

    /// How long the daemon holds an answer back while nothing ends.
    fn tick(&self) -> Duration {
        if self.out.live || self.out.json { Duration::from_secs(1) } else { Duration::from_secs(5) }
    }
}

/// The end of a wait as an exit code; a task that did not succeed is an error with a sentence.
pub fn outcome(task: &TaskSummary, out: Out) -> Result<Exit, Failure> {
    let text = ending(task, false);
    if task.state == TaskState::Succeeded {
        out.say(&ending(task, out.live && out.colours));
        return Ok(Exit::Ok);
    }
    let again = format!("exportctl show {0}; again: exportctl retry {0}", task.id);
    Err(Failure::new(Exit::of_task(task.state), text).hint(again))
}

/// Bears with a daemon that is away for a while.
#[derive(Default)]
struct Patience {
    since: Option<Instant>,
}

impl Patience {
    /// The answer; none if it is worth asking again; an error if not.
    async fn judge<T>(&mut self, answer: Result<T, Failure>, live: &Live) -> Result<Option<T>, Failure> {
        match answer {
            Ok(answer) => {
                if self.since.take().is_some() {
                    live.say("the daemon is back");
                }
                Ok(Some(answer))
            }
            Err(failure) if failure.transient => {
                let now = Instant::now();
                if self.since.is_none() {
                    live.say(&format!("{}; trying again for {} s", failure.message, AWAY.as_secs()));
                }
                if now - *self.since.get_or_insert(now) >= AWAY {
                    return Err(failure);
                }
                match or_interrupted(tokio::time::sleep(TRY_AGAIN)).await {
                    Some(()) => Ok(None),
                    None => Err(detached("the daemon was away; its tasks go on when it is back", "exportctl watch")),
                }
            }
            Err(failure) => Err(failure),
        }
    }
}

/// Ctrl-C.
async fn interrupted() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// The result of `work`, or none on Ctrl-C.
async fn or_interrupted<T>(work: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        result = work => Some(result),
        () = interrupted() => None,
    }
}

fn detached(what: &str, again: &str) -> Failure {
    Failure::new(Exit::Interrupted, format!("detached; {what}")).hint(format!("watch again with: {again}"))
}
