//! A memo of the newest records of keys that are merged into, or tested by conditions, again and again.
//!
//! It holds what the store would answer, so it saves reads and decides nothing: with any capacity, also none, and after
//! any restart, every answer and every byte written is the same. Only keys that were read get in; blind writes only
//! correct what is there.

use std::hash::{BuildHasher, DefaultHasher, Hasher};

use bytes::Bytes;
use lentic_engine::Head;
use quick_cache::Weighter;
use quick_cache::unsync::Cache;

/// Largest value kept, in bytes: larger ones are read from the store, where the read is worth its cost.
const VALUE_BYTES_MAX: usize = 256;
/// What an entry costs beside its key and value: the cache's own estimate of its bookkeeping.
const ENTRY_BYTES: u64 = 96;

/// How much to remember.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadsOptions {
    /// Budget in bytes. Too small: merges into many hot keys read the store each time. 0: nothing is remembered.
    pub bytes_max: u64,
    /// Secret of the process, so that a client cannot choose keys that collide.
    pub seed: u64,
}

impl Default for HeadsOptions {
    fn default() -> Self {
        Self { bytes_max: 8 << 20, seed: 0 }
    }
}

/// The memo of one shard.
#[derive(Debug)]
pub(super) struct Heads {
    cache: Cache<Bytes, Head, ByBytes, Seeded>,
    is_off: bool,
}

#[derive(Clone, Copy, Debug)]
struct ByBytes;

impl Weighter<Bytes, Head> for ByBytes {
    fn weight(&self, key: &Bytes, head: &Head) -> u64 {
        let value = if let Head::Put { value, .. } = head { value.len() } else { 0 };
        ENTRY_BYTES + (key.len() + value) as u64
    }
}

/// Hashes that only this process can foresee.
#[derive(Clone, Copy, Debug)]
struct Seeded(u64);

impl BuildHasher for Seeded {
    type Hasher = DefaultHasher;

    fn build_hasher(&self) -> DefaultHasher {
        let mut hasher = DefaultHasher::new();
        hasher.write_u64(self.0);
        hasher
    }
}

impl Heads {
    /// An empty memo.
    pub(super) fn new(options: &HeadsOptions) -> Self {
        let entries = usize::try_from(options.bytes_max / (ENTRY_BYTES + 32)).unwrap_or(usize::MAX);
        let cache = Cache::with(
            entries,
            options.bytes_max,
            ByBytes,
            Seeded(options.seed),
            quick_cache::unsync::DefaultLifecycle::default(),
        );
        Self { cache, is_off: options.bytes_max == 0 }
    }

    /// The head of `key`, if it is remembered.
    pub(super) fn get(&self, key: &[u8]) -> Option<&Head> {
        self.cache.get(key)
    }

    /// Remembers what was read or made of `key`. The head's value is its own, not a slice of an entry: the memo must not
    /// keep entries alive.
    pub(super) fn remember(&mut self, key: &[u8], head: Head) {
        let is_small = !matches!(&head, Head::Put { value, .. } if value.len() > VALUE_BYTES_MAX);
        if self.is_off || !is_small {
            self.forget(key);
        } else if let Some(mut known) = self.cache.get_mut(key) {
            *known = head;
        } else {
            self.cache.insert(Bytes::copy_from_slice(key), head);
        }
    }

    /// Corrects what is remembered of `key`, if anything is.
    pub(super) fn correct(&mut self, key: &[u8], head: impl FnOnce() -> Head) {
        if !self.cache.is_empty() && self.cache.contains_key(key) {
            self.remember(key, head());
        }
    }

    /// Forgets `key`.
    pub(super) fn forget(&mut self, key: &[u8]) {
        self.cache.remove(key);
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.cache.clear();
    }
}
