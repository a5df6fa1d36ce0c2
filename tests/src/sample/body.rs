//! The body of an answer as a list of steps: data, waits, and the end that the faults want.

use super::server::State;
use super::truth::PageKey;
use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Sleep, sleep};

/// What to do next.
pub enum Step {
    /// Send this.
    Data(Bytes),
    /// Do nothing for this long, or for ever.
    Wait(Option<Duration>),
    /// Reset the connection.
    Reset(Arc<OwnedFd>),
    /// Everything is sent: tell the oracle.
    Served(PageKey),
}

/// A body that goes through its steps.
pub struct PageBody {
    steps: VecDeque<Step>,
    announced: u64,
    waiting: Option<Pin<Box<Sleep>>>,
    state: Arc<State>,
}

impl PageBody {
    /// A body of `announced` bytes.
    pub fn new(state: Arc<State>, steps: Vec<Step>, announced: u64) -> Self {
        Self { steps: steps.into(), announced, waiting: None, state }
    }

    /// A body that is all there.
    pub fn whole(state: Arc<State>, bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        let announced = bytes.len() as u64;
        Self::new(state, vec![Step::Data(bytes)], announced)
    }
}

/// Makes closing the connection a reset: unsent data are dropped and the peer sees ECONNRESET.
fn make_close_a_reset(connection: &OwnedFd) {
    let now = nix::libc::linger { l_onoff: 1, l_linger: 0 };
    let _ = nix::sys::socket::setsockopt(connection, nix::sys::socket::sockopt::Linger, &now);
}

impl Body for PageBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        loop {
            if let Some(sleeping) = &mut self.waiting {
                match sleeping.as_mut().poll(cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(()) => self.waiting = None,
                }
            }
            match self.steps.pop_front() {
                None => return Poll::Ready(None),
                Some(Step::Data(bytes)) if bytes.is_empty() => {}
                Some(Step::Data(bytes)) => {
                    if let Some(Step::Served(key)) = self.steps.front() {
                        self.state.served(*key);
                        self.steps.pop_front();
                    }
                    return Poll::Ready(Some(Ok(Frame::data(bytes))));
                }
                // A century is for ever.
                Some(Step::Wait(time)) => {
                    self.waiting = Some(Box::pin(sleep(time.unwrap_or(Duration::from_secs(3_155_760_000)))));
                }
                Some(Step::Reset(connection)) => {
                    make_close_a_reset(&connection);
                    return Poll::Ready(Some(Err(io::Error::from(io::ErrorKind::ConnectionReset))));
                }
                Some(Step::Served(key)) => self.state.served(key),
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.announced)
    }
}
