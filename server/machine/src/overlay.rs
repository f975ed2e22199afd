//! A store with changes on top that are not written yet.
//!
//! Requests of one entry see each other's effects, and so do entries whose batches are written to the store together:
//! how they are gathered never changes an answer. The index over the changes is made at the first read after them, so
//! blind writes do not pay for it.

use std::cell::{Ref, RefCell};
use std::collections::BTreeMap;
use std::ops::Bound;

use lentic_engine::keys::data;
use lentic_engine::store::Change;
use lentic_engine::{Batch, Bounds, Cursor, Family, StoreError, View};

/// A view, seen through a batch on top of it.
#[derive(Debug)]
pub struct Overlay<'v, V> {
    base: &'v V,
    batch: Batch,
    index: RefCell<Index>,
}

#[derive(Debug, Default)]
struct Index {
    /// By family: the newest change of each key; `None` is a delete.
    families: [Changes; Family::ALL.len()],
    /// How many changes of the batch are in.
    indexed: usize,
}

type Changes = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

impl<'v, V: View> Overlay<'v, V> {
    /// `base` without changes.
    pub fn new(base: &'v V) -> Self {
        Self { base, batch: Batch::new(), index: RefCell::default() }
    }

    /// The changes, to add to them.
    pub const fn batch(&mut self) -> &mut Batch {
        &mut self.batch
    }

    /// Takes back the changes after the first `changes`.
    pub fn truncate(&mut self, changes: usize) {
        self.batch.truncate(changes);
        if self.index.get_mut().indexed > changes {
            *self.index.get_mut() = Index::default();
        }
    }

    /// The changes, to write them.
    #[must_use]
    pub fn into_batch(self) -> Batch {
        self.batch
    }

    /// The index over all changes made so far. No change can be made while it is borrowed.
    fn index(&self) -> Ref<'_, Index> {
        if self.index.borrow().indexed < self.batch.len() {
            self.index.borrow_mut().extend(&self.batch);
        }
        self.index.borrow()
    }
}

impl Index {
    fn extend(&mut self, batch: &Batch) {
        for position in self.indexed..batch.len() {
            match batch.change(position) {
                Change::Put(family, key, value) => {
                    self.families[family as usize].insert(key.to_vec(), Some(value.to_vec()));
                }
                Change::Delete(family, key) => drop(self.families[family as usize].insert(key.to_vec(), None)),
            }
        }
        self.indexed = batch.len();
    }
}

impl<V: View> View for Overlay<'_, V> {
    type Cursor<'a>
        = OverlayCursor<'a, V::Cursor<'a>>
    where
        Self: 'a;

    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        match self.index().families[family as usize].get(key) {
            Some(changed) => Ok(changed.clone()),
            None => self.base.get(family, key),
        }
    }

    fn cursor(&self, family: Family, bounds: Bounds) -> Result<Self::Cursor<'_>, StoreError> {
        let base = self.base.cursor(family, bounds.clone())?;
        let index = self.index();
        Ok(OverlayCursor { base, index, family, bounds, is_forward: true, place: Place::None, prefix: Vec::new() })
    }
}

/// A cursor over a base and the changes on top of it.
///
/// At a change, the base cursor stands at the next base entry in the direction of the last move, so that a step costs one
/// step of the base at most. A move in the other direction seeks the base anew.
pub struct OverlayCursor<'a, C> {
    base: C,
    index: Ref<'a, Index>,
    family: Family,
    bounds: Bounds,
    is_forward: bool,
    place: Place,
    /// In [`Bounds::OneKey`], the prefix of the last seek.
    prefix: Vec<u8>,
}

#[derive(Debug, PartialEq, Eq)]
enum Place {
    None,
    Base,
    Change(Vec<u8>),
}

impl<C: Cursor> OverlayCursor<'_, C> {
    /// Finds the first entry from `from` on; the base is at its first entry from there on.
    fn settle_forward(&mut self, mut from: Bound<Vec<u8>>) -> Result<(), StoreError> {
        self.is_forward = true;
        loop {
            let changes = &self.index.families[self.family as usize];
            let change = changes.range::<[u8], _>((as_slice(&from), Bound::Unbounded)).next();
            let change = change.filter(|(key, _)| self.is_in_bounds(key));
            let base = self.base.entry().map(|(key, _)| key);
            let Some((key, value)) = change.filter(|(key, _)| base.is_none_or(|base| key.as_slice() <= base)) else {
                self.place = if base.is_some() { Place::Base } else { Place::None };
                return Ok(());
            };
            let (key, is_shadowing, is_put) = (key.clone(), base == Some(key), value.is_some());
            if is_shadowing {
                self.base.next()?;
            }
            if is_put {
                self.place = Place::Change(key);
                return Ok(());
            }
            from = Bound::Excluded(key);
        }
    }

    /// Finds the last entry up to `until`; the base is at its last entry up to there.
    fn settle_back(&mut self, mut until: Bound<Vec<u8>>) -> Result<(), StoreError> {
        self.is_forward = false;
        loop {
            let changes = &self.index.families[self.family as usize];
            let change = changes.range::<[u8], _>((Bound::Unbounded, as_slice(&until))).next_back();
            let change = change.filter(|(key, _)| self.is_in_bounds(key));
            let base = self.base.entry().map(|(key, _)| key);
            let Some((key, value)) = change.filter(|(key, _)| base.is_none_or(|base| key.as_slice() >= base)) else {
                self.place = if base.is_some() { Place::Base } else { Place::None };
                return Ok(());
            };
            let (key, is_shadowing, is_put) = (key.clone(), base == Some(key), value.is_some());
            if is_shadowing {
                self.base.prev()?;
            }
            if is_put {
                self.place = Place::Change(key);
                return Ok(());
            }
            until = Bound::Excluded(key);
        }
    }

    fn is_in_bounds(&self, key: &[u8]) -> bool {
        match &self.bounds {
            Bounds::Range { lower, upper } => {
                lower.as_slice() <= key && upper.as_ref().is_none_or(|upper| key < upper.as_slice())
            }
            Bounds::OneKey => data::prefix(key) == self.prefix,
        }
    }
}

impl<C: Cursor> Cursor for OverlayCursor<'_, C> {
    fn seek(&mut self, key: &[u8]) -> Result<(), StoreError> {
        self.base.seek(key)?;
        let from = match &self.bounds {
            Bounds::Range { lower, .. } => lower.as_slice().max(key).to_vec(),
            Bounds::OneKey => {
                self.prefix.clear();
                self.prefix.extend_from_slice(data::prefix(key));
                key.to_vec()
            }
        };
        self.settle_forward(Bound::Included(from))
    }

    fn seek_back(&mut self, key: &[u8]) -> Result<(), StoreError> {
        self.base.seek_back(key)?;
        let until = match &self.bounds {
            Bounds::Range { upper: Some(upper), .. } if upper.as_slice() <= key => Bound::Excluded(upper.clone()),
            _ => Bound::Included(key.to_vec()),
        };
        self.settle_back(until)
    }

    fn next(&mut self) -> Result<(), StoreError> {
        let Some(key) = self.key().map(<[u8]>::to_vec) else { return Ok(()) };
        if !self.is_forward {
            self.base.seek(&key)?;
        }
        if self.base.entry().is_some_and(|(base, _)| base == key) {
            self.base.next()?;
        }
        self.settle_forward(Bound::Excluded(key))
    }

    fn prev(&mut self) -> Result<(), StoreError> {
        let Some(key) = self.key().map(<[u8]>::to_vec) else { return Ok(()) };
        if self.is_forward {
            self.base.seek_back(&key)?;
        }
        if self.base.entry().is_some_and(|(base, _)| base == key) {
            self.base.prev()?;
        }
        self.settle_back(Bound::Excluded(key))
    }

    fn entry(&self) -> Option<(&[u8], &[u8])> {
        match &self.place {
            Place::None => None,
            Place::Base => self.base.entry(),
            Place::Change(key) => {
                let value = self.index.families[self.family as usize].get(key)?.as_deref()?;
                Some((key, value))
            }
        }
    }
}

fn as_slice(bound: &Bound<Vec<u8>>) -> Bound<&[u8]> {
    bound.as_ref().map(Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lentic_engine::{MemStore, Store};
    use proptest::prelude::*;

    #[derive(Clone, Debug)]
    enum Move {
        Seek(Vec<u8>),
        SeekBack(Vec<u8>),
        Next,
        Prev,
    }

    fn key() -> impl Strategy<Value = Vec<u8>> {
        proptest::collection::vec(0u8..3, 1..4)
    }

    fn moves() -> impl Strategy<Value = Vec<Move>> {
        let one = prop_oneof![
            2 => key().prop_map(Move::Seek),
            2 => key().prop_map(Move::SeekBack),
            3 => Just(Move::Next),
            3 => Just(Move::Prev)
        ];
        proptest::collection::vec(one, 1..20)
    }

    proptest! {
        #[test]
        fn looks_like_a_store_with_the_changes_written(
            base in proptest::collection::btree_map(key(), any::<u8>(), 0..12),
            changes in proptest::collection::vec((key(), proptest::option::of(any::<u8>())), 0..12),
            lower in key(), upper in proptest::option::of(key()), moves in moves(),
        ) {
            let (below, written) = (MemStore::new(), MemStore::new());
            let mut batch = Batch::new();
            base.iter().for_each(|(key, value)| batch.put(Family::Sys, key, &[*value]));
            below.write(&batch).unwrap();
            written.write(&batch).unwrap();
            let mut overlay = Overlay::new(&below);
            for (key, value) in &changes {
                match value {
                    Some(value) => overlay.batch().put(Family::Sys, key, &[*value]),
                    None => overlay.batch().delete(Family::Sys, key),
                }
            }
            written.write(&overlay.batch).unwrap();
            let bounds = Bounds::Range { lower, upper };
            let mut found = overlay.cursor(Family::Sys, bounds.clone()).unwrap();
            let mut expected = written.cursor(Family::Sys, bounds).unwrap();
            for step in &moves {
                let act = |cursor: &mut dyn Cursor| match step {
                    Move::Seek(key) => cursor.seek(key),
                    Move::SeekBack(key) => cursor.seek_back(key),
                    Move::Next => cursor.next(),
                    Move::Prev => cursor.prev(),
                };
                act(&mut found).unwrap();
                act(&mut expected).unwrap();
                prop_assert_eq!(found.entry(), expected.entry(), "after {:?}", step);
            }
            for (key, _) in &changes {
                prop_assert_eq!(overlay.get(Family::Sys, key), written.get(Family::Sys, key));
            }
        }
    }
}
