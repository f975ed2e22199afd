//! Branch: another shard of the same range, whose history up to a version is this one's.
//!
//! Nothing is copied: it is some rows, whatever the shard holds.

use lentic_engine::View;
use lentic_types::{Epoch, GroupId, Index, Version};

use super::apply::{Context, Fatal};
use super::command::Branch;
use super::origin::Origin;
use super::outcome::{Outcome, Refusal};
use super::riders;
use super::state::{Descriptor, Shard, put_descriptor};

/// Lets a branch of `shard` ride in its group. It has no effect if the branch rides there, or did. The catalog has pinned the
/// version here.
pub(super) fn apply<V: View>(
    shard: &Shard,
    index: Index,
    version: Version,
    branch: &Branch,
    context: &mut Context<'_, '_, V>,
) -> Result<Outcome, Fatal> {
    if riders::is_known(context.overlay, shard.home, branch.shard)? {
        return Ok(Outcome::Committed { version });
    }
    if branch.version >= version {
        return Ok(Refusal::VersionTooNew { newest: version }.into());
    }
    let watermark = shard.descriptor.watermark;
    if branch.version < watermark && !shard.pins.holds(branch.version) {
        return Ok(Refusal::VersionTooOld { watermark }.into());
    }
    // What is prepared may commit at its version: from here on nothing changes at or below the branch's.
    if let Some(holder) = shard.locks.oldest_below(Version(branch.version.0 + 1)) {
        return Ok(Refusal::Blocked { holder }.into());
    }
    let group = GroupId::from(branch.shard);
    let (origin, range) = (Origin::of(shard, branch.version), shard.descriptor.range.clone());
    let ttl_ms = shard.descriptor.ttl_ms;
    let descriptor = Descriptor { table: branch.table, range, epoch: Epoch(1), watermark: branch.version, ttl_ms };
    let batch = context.overlay.batch();
    riders::put_here(batch, shard.home, branch.shard, branch.revision);
    put_descriptor(batch, group, &descriptor);
    origin.put(batch, group);
    let made = Shard::branch(shard, (index, version), group, descriptor, origin);
    made.put_progress(batch);
    context.riders.came.push((made, branch.revision));
    Ok(Outcome::Committed { version })
}
