//! From the records of one key to the value that a reader sees.

use bytes::Bytes;
use lentic_types::{Expiry, Version};

use super::{Found, Head, ReadError, ReadStats};
use crate::keys::data;
use crate::masks::KeyMasks;
use crate::merge::MergeOperator;
use crate::record::{Operand, Record};
use crate::store::{Cursor, Family, StoreError};

/// Records stepped over before a seek takes over. A step costs a tenth of a seek; most keys have few versions.
const STEPS_BEFORE_SEEK: u32 = 8;

/// A cursor over data records, and the version it reads at.
pub struct Resolver<'s, C> {
    cursor: C,
    at: Version,
    /// The reader's version, which may be above that of a layer it looks at.
    ends_at: Version,
    stats: &'s mut ReadStats,
    /// Where to seek to: kept to be filled again.
    target: Vec<u8>,
    /// Whether the cursor is at a record of the key that is being resolved.
    is_at_key: bool,
}

/// What a table shows of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sight<T> {
    /// Something that is there.
    Value(T),
    /// A record says that there is nothing: a delete, or one that has ended.
    Gone,
    /// There is no record, or none that is visible.
    Nothing,
}

impl<T> Sight<T> {
    /// What is there, if something is.
    #[must_use]
    pub fn value(self) -> Option<T> {
        match self {
            Self::Value(value) => Some(value),
            Self::Gone | Self::Nothing => None,
        }
    }
}

/// The operands met on the way down to a put, newest first.
struct Chain {
    version: Version,
    expiry: Option<Expiry>,
    operator: MergeOperator,
    operands: Vec<Bytes>,
    /// The depth that the next record must have; 0 is the put.
    next_depth: u8,
}

impl<'s, C: Cursor> Resolver<'s, C> {
    /// A resolver that reads at `at` through `cursor`, counting into `stats`.
    pub const fn new(cursor: C, at: Version, stats: &'s mut ReadStats) -> Self {
        Self { cursor, at, ends_at: at, stats, target: Vec::new(), is_at_key: false }
    }

    /// Reads at another version from now on, through the same cursor.
    pub(crate) const fn go_to(&mut self, at: Version) {
        (self.at, self.ends_at) = (at, at);
    }

    /// Reads at an older version from now on, for a reader at `ends_at`: that is when what ends has ended.
    pub(crate) const fn go_down_to(&mut self, at: Version, ends_at: Version) {
        (self.at, self.ends_at) = (at, ends_at);
    }

    /// Seeks to the records of `prefix` and resolves them.
    pub fn point(&mut self, prefix: &[u8], masks: KeyMasks<'_>) -> Result<Sight<Found>, ReadError> {
        self.seek_version(prefix, self.at)?;
        self.resolve(prefix, masks)
    }

    /// The value of the key with `prefix`, from the cursor's place on, which is at one of the key's records or before
    /// them. Afterwards the cursor is at one of the key's records or behind them.
    pub fn resolve(&mut self, prefix: &[u8], masks: KeyMasks<'_>) -> Result<Sight<Found>, ReadError> {
        Ok(match self.newest_visible(prefix, self.at, masks)? {
            Sight::Nothing => Sight::Nothing,
            Sight::Gone | Sight::Value((_, Record::Delete)) => Sight::Gone,
            Sight::Value((version, Record::Put { value, expiry })) => {
                Sight::Value(Found { version, value: Bytes::copy_from_slice(value), expiry })
            }
            Sight::Value((version, Record::Operand { operand, expiry })) => {
                let chain = Chain::new(version, expiry, &operand);
                Sight::Value(self.fold_chain(prefix, masks, chain)?)
            }
        })
    }

    /// What a writer at this resolver's version needs to know of the key with `prefix`: its newest visible record.
    pub fn head(&mut self, prefix: &[u8], masks: KeyMasks<'_>) -> Result<Sight<Head>, ReadError> {
        self.seek_version(prefix, self.at)?;
        Ok(match self.newest_visible(prefix, self.at, masks)? {
            Sight::Nothing => Sight::Nothing,
            Sight::Gone | Sight::Value((_, Record::Delete)) => Sight::Gone,
            Sight::Value((version, Record::Put { value, expiry })) => {
                Sight::Value(Head::Put { version, value: Bytes::copy_from_slice(value), expiry })
            }
            Sight::Value((version, Record::Operand { operand, expiry })) => {
                let Operand { operator, depth, folded_bytes, .. } = operand;
                Sight::Value(Head::Operand { version, operator, depth, folded_bytes, expiry })
            }
        })
    }

    /// The version of the newest record that this reader sees of the key with `prefix`, from the cursor's place on, which is
    /// at or before it; `None` if it sees none that has a value.
    pub(super) fn version_seen(&mut self, prefix: &[u8], masks: KeyMasks<'_>) -> Result<Option<Version>, ReadError> {
        let seen = self.newest_visible(prefix, self.at, masks)?;
        let seen = seen.value().filter(|(_, record)| !matches!(record, Record::Delete));
        Ok(seen.map(|(version, _)| version))
    }

    /// The record at the cursor, if it is one of `prefix`: from the first of its records on, the newest there is, whatever
    /// hides it.
    pub fn newest(&mut self, prefix: &[u8]) -> Result<Option<(Version, Record<'_>)>, ReadError> {
        let Some(version) = self.version_here(prefix)? else { return Ok(None) };
        Ok(Some((version, self.record()?)))
    }

    /// Goes to the newest record at or below `below` that no mask hides.
    fn newest_visible(
        &mut self,
        prefix: &[u8],
        below: Version,
        masks: KeyMasks<'_>,
    ) -> Result<Sight<(Version, Record<'_>)>, ReadError> {
        let Some(version) = self.step_to_visible(prefix, below, masks)? else { return Ok(Sight::Nothing) };
        let at = self.ends_at;
        let record = self.record()?;
        Ok(if record.is_gone_at(at) { Sight::Gone } else { Sight::Value((version, record)) })
    }

    /// Folds the operands of `chain`, whose newest is at the cursor, into the put below them.
    fn fold_chain(&mut self, prefix: &[u8], masks: KeyMasks<'_>, mut chain: Chain) -> Result<Found, ReadError> {
        let mut below = chain.version;
        while let Some(next) = below.0.checked_sub(1) {
            self.cursor.next()?;
            let Some(version) = self.step_to_visible(prefix, Version(next), masks)? else { break };
            below = version;
            match self.record()? {
                Record::Operand { operand, .. } if chain.continues(&operand) => chain.push(&operand),
                Record::Put { value, .. } if chain.next_depth == 0 => return chain.fold(prefix, value),
                _ => break,
            }
        }
        Err(StoreError::damaged(Family::Data, prefix, "operands without the base they were written on").into())
    }

    /// Goes to the newest record of `prefix` at or below `below` that no mask hides from this resolver's version.
    fn step_to_visible(
        &mut self,
        prefix: &[u8],
        mut below: Version,
        masks: KeyMasks<'_>,
    ) -> Result<Option<Version>, ReadError> {
        while let Some(version) = self.step_down_to(prefix, below)? {
            let Some(from) = masks.hidden_from(version, self.at) else { return Ok(Some(version)) };
            below = from;
            self.cursor.next()?;
        }
        Ok(None)
    }

    /// The record at the cursor.
    fn record(&self) -> Result<Record<'_>, ReadError> {
        let (key, bytes) = self.cursor.entry().expect("the cursor is at a record");
        Record::decode(bytes).map_err(|reason| ReadError::record(key, &reason))
    }

    /// Goes to the newest record of `prefix` at or below `below`, from a place at or before it, and returns its version.
    /// `None` if there is none; the cursor is then behind the key's records.
    fn step_down_to(&mut self, prefix: &[u8], below: Version) -> Result<Option<Version>, ReadError> {
        for _ in 0..STEPS_BEFORE_SEEK {
            let Some(version) = self.version_here(prefix)? else { return Ok(None) };
            if version <= below {
                return Ok(Some(version));
            }
            self.cursor.next()?;
        }
        self.seek_version(prefix, below)?;
        self.version_here(prefix)
    }

    /// The version of the record at the cursor, if it is one of `prefix`; counts it, and notes whether it is.
    fn version_here(&mut self, prefix: &[u8]) -> Result<Option<Version>, ReadError> {
        let version = match self.cursor.key() {
            Some(key) if data::prefix(key) == prefix => Some(version_of(key)?),
            _ => None,
        };
        self.is_at_key = version.is_some();
        self.stats.records += u64::from(self.is_at_key);
        Ok(version)
    }

    /// Goes behind the records of the key with `prefix`, which was resolved last.
    pub fn leave(&mut self, prefix: &[u8]) -> Result<(), ReadError> {
        for _ in 0..STEPS_BEFORE_SEEK {
            if !self.is_at_key {
                return Ok(());
            }
            self.cursor.next()?;
            self.version_here(prefix)?;
        }
        self.target.clear();
        self.target.extend_from_slice(prefix);
        data::make_prefix_end(&mut self.target);
        self.seek_target()
    }

    /// Goes behind the records of the key with `prefix`, at one of which the cursor is.
    pub fn pass(&mut self, prefix: &[u8]) -> Result<(), ReadError> {
        self.version_here(prefix)?;
        self.leave(prefix)
    }

    pub(super) fn seek_version(&mut self, prefix: &[u8], version: Version) -> Result<(), ReadError> {
        self.target.clear();
        self.target.extend_from_slice(prefix);
        data::put_version(&mut self.target, version);
        self.seek_target()
    }

    fn seek_target(&mut self) -> Result<(), ReadError> {
        self.stats.seeks += 1;
        Ok(self.cursor.seek(&self.target)?)
    }

    /// Goes to the first record at or after `key`: before a first [`resolve`](Self::resolve).
    pub fn seek(&mut self, key: &[u8]) -> Result<(), ReadError> {
        self.stats.seeks += 1;
        Ok(self.cursor.seek(key)?)
    }

    /// Goes to the last record at or before `key`.
    pub fn seek_back(&mut self, key: &[u8]) -> Result<(), ReadError> {
        self.stats.seeks += 1;
        Ok(self.cursor.seek_back(key)?)
    }

    /// The store key at the cursor, if it is at one.
    pub fn key(&self) -> Option<&[u8]> {
        self.cursor.key()
    }

    /// What has been read so far.
    pub const fn stats(&mut self) -> &mut ReadStats {
        self.stats
    }
}

impl Chain {
    fn new(version: Version, expiry: Option<Expiry>, operand: &Operand<'_>) -> Self {
        let mut chain =
            Self { version, expiry, operator: operand.operator, operands: Vec::new(), next_depth: operand.depth };
        chain.push(operand);
        chain
    }

    fn continues(&self, operand: &Operand<'_>) -> bool {
        operand.operator == self.operator && operand.depth == self.next_depth
    }

    fn push(&mut self, operand: &Operand<'_>) {
        self.operands.push(Bytes::copy_from_slice(operand.bytes));
        self.next_depth = operand.depth - 1;
    }

    fn fold(&self, key: &[u8], base: &[u8]) -> Result<Found, ReadError> {
        let oldest_first = self.operands.iter().rev().map(AsRef::as_ref);
        let value = self.operator.fold(Some(base), oldest_first).map_err(|reason| ReadError::fold(key, reason))?;
        Ok(Found { version: self.version, value: value.into(), expiry: self.expiry })
    }
}

fn version_of(key: &[u8]) -> Result<Version, ReadError> {
    data::split(key).map(|(_, version)| version).map_err(|reason| ReadError::record(key, &reason))
}
