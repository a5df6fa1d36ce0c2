//! Makes any destination fail as networks do, and asks again as its callers do: for tests of what retries come to.

use super::{Answer, Content, Destination, DestinationError, Head, Probed, Put, Small};
use crate::base::error::{Classify as _, ErrorClass};
use bytes::Bytes;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Tries of one operation; more than there are faults in a row.
const TRIES: u32 = 12;

/// What goes wrong with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It fails before anything was done.
    Before,
    /// It is done, and nobody hears of it.
    After,
    /// It is torn off after this time, wherever it stands.
    Torn(Duration),
}

/// A destination whose calls fail in turn, and are repeated until they succeed or fail for good.
#[derive(Debug)]
pub struct Faulty<'a> {
    /// What really stores.
    pub inner: &'a dyn Destination,
    /// What goes wrong, one after the other and over again; `None` is a good call.
    pub plan: Vec<Option<Fault>>,
    /// Calls so far.
    pub calls: Arc<AtomicU32>,
}

impl Faulty<'_> {
    async fn patiently<T, F: Future<Output = Result<T, DestinationError>>>(
        &self,
        call: impl Fn() -> F,
    ) -> Result<T, DestinationError> {
        let mut last = injected();
        for _ in 0..TRIES {
            match self.once(&call).await {
                Err(error) if error.class().retryable() && !matches!(error, DestinationError::Raced { .. }) => {
                    last = error;
                }
                other => return other,
            }
        }
        Err(last)
    }

    async fn once<T, F: Future<Output = Result<T, DestinationError>>>(
        &self,
        call: &impl Fn() -> F,
    ) -> Result<T, DestinationError> {
        let n = self.calls.fetch_add(1, Ordering::SeqCst) as usize;
        match self.plan.get(n % self.plan.len().max(1)).copied().flatten() {
            None => call().await,
            Some(Fault::Before) => Err(injected()),
            Some(Fault::After) => call().await.and(Err(injected())),
            Some(Fault::Torn(after)) => tokio::time::timeout(after, call()).await.unwrap_or_else(|_| Err(injected())),
        }
    }
}

fn injected() -> DestinationError {
    let (location, message) = ("here".to_owned(), "a fault of the test".to_owned());
    DestinationError::Remote { action: "reach", location, class: ErrorClass::Transient, message }
}

impl Destination for Faulty<'_> {
    fn probe(&self) -> Answer<'_, Probed> {
        Box::pin(self.patiently(|| self.inner.probe()))
    }
    fn put_file<'a>(&'a self, put: Put<'a>) -> Answer<'a, ()> {
        Box::pin(async move {
            let Put { key, from, expected, log } = put;
            self.patiently(|| self.inner.put_file(Put { key, from, expected, log })).await
        })
    }
    fn put_bytes<'a>(&'a self, key: &'a str, bytes: Bytes) -> Answer<'a, ()> {
        Box::pin(self.patiently(move || self.inner.put_bytes(key, bytes.clone())))
    }
    fn read_small<'a>(&'a self, key: &'a str, limit: u64) -> Answer<'a, Option<Small>> {
        Box::pin(self.patiently(move || self.inner.read_small(key, limit)))
    }
    fn read<'a>(&'a self, key: &'a str) -> Answer<'a, Option<Content>> {
        Box::pin(self.patiently(move || self.inner.read(key)))
    }
    fn head<'a>(&'a self, key: &'a str) -> Answer<'a, Option<Head>> {
        Box::pin(self.patiently(move || self.inner.head(key)))
    }
    /// As publishing does it: after a failure it looks again, and what it finds there already is its own.
    fn replace<'a>(&'a self, key: &'a str, bytes: Bytes, seen: Option<&'a Small>) -> Answer<'a, ()> {
        Box::pin(async move {
            let first = self.once(&|| self.inner.replace(key, bytes.clone(), seen)).await;
            let Err(error) = first else { return Ok(()) };
            if matches!(error, DestinationError::Raced { .. }) || !error.class().retryable() {
                return Err(error);
            }
            // What was torn off may still be on its way.
            tokio::time::sleep(Duration::from_millis(100)).await;
            match self.inner.read_small(key, 1 << 20).await? {
                Some(now) if now.bytes == bytes => Ok(()),
                _ => self.inner.replace(key, bytes, seen).await,
            }
        })
    }
    fn delete<'a>(&'a self, key: &'a str) -> Answer<'a, ()> {
        Box::pin(self.patiently(move || self.inner.delete(key)))
    }
    fn tidy<'a>(&'a self, dir: &'a str) -> Answer<'a, ()> {
        Box::pin(self.patiently(move || self.inner.tidy(dir)))
    }
    fn abort<'a>(&'a self, key: &'a str, upload: &'a str) -> Answer<'a, ()> {
        Box::pin(self.patiently(move || self.inner.abort(key, upload)))
    }
    fn free(&self) -> Answer<'_, Option<u64>> {
        self.inner.free()
    }
    fn link<'a>(&'a self, key: &'a str, expires: Duration) -> Answer<'a, Option<String>> {
        self.inner.link(key, expires)
    }
    fn location(&self, key: &str) -> String {
        self.inner.location(key)
    }
    fn sent(&self) -> u64 {
        self.inner.sent()
    }
}

/// Three calls of ten go wrong, each in another way.
pub fn wild(inner: &dyn Destination) -> Faulty<'_> {
    let torn = Fault::Torn(Duration::from_millis(3));
    let plan = vec![None, Some(Fault::Before), None, None, Some(torn), None, None, Some(Fault::After), None, None];
    Faulty { inner, plan, calls: Arc::default() }
}
