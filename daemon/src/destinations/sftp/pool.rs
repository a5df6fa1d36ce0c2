//! One connection for all that is done at a server, with a channel for each file; another one where it dropped.

use super::channel::Channel;
use super::failure::Failure;
use super::login::{Login, Session};
use crate::base::error::ErrorClass;
use crate::destinations::DestinationError;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The connection and its channels.
pub struct Pool {
    login: Login,
    /// As many as files may be on their way.
    slots: Arc<Semaphore>,
    session: tokio::sync::Mutex<Option<Arc<Session>>>,
    idle: Mutex<Vec<(Arc<Session>, Arc<Channel>)>>,
}

/// In what state a channel is given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Health {
    /// It can be used again.
    Good,
    /// Something may still be answered on it; the connection is sound.
    Spoiled,
    /// The connection gives no answers.
    Lost,
}

impl Health {
    /// After an answer, or the lack of one.
    pub fn of<T>(result: &Result<T, Failure>) -> Self {
        match result {
            Err(failure) if !failure.is_answer() => Self::Lost,
            _ => Self::Good,
        }
    }
}

/// A channel that is in use. One that is not given back by [`Line::done`] is closed: what was asked on it may still come.
pub struct Line {
    pool: Arc<Pool>,
    session: Arc<Session>,
    channel: Arc<Channel>,
    _slot: OwnedSemaphorePermit,
}

impl std::ops::Deref for Line {
    type Target = Arc<Channel>;
    fn deref(&self) -> &Arc<Channel> {
        &self.channel
    }
}

impl Pool {
    /// A pool of so many channels.
    pub fn new(login: Login, channels: usize) -> Self {
        let slots = Arc::new(Semaphore::new(channels));
        Self { login, slots, session: tokio::sync::Mutex::default(), idle: Mutex::default() }
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<(Arc<Session>, Arc<Channel>)>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a channel; connects where there is no connection.
    pub async fn line(self: &Arc<Self>) -> Result<Line, DestinationError> {
        let closed = |_| self.failed("it is being closed");
        let slot = self.slots.clone().acquire_owned().await.map_err(closed)?;
        let known = {
            let mut idle = self.idle();
            idle.retain(|(session, _)| !session.is_closed());
            idle.pop()
        };
        let (session, channel) = match known {
            Some(known) => known,
            None => {
                let session = self.session().await?;
                match session.channel().await {
                    Ok(channel) => (session, Arc::new(channel)),
                    Err(why) => {
                        self.drop_session(&session).await;
                        let hint = "where the server allows fewer channels (MaxSessions), lower `transfer.connections`";
                        return Err(self.failed(&format!("no channel could be opened: {why}; {hint}")));
                    }
                }
            }
        };
        Ok(Line { pool: self.clone(), session, channel, _slot: slot })
    }

    fn failed(&self, message: &str) -> DestinationError {
        DestinationError::Remote {
            action: "open a channel to",
            location: self.login.location.clone(),
            class: ErrorClass::Transient,
            message: message.to_owned(),
        }
    }

    async fn session(&self) -> Result<Arc<Session>, DestinationError> {
        let mut session = self.session.lock().await;
        if let Some(open) = session.as_ref().filter(|session| !session.is_closed()) {
            return Ok(open.clone());
        }
        let fresh = Arc::new(self.login.connect().await?);
        *session = Some(fresh.clone());
        Ok(fresh)
    }

    /// From now on another connection is used; who still uses this one may go on.
    async fn drop_session(&self, broken: &Arc<Session>) {
        let mut session = self.session.lock().await;
        if session.as_ref().is_some_and(|session| Arc::ptr_eq(session, broken)) {
            *session = None;
        }
        self.idle().retain(|(session, _)| !Arc::ptr_eq(session, broken));
    }
}

impl Line {
    /// The end of what it was taken for. A connection without answers is used by nobody any more.
    pub async fn done(self, health: Health) {
        match health {
            Health::Good => self.pool.idle().push((self.session, self.channel)),
            Health::Spoiled => {}
            Health::Lost => self.pool.drop_session(&self.session).await,
        }
    }
}
