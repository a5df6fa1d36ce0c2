//! The credential of the moment, for all tasks of a source: got once for all who wait, renewed before it expires.

use super::carry::Carrier;
use super::error::AuthError;
use super::recipe::{Fresh, Kind, Recipe};
use crate::base::clock;
use crate::net::credential::{Credential, CredentialFailure, CredentialProvider};
use crate::net::mask::Mask;
use futures_util::future::BoxFuture;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// A token is renewed this long before it expires: a request may take its time to get there, and clocks differ.
const MARGIN: Duration = Duration::from_secs(60);

/// Of a short life the margin takes no more than this part.
const MARGIN_PART: u32 = 5;

/// For this long a refusal is the answer to all: every lane would ask again, and servers lock out whoever insists.
const REFUSED_FOR: Duration = Duration::from_secs(2);

/// The longest that the end of a session is waited for.
const LOGOUT: Duration = Duration::from_secs(5);

type Outcome = Result<Credential, CredentialFailure>;

/// A renewal under way: its outcome, once there is one.
type Flight = watch::Receiver<Option<Outcome>>;

/// Gets, keeps and renews the credential of a source. Clones share it.
#[derive(Clone)]
pub struct Provider(Arc<Inner>);

struct Inner {
    recipe: Recipe,
    carrier: Carrier,
    /// One renewal at a time for a source, also where a running task has other settings than the next one: both may use the
    /// same refresh token.
    gate: Arc<tokio::sync::Mutex<()>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    held: Option<Held>,
    flight: Option<Flight>,
    refusal: Option<(Instant, CredentialFailure)>,
    generations: u64,
}

/// A credential, and from when on it is not used any more.
struct Held {
    credential: Credential,
    until: Option<Instant>,
}

impl fmt::Debug for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Provider({:?})", self.0.recipe)
    }
}

impl CredentialProvider for Provider {
    fn current(&self, refused: Option<u64>) -> BoxFuture<'_, Outcome> {
        Box::pin(async move {
            let mut flight = match self.look(refused) {
                Ok(known) => return known,
                Err(flight) => flight,
            };
            // Bound before it is looked at: the guard must not live across the wait for another.
            let outcome = flight.wait_for(Option::is_some).await.map(|outcome| outcome.clone());
            match outcome {
                Ok(Some(outcome)) => outcome,
                _ => {
                    self.0.state().flight = None;
                    let died: CredentialFailure = Arc::new(AuthError::Died);
                    Err(died)
                }
            }
        })
    }
}

impl Provider {
    /// A provider of what `recipe` gets.
    pub fn new(recipe: Recipe, carrier: Carrier, gate: Arc<tokio::sync::Mutex<()>>) -> Self {
        Self(Arc::new(Inner { recipe, carrier, gate, state: Mutex::default() }))
    }

    /// What must not be repeated by any server of this source.
    pub fn mask(&self) -> &Mask {
        &self.0.recipe.mask
    }

    /// The credential that there is, or the renewal that will bring one; it goes on when nobody waits for it any more, so that
    /// no rotated token is lost.
    fn look(&self, refused: Option<u64>) -> Result<Outcome, Flight> {
        let mut state = self.0.state();
        let now = clock::monotonic();
        let usable = |held: &&Held| Some(held.credential.generation) != refused && held.until.is_none_or(|at| now < at);
        if let Some(held) = state.held.as_ref().filter(usable) {
            return Ok(Ok(held.credential.clone()));
        }
        if let Some((at, failure)) = &state.refusal
            && clock::since(*at) < REFUSED_FOR
        {
            return Ok(Err(failure.clone()));
        }
        if let Some(flight) = &state.flight {
            return Err(flight.clone());
        }
        let (sender, flight) = watch::channel(None);
        state.flight = Some(flight.clone());
        let inner = self.0.clone();
        tokio::spawn(async move {
            let outcome = inner.renew().await;
            inner.state().flight = None;
            sender.send_replace(Some(outcome));
        });
        Err(flight)
    }

    /// Waits for a renewal that is under way, so that what it brings is kept; then ends a session. Errors are no news: the
    /// process is about to end.
    pub async fn settle(&self) {
        let flight = self.0.state().flight.clone();
        if let Some(mut flight) = flight {
            let _ = flight.wait_for(Option::is_some).await;
        }
        let held = self.0.state().held.take();
        let Kind::Session(session) = &self.0.recipe.kind else { return };
        let (Some(held), Some(logout)) = (held, &session.logout) else { return };
        let mut call = logout.clone();
        call.headers.extend(held.credential.headers);
        if !held.credential.query.is_empty() {
            call.url.query_pairs_mut().extend_pairs(&held.credential.query);
        }
        let _ = tokio::time::timeout(LOGOUT, self.0.recipe.call("end a session", &call)).await;
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn renew(&self) -> Outcome {
        let got = {
            let _one = self.gate.lock().await;
            self.recipe.get().await
        };
        let outcome = got.and_then(|fresh| self.hold(fresh));
        outcome.map_err(|error| {
            let retryable = crate::base::error::Classify::class(&error).retryable();
            let failure: CredentialFailure = Arc::new(error);
            if !retryable {
                self.state().refusal = Some((clock::monotonic(), failure.clone()));
            }
            failure
        })
    }

    fn hold(&self, fresh: Fresh) -> Result<Credential, AuthError> {
        let carried = self.carrier.carry(&fresh.token);
        let unfit = || AuthError::setting("auth", "the token has a character that no header may have");
        let (headers, query) = carried.ok_or_else(unfit)?;
        let until = fresh.lifetime.and_then(|lifetime| fresh.sent.checked_add(useful(lifetime)));
        let mut state = self.state();
        state.generations += 1;
        let credential = Credential { headers, query, generation: state.generations, since: clock::monotonic() };
        state.held = Some(Held { credential: credential.clone(), until });
        state.refusal = None;
        Ok(credential)
    }
}

/// How long of its life a token is used.
fn useful(lifetime: Duration) -> Duration {
    lifetime - MARGIN.min(lifetime / MARGIN_PART)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_token_is_used_for_most_of_its_life_and_never_beyond(ms in 1_u64..100_000_000) {
            let lifetime = Duration::from_millis(ms);
            let useful = useful(lifetime);
            prop_assert!(useful <= lifetime && useful >= lifetime * 4 / 5);
        }
    }
}
