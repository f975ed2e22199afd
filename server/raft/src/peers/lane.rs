//! The asking side of a link: requests to one node in one class.
//!
//! ```text
//!   group 1 ─┐                       ┌─ hello, [g1 g2 g1], [g3] ... ─►
//!   group 2 ─┼─► queue ─► one task ──┤            link                  other node
//!   group 3 ─┘             pending   └◄─ hello, [g1 g2], [g1 g3] ... ──
//! ```
//!
//! The link is dialled when the first request comes, and again after it broke. What waits together travels in one
//! frame. A reply finds its request by number; a broken link fails all that are open, for nobody knows which arrived.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use lentic_net::{Class, Link, LinkReceiver, LinkSender};
use lentic_proto::internal as wire;
use lentic_types::NodeId;
use prost::Message as _;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::time::{Instant, timeout, timeout_at};
use wire::message::Body;

use super::frame::{self, Gather};
use super::peer::Peers;
use super::presence::Presence;

/// Requests that wait for the link. A heartbeat of each group fits; more waits where it came from.
pub(crate) const QUEUE_MAX: usize = 1_024;
/// Requests without a reply. Those whose asker has gone count until they are swept.
const PENDING_MAX: usize = 16_384;
/// Frames taken from the link at once.
const FRAMES_AT_ONCE: usize = 16;
/// A transport that has not connected by then is tried again.
const DIAL_TIMEOUT: Duration = Duration::from_secs(3);
/// The other end must introduce itself by then.
const HELLO_TIMEOUT: Duration = Duration::from_secs(3);
/// After a failed dial, requests fail at once for this long; twice as long each time up to the maximum.
const BACKOFF_MIN: Duration = Duration::from_millis(10);
const BACKOFF_MAX: Duration = Duration::from_millis(320);

/// Why there is no reply.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CallError {
    /// Nothing was sent.
    #[error("{0}")]
    Unreachable(String),
    /// The link broke: the request may have arrived.
    #[error("{0}")]
    Lost(String),
    /// The other node answered that it cannot.
    #[error("{0}")]
    Refused(String),
}

pub(crate) type CallResult = Result<Body, CallError>;

/// A request on its way to the link.
pub(crate) struct Outgoing {
    pub(crate) group: u64,
    pub(crate) body: Body,
    pub(crate) reply: oneshot::Sender<CallResult>,
    /// What it holds of the bytes that may be under way.
    pub(crate) permit: Option<OwnedSemaphorePermit>,
}

impl Outgoing {
    fn fail(self, error: CallError) {
        let _ = self.reply.send(Err(error));
    }
}

/// Serves the queue of one node and class for as long as somebody can ask.
pub(crate) async fn run(peers: Arc<Peers>, node: NodeId, class: Class, mut queue: mpsc::Receiver<Outgoing>) {
    let (mut backoff, mut presence) = (BACKOFF_MIN, Presence::new(node, class));
    while let Some(first) = queue.recv().await {
        let reason = match dial(&peers, node, class).await {
            Ok(link) => {
                let mut session = Session::new(&peers, node, link, &mut presence);
                let reason = session.run(first, &mut queue).await;
                session.fail_pending(&reason);
                let greeted = session.greeted;
                // Not, if it is this node that ends.
                if !queue.is_closed() {
                    presence.lost(&reason);
                }
                if greeted {
                    backoff = BACKOFF_MIN;
                    continue;
                }
                reason
            }
            Err(reason) => {
                presence.lost(&reason);
                first.fail(CallError::Unreachable(reason.clone()));
                reason
            }
        };
        let until = Instant::now() + backoff;
        backoff = (backoff * 2).min(BACKOFF_MAX);
        loop {
            match timeout_at(until, queue.recv()).await {
                Ok(Some(request)) => request.fail(CallError::Unreachable(reason.clone())),
                Ok(None) => return,
                Err(_) => break,
            }
        }
    }
}

async fn dial(peers: &Peers, node: NodeId, class: Class) -> Result<Link, String> {
    let Some(address) = peers.directory.address(node) else {
        return Err(format!("{node} has no known address"));
    };
    match timeout(DIAL_TIMEOUT, peers.network.dial(&address, class)).await {
        Ok(Ok(link)) => Ok(link),
        Ok(Err(error)) => Err(format!("{node}: {error}")),
        Err(_) => Err(format!("{node} at {address} did not answer for {} s", DIAL_TIMEOUT.as_secs())),
    }
}

/// One link from its dial to its end.
struct Session<'a> {
    peers: &'a Peers,
    node: NodeId,
    presence: &'a mut Presence,
    sender: LinkSender,
    receiver: LinkReceiver,
    /// Open requests by number.
    pending: BTreeMap<u64, (oneshot::Sender<CallResult>, Option<OwnedSemaphorePermit>)>,
    next_id: u64,
    /// When to look for requests whose asker has gone: at twice what was left last time.
    sweep_at: usize,
    /// The other end has introduced itself as the right one.
    greeted: bool,
}

impl<'a> Session<'a> {
    fn new(peers: &'a Peers, node: NodeId, link: Link, presence: &'a mut Presence) -> Self {
        let Link { sender, receiver } = link;
        let pending = BTreeMap::new();
        Self { peers, node, presence, sender, receiver, pending, next_id: 1, sweep_at: 64, greeted: false }
    }

    /// Returns why the link ended.
    async fn run(&mut self, first: Outgoing, queue: &mut mpsc::Receiver<Outgoing>) -> String {
        let hello = self.peers.hello(self.node);
        if let Err(reason) = self.send(hello).await {
            first.fail(CallError::Unreachable(reason.clone()));
            return reason;
        }
        let hello_until = Instant::now() + HELLO_TIMEOUT;
        // What comes next, if it is at hand already: the first request, or one that did not fit into a frame.
        let mut at_hand = Some(first);
        let mut frames = Vec::new();
        loop {
            let next = async {
                match at_hand.take() {
                    Some(request) => Some(request),
                    None => queue.recv().await,
                }
            };
            let request = tokio::select! { biased;
                count = self.receiver.recv_many(&mut frames, FRAMES_AT_ONCE) => {
                    if count == 0 {
                        return format!("the link to {} broke", self.node);
                    }
                    None
                }
                () = tokio::time::sleep_until(hello_until), if !self.greeted => {
                    return format!("{} did not introduce itself", self.node);
                }
                request = next => match request {
                    Some(request) => Some(request),
                    None => return "this node shuts down".to_owned(),
                },
            };
            for frame in frames.drain(..) {
                if let Err(reason) = self.take(frame) {
                    return reason;
                }
            }
            if let Some(request) = request {
                match self.send_with_company(request, queue).await {
                    Ok(left) => at_hand = left,
                    Err(reason) => return reason,
                }
            }
        }
    }

    /// Sends a request together with what waits behind it. Returns what did not fit into the same frame.
    async fn send_with_company(
        &mut self,
        first: Outgoing,
        queue: &mut mpsc::Receiver<Outgoing>,
    ) -> Result<Option<Outgoing>, String> {
        // Whoever is about to ask, too, gets into the same frame.
        tokio::task::yield_now().await;
        let mut gather = Gather::default();
        let mut next = Some(first);
        while let Some(request) = next.take_if(|request| gather.fits(Some(&request.body))) {
            self.add(request, &mut gather);
            next = queue.try_recv().ok();
        }
        match gather.into_frame() {
            Some(frame) => self.send(frame).await.map(|()| next),
            None => Ok(next),
        }
    }

    fn add(&mut self, request: Outgoing, gather: &mut Gather) {
        if request.reply.is_closed() {
            return;
        }
        if self.pending.len() >= self.sweep_at {
            self.pending.retain(|_, (reply, _)| !reply.is_closed());
            self.sweep_at = (2 * self.pending.len()).max(64);
        }
        if self.pending.len() >= PENDING_MAX {
            let waiting = self.pending.len();
            let reason = format!("{waiting} requests to {} wait for replies, expected fewer", self.node);
            return request.fail(CallError::Unreachable(reason));
        }
        let id = self.next_id;
        self.next_id += 1;
        self.peers.counters.asked(&request.body);
        gather.add(wire::Message { group: request.group, id, body: Some(request.body) });
        self.pending.insert(id, (request.reply, request.permit));
    }

    /// Sends a frame, and takes replies while the link is full.
    async fn send(&mut self, frame: Bytes) -> Result<(), String> {
        self.peers.counters.frame_sent(frame.len());
        let sender = self.sender.clone();
        let send = sender.send(frame);
        tokio::pin!(send);
        loop {
            tokio::select! { biased;
                sent = &mut send => return sent.map_err(|_| format!("the link to {} broke", self.node)),
                frame = self.receiver.recv() => match frame {
                    Some(frame) => self.take(frame)?,
                    None => return Err(format!("the link to {} broke", self.node)),
                },
            }
        }
    }

    /// Gives the replies of a frame to those who asked.
    fn take(&mut self, frame: Bytes) -> Result<(), String> {
        self.peers.counters.frame_received(frame.len());
        let frame = wire::Frame::decode(frame).map_err(|error| format!("{} sent no frame: {error}", self.node))?;
        if let Some(hello) = frame.hello {
            frame::check_hello(&hello, self.peers.cluster, self.node, self.peers.node)?;
            self.peers.hear(&hello);
            self.greeted = true;
            self.presence.found();
        }
        for message in frame.messages {
            match message.body {
                // To nobody's request: why the link is not served.
                Some(Body::Refusal(reason)) if message.id == 0 => return Err(format!("{}: {reason}", self.node)),
                _ if !self.greeted => return Err(format!("{} answered before it introduced itself", self.node)),
                Some(body) => self.reply(message.id, body),
                None => return Err(format!("{} sent a message that this release does not know", self.node)),
            }
        }
        Ok(())
    }

    fn reply(&mut self, id: u64, body: Body) {
        // A request that was given up may have been swept.
        let Some((reply, _permit)) = self.pending.remove(&id) else { return };
        let _ = reply.send(match body {
            Body::Refusal(reason) => Err(CallError::Refused(reason)),
            body => Ok(body),
        });
    }

    fn fail_pending(&mut self, reason: &str) {
        for (_, (reply, _)) in std::mem::take(&mut self.pending) {
            let _ = reply.send(Err(CallError::Lost(reason.to_owned())));
        }
    }
}
