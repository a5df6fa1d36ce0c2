//! Requests that run ahead of the reader, in order. Dropping a wait loses nothing, dropping the window ends its requests.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio_util::task::AbortOnDropHandle;

/// What the weight of a request is until it has ended.
const UNDER_WAY: u64 = u64::MAX;

/// Running and finished requests, each with the key of what it asks for; the front is what the reader wants next.
#[derive(Debug)]
pub struct Window<K, T> {
    queue: VecDeque<Entry<K, T>>,
    weigh: fn(&T) -> u64,
}

#[derive(Debug)]
struct Entry<K, T> {
    key: K,
    weight: Arc<AtomicU64>,
    handle: AbortOnDropHandle<T>,
}

impl<K: PartialEq, T: Send + 'static> Window<K, T> {
    /// Nothing under way. `weigh` says how many bytes a result holds.
    pub fn new(weigh: fn(&T) -> u64) -> Self {
        Self { queue: VecDeque::new(), weigh }
    }

    /// Requests in it.
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// The bytes that it holds, with each request under way taken for `expected` bytes.
    pub fn bytes(&self, expected: u64) -> u64 {
        let weight = |entry: &Entry<K, T>| match entry.weight.load(Ordering::Relaxed) {
            UNDER_WAY => expected,
            bytes => bytes,
        };
        self.queue.iter().map(weight).fold(0, u64::saturating_add)
    }

    /// What the last request asks for.
    pub fn last(&self) -> Option<&K> {
        self.queue.back().map(|entry| &entry.key)
    }

    /// Drops everything unless `key` is in front, and says so: what was guessed wrong is of no use.
    pub fn drop_unless_front(&mut self, key: &K) -> bool {
        let wrong = self.queue.front().is_some_and(|front| front.key != *key);
        if wrong {
            self.queue.clear();
        }
        wrong
    }

    /// Starts a request behind the others.
    pub fn push(&mut self, key: K, request: impl Future<Output = T> + Send + 'static) {
        let weight = Arc::new(AtomicU64::new(UNDER_WAY));
        let (told, weigh) = (weight.clone(), self.weigh);
        let handle = tokio::spawn(async move {
            let result = request.await;
            told.store(weigh(&result).min(UNDER_WAY - 1), Ordering::Relaxed);
            result
        });
        self.queue.push_back(Entry { key, weight, handle: AbortOnDropHandle::new(handle) });
    }

    /// Waits for the front and takes it out; `None` where nothing is under way or the request's task died.
    pub async fn front(&mut self) -> Option<T> {
        let result = (&mut self.queue.front_mut()?.handle).await;
        self.queue.pop_front();
        result.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test]
    async fn a_dropped_wait_loses_nothing() {
        let mut window = Window::new(|_| 1);
        for n in 0..3_u64 {
            window.push(n, async move {
                tokio::time::sleep(Duration::from_millis(30 - n * 10)).await;
                n
            });
        }
        assert!(tokio::time::timeout(Duration::from_millis(1), window.front()).await.is_err());
        for n in 0..3 {
            assert_eq!(window.front().await, Some(n));
        }
        assert_eq!(window.front().await, None);
    }

    #[tokio::test]
    async fn a_wrong_guess_is_ended() {
        let (sender, receiver) = tokio::sync::oneshot::channel::<()>();
        let mut window = Window::new(|_| 1);
        window.push(1, async move {
            let _held = sender;
            std::future::pending::<()>().await;
        });
        assert!(!window.drop_unless_front(&1));
        assert_eq!(window.len(), 1);
        assert!(window.drop_unless_front(&2));
        assert_eq!(window.len(), 0);
        assert!(receiver.await.is_err(), "the request's task is gone");
    }

    #[tokio::test]
    async fn what_is_under_way_counts_as_expected_and_what_is_there_as_it_is() {
        let (sender, receiver) = tokio::sync::oneshot::channel::<u64>();
        let mut window = Window::new(|bytes: &u64| *bytes);
        window.push(1, async { 7 });
        window.push(2, async move { receiver.await.unwrap() });
        assert_eq!(window.bytes(100), 200);
        while window.bytes(100) != 107 {
            tokio::task::yield_now().await;
        }
        sender.send(3).unwrap();
        while window.bytes(100) != 10 {
            tokio::task::yield_now().await;
        }
        window.front().await;
        assert_eq!(window.bytes(100), 3);
    }
}
