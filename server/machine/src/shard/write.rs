//! Write: conditions and operations, together or not at all.
//!
//! A request is refused before it leaves a trace: limits, range, fence and conditions come first; a merge that cannot be
//! folded, or a delete-range that is too large, takes the operations before it back.

use bytes::Bytes;
use lentic_engine::record::Record;
use lentic_engine::{Direction, Head, ScanLimits, View, write};
use lentic_types::{KeyRange, TxnId, Version, limits};

use super::apply::{Context, Fatal};
use super::command::{Operation, Write, position_of};
use super::conditions;
use super::locks::{Locks, Mode};
use super::merge;
use super::outcome::{Outcome, Refusal};
use super::state::Shard;

/// Applies a write at `version`.
pub(super) fn apply<V: View>(
    shard: &mut Shard,
    version: Version,
    request: &Write,
    context: &mut Context<'_, '_, V>,
) -> Result<Outcome, Fatal> {
    if let Err(refusal) = check_keys(shard, request) {
        return Ok(refusal.into());
    }
    if let Some(holder) = request.blocker(&shard.locks, None) {
        return Ok(Refusal::Blocked { holder }.into());
    }
    if let Err(refusal) = conditions::check(shard, version, request, 0, context)? {
        return Ok(refusal.into());
    }
    let changes = context.overlay.batch().len();
    for (position, operation) in request.operations.iter().enumerate() {
        if let Err(refusal) = operate(shard, version, position_of(position), operation, context)? {
            context.overlay.truncate(changes);
            // The memo may know what was taken back.
            shard.heads.clear();
            return Ok(refusal.into());
        }
    }
    Ok(Outcome::Committed { version })
}

/// Checks that every key lies in the shard and, where it changes, may be changed by this writer.
pub(super) fn check_keys(shard: &Shard, request: &Write) -> Result<(), Refusal> {
    let range = &shard.descriptor.range;
    let is_inside = |operation: &Operation| match operation {
        Operation::Put { key, .. } | Operation::Delete { key } | Operation::Merge { key, .. } => range.contains(key),
        Operation::DeleteRange { range: deleted } => range.covers(deleted),
    };
    let conditions_inside = request.conditions.iter().all(|condition| range.contains(&condition.key))
        && request.ranges.iter().all(|read| range.covers(&read.range));
    if !conditions_inside || !request.operations.iter().all(is_inside) {
        return Err(Refusal::OutOfRange);
    }
    if shard.fences.is_empty() && request.fence.is_none() {
        return Ok(());
    }
    for operation in &request.operations {
        // Whoever takes it may have been told so already, and be this writer.
        let refused = |newest, taker: Option<TxnId>| match taker {
            Some(holder) => Refusal::Blocked { holder },
            None => Refusal::Fenced { newest },
        };
        match operation {
            Operation::Put { key, .. } | Operation::Delete { key } | Operation::Merge { key, .. } => shard
                .fences
                .check_key(key, request.fence)
                .map_err(|newest| refused(newest, shard.locks.taker_of(|taken| taken.contains(key))))?,
            Operation::DeleteRange { range } => shard
                .fences
                .check_range(range, request.fence)
                .map_err(|newest| refused(newest, shard.locks.taker_of(|taken| taken.overlaps(range))))?,
        }
    }
    Ok(())
}

/// Does one operation at `version`, or refuses it without a trace.
pub(super) fn operate<V: View>(
    shard: &mut Shard,
    version: Version,
    position: u32,
    operation: &Operation,
    context: &mut Context<'_, '_, V>,
) -> Result<Result<(), Refusal>, Fatal> {
    let table = shard.descriptor.table;
    match operation {
        Operation::Put { key, value, expiry } => {
            let expiry = shard.descriptor.expiry(version, *expiry);
            let record = Record::Put { value, expiry };
            write::record(context.overlay.batch(), table, key, version, &record);
            let head = || Head::Put { version, value: Bytes::copy_from_slice(value), expiry };
            shard.heads.correct(key, head);
        }
        Operation::Delete { key } => delete(shard, version, key, context),
        Operation::DeleteRange { range } => return delete_range(shard, version, position, range, context),
        Operation::Merge { key, operator, operand, expiry } => {
            let expiry = shard.descriptor.expiry(version, *expiry);
            let merge = write::Merge { key, operator: *operator, operand, expiry };
            return merge::apply(shard, version, position, key, &merge, context);
        }
    }
    Ok(Ok(()))
}

impl Write {
    /// The oldest open transaction but `own` that keeps the write from being judged.
    ///
    /// By itself, a write is done with what it reads when it is applied, so it shares nothing. As part of the transaction
    /// `own` it may hold keys together with others.
    pub(super) fn blocker(&self, locks: &Locks, own: Option<TxnId>) -> Option<TxnId> {
        if locks.is_empty() {
            return None;
        }
        let reads = self.conditions.iter().filter_map(|condition| locks.blocks_key(&condition.key, Mode::Read, own));
        let ranges = self.ranges.iter().filter_map(|read| locks.blocks_range(&read.range, Mode::Read, own));
        let operations = self.operations.iter().filter_map(|operation| match operation {
            Operation::DeleteRange { range } => locks.blocks_range(range, Mode::Write, own),
            Operation::Put { key, .. } | Operation::Delete { key } | Operation::Merge { key, .. } => {
                let mode = if own.is_some() { Mode::of(operation) } else { Mode::Write };
                locks.blocks_key(key, mode, own)
            }
        });
        reads.chain(ranges).chain(operations).min()
    }
}

fn delete<V: View>(shard: &mut Shard, version: Version, key: &Bytes, context: &mut Context<'_, '_, V>) {
    write::record(context.overlay.batch(), shard.descriptor.table, key, version, &Record::Delete);
    shard.heads.correct(key, || Head::Absent);
}

/// Deletes the live keys of `range`, one by one: readers then need no rule of their own for deleted ranges.
fn delete_range<V: View>(
    shard: &mut Shard,
    version: Version,
    position: u32,
    range: &KeyRange,
    context: &mut Context<'_, '_, V>,
) -> Result<Result<(), Refusal>, Fatal> {
    match live_keys(shard, version, position, range, context)? {
        Ok(keys) => keys.iter().for_each(|key| delete(shard, version, key, context)),
        Err(refusal) => return Ok(Err(refusal)),
    }
    Ok(Ok(()))
}

/// The keys of `range` that have a value, unless there are too many to delete.
pub(super) fn live_keys<V: View>(
    shard: &Shard,
    version: Version,
    position: u32,
    range: &KeyRange,
    context: &mut Context<'_, '_, V>,
) -> Result<Result<Vec<Bytes>, Refusal>, Fatal> {
    let keys_max = limits::DELETE_RANGE_KEYS_MAX as usize;
    let mut keys: Vec<Bytes> = Vec::new();
    let mut rest = Some(range.clone());
    while let Some(range) = rest {
        let page_limits = ScanLimits { rows_max: keys_max + 1 - keys.len(), ..ScanLimits::default() };
        let at = shard.read_at(version);
        let page = at.scan(&*context.overlay, &range, Direction::Forward, &page_limits, &mut context.stats.reads)?;
        keys.extend(page.rows.into_iter().map(|row| row.key));
        if keys.len() > keys_max {
            return Ok(Err(Refusal::TooLarge { position }));
        }
        rest = page.rest;
    }
    Ok(Ok(keys))
}
