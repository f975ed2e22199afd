//! The answering side of a link: requests of one node in one class, for all groups.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use lentic_net::{Class, Link, LinkReceiver, LinkSender};
use lentic_proto::internal as wire;
use lentic_types::limits::CATALOG_BYTES_MAX;
use lentic_types::{GroupId, NodeId};
use prost::Message as _;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;
use wire::message::Body;

use super::frame::{self, Gather};
use super::inbox::{Incoming, ReplyTo};
use crate::host::Shared;

/// The other end must introduce itself by then.
const HELLO_TIMEOUT: Duration = Duration::from_secs(3);
/// Replies that wait for the link. Each answers an open request, of which the other end has a bounded number.
const REPLIES_MAX: usize = 8_192;
/// Largest question and largest answer between nodes, in bytes: the catalog is sent as one.
pub const ASK_BYTES_MAX: usize = CATALOG_BYTES_MAX;
/// Questions to this node that are being answered at once, over all links.
pub(crate) const ANSWERS_MAX: usize = 256;

/// Answers what comes on `link`, until it is gone.
pub(crate) async fn serve(shared: Arc<Shared>, class: Class, link: Link) {
    let Link { sender, mut receiver } = link;
    let from = match greet(&shared, class, &sender, &mut receiver).await {
        Ok(from) => from,
        Err(reason) => {
            let _ = sender.send(frame::refusal(0, reason)).await;
            return;
        }
    };
    let (replies, outgoing) = mpsc::channel(REPLIES_MAX);
    tokio::select! { biased;
        () = write(&shared, sender, outgoing) => {}
        reason = read(&shared, class, from, receiver, replies) => drop(reason),
    }
}

/// Exchanges hellos. Returns who asks.
async fn greet(
    shared: &Shared,
    class: Class,
    sender: &LinkSender,
    receiver: &mut LinkReceiver,
) -> Result<NodeId, String> {
    if class == Class::Pipe {
        return Err("expected a link between nodes, found one of a client; ask for another class".to_owned());
    }
    let first = timeout(HELLO_TIMEOUT, receiver.recv()).await;
    let Ok(Some(first)) = first else {
        return Err(format!("expected a hello within {} s", HELLO_TIMEOUT.as_secs()));
    };
    let frame = wire::Frame::decode(first).map_err(|error| format!("expected a hello, found no frame: {error}"))?;
    let hello = frame.hello.ok_or("expected a hello in the first frame; check the other end's release")?;
    let peers = &shared.peers;
    frame::check_cluster(&hello, peers.cluster, peers.node)?;
    let from = NodeId(hello.node);
    peers.hear(&hello);
    let ours = peers.hello(from);
    sender.send(ours).await.map_err(|_| "the link broke".to_owned())?;
    Ok(from)
}

/// Sends replies: those that wait together in one frame.
async fn write(shared: &Shared, sender: LinkSender, mut replies: mpsc::Receiver<wire::Message>) {
    let mut next = None;
    loop {
        if next.is_none() {
            next = replies.recv().await;
            tokio::task::yield_now().await;
        }
        if next.is_none() {
            return;
        }
        let mut gather = Gather::default();
        while let Some(message) = next.take_if(|message| gather.fits(message.body.as_ref())) {
            gather.add(message);
            next = replies.try_recv().ok();
        }
        if let Some(frame) = gather.into_frame() {
            shared.peers.counters.frame_sent(frame.len());
            if sender.send(frame).await.is_err() {
                return;
            }
        }
    }
}

/// Passes requests on. Returns why it ends.
async fn read(
    shared: &Arc<Shared>,
    class: Class,
    from: NodeId,
    mut receiver: LinkReceiver,
    replies: mpsc::Sender<wire::Message>,
) -> Result<(), prost::DecodeError> {
    while let Some(frame) = receiver.recv().await {
        shared.peers.counters.frame_received(frame.len());
        let frame = wire::Frame::decode(frame)?;
        for wire::Message { group, id, body } in frame.messages {
            let counters = Arc::clone(&shared.peers.counters);
            let reply = ReplyTo { group, id, replies: replies.clone(), counters };
            match body {
                Some(body) => pass_on(shared, class, from, body, reply).await,
                None => reply.refuse("expected a message that this release knows"),
            }
        }
    }
    Ok(())
}

async fn pass_on(shared: &Arc<Shared>, class: Class, from: NodeId, body: Body, reply: ReplyTo) {
    let group = GroupId(reply.group);
    match (class, body) {
        (Class::Control, Body::Ask(question)) => answer(shared, from, question, reply),
        (Class::Snapshot, body @ (Body::SnapshotOffer(_) | Body::SnapshotPart(_))) => {
            // One after the other: the link waits while a part is written.
            let answer = shared.receiver.handle(shared, from, group, body).await;
            reply.send(Body::SnapshotReply(answer));
        }
        (Class::Control | Class::Append, body) => match shared.inbox(group) {
            Some(inbox) => inbox.put(class, Incoming { body, reply }),
            None => reply.refuse(format!("{group} is not on {}", shared.peers.node)),
        },
        (Class::Snapshot | Class::Pipe, _) => reply.refuse("expected parts of a snapshot on this link"),
    }
}

/// Answers a question to the node, beside others.
fn answer(shared: &Arc<Shared>, from: NodeId, question: Bytes, reply: ReplyTo) {
    let Some(answerer) = shared.answerer() else {
        return reply.refuse(format!("{} does not answer questions yet", shared.peers.node));
    };
    let Ok(permit) = Arc::clone(&shared.answering).try_acquire_owned() else {
        return reply.refuse(format!("{} has too many questions to answer; ask again", shared.peers.node));
    };
    lentic_runtime::spawn(async move {
        let _permit = permit;
        match answerer.answer(from, question).await {
            Ok(answer) if answer.len() > ASK_BYTES_MAX => {
                reply.refuse(format!("the answer has {} bytes, expected at most {ASK_BYTES_MAX}", answer.len()));
            }
            Ok(answer) => reply.send(Body::Answer(answer)),
            Err(reason) => reply.refuse(reason),
        }
    });
}

/// Room for as many answers as are given at once.
pub(crate) fn answering() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(ANSWERS_MAX))
}
