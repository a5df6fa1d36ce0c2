//! Requests that run ahead of the reader, in order. Dropping a wait loses nothing, dropping the window ends its requests.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;
use tokio_util::task::AbortOnDropHandle;

/// Running and finished requests, each with the key of what it asks for; the front is what the reader wants next.
#[derive(Debug)]
pub struct Window<K, T> {
    queue: VecDeque<Entry<K, T>>,
    weigh: fn(&T) -> u64,
    finished: Arc<Notify>,
}

#[derive(Debug)]
struct Entry<K, T> {
    key: K,
    slot: Arc<Slot<T>>,
    _task: AbortOnDropHandle<()>,
}

/// How a request that is no longer under way ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Ended<T> {
    /// With this result.
    Done(T),
    /// Its task died.
    Died,
}

#[derive(Debug)]
struct Slot<T> {
    /// The result and its bytes; `None` while it is under way.
    ended: Mutex<Option<(Ended<T>, u64)>>,
    finished: Arc<Notify>,
}

impl<T> Slot<T> {
    fn lock(&self) -> MutexGuard<'_, Option<(Ended<T>, u64)>> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells that a request has ended, also where its task dies.
struct Teller<T>(Arc<Slot<T>>);

impl<T> Drop for Teller<T> {
    fn drop(&mut self) {
        self.0.lock().get_or_insert((Ended::Died, 0));
        self.0.finished.notify_one();
    }
}

impl<K: PartialEq, T: Send + 'static> Window<K, T> {
    /// Nothing under way. `weigh` says how many bytes a result holds; `finished` is told of each request that ends.
    pub fn new(weigh: fn(&T) -> u64, finished: Arc<Notify>) -> Self {
        Self { queue: VecDeque::new(), weigh, finished }
    }

    /// Requests in it.
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Requests in it that have not ended.
    pub fn under_way(&self) -> usize {
        self.queue.iter().filter(|entry| entry.slot.lock().is_none()).count()
    }

    /// The bytes that it holds, with each request under way taken for `expected` bytes.
    pub fn bytes(&self, expected: u64) -> u64 {
        let weight = |entry: &Entry<K, T>| entry.slot.lock().as_ref().map_or(expected, |(_, bytes)| *bytes);
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
        let slot = Arc::new(Slot { ended: Mutex::new(None), finished: self.finished.clone() });
        let (teller, weigh) = (Teller(slot.clone()), self.weigh);
        let task = tokio::spawn(async move {
            let result = request.await;
            let bytes = weigh(&result);
            *teller.0.lock() = Some((Ended::Done(result), bytes));
        });
        self.queue.push_back(Entry { key, slot, _task: AbortOnDropHandle::new(task) });
    }

    /// Whether one that has ended is `so`, or has died.
    pub fn any(&self, so: impl Fn(&T) -> bool) -> bool {
        let is = |ended: &(Ended<T>, u64)| if let (Ended::Done(result), _) = ended { so(result) } else { true };
        self.queue.iter().any(|entry| entry.slot.lock().as_ref().is_some_and(is))
    }

    /// Takes the front out if it has ended.
    pub fn take(&mut self) -> Option<Ended<T>> {
        let (ended, _) = self.queue.front()?.slot.lock().take()?;
        self.queue.pop_front();
        Some(ended)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    async fn next(window: &mut Window<u64, u64>, finished: &Notify) -> Ended<u64> {
        loop {
            match window.take() {
                Some(ended) => return ended,
                None => finished.notified().await,
            }
        }
    }

    #[tokio::test]
    async fn a_dropped_wait_loses_nothing() {
        let finished = Arc::new(Notify::new());
        let mut window = Window::new(|_| 1, finished.clone());
        for n in 0..3_u64 {
            window.push(n, async move {
                tokio::time::sleep(Duration::from_millis(30 - n * 10)).await;
                n
            });
        }
        assert!(tokio::time::timeout(Duration::from_millis(1), next(&mut window, &finished)).await.is_err());
        for n in 0..3 {
            assert_eq!(next(&mut window, &finished).await, Ended::Done(n));
        }
        assert_eq!(window.take(), None);
    }

    #[tokio::test]
    async fn a_wrong_guess_is_ended() {
        let (sender, receiver) = tokio::sync::oneshot::channel::<()>();
        let mut window = Window::new(|_| 1, Arc::default());
        window.push(1, async move {
            let _held = sender;
            std::future::pending::<()>().await;
        });
        assert!(!window.drop_unless_front(&1));
        assert_eq!((window.len(), window.under_way()), (1, 1));
        assert!(window.drop_unless_front(&2));
        assert_eq!(window.len(), 0);
        assert!(receiver.await.is_err(), "the request's task is gone");
    }

    #[tokio::test]
    async fn a_dead_task_is_told() {
        let finished = Arc::new(Notify::new());
        let mut window = Window::new(|_| 1, finished.clone());
        window.push(1, async { std::future::pending::<u64>().await });
        window.queue[0]._task.abort();
        assert_eq!(next(&mut window, &finished).await, Ended::Died);
    }

    #[tokio::test]
    async fn what_is_under_way_counts_as_expected_and_what_is_there_as_it_is() {
        let (sender, receiver) = tokio::sync::oneshot::channel::<u64>();
        let mut window = Window::new(|bytes: &u64| *bytes, Arc::default());
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
        window.take();
        assert_eq!(window.bytes(100), 3);
    }
}
