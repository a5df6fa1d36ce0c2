//! Serialised pages, kept while there is room, so that the API is never what a measurement measures.

use super::data::{Data, View};
use bytes::Bytes;
use std::collections::HashMap;
use std::sync::Mutex;

/// What a serialised page depends on.
type Key = (Data, View, u64, u64);

/// A cache of serialised record arrays with a bound in bytes; the least recently used go first.
pub struct PageCache {
    limit: usize,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    pages: HashMap<Key, (Bytes, u64)>,
    bytes: usize,
    tick: u64,
}

impl PageCache {
    /// A cache that holds at most `limit` bytes of pages.
    pub fn new(limit: usize) -> Self {
        Self { limit, inner: Mutex::default() }
    }

    /// The JSON array of a view's records `start..start + len`.
    pub fn array(&self, data: &Data, view: View, start: u64, len: u64) -> Bytes {
        let key = (*data, view, start, len);
        if let Some(bytes) = self.lock().touch(&key) {
            return bytes;
        }
        let mut text = Vec::with_capacity(len as usize * 600);
        data.write_array(&mut text, view, start, len);
        text.shrink_to_fit();
        let bytes = Bytes::from(text);
        self.lock().insert(key, bytes.clone(), self.limit);
        bytes
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().expect("nobody panics while holding the cache")
    }
}

impl Inner {
    fn touch(&mut self, key: &Key) -> Option<Bytes> {
        self.tick += 1;
        let (bytes, used) = self.pages.get_mut(key)?;
        *used = self.tick;
        Some(bytes.clone())
    }

    fn insert(&mut self, key: Key, bytes: Bytes, limit: usize) {
        if bytes.len() > limit / 4 {
            return;
        }
        self.bytes += bytes.len();
        if let Some((old, _)) = self.pages.insert(key, (bytes, self.tick)) {
            self.bytes -= old.len();
        }
        if self.bytes > limit {
            self.evict(limit / 2);
        }
    }

    /// Drops the oldest pages until at most `target` bytes are left. Halving makes this rare, so a sort will do.
    fn evict(&mut self, target: usize) {
        let mut by_age: Vec<(u64, Key)> = self.pages.iter().map(|(key, (_, used))| (*used, *key)).collect();
        by_age.sort_unstable_by_key(|(used, _)| *used);
        for (_, key) in by_age {
            if self.bytes <= target {
                break;
            }
            if let Some((bytes, _)) = self.pages.remove(&key) {
                self.bytes -= bytes.len();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::data::Shape;

    #[test]
    fn the_cache_is_bounded_and_changes_nothing() {
        let data = Data { seed: 3, records: 10_000, shape: Shape::default() };
        let cache = PageCache::new(200_000);
        for round in 0..2 {
            for start in (0..5000).step_by(50) {
                let mut plain = Vec::new();
                data.write_array(&mut plain, View::ALL, start, 50);
                assert_eq!(cache.array(&data, View::ALL, start, 50), plain, "round {round}");
                assert!(cache.lock().bytes <= 200_000);
            }
        }
        assert!(!cache.lock().pages.is_empty());
    }
}
