//! How a node comes to a cluster that is there.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use lentic_net::{Address, Network};
use lentic_proto::v1::JoinRequest;
use lentic_proto::v1::pipe_request::Request;
use lentic_proto::v1::pipe_response::Response;
use lentic_types::{ClusterId, NodeId};
use tokio::time::{Instant, sleep};
use tracing::warn;

use crate::gateway::{Forwarder, Lane};
use crate::node::Identity;

/// How long one node of the cluster may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// The pause between two rounds over all addresses.
const PAUSE: Duration = Duration::from_millis(200);

/// What a cluster told a node that joined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joined {
    /// Who the node is there.
    pub identity: Identity,
    /// The nodes, and where they are spoken to.
    pub peers: BTreeMap<NodeId, Address>,
}

/// Nobody at the addresses answered in time, or all refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no node of a cluster let this one join: {reason}; check the addresses to join, and that a node runs there")]
pub struct JoinError {
    /// What the last one said.
    pub reason: String,
}

/// Joins the cluster that one of `seeds` belongs to, trying them in turn until `within` is over. `incarnation` is made
/// once with the data directory: joining again with it gives the same id, and tells the cluster the new addresses.
///
/// # Errors
/// [`JoinError`]; trying again later is safe.
pub async fn join(
    network: Arc<dyn Network>,
    seeds: &[Address],
    incarnation: [u8; 16],
    address: &str,
    http_address: &str,
    within: Duration,
) -> Result<Joined, JoinError> {
    let forwarder = Forwarder::stranger(network);
    let deadline = Instant::now() + within;
    let mut reason = "no address was given".to_owned();
    loop {
        for seed in seeds {
            let request = Request::Join(JoinRequest {
                incarnation: incarnation.to_vec().into(),
                address: address.to_owned(),
                http_address: http_address.to_owned(),
            });
            match forwarder.ask(seed, Lane::NeverWaits, request, deadline.min(Instant::now() + ANSWER_WITHIN)).await {
                Ok(Response::Join(joined)) => {
                    let Ok(cluster) = <[u8; 16]>::try_from(&joined.cluster[..]) else { continue };
                    let identity = Identity { cluster: ClusterId(cluster), node: NodeId(joined.node), incarnation };
                    let peers = joined.nodes.iter().map(|node| (NodeId(node.node), Address::from(&*node.address)));
                    return Ok(Joined { identity, peers: peers.collect() });
                }
                Ok(_) => reason = format!("{seed} answered something else"),
                Err(failure) => reason = format!("{seed}: {}", failure.message),
            }
            warn!(reason, "not joined yet");
        }
        if Instant::now() + PAUSE >= deadline {
            return Err(JoinError { reason });
        }
        sleep(PAUSE).await;
    }
}
