//! Resolve: a shard does as was decided of a transaction.
//!
//! On commit its locks become versions, at the version of the commit; on abort they go. A transaction that was never
//! prepared here is closed, so that it never is.

use bytes::Bytes;
use lentic_engine::View;
use lentic_types::{TxnId, Version};

use super::apply::{Context, Fatal};
use super::command::Resolve;
use super::locks::{Mode, OpenTxn};
use super::outcome::{Decision, Outcome, Refusal};
use super::state::Shard;
use super::{take, write};

const TWO_OUTCOMES: Fatal = Fatal::Invariant("a transaction has one outcome");

/// Applies a resolution at `version`.
pub(super) fn apply<V: View>(
    shard: &mut Shard,
    version: Version,
    Resolve { txn, decision }: &Resolve,
    context: &mut Context<'_, '_, V>,
) -> Result<Outcome, Fatal> {
    // An anchor that has forgotten a commit says that nothing can begin any more. It has forgotten only what all have done
    // as was decided, so a shard that knows better has nothing to do.
    let is_hearsay = *decision == Decision::Abort;
    let Some(open) = shard.locks.get(txn.id) else {
        match (shard.locks.ended(txn.id), decision) {
            (Some(ended), _) if ended != *decision && !is_hearsay => return Err(TWO_OUTCOMES),
            (None, Decision::Abort) if !shard.is_late(txn, version) => {
                shard.end_txn(context.overlay.batch(), txn, Decision::Abort);
            }
            (None, Decision::Commit(_)) if !shard.is_late(txn, version) => {
                return Err(Fatal::Invariant("what is committed was prepared, and is kept in mind"));
            }
            _ => {}
        }
        return Ok(Outcome::Resolved);
    };
    match open.decision {
        Some(known) if known != *decision && !is_hearsay => return Err(TWO_OUTCOMES),
        Some(known) if known != *decision => return Ok(Outcome::Resolved),
        Some(_) => {}
        None if !open.participants.is_empty() => {
            return Ok(Refusal::Invalid("a transaction is decided at its anchor before it is resolved there").into());
        }
        None => {
            if let Err(refusal) = check(open, *decision, version) {
                return Ok(refusal.into());
            }
            decide(shard, txn.id, *decision, context)?;
        }
    }
    if shard.locks.get(txn.id).is_some_and(|open| !open.participants.is_empty() && !open.is_resolved) {
        shard.locks.resolve(txn.id);
        if !shard.end_if_done(txn.id, context) {
            shard.put_txn(context.overlay.batch(), txn.id);
        }
    }
    Ok(Outcome::Resolved)
}

/// Whether a decision can be one about this transaction.
pub(super) fn check(open: &OpenTxn, decision: Decision, stamp: Version) -> Result<(), Refusal> {
    match decision {
        // The tick of the stamp was fetched after the request came, so after every prepare was stamped.
        Decision::Commit(version) if version < open.version || version >= stamp => {
            Err(Refusal::Invalid("a commit lies at or above its prepares, and below what is stamped after it"))
        }
        _ => Ok(()),
    }
}

/// Does as was decided with all that an open transaction holds.
pub(super) fn decide<V: View>(
    shard: &mut Shard,
    txn: TxnId,
    decision: Decision,
    context: &mut Context<'_, '_, V>,
) -> Result<(), Fatal> {
    let taken = shard.locks.get(txn).and_then(|open| open.take.clone());
    let keys = shard.locks.decide(txn, decision);
    context.locks.decided.push(txn);
    if let (Some(range), Decision::Commit(commit)) = (taken, decision)
        && !(lentic_types::mutant!("take-not-atomic")
            && shard.locks.get(txn).is_some_and(|open| open.participants.is_empty()))
    {
        take::carry_out(shard, commit, &range, context);
    }
    for key in keys {
        let mode = shard.locks.mode_of(txn, &key);
        if decision == Decision::Abort || mode == Mode::Read {
            shard.remove_lock(context.overlay.batch(), txn, &key);
            if mode.writes() {
                context.locks.gone.push((txn, key.clone()));
            }
        }
        write_decided(shard, &key, context)?;
    }
    if shard.locks.get(txn).is_some() && !shard.end_if_done(txn, context) {
        shard.put_txn(context.overlay.batch(), txn);
    }
    Ok(())
}

/// Writes what committed transactions do with `key`, as far as no other can come before them.
fn write_decided<V: View>(shard: &mut Shard, key: &Bytes, context: &mut Context<'_, '_, V>) -> Result<(), Fatal> {
    let mut before = Version::ZERO;
    while let Some((txn, commit)) = shard.locks.next_commit(key) {
        let lock = shard.remove_lock(context.overlay.batch(), txn, key);
        // Above everything that was there when the key was locked; and what is shared comes in order.
        if commit < lock.version || commit < before {
            return Err(Fatal::Invariant("the versions of a key rise"));
        }
        before = commit;
        for operation in &lock.operations {
            if write::operate(shard, commit, 0, operation, context)?.is_err() {
                return Err(Fatal::Invariant("what was prepared is not refused"));
            }
        }
        context.locks.gone.push((txn, key.clone()));
        shard.end_if_done(txn, context);
    }
    Ok(())
}
