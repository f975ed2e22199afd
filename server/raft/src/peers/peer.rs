//! All the nodes that this one asks.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use lentic_net::{Address, Class, Network};
use lentic_proto::internal::PeerHello;
use lentic_proto::internal::message::Body;
use lentic_types::{ClusterId, NodeId};
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::frame::{self, body_bytes};
use super::lane::{self, CallError, CallResult, Outgoing, QUEUE_MAX};
use crate::stats::Counters;

/// Bytes of requests to one node in one class that are under way, in the queue included. One larger request takes all.
const IN_FLIGHT_BYTES: usize = 32 << 20;
/// Bytes are counted in these, so that the count fits 32 bits.
const BYTES_PER_PERMIT: usize = 1 << 10;

/// Where nodes are spoken to. It may change while nodes move; the next dial sees it.
pub trait Directory: Send + Sync + 'static {
    /// Where `node` is spoken to, if that is known. Nodes tell each other what it says of this node.
    fn address(&self, node: NodeId) -> Option<Address>;

    /// A node has said where it is spoken to. It may be the only one who knows: a node that has lost what it had not
    /// flushed has forgotten who came to its cluster since, and cannot ask those who can elect it.
    fn hear(&self, node: NodeId, address: Address) {
        let _ = (node, address);
    }
}

/// Asks other nodes, over one link for each node and class.
pub(crate) struct Peers {
    pub(crate) node: NodeId,
    pub(crate) cluster: ClusterId,
    pub(crate) network: Arc<dyn Network>,
    pub(crate) directory: Arc<dyn Directory>,
    pub(crate) counters: Arc<Counters>,
    lanes: Mutex<Option<BTreeMap<(NodeId, Class), Lane>>>,
}

#[derive(Clone)]
struct Lane {
    queue: mpsc::Sender<Outgoing>,
    /// What may still get under way.
    budget: Arc<Semaphore>,
}

/// A request that is on its way.
pub(crate) type Called = oneshot::Receiver<CallResult>;

impl Peers {
    pub(crate) fn new(
        node: NodeId,
        cluster: ClusterId,
        network: Arc<dyn Network>,
        directory: Arc<dyn Directory>,
        counters: Arc<Counters>,
    ) -> Self {
        Self { node, cluster, network, directory, counters, lanes: Mutex::new(Some(BTreeMap::new())) }
    }

    /// Puts a request on its way; waits while too much is under way. Requests of one caller keep their order.
    pub(crate) async fn send(
        self: &Arc<Self>,
        node: NodeId,
        class: Class,
        group: u64,
        body: Body,
    ) -> Result<Called, CallError> {
        let Some(lane) = self.lane(node, class) else { return Err(shut_down()) };
        let permits = (body_bytes(&body) / BYTES_PER_PERMIT).min(IN_FLIGHT_BYTES / BYTES_PER_PERMIT);
        let permit = match u32::try_from(permits).expect("bytes under way are far below 4 TiB") {
            0 => None,
            permits => Some(lane.budget.acquire_many_owned(permits).await.map_err(|_| shut_down())?),
        };
        let (reply, called) = oneshot::channel();
        lane.queue.send(Outgoing { group, body, reply, permit }).await.map_err(|_| shut_down())?;
        Ok(called)
    }

    /// Asks, and waits for the reply.
    pub(crate) async fn call(self: &Arc<Self>, node: NodeId, class: Class, group: u64, body: Body) -> CallResult {
        let called = self.send(node, class, group, body).await?;
        called.await.unwrap_or_else(|_| Err(shut_down()))
    }

    /// The first frame to `node`.
    pub(crate) fn hello(&self, node: NodeId) -> Bytes {
        frame::hello(self.cluster, self.node, node, self.directory.address(self.node))
    }

    /// Takes note of where another node is.
    pub(crate) fn hear(&self, hello: &PeerHello) {
        if !hello.address.is_empty() {
            self.directory.hear(NodeId(hello.node), Address::from(&*hello.address));
        }
    }

    /// Ends all links that this node has dialled, and lets it dial no more.
    pub(crate) fn shutdown(&self) {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    fn lane(self: &Arc<Self>, node: NodeId, class: Class) -> Option<Lane> {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        let lanes = lanes.as_mut()?;
        let lane = lanes.entry((node, class)).or_insert_with(|| {
            let (queue, requests) = mpsc::channel(QUEUE_MAX);
            lentic_runtime::spawn(lane::run(Arc::clone(self), node, class, requests));
            Lane { queue, budget: Arc::new(Semaphore::new(IN_FLIGHT_BYTES / BYTES_PER_PERMIT)) }
        });
        Some(lane.clone())
    }
}

fn shut_down() -> CallError {
    CallError::Unreachable("this node shuts down".to_owned())
}
