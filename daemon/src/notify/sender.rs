//! The sender: takes from the outbox what is due, one message at a time for each recipient, and records what became of it.

use super::compose::{Places, compose};
use super::mail::{Letter, Server};
use super::outcome::{Refused, follows};
use super::webhook;
use crate::base::error::Chain;
use crate::base::{clock, crash};
use crate::config::message::Message;
use crate::config::secrets::Secrets;
use crate::config::settings::{Config, Email, NotifyRetry, Recipient};
use crate::destinations::Opener;
use crate::host::messages::Message as Told;
use crate::ledger::rows::NoticeRow;
use crate::ledger::{Attempt, Ledger, LedgerError};
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::{Id, JoinSet};
use tokio_util::sync::CancellationToken;

/// The outbox is looked at least this often.
const EVERY: Duration = Duration::from_secs(600);
/// Changes of the ledger within this time are looked at together.
const GATHER: Duration = Duration::from_millis(200);
/// What the ledger could not take is told to it again after this long.
const TELL_AGAIN: Duration = Duration::from_secs(1);
/// Recipients that are written to at the same time.
const MOST: usize = 16;
/// How long the end waits for what is under way: shorter than systemd waits for us.
const DRAIN: Duration = Duration::from_secs(10);

/// The configuration in force with its secrets, asked for at each message.
pub type InForce = Arc<dyn Fn() -> (Arc<Config>, Arc<Secrets>) + Send + Sync>;

/// What messages are made and sent with.
pub struct Notifier {
    ledger: Ledger,
    opener: Arc<Opener>,
    in_force: InForce,
}

/// Which addresses of a message are settled: accepted, or refused and why.
type Done = BTreeMap<String, Option<String>>;

/// Sends what the outbox holds until it is stopped; what is under way then is waited for.
pub async fn run(notifier: Arc<Notifier>, stop: CancellationToken) {
    let mut changes = notifier.ledger.changes();
    let mut sending = JoinSet::new();
    let mut busy: BTreeMap<Id, String> = BTreeMap::new();
    loop {
        changes.borrow_and_update();
        let wait = match notifier.ledger.notices_due(clock::now(), busy.values().cloned().collect()).await {
            Ok(due) => {
                for row in due.now.into_iter().take(MOST.saturating_sub(busy.len())) {
                    let (recipient, notifier, stop) = (row.recipient.clone(), notifier.clone(), stop.clone());
                    let task = sending.spawn(async move { notifier.deliver(row, &stop).await });
                    busy.insert(task.id(), recipient);
                }
                due.next.map_or(EVERY, |next| until(next).min(EVERY))
            }
            Err(LedgerError::Closed) => break,
            Err(error) => {
                tracing::warn!(
                    MESSAGE_ID = Told::LedgerTrouble.id(),
                    "failed to look for notifications to send: {}",
                    Chain(&error)
                );
                EVERY
            }
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Some(ended) = sending.join_next_with_id() => {
                let id = ended.map_or_else(|panicked| panicked.id(), |(id, ())| id);
                busy.remove(&id);
            }
            () = tokio::time::sleep(wait) => {}
            changed = changes.changed() => {
                if changed.is_err() {
                    break;
                }
                tokio::time::sleep(GATHER).await;
            }
        }
    }
    let ended = async { while sending.join_next().await.is_some() {} };
    if tokio::time::timeout(DRAIN, ended).await.is_err() {
        tracing::warn!(
            MESSAGE_ID = Told::Stopping.id(),
            "a notification was under way at the end; it may be sent again at the next start"
        );
    }
}

/// The time until `at`; some even if it has come, so that what cannot go on does not turn in a circle.
fn until(at: Timestamp) -> Duration {
    Duration::try_from(at.duration_since(clock::now())).unwrap_or_default().max(Duration::from_millis(50))
}

impl Notifier {
    /// A notifier over a ledger.
    pub fn new(ledger: Ledger, opener: Arc<Opener>, in_force: InForce) -> Self {
        Self { ledger, opener, in_force }
    }

    /// Sends a message of the outbox, and records what became of it.
    async fn deliver(&self, row: NoticeRow, stop: &CancellationToken) {
        let (config, secrets) = (self.in_force)();
        let Some(recipient) = config.notify.get(row.recipient.as_str()) else {
            let why = format!("find the recipient {}: it is not in the configuration any more", row.recipient);
            let attempt = follows(&row, &NotifyRetry::default(), Err(Refused::ForGood(why)), clock::now());
            return self.record(&row, attempt).await;
        };
        let places = Places { ledger: &self.ledger, opener: &self.opener, config: &config };
        let message = compose(&row, &places, recipient.links()).await;
        let mut done = row.done.clone();
        let sent = self.send(recipient, &secrets, (&row.id, &message), (&mut done, Some(stop))).await;
        if stop.is_cancelled() && matches!(sent, Err(Refused::ForNow(..))) {
            // It was not tried to the end; the next start does.
            return;
        }
        self.record(&row, follows(&row, recipient.retry(), sent, clock::now())).await;
    }

    /// Sends a message about nothing to a recipient, past the outbox. Says what was done; the error is a fragment that fits
    /// after "failed to".
    pub async fn test(&self, name: &str) -> Option<Result<String, String>> {
        let (config, secrets) = (self.in_force)();
        let recipient = config.notify.get(name)?;
        let message = Message { recipient: name.to_owned(), ..Message::sample("succeeded") };
        let id = format!("msg_test{:x}", clock::now().as_microsecond());
        let mut done = Done::new();
        let sent = self.send(recipient, &secrets, (&id, &message), (&mut done, None)).await;
        Some(match sent {
            Ok(partly) => Ok(describe(recipient, &done, partly)),
            Err(refused) => Err(refused.why().to_owned()),
        })
    }

    async fn send(
        &self,
        recipient: &Recipient,
        secrets: &Arc<Secrets>,
        (id, message): (&str, &Message),
        (done, stop): (&mut Done, Option<&CancellationToken>),
    ) -> Result<Option<String>, Refused> {
        match recipient {
            Recipient::Email(email) => self.mail(email, secrets, (id, message), (done, stop)).await,
            Recipient::Webhook(hook) => {
                crash::point("notify.before_send");
                webhook::send(hook, secrets, (id, webhook::body(message)), clock::now()).await?;
                crash::point("notify.accepted");
                Ok(None)
            }
        }
    }

    /// Mails to each address that is not settled yet; each that is settled now is recorded before the next one. Says which
    /// were refused for good, if others have taken it.
    async fn mail(
        &self,
        email: &Email,
        secrets: &Arc<Secrets>,
        (id, message): (&str, &Message),
        (done, stop): (&mut Done, Option<&CancellationToken>),
    ) -> Result<Option<String>, Refused> {
        let letter = Letter::write(email, id, message).map_err(Refused::ForGood)?;
        let server = Server::new(email, secrets).await?;
        let mut later = None;
        for address in letter.addresses() {
            let name = address.to_string();
            if done.contains_key(&name) {
                continue;
            }
            if stop.is_some_and(CancellationToken::is_cancelled) {
                return Err(Refused::ForNow("the daemon is going down".into(), None));
            }
            crash::point("notify.before_send");
            let refused = match server.send(&letter, address).await {
                Ok(()) => None,
                Err(failure) => match failure.refused {
                    Refused::ForGood(why) => Some(why),
                    for_now => {
                        later = Some(for_now);
                        if failure.server {
                            // The others would fare no better.
                            break;
                        }
                        continue;
                    }
                },
            };
            crash::point("notify.accepted");
            done.insert(name.clone(), refused.clone());
            if stop.is_some() {
                self.told(|| self.ledger.notice_address(id, &name, refused.clone())).await;
            }
        }
        let lost: Vec<String> =
            done.iter().filter_map(|(address, why)| Some(format!("{address}: {}", why.as_ref()?))).collect();
        match (later, lost.len() == done.len()) {
            (Some(later), _) => Err(later),
            (None, true) => Err(Refused::ForGood(lost.join("; "))),
            (None, false) => Ok((!lost.is_empty()).then(|| lost.join("; "))),
        }
    }

    async fn record(&self, row: &NoticeRow, attempt: Attempt) {
        let (id, task, export, to) = (&row.id, &row.task, &row.export, &row.recipient);
        match &attempt {
            Attempt::Sent(None) => {
                tracing::info!(EXPORT_TASK = %task, EXPORT_NAME = %export, "told {to} how task {task} ended ({id})");
            }
            Attempt::Sent(Some(lost)) => {
                tracing::warn!(
                    MESSAGE_ID = Told::NotificationFailed.id(), EXPORT_TASK = %task, EXPORT_NAME = %export,
                    "told {to} how task {task} ended ({id}), but not {lost}"
                );
            }
            Attempt::Later(_, why) if row.attempts == 0 => {
                tracing::warn!(
                    MESSAGE_ID = Told::NotificationFailed.id(), EXPORT_TASK = %task, EXPORT_NAME = %export,
                    "failed to tell {to} how task {task} ended, this is tried again: {why}"
                );
            }
            Attempt::Later(_, why) => tracing::debug!("failed again to tell {to} how task {task} ended: {why}"),
            Attempt::GivenUp(why) => {
                tracing::error!(
                    MESSAGE_ID = Told::NotificationFailed.id(), EXPORT_TASK = %task, EXPORT_NAME = %export,
                    "failed to tell {to} how task {task} ended, and gave up: {why}; exportctl notifications retry {id}"
                );
            }
        }
        self.told(|| self.ledger.notice_attempted(&row.id, attempt.clone())).await;
    }

    /// Tells the ledger until it has taken it: what is sent and not recorded would be sent again.
    async fn told<F: Future<Output = Result<(), LedgerError>>>(&self, tell: impl Fn() -> F) {
        let mut said = false;
        loop {
            match tell().await {
                Ok(()) | Err(LedgerError::Closed) => return,
                Err(error) if !said => {
                    tracing::error!(
                        MESSAGE_ID = Told::LedgerTrouble.id(),
                        "failed to record a notification, this is tried again: {}",
                        Chain(&error)
                    );
                    said = true;
                }
                Err(_) => {}
            }
            tokio::time::sleep(TELL_AGAIN).await;
        }
    }
}

fn describe(recipient: &Recipient, done: &Done, lost: Option<String>) -> String {
    let taken = done.values().filter(|refused| refused.is_none()).count() as u64;
    let told = match recipient {
        Recipient::Email(email) => format!("{} took it for {taken} {}", email.host, plural_addresses(taken)),
        Recipient::Webhook(_) => "the server took it".to_owned(),
    };
    match lost {
        Some(lost) => format!("{told}, but not {lost}"),
        None => told,
    }
}

fn plural_addresses(count: u64) -> &'static str {
    if count == 1 { "address" } else { "addresses" }
}
