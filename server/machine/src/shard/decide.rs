//! Decide: a transaction's anchor records what becomes of it.
//!
//! The first decision stands. Whoever decides has asked every participant, or has seen that one will never prepare, so
//! all come to the same; the record is what they agree on when one gives up on a transaction that another completes.

use lentic_engine::View;
use lentic_types::{Index, Version};

use super::apply::{Context, Fatal};
use super::command::Decide;
use super::outcome::{Decision, Outcome, Refusal};
use super::resolve;
use super::state::Shard;

/// Applies a decision at `version`.
pub(super) fn apply<V: View>(
    shard: &mut Shard,
    index: Index,
    version: Version,
    Decide { txn, decision }: &Decide,
    context: &mut Context<'_, '_, V>,
) -> Result<Outcome, Fatal> {
    if !shard.is_anchor(txn) {
        return Ok(Refusal::OutOfRange.into());
    }
    let Some(open) = shard.locks.get(txn.id) else {
        if let Some(decided) = shard.locks.ended(txn.id) {
            return Ok(Outcome::Decided(decided));
        }
        // It may have ended long ago, and otherwise than is asked now. What is still held anywhere was not committed:
        // whoever meets that has it aborted.
        if shard.is_late(txn, version) {
            return Ok(Refusal::TxnEnded.into());
        }
        if *decision == Decision::Abort {
            // Never prepared here, and never will be.
            shard.end_txn(context.overlay.batch(), txn, Decision::Abort);
        }
        return Ok(Outcome::Decided(*decision));
    };
    if let Some(decided) = open.decision {
        return Ok(Outcome::Decided(decided));
    }
    if let Err(refusal) = resolve::check(open, *decision, version) {
        return Ok(refusal.into());
    }
    let key = open.key;
    resolve::decide(shard, txn.id, *decision, context)?;
    if let (Some(key), Decision::Commit(commit)) = (key, decision)
        && shard.answers.find(&key).is_none()
    {
        // The request's own stamp: answers are kept in the order of stamps.
        shard.answers.keep(&key, index, version, Outcome::Committed { version: *commit });
    }
    Ok(Outcome::Decided(*decision))
}
