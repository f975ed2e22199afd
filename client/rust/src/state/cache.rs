//! What the table has, as far as a task has read or flushed it: right because nobody else writes there.

use std::hash::{BuildHasherDefault, DefaultHasher};

use bytes::Bytes;
use quick_cache::Weighter;
use quick_cache::unsync::{Cache as Quick, DefaultLifecycle};

/// What an entry costs beside its key and value: the cache's bookkeeping and two byte strings.
const ENTRY_BYTES: usize = 128;

/// A bounded cache of values, and of that there is none.
pub(super) struct Cache {
    entries: Quick<Bytes, Option<Bytes>, ByBytes, BuildHasherDefault<DefaultHasher>>,
    bytes_max: usize,
}

#[derive(Clone, Copy, Debug)]
struct ByBytes;

impl Weighter<Bytes, Option<Bytes>> for ByBytes {
    fn weight(&self, key: &Bytes, value: &Option<Bytes>) -> u64 {
        (ENTRY_BYTES + key.len() + value.as_ref().map_or(0, Bytes::len)) as u64
    }
}

impl Cache {
    /// An empty cache of at most `bytes_max` bytes. 0: it stays empty.
    pub(super) fn new(bytes_max: usize) -> Self {
        let entries = bytes_max / (ENTRY_BYTES + 48);
        let lifecycle = DefaultLifecycle::default();
        let entries = Quick::with(entries, bytes_max as u64, ByBytes, BuildHasherDefault::default(), lifecycle);
        Self { entries, bytes_max }
    }

    pub(super) const fn is_off(&self) -> bool {
        self.bytes_max == 0
    }

    /// What the table has of `key`, if that is known.
    pub(super) fn get(&self, key: &[u8]) -> Option<&Option<Bytes>> {
        if self.is_off() { None } else { self.entries.get(key) }
    }

    /// Remembers what the table has. The bytes must be of their own, not a part of something large.
    pub(super) fn insert(&mut self, key: Bytes, value: Option<Bytes>) {
        // What is too large to be kept must not leave behind what was known before it.
        if ByBytes.weight(&key, &value) > self.bytes_max as u64 {
            self.entries.remove(&key);
        } else {
            self.entries.insert(key, value);
        }
    }

    /// Corrects what is remembered, if anything is.
    pub(super) fn correct(&mut self, key: Bytes, value: Option<Bytes>) {
        if self.entries.contains_key(&key) {
            self.insert(key, value);
        }
    }

    /// Forgets a key.
    pub(super) fn forget(&mut self, key: &[u8]) {
        self.entries.remove(key);
    }
}
