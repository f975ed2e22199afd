//! Changes that become visible together.

use std::ops::Range;

use super::Family;

/// A list of changes to a store, applied atomically and in order.
///
/// Keys and values lie one after another in a single buffer, so that filling a batch costs no allocation per change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    bytes: Vec<u8>,
    changes: Vec<Extent>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Extent {
    family: Family,
    is_put: bool,
    start: usize,
    key_end: usize,
}

/// One change of a [`Batch`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change<'a> {
    /// Sets a key's value.
    Put(Family, &'a [u8], &'a [u8]),
    /// Removes a key, present or not.
    Delete(Family, &'a [u8]),
}

impl Batch {
    /// A batch without changes.
    #[must_use]
    pub const fn new() -> Self {
        Self { bytes: Vec::new(), changes: Vec::new() }
    }

    /// Makes room for `changes` more changes with `bytes` more bytes of keys and values.
    pub fn reserve(&mut self, changes: usize, bytes: usize) {
        self.changes.reserve(changes);
        self.bytes.reserve(bytes);
    }

    /// Sets `key` to `value`.
    pub fn put(&mut self, family: Family, key: &[u8], value: &[u8]) {
        self.put_with(family, |out| out.extend_from_slice(key), |out| out.extend_from_slice(value));
    }

    /// Sets a key to a value, each appended to the batch's buffer by its encoder.
    pub fn put_with(&mut self, family: Family, key: impl FnOnce(&mut Vec<u8>), value: impl FnOnce(&mut Vec<u8>)) {
        let start = self.bytes.len();
        key(&mut self.bytes);
        let key_end = self.bytes.len();
        value(&mut self.bytes);
        self.changes.push(Extent { family, is_put: true, start, key_end });
    }

    /// Removes `key`.
    pub fn delete(&mut self, family: Family, key: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(key);
        self.changes.push(Extent { family, is_put: false, start, key_end: self.bytes.len() });
    }

    /// Adds all changes of `other` behind its own.
    pub fn append(&mut self, other: &Self) {
        let offset = self.bytes.len();
        self.bytes.extend_from_slice(&other.bytes);
        self.changes.extend(other.changes.iter().map(|extent| Extent {
            start: extent.start + offset,
            key_end: extent.key_end + offset,
            ..*extent
        }));
    }

    /// As [`Self::append`], of a batch that is not needed any more: into an empty one it moves.
    pub fn absorb(&mut self, other: Self) {
        match self.is_empty() {
            true => *self = other,
            false => self.append(&other),
        }
    }

    /// The changes, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Change<'_>> {
        (0..self.changes.len()).map(|position| self.change(position))
    }

    /// The change at `position`.
    ///
    /// # Panics
    /// If there are not so many.
    #[must_use]
    pub fn change(&self, position: usize) -> Change<'_> {
        let extent = self.changes[position];
        let key = &self.bytes[extent.start..extent.key_end];
        if extent.is_put {
            Change::Put(extent.family, key, &self.bytes[self.value_of(position)])
        } else {
            Change::Delete(extent.family, key)
        }
    }

    fn value_of(&self, position: usize) -> Range<usize> {
        let end = self.changes.get(position + 1).map_or(self.bytes.len(), |next| next.start);
        self.changes[position].key_end..end
    }

    /// How many changes there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.changes.len()
    }

    /// Whether there are no changes.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Bytes of all keys and values.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Drops the changes after the first `changes`.
    pub fn truncate(&mut self, changes: usize) {
        if let Some(first_dropped) = self.changes.get(changes) {
            self.bytes.truncate(first_dropped.start);
            self.changes.truncate(changes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_come_back_in_order() {
        let mut batch = Batch::new();
        batch.put(Family::Data, b"k1", b"v1");
        batch.delete(Family::Sys, b"k2");
        batch.put(Family::Lock, b"", b"");
        let expected = [
            Change::Put(Family::Data, b"k1", b"v1"),
            Change::Delete(Family::Sys, b"k2"),
            Change::Put(Family::Lock, b"", b""),
        ];
        assert!(batch.iter().eq(expected));
        assert_eq!((batch.len(), batch.bytes()), (3, 6));
        let mut doubled = batch.clone();
        doubled.append(&batch);
        assert!(doubled.iter().eq(expected.into_iter().chain(expected)));
        let mut absorbed = Batch::new();
        absorbed.absorb(batch.clone());
        absorbed.absorb(batch.clone());
        assert_eq!(absorbed, doubled);
        batch.truncate(1);
        assert!(batch.iter().eq(expected.into_iter().take(1)));
        assert_eq!(batch.bytes(), 4);
    }
}
