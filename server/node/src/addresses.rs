//! Where nodes are.
//!
//! The catalog says it, as far as it is applied here. That may be too little to go on: a node that has lost what it had not
//! flushed finds the registration of others in its log, where it is not applied before a leader is elected, and the leader
//! is not elected before the others can be asked. So what nodes say of themselves when they dial counts too.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lentic_machine::meta::Catalog;
use lentic_net::Address;
use lentic_raft::Directory;
use lentic_types::NodeId;
use lentic_types::limits::{ADDRESS_BYTES_MAX, NODES_MAX};
use tokio::sync::watch;

/// Where nodes are: this one as it was told, others by who knew it last of the catalog and themselves, and before either
/// says anything as this node remembers them.
pub(crate) struct Addresses {
    here: (NodeId, Address),
    peers: BTreeMap<NodeId, Address>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    catalog: Option<watch::Receiver<Arc<Catalog>>>,
    /// What nodes have said, each with what the catalog said then: as long as that stands, theirs is newer.
    heard: BTreeMap<NodeId, (Address, Option<Address>)>,
}

impl Addresses {
    /// Without a catalog yet.
    pub(crate) fn new(node: NodeId, address: &str, peers: BTreeMap<NodeId, Address>) -> Self {
        Self { here: (node, Address::from(address)), peers, state: Mutex::default() }
    }

    /// From now on the catalog counts.
    pub(crate) fn follow(&self, catalog: watch::Receiver<Arc<Catalog>>) {
        self.lock().catalog = Some(catalog);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn in_catalog(&self, node: NodeId) -> Option<Address> {
        let catalog = self.catalog.as_ref()?.borrow();
        catalog.nodes.get(&node).map(|node| Address::from(&*node.address))
    }
}

impl Directory for Addresses {
    fn address(&self, node: NodeId) -> Option<Address> {
        if node == self.here.0 {
            return Some(self.here.1.clone());
        }
        let state = self.lock();
        let known = state.in_catalog(node);
        let newer = state.heard.get(&node).filter(|(_, then)| *then == known).map(|(address, _)| address.clone());
        newer.or(known).or_else(|| self.peers.get(&node).cloned())
    }

    fn hear(&self, node: NodeId, address: Address) {
        let mut state = self.lock();
        let has_room = state.heard.len() < NODES_MAX || state.heard.contains_key(&node);
        if has_room && address.0.len() <= ADDRESS_BYTES_MAX {
            let known = state.in_catalog(node);
            state.heard.insert(node, (address, known));
        }
    }
}

#[cfg(test)]
mod tests {
    use lentic_machine::meta::{Node, NodeState};
    use lentic_types::ClusterId;

    use super::*;

    fn catalog(rows: &[(u64, &str)]) -> Arc<Catalog> {
        let mut catalog = Catalog::new(ClusterId([7; 16]));
        for (node, address) in rows {
            let (node, address) = (NodeId(*node), (*address).to_owned());
            let (http_address, state) = (String::new(), NodeState::Active);
            let row = Node { node, address, http_address, incarnation: [0; 16], state };
            catalog.nodes.insert(node, row);
        }
        Arc::new(catalog)
    }

    #[test]
    fn who_knew_it_last_is_believed() {
        let addresses = Addresses::new(NodeId(1), "here", [(NodeId(2), Address::from("remembered"))].into());
        let address = |node| addresses.address(NodeId(node)).map(|address| address.to_string());
        assert_eq!(address(1).as_deref(), Some("here"));
        assert_eq!((address(2).as_deref(), address(3)), (Some("remembered"), None));
        addresses.hear(NodeId(3), Address::from("said"));
        assert_eq!(address(3).as_deref(), Some("said"), "it is known by nobody else");
        let (changes, follower) = watch::channel(catalog(&[(1, "elsewhere"), (3, "registered")]));
        addresses.follow(follower);
        assert_eq!(address(1).as_deref(), Some("here"), "this node knows best");
        assert_eq!(address(3).as_deref(), Some("registered"), "the catalog has heard of it since");
        addresses.hear(NodeId(3), Address::from("moved"));
        assert_eq!(address(3).as_deref(), Some("moved"), "it says so now");
        changes.send_replace(catalog(&[(3, "moved again")]));
        assert_eq!(address(3).as_deref(), Some("moved again"));
    }
}
