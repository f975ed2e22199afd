//! Prepare: one shard's share of a transaction is checked, and everything that it depends on is locked.
//!
//! Afterwards nothing can keep it from committing, at the version of the prepare or above: what it has read does not
//! change, and what it does was tried. A refusal for good closes the transaction here: a copy of the prepare that comes
//! later, when the reason is gone, must not find the way free.

use std::collections::BTreeMap;

use bytes::Bytes;
use lentic_engine::read::earlier;
use lentic_engine::{Head, View};
use lentic_types::limits::{HELD_RANGES_MAX, LOCKED_BYTES_MAX, LOCKS_MAX, TXN_BYTES_MAX, TXN_KEYS_MAX};
use lentic_types::{Expiry, KeyRange, TxnId, Version};

use super::apply::{Context, Fatal};
use super::command::{Operation, Prepare, Request, Take, TxnRef, Write, position_of};
use super::locks::{Lock, Mode, OpenTxn};
use super::merge::head_of;
use super::outcome::{Decision, Outcome, Prepared, Refusal};
use super::state::Shard;
use super::{conditions, take, write};

/// What a transaction is to do with each key, and the ranges that it depends on.
#[derive(Default)]
struct Plan {
    keys: BTreeMap<Bytes, (Mode, Vec<Operation>)>,
    ranges: Vec<KeyRange>,
}

/// Applies a prepare.
pub(super) fn apply<V: View>(
    shard: &mut Shard,
    request: &Request,
    prepare: &Prepare,
    context: &mut Context<'_, '_, V>,
) -> Result<Outcome, Fatal> {
    let (version, id) = (request.version, prepare.txn.id);
    if let Some(open) = shard.locks.get(id) {
        return Ok(Outcome::Prepared(Prepared { version: open.version, valid_until: open.valid_until }));
    }
    if shard.is_anchor(&prepare.txn) && prepare.participants.is_empty() {
        return Ok(Refusal::Invalid("the anchor of a transaction is told all shards that take part").into());
    }
    if shard.is_late(&prepare.txn, version) || shard.locks.ended(id).is_some() {
        return Ok(Refusal::TxnEnded.into());
    }
    // An earlier attempt at the same request may yet commit.
    if let Some(holder) = request.key.as_ref().and_then(|key| shard.locks.of_request(key)) {
        return Ok(Refusal::Blocked { holder }.into());
    }
    let tried = match &prepare.take {
        Some(take) => check_take(shard, version, id, take).map(|()| (Plan::default(), None)),
        None => check(shard, version, id, &prepare.parts, context)?,
    };
    let (plan, valid_until) = match tried {
        Ok(tried) => tried,
        Err(refusal) => {
            if refusal.is_final() {
                shard.end_txn(context.overlay.batch(), &prepare.txn, Decision::Abort);
            }
            return Ok(refusal.into());
        }
    };
    let participants = if shard.is_anchor(&prepare.txn) { prepare.participants.clone() } else { Vec::new() };
    let open = OpenTxn {
        txn: owned(&prepare.txn),
        version,
        valid_until,
        key: request.key.filter(|_| !participants.is_empty()),
        participants,
        ranges: plan.ranges,
        take: prepare.take.as_deref().cloned().map(Take::owned),
        decision: None,
        is_resolved: false,
    };
    context.locks.opened.push((open.txn.clone(), version));
    context.locks.taking.extend(open.take.iter().map(|take| (id, take.range.clone())));
    let back = open.take.iter().flat_map(|take| &take.back);
    context.locks.going_back.extend(back.map(|back| (id, back.range.clone(), version)));
    shard.open_txn(context.overlay.batch(), open);
    for (key, (mode, operations)) in plan.keys {
        if mode.writes() {
            context.locks.placed.push((id, key.clone(), version));
        }
        shard.place_lock(context.overlay.batch(), id, key, Lock { mode, version, operations });
    }
    Ok(Outcome::Prepared(Prepared { version, valid_until }))
}

/// Whether a range could be taken now.
fn check_take(shard: &Shard, version: Version, id: TxnId, range: &Take) -> Result<(), Refusal> {
    take::check(shard, version, range)?;
    match shard.locks.holds_in(&range.range, Some(id)) {
        Some(holder) => Err(Refusal::Blocked { holder }),
        None if shard.locks.len() >= LOCKS_MAX => Err(Refusal::LocksFull),
        None => Ok(()),
    }
}

/// Whether all of it could be done now; and then, what is to be locked, and until when what was read stands.
fn check<V: View>(
    shard: &mut Shard,
    version: Version,
    id: TxnId,
    parts: &[Write],
    context: &mut Context<'_, '_, V>,
) -> Result<Result<(Plan, Option<Expiry>), Refusal>, Fatal> {
    let mut plan = Plan::default();
    for part in parts {
        if let Err(refusal) = write::check_keys(shard, part) {
            return Ok(Err(refusal));
        }
        plan.add_reads(part);
    }
    if let Some(holder) = parts.iter().filter_map(|part| part.blocker(&shard.locks, Some(id))).min() {
        return Ok(Err(Refusal::Blocked { holder }));
    }
    if let Some(refusal) = no_room(shard, parts) {
        return Ok(Err(refusal));
    }
    let (mut until, mut before) = (None, 0);
    for part in parts {
        match conditions::check(shard, version, part, before, context)? {
            Ok(ends) => until = earlier(until, ends),
            Err(refusal) => return Ok(Err(refusal)),
        }
        before += part.conditions.len() + part.ranges.len();
    }
    let operations = match expand(shard, version, parts, context)? {
        Ok(operations) => operations,
        Err(refusal) => return Ok(Err(refusal)),
    };
    operations.into_iter().for_each(|operation| plan.add(operation));
    Ok(Ok((plan, until)))
}

/// Why the shard's locks cannot take it now.
fn no_room(shard: &Shard, parts: &[Write]) -> Option<Refusal> {
    let locks: usize = parts.iter().map(|part| part.conditions.len() + part.operations.len() + part.ranges.len()).sum();
    let ranges: usize = parts.iter().map(Write::held_ranges).sum();
    let bytes: usize = parts.iter().flat_map(|part| &part.operations).map(Operation::bytes).sum();
    let held = &shard.locks;
    let is_full = held.len() + locks > LOCKS_MAX
        || held.ranges() + ranges > HELD_RANGES_MAX
        || (held.bytes() > 0 && held.bytes() + bytes > LOCKED_BYTES_MAX);
    is_full.then_some(Refusal::LocksFull)
}

/// The operations, tried one after the other as if they were written now, and with each delete-range made the deletes of
/// what it found. What was tried is taken back.
fn expand<V: View>(
    shard: &mut Shard,
    version: Version,
    parts: &[Write],
    context: &mut Context<'_, '_, V>,
) -> Result<Result<Vec<Operation>, Refusal>, Fatal> {
    let all = || parts.iter().flat_map(|part| &part.operations);
    if all().all(|operation| matches!(operation, Operation::Put { .. } | Operation::Delete { .. })) {
        return Ok(Ok(all().cloned().collect()));
    }
    let changes = context.overlay.batch().len();
    let (mut operations, mut bytes, mut refused) = (Vec::new(), 0, None);
    let mut heads: BTreeMap<Bytes, Option<Head>> = BTreeMap::new();
    for (position, operation) in all().enumerate() {
        let position = position_of(position);
        let tried = match operation {
            Operation::DeleteRange { range } => match write::live_keys(shard, version, position, range, context)? {
                Ok(keys) => {
                    let deletes = keys.into_iter().map(|key| Operation::Delete { key }).collect::<Vec<_>>();
                    for delete in &deletes {
                        write::operate(shard, version, position, delete, context)?.expect("a delete is not refused");
                    }
                    bytes += deletes.iter().map(Operation::bytes).sum::<usize>();
                    operations.extend(deletes);
                    // What a delete-range finds is locked too.
                    let is_too_large = operations.len() > TXN_KEYS_MAX || bytes > TXN_BYTES_MAX;
                    if is_too_large { Err(Refusal::TooLarge { position }) } else { Ok(()) }
                }
                Err(refusal) => Err(refusal),
            },
            operation => {
                operations.push(operation.clone());
                if let Operation::Merge { key, .. } = operation
                    && !heads.contains_key(key)
                {
                    head_of(shard, version, key, context)?;
                    heads.insert(key.clone(), shard.heads.get(key).cloned());
                }
                write::operate(shard, version, position, operation, context)?
            }
        };
        if let Err(refusal) = tried {
            refused = Some(refusal);
            break;
        }
    }
    context.overlay.truncate(changes);
    // The memo may know what was taken back.
    let is_simple = |operation: &Operation| matches!(operation, Operation::Merge { .. });
    match all().all(is_simple) {
        true => heads.into_iter().for_each(|(key, head)| match head {
            Some(head) => shard.heads.remember(&key, head),
            None => shard.heads.forget(&key),
        }),
        false => shard.heads.clear(),
    }
    Ok(refused.map_or(Ok(operations), Err))
}

impl Plan {
    fn add_reads(&mut self, part: &Write) {
        if lentic_types::mutant!("no-read-locks") {
            return;
        }
        for condition in &part.conditions {
            self.lock(&condition.key, Mode::Read);
        }
        let deleted = part.operations.iter().filter_map(|operation| match operation {
            Operation::DeleteRange { range } => Some(range),
            _ => None,
        });
        let ranges = part.ranges.iter().map(|read| &read.range).chain(deleted);
        self.ranges.extend(ranges.map(|range| {
            let end = range.end().map(|end| Bytes::copy_from_slice(end));
            KeyRange::new(Bytes::copy_from_slice(range.start()), end).expect("a copy of a range is one")
        }));
    }

    fn add(&mut self, operation: Operation) {
        let key = operation.key().expect("delete-ranges are expanded").clone();
        let (_, operations) = self.lock(&key, Mode::of(&operation));
        operations.push(operation.owned());
    }

    fn lock(&mut self, key: &Bytes, mode: Mode) -> &mut (Mode, Vec<Operation>) {
        // Copies: they would hold the memory of a whole entry.
        let entry = self.keys.entry(Bytes::copy_from_slice(key)).or_insert_with(|| (mode, Vec::new()));
        entry.0 = entry.0.and(mode);
        entry
    }
}

fn owned(txn: &TxnRef) -> TxnRef {
    let mut txn = txn.clone();
    txn.anchor.key = Bytes::copy_from_slice(&txn.anchor.key);
    txn
}
