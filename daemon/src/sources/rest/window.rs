//! Requests that run ahead of the reader, in order. Dropping a wait loses nothing, dropping the window ends its requests.

use std::collections::VecDeque;
use std::future::Future;
use tokio_util::task::AbortOnDropHandle;

/// Running and finished requests, each with the key of what it asks for; the front is what the reader wants next.
#[derive(Debug)]
pub struct Window<K, T> {
    queue: VecDeque<(K, AbortOnDropHandle<T>)>,
}

impl<K: PartialEq, T: Send + 'static> Window<K, T> {
    /// Nothing under way.
    pub fn new() -> Self {
        Self { queue: VecDeque::new() }
    }

    /// Requests in it.
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// What the last request asks for.
    pub fn last(&self) -> Option<&K> {
        self.queue.back().map(|(key, _)| key)
    }

    /// Drops everything unless `key` is in front: what was guessed wrong is of no use.
    pub fn keep_if_front(&mut self, key: &K) {
        if self.queue.front().is_some_and(|(front, _)| front != key) {
            self.queue.clear();
        }
    }

    /// Starts a request behind the others.
    pub fn push(&mut self, key: K, request: impl Future<Output = T> + Send + 'static) {
        self.queue.push_back((key, AbortOnDropHandle::new(tokio::spawn(request))));
    }

    /// Waits for the front and takes it out; `None` where nothing is under way or the request's task died.
    pub async fn front(&mut self) -> Option<T> {
        let (_, handle) = self.queue.front_mut()?;
        let result = handle.await;
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
        let mut window = Window::new();
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
        let mut window = Window::new();
        window.push(1, async move {
            let _held = sender;
            std::future::pending::<()>().await;
        });
        window.keep_if_front(&2);
        assert_eq!(window.len(), 0);
        assert!(receiver.await.is_err(), "the request's task is gone");
    }
}
