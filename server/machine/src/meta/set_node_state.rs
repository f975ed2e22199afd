//! Set node state: a node is emptied, used again, or gone for good.
//!
//! A node that is emptied gets no more replicas; whoever leads the meta group moves those that it has. It is removed when it
//! holds nothing, and nothing brings it back: its id was promised to one data directory, whose votes are forgotten.

use lentic_types::NodeId;

use super::catalog::{Catalog, Node, NodeState};
use super::outcome::{MetaOutcome, MetaRefusal};
use super::state::{Change, Meta};

/// Sets what a node is used for.
pub(super) fn apply(
    meta: &mut Meta,
    node: NodeId,
    state: NodeState,
    change: &mut Change,
) -> Result<MetaOutcome, MetaRefusal> {
    let known = meta.catalog.nodes.get(&node).ok_or(MetaRefusal::NoSuchNode { node })?;
    if known.state == state {
        return Ok(MetaOutcome::Done);
    }
    if known.state == NodeState::Removed {
        return Err(MetaRefusal::NotActive { node, state: NodeState::Removed });
    }
    match state {
        NodeState::Active => {}
        NodeState::Draining => check_room(&meta.catalog, node)?,
        NodeState::Removed => {
            let replicas = meta.catalog.shards_on(node).count() as u64;
            if replicas > 0 {
                return Err(MetaRefusal::NodeHolds { node, replicas });
            }
            if !others(&meta.catalog, node).any(|_| true) {
                return Err(MetaRefusal::TooFewNodes { left: 0, needed: 1 });
            }
        }
    }
    let node = Node { state, ..known.clone() };
    meta.catalog.check_room_for_node(&node)?;
    meta.put_node(node, change);
    Ok(MetaOutcome::Done)
}

/// Checks that what the node holds has a place elsewhere.
fn check_room(catalog: &Catalog, node: NodeId) -> Result<(), MetaRefusal> {
    let needed = catalog.shards_on(node).map(|place| place.replicas.len()).max().unwrap_or(0).max(1) as u64;
    let left = others(catalog, node).count() as u64;
    if left < needed { Err(MetaRefusal::TooFewNodes { left, needed }) } else { Ok(()) }
}

/// The nodes that get replicas, without one.
fn others(catalog: &Catalog, node: NodeId) -> impl Iterator<Item = &Node> {
    catalog.nodes.values().filter(move |other| other.node != node && other.state.is_active())
}
