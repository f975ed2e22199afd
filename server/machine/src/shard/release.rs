//! Release: give up what a token owns of a range, and no more.

use lentic_types::limits::FENCES_MAX;

use super::apply::Context;
use super::command::Release;
use super::outcome::{Outcome, Refusal};
use super::state::Shard;

/// Applies a release. A token that owns nothing of the range, any more or ever, is refused as fenced.
pub(super) fn apply<V: lentic_engine::View>(
    shard: &mut Shard,
    Release { range, token }: &Release,
    context: &mut Context<'_, '_, V>,
) -> Outcome {
    if !shard.descriptor.range.covers(range) {
        return Refusal::OutOfRange.into();
    }
    let before = shard.fences.clone();
    if !shard.fences.release(range, *token) {
        return Refusal::Fenced { newest: None }.into();
    }
    // What is given up in the middle of a range leaves two; those that are prepared find room when they commit.
    let grows = shard.fences.len() > before.len();
    if grows && shard.fences.len() + super::take::fences_to_come(shard) > FENCES_MAX {
        shard.fences = before;
        return Refusal::TooLarge { position: 0 }.into();
    }
    shard.put_fences(context.overlay.batch(), &before);
    Outcome::Released
}
