//! Register node: a node is known, and where it is spoken to.
//!
//! An id belongs to a data directory for ever. The directory's incarnation tells a node that asks again, because it never
//! heard the answer, from another node; and a copied directory cannot be told from its original, which is why an id that
//! is given must come with its incarnation.

use lentic_types::NodeId;
use lentic_types::limits::ADDRESS_BYTES_MAX;

use super::catalog::{Node, NodeState};
use super::outcome::{MetaOutcome, MetaRefusal};
use super::state::{Change, Meta};

/// Registers a node, or its new addresses.
pub(super) fn apply(
    meta: &mut Meta,
    node: Option<NodeId>,
    address: &str,
    http_address: &str,
    incarnation: [u8; 16],
    change: &mut Change,
) -> Result<MetaOutcome, MetaRefusal> {
    if address.is_empty() {
        return Err(MetaRefusal::Invalid("the node has no address; say where others can reach it".into()));
    }
    if ![address, http_address].into_iter().all(is_address) {
        return Err(MetaRefusal::Invalid(
            "an address has at most 256 printable ASCII characters, without spaces".into(),
        ));
    }
    let known = match node {
        None => meta.catalog.node_of_incarnation(&incarnation),
        Some(node) => match meta.catalog.nodes.get(&node) {
            None => return Err(MetaRefusal::NoSuchNode { node }),
            Some(known) if known.incarnation != incarnation => return Err(MetaRefusal::OtherIncarnation { node }),
            Some(_) => Some(node),
        },
    };
    if let Some(node) = known.filter(|node| meta.catalog.nodes[node].state == NodeState::Removed) {
        return Err(MetaRefusal::NotActive { node, state: NodeState::Removed });
    }
    let (address, http_address) = (address.to_owned(), http_address.to_owned());
    let mut counters = meta.counters;
    let id = known.unwrap_or_else(|| counters.take_node());
    let state = meta.catalog.nodes.get(&id).map_or(NodeState::Active, |known| known.state);
    let node = Node { node: id, address, http_address, incarnation, state };
    if meta.catalog.nodes.get(&id) == Some(&node) {
        return Ok(MetaOutcome::Node(id));
    }
    meta.catalog.check_room_for_node(&node)?;
    if known.is_none() {
        meta.put_counters(counters, change);
    }
    meta.put_node(node, change);
    Ok(MetaOutcome::Node(id))
}

fn is_address(text: &str) -> bool {
    text.len() <= ADDRESS_BYTES_MAX && text.bytes().all(|byte| byte.is_ascii_graphic())
}
