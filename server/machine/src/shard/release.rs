//! Release: give up what a token owns.

use super::apply::Context;
use super::command::Release;
use super::outcome::{Outcome, Refusal};
use super::state::Shard;

/// Applies a release. A token that owns nothing here, any more or ever, is refused as fenced.
pub(super) fn apply<V: lentic_engine::View>(
    shard: &mut Shard,
    Release { token }: Release,
    context: &mut Context<'_, '_, V>,
) -> Outcome {
    let before = shard.fences.clone();
    if !shard.fences.remove(token) {
        return Refusal::Fenced { newest: None }.into();
    }
    shard.put_fences(context.overlay.batch(), &before);
    Outcome::Released
}
