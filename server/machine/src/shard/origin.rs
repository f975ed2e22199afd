//! What a branch's shard continues: the history of another shard, up to a version.
//!
//! ```text
//! family sys   group 10        base: group of the parent's shard, version
//! ```
//!
//! The parent rides in the same group, or is the group's own shard, and nothing at or below the version changes there any
//! more. So what is read through to is the same on every replica, and is not kept a second time.

use lentic_engine::keys::sys::{self, SysKind};
use lentic_engine::{Batch, Family, Layer, StoreError, View};
use lentic_types::codec::{DecodeError, Reader, put_varint};
use lentic_types::limits::BRANCH_DEPTH_MAX;
use lentic_types::{GroupId, Version};

use super::state::{Shard, decode_mask, descriptor_in, load_all};

/// Where a branch's shard has its older history from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Origin {
    /// The parent's shard, by the group that it would have alone.
    pub(super) parent: GroupId,
    /// The parent at the version, and what it reads through to in turn.
    pub(super) layers: Vec<Layer>,
}

impl Origin {
    /// The origin of a branch of `parent` at `version`.
    pub(super) fn of(parent: &Shard, version: Version) -> Self {
        let masks = parent.masks().masks().iter().filter(|mask| mask.end <= version).cloned().collect();
        let layer = Layer { table: parent.descriptor().table, version, masks };
        Self { parent: parent.group(), layers: [&[layer], parent.layers()].concat() }
    }

    pub(super) fn put(&self, batch: &mut Batch, group: GroupId) {
        let mut value = Vec::new();
        put_varint(&mut value, self.parent.0);
        put_varint(&mut value, self.layers.first().map_or(0, |layer| layer.version.0));
        batch.put(Family::Sys, &key(group), &value);
    }

    /// The origin of the shard with the state of `group`, if it is a branch's.
    pub(super) fn load(view: &impl View, group: GroupId) -> Result<Option<Self>, StoreError> {
        let Some((parent, version)) = base_of(view, group)? else { return Ok(None) };
        let mut layers = vec![layer_of(view, parent, version)?];
        let mut below = parent;
        while let Some((next, version)) = base_of(view, below)? {
            if layers.len() == BRANCH_DEPTH_MAX {
                return Err(damaged(below, "a branch is deeper than branches can be"));
            }
            layers.push(layer_of(view, next, version)?);
            below = next;
        }
        Ok(Some(Self { parent, layers }))
    }
}

fn key(group: GroupId) -> Vec<u8> {
    sys::key(group, SysKind::Base, &[])
}

fn damaged(group: GroupId, reason: &str) -> StoreError {
    StoreError::damaged(Family::Sys, &key(group), reason)
}

fn base_of(view: &impl View, group: GroupId) -> Result<Option<(GroupId, Version)>, StoreError> {
    let Some(value) = view.get(Family::Sys, &key(group))? else { return Ok(None) };
    let decode = || {
        let mut reader = Reader::new(&value);
        let base = (GroupId(reader.varint("parent")?), Version(reader.varint("version of branch")?));
        reader.finish("base of branch").map(|()| base)
    };
    decode().map(Some).map_err(|reason: DecodeError| StoreError::damaged(Family::Sys, &key(group), reason))
}

/// What `parent` shows at `version`. Masks of later rollbacks are not for its readers.
fn layer_of(view: &impl View, parent: GroupId, version: Version) -> Result<Layer, StoreError> {
    let Some(descriptor) = descriptor_in(view, parent)? else {
        return Err(damaged(parent, "the shard that a branch was made of is not there"));
    };
    let masks = load_all(view, parent, SysKind::Mask, decode_mask)?;
    let masks = masks.into_iter().filter(|mask| mask.end <= version).collect();
    Ok(Layer { table: descriptor.table, version, masks })
}
