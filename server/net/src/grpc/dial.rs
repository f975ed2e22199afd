//! Connections to others, one for each class.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lentic_runtime::spawn;
use tokio::time::timeout;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

use super::codec::FrameCodec;
use super::knobs::{
    CONNECT_TIMEOUT, CONNECTION_WINDOW_BYTES, HTTP2_FRAME_BYTES_MAX, OPEN_TIMEOUT, PING_INTERVAL, PING_TIMEOUT,
    STREAM_WINDOW_BYTES,
};
use super::pump::{End, Finish, Outgoing, OutgoingFrames, receive};
use crate::link::{Address, BoxFuture, Class, DialError, Link, Network};
use crate::queue::{QUEUE_FRAMES_MAX, queue};

/// Most connections kept. A process talks to the nodes of a cluster, four classes each; above this the first in order is
/// forgotten, and dialled again when it is needed.
const CONNECTIONS_MAX: usize = 4_096;

/// Opens links as gRPC streams. Links to one address of one class share a connection; classes do not, so that a large
/// snapshot never stands before a vote. Clones share connections.
#[derive(Clone, Debug, Default)]
pub struct GrpcNetwork(Arc<Mutex<BTreeMap<(Address, Class), Channel>>>);

impl GrpcNetwork {
    /// A network without connections; they are made by dialling.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A connection for calls to other services at `address`. It is not kept here: the caller does.
    ///
    /// # Errors
    /// [`DialError`] within a few seconds.
    pub async fn channel(&self, address: &Address) -> Result<Channel, DialError> {
        connect(address).await
    }

    /// Opens a link over the connection that is there, or over a new one if there is none or it fails.
    async fn open(&self, address: Address, class: Class) -> Result<Link, DialError> {
        let key = (address, class);
        let known = self.connections().get(&key).cloned();
        if let Some(channel) = known {
            match open(channel, class).await {
                Ok(link) => return Ok(link),
                Err(Refusal::Peer(reason)) => return Err(DialError { address: key.0, reason }),
                // Its process may have gone and come back.
                Err(Refusal::Connection(_)) => _ = self.connections().remove(&key),
            }
        }
        let channel = connect(&key.0).await?;
        match open(channel.clone(), class).await {
            Ok(link) => {
                let mut connections = self.connections();
                if connections.len() >= CONNECTIONS_MAX {
                    connections.pop_first();
                }
                connections.insert(key, channel);
                Ok(link)
            }
            Err(Refusal::Peer(reason) | Refusal::Connection(reason)) => Err(DialError { address: key.0, reason }),
        }
    }

    fn connections(&self) -> MutexGuard<'_, BTreeMap<(Address, Class), Channel>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Network for GrpcNetwork {
    fn dial(&self, address: &Address, class: Class) -> BoxFuture<'_, Result<Link, DialError>> {
        Box::pin(self.open(address.clone(), class))
    }
}

async fn connect(address: &Address) -> Result<Channel, DialError> {
    let failed = |reason: String| DialError { address: address.clone(), reason };
    let endpoint = Endpoint::from_shared(address.to_string())
        .map_err(|error| failed(format!("expected http://host:port: {}", described(&error))))?
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_frame_size(HTTP2_FRAME_BYTES_MAX);
    // The endpoint's own timeout does not cover the name's resolution and HTTP/2's first words.
    match timeout(CONNECT_TIMEOUT + OPEN_TIMEOUT, endpoint.connect()).await {
        Ok(connected) => connected.map_err(|error| failed(described(&error))),
        Err(_) => Err(failed("it does not answer".to_owned())),
    }
}

/// Why a stream could not be opened.
enum Refusal {
    /// The other end answered, and does not want it.
    Peer(String),
    /// The connection is of no use any more.
    Connection(String),
}

async fn open(channel: Channel, class: Class) -> Result<Link, Refusal> {
    let (to_peer, from_top) = queue(QUEUE_FRAMES_MAX);
    let (to_top, from_peer) = queue(QUEUE_FRAMES_MAX);
    let finish = Finish::new();
    let outgoing = Outgoing::new(End::Dialling, from_top, class, finish.clone(), None);
    let mut grpc = tonic::client::Grpc::new(channel).max_decoding_message_size(class.frame_bytes_max());
    let opening = async {
        grpc.ready().await.map_err(|error| Refusal::Connection(described(&error)))?;
        let path = PathAndQuery::from_static(class.path());
        grpc.streaming(Request::new(OutgoingFrames(outgoing)), path, FrameCodec)
            .await
            .map_err(|status| refusal(&status))
    };
    let stream = match timeout(OPEN_TIMEOUT, opening).await {
        Ok(opened) => opened?.into_inner(),
        Err(_) => return Err(Refusal::Connection("it does not answer".to_owned())),
    };
    spawn(receive(End::Dialling, stream, to_top, finish, std::future::pending()));
    Ok(Link { sender: to_peer, receiver: from_peer })
}

/// A status that has no source was sent by the peer.
fn refusal(status: &Status) -> Refusal {
    match status.source() {
        None => Refusal::Peer(format!("{}: {}", status.code().description(), status.message())),
        Some(source) => Refusal::Connection(described(source)),
    }
}

/// An error with what caused it: the libraries below say little in the first sentence.
fn described(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let words = error.to_string();
        // Some say what their cause says, and some the same twice.
        if !text.ends_with(&words) {
            text += &format!(": {words}");
        }
        source = error.source();
    }
    text
}
