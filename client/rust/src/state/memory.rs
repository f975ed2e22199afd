//! What a task knows of its part of the table, and what it has not told the table yet.
//!
//! ```text
//!   reads   ──►  changes  ──►  flight  ──►  ahead  ──►  cache  ──►  table    the first that knows the key answers
//!   writes  ──►  changes  ══►  flight  ════════════════════════►  table    ══ all of them at once, when they are many
//!                                 └──────────────────►  cache              what has arrived
//! ```
//!
//! The table has one writer: its fence. So what was read or written stays true until it is written again. What was read ahead
//! of its events is kept until more is: a cache has room for what comes again and again, and may have none for all of it.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasherDefault, DefaultHasher};

use bytes::Bytes;
use futures_util::future::try_join_all;
use lentic_types::KeyRange;
use lentic_types::limits::{KEY_BYTES_MAX, VALUE_BYTES_MAX};

use super::cache::Cache;
use super::error::StateError;
use super::flight::{Flight, Made, Target};
use super::format;
use super::layer::{Access, Change, Layer, fold};
use super::options::StateOptions;
use crate::error::Error;
use crate::merge::MergeOperator;
use crate::owners::Checkpoint;
use crate::read::Value;

/// Keys that are asked for in one request: beside it, another thread of the shard's leader reads the next.
const KEYS_AT_ONCE: usize = 256;

/// What is known of a key without asking the table.
enum Known<'a> {
    Value(&'a [u8]),
    Nothing,
    /// An operand waits to be folded into what the table has.
    Merged,
    Unknown,
}

/// A page of rows: what it has, and where the next begins.
pub(super) type Page = (Vec<(Bytes, Bytes)>, Option<Bytes>);

pub(super) struct Memory {
    target: Target,
    options: StateOptions,
    changes: Layer,
    flight: Option<Flight>,
    ahead: HashMap<Bytes, Option<Bytes>, BuildHasherDefault<DefaultHasher>>,
    cache: Cache,
    lost: Option<Error>,
    /// The last checkpoint that was asked for, once it is there.
    made: Option<Made>,
}

impl Memory {
    pub(super) fn new(target: Target, options: StateOptions) -> Self {
        let cache = Cache::new(options.cache_bytes);
        let (changes, ahead) = (Layer::default(), HashMap::default());
        Self { target, options, changes, flight: None, ahead, cache, lost: None, made: None }
    }

    pub(super) const fn target(&self) -> &Target {
        &self.target
    }

    /// Bytes of changes that no flush has begun with.
    pub(super) const fn dirty_bytes(&self) -> usize {
        self.changes.bytes()
    }

    fn check(&self) -> Result<(), StateError> {
        match &self.lost {
            None => Ok(()),
            Some(error) => Err(StateError::Lost(error.clone())),
        }
    }

    fn known(&self, access: Access, key: &[u8]) -> Known<'_> {
        let change = self.changes.get(access, key);
        let change = change.or_else(|| self.flight.as_ref()?.layer().get(access, key));
        match change {
            Some(Change::Put(value)) => Known::Value(value),
            Some(Change::Delete) => Known::Nothing,
            Some(Change::Merge(..)) => Known::Merged,
            None => match self.stored(key) {
                Some(Some(value)) => Known::Value(value),
                Some(None) => Known::Nothing,
                None => Known::Unknown,
            },
        }
    }

    /// What the table has of a key that nothing under way changes, if that is known.
    fn stored(&self, key: &[u8]) -> Option<&Option<Bytes>> {
        self.ahead.get(key).or_else(|| self.cache.get(key))
    }

    /// The value of a key, made by `decode` of its bytes.
    pub(super) async fn read<T>(
        &mut self,
        access: Access,
        key: &[u8],
        decode: impl FnOnce(&[u8]) -> Result<T, StateError>,
    ) -> Result<Option<T>, StateError> {
        self.check()?;
        match self.known(access, key) {
            Known::Value(value) => return decode(value).map(Some),
            Known::Nothing => return Ok(None),
            Known::Merged => return self.read_merged(key).await?.map(|value| decode(&value)).transpose(),
            Known::Unknown => {}
        }
        self.load(key).await?.map(|value| decode(&value)).transpose()
    }

    /// Reads the table, and remembers what it has.
    async fn load(&mut self, key: &[u8]) -> Result<Option<Bytes>, StateError> {
        let found = self.target.table.get(Bytes::copy_from_slice(key)).await?;
        let value = found.map(|found| found.value);
        self.remember(key, value.as_ref());
        Ok(value)
    }

    fn remember(&mut self, key: &[u8], value: Option<&Bytes>) {
        if !self.cache.is_off() {
            let copy = value.map(|value| Bytes::copy_from_slice(value));
            self.cache.insert(Bytes::copy_from_slice(key), copy);
        }
    }

    /// The value of a key with an operand that waits: what is read goes out as a put, for nobody else changes it.
    async fn read_merged(&mut self, key: &[u8]) -> Result<Option<Vec<u8>>, StateError> {
        let is_under_way = |flight: &Flight| matches!(flight.layer().get(Access::Point, key), Some(Change::Merge(..)));
        if self.flight.as_ref().is_some_and(is_under_way) {
            // Nobody can say whether the table has it already.
            self.land().await?;
        }
        let under_way = self.flight.as_ref().and_then(|flight| flight.layer().get(Access::Point, key));
        let base = match under_way {
            Some(Change::Put(value)) => Some(value.clone()),
            Some(_) => None,
            None => match self.stored(key) {
                Some(value) => value.as_ref().map(|value| value.to_vec()),
                None => self.load(key).await?.map(|value| value.to_vec()),
            },
        };
        let Some(Change::Merge(operator, operand)) = self.changes.get(Access::Point, key) else { return Ok(base) };
        let folded = match base {
            Some(mut value) => {
                fold(*operator, &mut value, operand)?;
                value
            }
            None => operand.clone(),
        };
        self.changes.put(Access::Point, key, &folded);
        Ok(Some(folded))
    }

    /// Reads keys that are not known, all at once, so that all of them are known until the next call.
    pub(super) async fn prefetch(&mut self, access: Access, keys: &[Bytes]) -> Result<(), StateError> {
        self.check()?;
        let unknown = self.unknown(access, keys);
        let found = self.ask(&unknown).await?;
        // What the cache has now it may not have when the event comes.
        let kept = keys.iter().filter_map(|key| Some((key.clone(), self.stored(key)?.clone())));
        self.ahead = kept.collect();
        for (key, found) in unknown.into_iter().zip(found) {
            let value = found.map(|found| Bytes::copy_from_slice(&found.value));
            if !self.cache.is_off() {
                self.cache.insert(key.clone(), value.clone());
            }
            self.ahead.insert(key, value);
        }
        Ok(())
    }

    /// Those that are not known, each once, in order: a store finds neighbours more cheaply.
    fn unknown(&self, access: Access, keys: &[Bytes]) -> Vec<Bytes> {
        let is_unknown = |key: &&Bytes| matches!(self.known(access, key), Known::Unknown);
        let mut unknown: Vec<Bytes> = keys.iter().filter(is_unknown).cloned().collect();
        unknown.sort_unstable();
        unknown.dedup();
        unknown
    }

    /// The values of keys, in their order. Nobody else changes them, so parts may be read at the same time.
    async fn ask(&self, keys: &[Bytes]) -> Result<Vec<Option<Value>>, Error> {
        let parts = keys.chunks(KEYS_AT_ONCE).map(|keys| self.target.table.multi_get(keys.iter().cloned()));
        Ok(try_join_all(parts).await?.into_iter().flatten().collect())
    }

    /// The values of keys, in their order.
    pub(super) async fn read_many<T>(
        &mut self,
        access: Access,
        keys: &[Bytes],
        decode: impl Fn(&[u8]) -> Result<T, StateError>,
    ) -> Result<Vec<Option<T>>, StateError> {
        self.check()?;
        let unknown = self.unknown(access, keys);
        let found = self.ask(&unknown).await?;
        let mut read = BTreeMap::new();
        for (key, found) in unknown.into_iter().zip(found) {
            let value = found.map(|found| found.value);
            self.remember(&key, value.as_ref());
            read.insert(key, value);
        }
        let mut values = Vec::with_capacity(keys.len());
        for key in keys {
            values.push(match read.get(key) {
                Some(value) => value.as_ref().map(|value| decode(value)).transpose()?,
                None => self.read(access, key, &decode).await?,
            });
        }
        Ok(values)
    }

    pub(super) async fn put(&mut self, access: Access, key: &[u8], value: &[u8]) -> Result<(), StateError> {
        self.put_now(access, key, value)?;
        self.make_room().await
    }

    pub(super) async fn delete(&mut self, access: Access, key: &[u8]) -> Result<(), StateError> {
        self.delete_now(access, key)?;
        self.make_room().await
    }

    /// Sets a value and waits for nothing; who calls it makes room when all that belongs to the change is done.
    pub(super) fn put_now(&mut self, access: Access, key: &[u8], value: &[u8]) -> Result<(), StateError> {
        self.check_sizes(key, value)?;
        self.changes.put(access, key, value);
        Ok(())
    }

    /// Removes a value likewise.
    pub(super) fn delete_now(&mut self, access: Access, key: &[u8]) -> Result<(), StateError> {
        self.check_sizes(key, &[])?;
        self.changes.delete(access, key);
        Ok(())
    }

    /// Folds an operand into a value that is not read: at the server, if nothing is known of the value here.
    pub(super) async fn merge(
        &mut self,
        key: &[u8],
        operator: MergeOperator,
        operand: &[u8],
    ) -> Result<(), StateError> {
        self.check_sizes(key, operand)?;
        self.changes.merge(key, operator, operand)?;
        self.make_room().await
    }

    /// A change of the task's own, which waits for the next flush without beginning one.
    pub(super) fn note(&mut self, key: &[u8], value: &[u8]) {
        self.changes.put(Access::Ordered, key, value);
    }

    /// Removes an ordered key likewise.
    pub(super) fn forget(&mut self, key: &[u8]) {
        self.changes.delete(Access::Ordered, key);
    }

    fn check_sizes(&self, key: &[u8], value: &[u8]) -> Result<(), StateError> {
        self.check()?;
        for (what, bytes, bytes_max) in [("key", key.len(), KEY_BYTES_MAX), ("value", value.len(), VALUE_BYTES_MAX)] {
            if bytes > bytes_max {
                return Err(StateError::TooLarge { what, bytes, bytes_max });
            }
        }
        Ok(())
    }

    /// A page of a range of ordered keys: about `limit` rows from its front.
    pub(super) async fn page(&self, range: &KeyRange, limit: usize) -> Result<Page, StateError> {
        self.check()?;
        let mut scan = self.target.table.scan(range.clone()).limit(limit as u64).start();
        let mut rows = BTreeMap::new();
        while let Some(row) = scan.next().await {
            let row = row?;
            rows.insert(row.key, Some(row.value));
        }
        let rest = if rows.len() < limit { None } else { rows.last_key_value().map(|(last, _)| format::after(last)) };
        let end = rest.as_ref().or(range.end());
        for layer in self.flight.as_ref().map(Flight::layer).into_iter().chain([&self.changes]) {
            for (key, change) in layer.range(range.start(), end) {
                let value = match change {
                    Change::Put(value) => Some(Bytes::copy_from_slice(value)),
                    _ => None,
                };
                rows.insert(key.clone(), value);
            }
        }
        Ok((rows.into_iter().filter_map(|(key, value)| Some((key, value?))).collect(), rest))
    }

    /// Begins a flush when there is enough to flush, and waits for the one before it when there is too much.
    pub(super) async fn make_room(&mut self) -> Result<(), StateError> {
        if self.changes.bytes() < self.options.flush_bytes {
            return Ok(());
        }
        let must_wait = self.changes.bytes() >= self.options.dirty_bytes_max;
        match &self.flight {
            Some(flight) if !flight.is_over() && !must_wait => return Ok(()),
            Some(_) => self.land().await?,
            None => {}
        }
        self.take_off(None);
        Ok(())
    }

    fn take_off(&mut self, checkpoint: Option<u64>) {
        assert!(self.flight.is_none(), "one flush after the other: a key's changes keep their order");
        let layer = std::mem::take(&mut self.changes);
        self.flight = Some(Flight::begin(self.target.clone(), layer, &self.options, checkpoint));
    }

    /// Waits for the flush that is under way, if there is one.
    async fn land(&mut self) -> Result<(), StateError> {
        let Some(flight) = &mut self.flight else { return Ok(()) };
        match flight.wait().await {
            Ok(checkpoint) => {
                let layer = self.flight.take().expect("it was waited for").into_layer();
                self.arrived(layer);
                if let Some((number, made)) = checkpoint {
                    let is_fenced = |error: &Error| error.kind() == lentic_types::ErrorKind::Fenced;
                    self.lost = made.as_ref().err().filter(|error| is_fenced(error)).cloned();
                    self.made = Some((number, made));
                }
                self.check()
            }
            // Parts of it may have arrived: neither to send it again nor to go on would be right.
            Err(error) => {
                self.flight = None;
                self.lost = Some(error);
                self.check()
            }
        }
    }

    /// The table has these changes now.
    fn arrived(&mut self, layer: Layer) {
        if self.cache.is_off() && self.ahead.is_empty() {
            return;
        }
        for (access, key, change) in layer.into_changes() {
            self.ahead.remove(&key);
            if self.cache.is_off() {
                continue;
            }
            match (access, change) {
                (Access::Point, Change::Put(value)) => self.cache.insert(key, Some(value.into())),
                (Access::Point, Change::Delete) => self.cache.insert(key, None),
                // What is read by scans is not worth a place that it has not.
                (Access::Ordered, Change::Put(value)) => self.cache.correct(key, Some(value.into())),
                (Access::Ordered, Change::Delete) => self.cache.correct(key, None),
                (_, Change::Merge(..)) => self.cache.forget(&key),
            }
        }
    }

    /// Waits until the table has all changes.
    pub(super) async fn flush(&mut self) -> Result<(), StateError> {
        self.check()?;
        self.land().await?;
        if !self.changes.is_empty() {
            self.take_off(None);
            self.land().await?;
        }
        Ok(())
    }

    /// Begins a flush of all changes, and a checkpoint behind it.
    pub(super) async fn begin_checkpoint(&mut self, number: u64) -> Result<(), StateError> {
        self.check()?;
        self.land().await?;
        self.made = None;
        self.take_off(Some(number));
        Ok(())
    }

    /// Waits for the checkpoint that was begun.
    pub(super) async fn end_checkpoint(&mut self) -> Result<(u64, Checkpoint), StateError> {
        if self.made.is_none() {
            self.check()?;
            self.land().await?;
        }
        match self.made.take() {
            Some((number, Ok(made))) => Ok((number, made)),
            Some((_, Err(error))) => {
                self.check()?;
                Err(StateError::Table(error))
            }
            None => Err(StateError::Invalid("no checkpoint was begun; call begin_checkpoint first".to_owned())),
        }
    }
}
