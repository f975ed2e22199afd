//! Merge: one operand into one key.

use bytes::Bytes;
use lentic_engine::merge::MergeError;
use lentic_engine::{Head, View, write};
use lentic_types::Version;

use super::apply::{Context, Fatal};
use super::outcome::Refusal;
use super::state::Shard;

/// Applies the operation at `position` of a write.
pub(super) fn apply<V: View>(
    shard: &mut Shard,
    version: Version,
    position: u32,
    key: &Bytes,
    merge: &write::Merge<'_>,
    context: &mut Context<'_, '_, V>,
) -> Result<Result<(), Refusal>, Fatal> {
    let head = head_of(shard, version, key, context)?;
    let Context { overlay, scratch, stats, .. } = context;
    scratch.truncate(0);
    let merged = write::merge(scratch, &**overlay, &shard.read_at(version), &head, merge, &mut stats.reads)?;
    Ok(match merged {
        Ok(head) => {
            overlay.batch().append(scratch);
            shard.heads.remember(key, head);
            Ok(())
        }
        Err(MergeError::WrongKind { .. }) => Err(Refusal::WrongKind { position }),
        Err(MergeError::TooLarge { .. }) => Err(Refusal::TooLarge { position }),
    })
}

/// The head of `key` just before a change at `version`: remembered, or read and remembered.
pub(super) fn head_of<V: View>(
    shard: &mut Shard,
    version: Version,
    key: &Bytes,
    context: &mut Context<'_, '_, V>,
) -> Result<Head, Fatal> {
    let head = match shard.heads.get(key) {
        Some(head) => head.clone(),
        None => {
            let head = shard.read_at(version).head(&*context.overlay, key, &mut context.stats.reads)?;
            // What has ended by this version may not have by that of a commit that is still to be written.
            if !shard.locks.may_change(key) {
                shard.heads.remember(key, head.clone());
            }
            head
        }
    };
    // Remembered heads end like read ones: by the version of the reader.
    let is_over = head.expiry().is_some_and(|expiry| expiry.is_over_at(version));
    Ok(if is_over { Head::Absent } else { head })
}
