//! Frames: many messages in one, and the hello that each end begins with.

use bytes::Bytes;
use lentic_net::Address;
use lentic_proto::internal as wire;
use lentic_types::{ClusterId, NodeId};
use prost::Message as _;
use wire::message::Body;

/// Most bytes of messages in a frame, roughly; a larger message goes alone: an entry of the largest size.
const FRAME_BYTES: usize = 1 << 20;
/// A frame is closed at this many messages.
const FRAME_MESSAGES: usize = 1_024;
/// What a message without entries or parts takes, roughly.
const MESSAGE_BYTES: usize = 64;

/// Messages for one frame.
#[derive(Default)]
pub(crate) struct Gather {
    messages: Vec<wire::Message>,
    bytes: usize,
}

impl Gather {
    /// Whether a message with this body may go with those that are there.
    pub(crate) fn fits(&self, body: Option<&Body>) -> bool {
        let bytes = self.bytes + MESSAGE_BYTES + body.map_or(0, body_bytes);
        self.messages.is_empty() || (bytes <= FRAME_BYTES && self.messages.len() < FRAME_MESSAGES)
    }

    pub(crate) fn add(&mut self, message: wire::Message) {
        self.bytes += MESSAGE_BYTES + message.body.as_ref().map_or(0, body_bytes);
        self.messages.push(message);
    }

    /// The frame, if there is anything to send.
    pub(crate) fn into_frame(self) -> Option<Bytes> {
        if self.messages.is_empty() {
            return None;
        }
        Some(wire::Frame { hello: None, messages: self.messages }.encode_to_vec().into())
    }
}

/// The bytes of a message that can be large, roughly.
pub(crate) fn body_bytes(body: &Body) -> usize {
    match body {
        Body::Append(append) => append.entries.iter().map(entry_bytes).sum(),
        Body::SnapshotPart(part) => part.data.len(),
        Body::Ask(bytes) | Body::Answer(bytes) => bytes.len(),
        _ => 0,
    }
}

fn entry_bytes(entry: &wire::Entry) -> usize {
    let command = match &entry.payload {
        Some(wire::entry::Payload::Command(command)) => command.len(),
        _ => 0,
    };
    MESSAGE_BYTES / 2 + command
}

/// The first frame of a side.
pub(crate) fn hello(cluster: ClusterId, node: NodeId, to: NodeId, address: Option<Address>) -> Bytes {
    let hello = wire::PeerHello {
        cluster: Bytes::copy_from_slice(&cluster.0),
        node: node.0,
        release: env!("CARGO_PKG_VERSION").to_owned(),
        to: to.0,
        address: address.map_or_else(String::new, |address| address.to_string()),
    };
    wire::Frame { hello: Some(hello), messages: Vec::new() }.encode_to_vec().into()
}

/// A frame that says why a link, or the request with this id, is not served.
pub(crate) fn refusal(id: u64, reason: String) -> Bytes {
    let message = wire::Message { group: 0, id, body: Some(Body::Refusal(reason)) };
    wire::Frame { hello: None, messages: vec![message] }.encode_to_vec().into()
}

/// Checks that the other end is `node` of `cluster` and means `this` node.
pub(crate) fn check_hello(
    hello: &wire::PeerHello,
    cluster: ClusterId,
    node: NodeId,
    this: NodeId,
) -> Result<(), String> {
    check_cluster(hello, cluster, this)?;
    match hello.node == node.0 {
        true => Ok(()),
        false => Err(format!("expected {node} at its address, found {}; its entry is out of date", NodeId(hello.node))),
    }
}

/// Checks that the other end is of `cluster` and means `this` node.
pub(crate) fn check_cluster(hello: &wire::PeerHello, cluster: ClusterId, this: NodeId) -> Result<(), String> {
    let Ok(found) = <[u8; 16]>::try_from(&hello.cluster[..]).map(ClusterId) else {
        return Err("expected a cluster id of 16 bytes; check the other end's release".to_owned());
    };
    if found != cluster {
        return Err(format!("expected a node of cluster {cluster}, found one of {found}; check the address"));
    }
    match hello.to == this.0 {
        true => Ok(()),
        false => Err(format!("expected to be asked as {this}, was asked as {}; check the address", NodeId(hello.to))),
    }
}
