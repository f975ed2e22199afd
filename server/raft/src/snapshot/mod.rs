//! Snapshots between nodes.
use crate::host::Shared;
use crate::options::Options;
use crate::peers::peer::Peers;
use crate::store::SnapshotData;
use crate::types::{Clid, Vote};
use lentic_proto::internal as wire;
use lentic_types::{GroupId, NodeId};
use openraft::storage::Snapshot;
use std::sync::Arc;
use wire::message::Body;

#[derive(Default)]
pub(crate) struct Holds;
impl Holds {
    pub(crate) fn lowest(&self) -> u64 {
        u64::MAX
    }
}
pub(crate) struct Senders;
impl Senders {
    pub(crate) fn new(_: &Options) -> Self {
        Self
    }
    pub(crate) async fn send(
        &self,
        _: &Arc<Peers>,
        _: GroupId,
        _: NodeId,
        _: Vote,
        _: Snapshot<Clid, u64, (), SnapshotData>,
    ) -> Result<Vote, String> {
        Err("not yet".to_owned())
    }
}
#[derive(Default)]
pub(crate) struct Receiver;
impl Receiver {
    pub(crate) async fn handle(&self, _: &Arc<Shared>, _: NodeId, _: GroupId, _: Body) -> wire::SnapshotReply {
        wire::SnapshotReply { reply: None }
    }
    pub(crate) fn forget(&self, _: GroupId) {}
}
