//! Requests passed on to another node, over pipes that are kept.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use lentic_net::{Address, Class, LinkReceiver, LinkSender, Network};
use lentic_proto::v1::pipe_request::Request;
use lentic_proto::v1::pipe_response::Response;
use lentic_proto::v1::{Failure, Hello, PipeRequest, PipeResponse};
use lentic_runtime::spawn;
use lentic_types::{ClusterId, NodeId};
use prost::Message as _;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use crate::failure;

/// Requests that one pipe to another node carries at once.
pub(super) const OPEN_MAX: usize = 1_024;
/// How long a greeting may take.
const GREETING: Duration = Duration::from_secs(3);

const RELEASE: &str = env!("CARGO_PKG_VERSION");

/// Passes requests on.
pub(crate) struct Forwarder {
    network: Arc<dyn Network>,
    /// What is said of this process to others.
    hello: Hello,
    pipes: Mutex<BTreeMap<(Address, Lane), Arc<Pipe>>>,
}

/// Which pipe a request takes. A pipe carries a bounded number at once, so that what frees keys must not queue in it behind
/// those who wait for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Lane {
    /// Requests that may wait for a transaction's keys.
    MayWait,
    /// Requests that never do: the ends of transactions, and what is about the cluster.
    NeverWaits,
}

/// A pipe to another node.
struct Pipe {
    sender: LinkSender,
    next: AtomicU64,
    open: Mutex<Option<BTreeMap<u64, oneshot::Sender<Response>>>>,
}

/// A request that waits for its answer; it frees its place when nobody waits any more.
struct Asked<'a> {
    pipe: &'a Pipe,
    id: u64,
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        if let Some(open) = self.pipe.open().as_mut() {
            open.remove(&self.id);
        }
    }
}

impl Pipe {
    fn open(&self) -> MutexGuard<'_, Option<BTreeMap<u64, oneshot::Sender<Response>>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_gone(&self) -> bool {
        self.open().is_none()
    }
}

impl Forwarder {
    /// For a node: who gets its requests answers them by himself.
    pub(crate) fn new(network: Arc<dyn Network>, node: NodeId, cluster: ClusterId) -> Self {
        let cluster = Bytes::copy_from_slice(&cluster.0);
        let hello = Hello { cluster, node: node.0, release: RELEASE.to_owned(), ..Hello::default() };
        Self { network, hello, pipes: Mutex::default() }
    }

    /// For a process that belongs to no cluster yet: who gets its requests passes them on.
    pub(crate) fn stranger(network: Arc<dyn Network>) -> Self {
        let hello = Hello { release: RELEASE.to_owned(), ..Hello::default() };
        Self { network, hello, pipes: Mutex::default() }
    }

    /// Asks the node at `address`, which answers by itself or not at all.
    pub(crate) async fn ask(
        &self,
        address: &Address,
        lane: Lane,
        request: Request,
        deadline: Instant,
    ) -> Result<Response, Failure> {
        let asked = timeout_at(deadline, async {
            let pipe = self.pipe(address, lane).await?;
            let id = pipe.next.fetch_add(1, Ordering::Relaxed);
            let (reply, answer) = oneshot::channel();
            match pipe.open().as_mut() {
                Some(open) if open.len() >= OPEN_MAX => {
                    return Err(failure::throttled("too many requests are being passed on", 50));
                }
                Some(open) => drop(open.insert(id, reply)),
                None => return Err(failure::not_leader()),
            }
            let _asked = Asked { pipe: &pipe, id };
            let left = deadline.saturating_duration_since(Instant::now()).as_millis();
            let deadline_ms = u32::try_from(left).unwrap_or(u32::MAX).max(1);
            let frame = PipeRequest { id, deadline_ms, request: Some(request) }.encode_to_vec();
            let lost = || failure::unknown("the connection to the node that leads was lost");
            pipe.sender.send(frame.into()).await.map_err(|_| lost())?;
            match answer.await {
                Ok(Response::Failure(failure)) => Err(failure),
                Ok(response) => Ok(response),
                Err(_) => Err(lost()),
            }
        });
        asked
            .await
            .unwrap_or_else(|_| Err(failure::unknown("the deadline passed; the request may have had its effect")))
    }

    async fn pipe(&self, address: &Address, lane: Lane) -> Result<Arc<Pipe>, Failure> {
        let place = (address.clone(), lane);
        if let Some(pipe) = self.pipes().get(&place).filter(|pipe| !pipe.is_gone()) {
            return Ok(Arc::clone(pipe));
        }
        let unreachable = |_| failure::not_leader();
        let mut link = self.network.dial(address, Class::Pipe).await.map_err(unreachable)?;
        let hello = PipeRequest { id: 0, deadline_ms: 0, request: Some(Request::Hello(self.hello.clone())) };
        link.sender.send(hello.encode_to_vec().into()).await.map_err(|_| failure::not_leader())?;
        let greeting = tokio::time::timeout(GREETING, link.receiver.recv()).await.ok().flatten();
        let greeting = greeting.and_then(|frame| PipeResponse::decode(frame).ok()).and_then(|answer| answer.response);
        match greeting {
            Some(Response::Hello(_)) => {}
            Some(Response::Failure(failure)) => return Err(failure),
            _ => return Err(failure::not_leader()),
        }
        let pipe =
            Arc::new(Pipe { sender: link.sender, next: AtomicU64::new(1), open: Mutex::new(Some(BTreeMap::new())) });
        spawn(receive(Arc::clone(&pipe), link.receiver));
        self.pipes().insert(place, Arc::clone(&pipe));
        Ok(pipe)
    }

    fn pipes(&self) -> MutexGuard<'_, BTreeMap<(Address, Lane), Arc<Pipe>>> {
        self.pipes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Hands answers to those who wait, until the link is gone; then nobody waits any more.
async fn receive(pipe: Arc<Pipe>, mut receiver: LinkReceiver) {
    while let Some(frame) = receiver.recv().await {
        let Ok(PipeResponse { id, response: Some(response) }) = PipeResponse::decode(frame) else { break };
        let reply = pipe.open().as_mut().and_then(|open| open.remove(&id));
        if let Some(reply) = reply {
            // Who no longer waits needs no answer.
            let _ = reply.send(response);
        }
    }
    *pipe.open() = None;
}
