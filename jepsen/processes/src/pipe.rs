//! A caller who says what it likes to one node, and does not retry.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lentic_proto::v1::pipe_client::PipeClient;
use lentic_proto::v1::pipe_request::Request;
use lentic_proto::v1::pipe_response::Response;
use lentic_proto::v1::{Hello, PipeRequest, PipeResponse};
use lentic_runtime::spawn;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::{Channel, Endpoint};

/// How long a node may take to take a pipe and to say hello.
const OPEN_WITHIN: Duration = Duration::from_secs(10);
/// How long a request may wait at the node, in milliseconds.
const DEADLINE_MS: u32 = 30_000;
/// Requests on their way to the connection.
const SENDING_MAX: usize = 1_024;
/// Largest answer that is taken. No node sends as much.
const ANSWER_BYTES_MAX: usize = 256 << 20;

/// Both directions of a pipe, as gRPC has them, nothing said yet.
pub(crate) struct Open {
    pub(crate) requests: mpsc::Sender<PipeRequest>,
    pub(crate) responses: Streaming<PipeResponse>,
}

type Waiting = Arc<Mutex<BTreeMap<u64, oneshot::Sender<Response>>>>;

/// A pipe to one node, greeted.
pub struct RawPipe {
    requests: mpsc::Sender<PipeRequest>,
    waiting: Waiting,
    next: AtomicU64,
}

/// A connection to the node at `address`, which does not ask whether the node is still there.
///
/// # Panics
/// If the node does not take it.
pub(crate) async fn channel(address: &str) -> Channel {
    let endpoint = Endpoint::from_shared(address.to_owned()).expect("addresses of nodes are addresses");
    let connected = timeout(OPEN_WITHIN, endpoint.connect()).await.expect("the node takes a connection in time");
    connected.expect("the node takes a connection")
}

/// A pipe to the node at `address`.
///
/// # Panics
/// If the node does not take it.
pub(crate) async fn open(address: &str) -> Open {
    let (requests, sending) = mpsc::channel(SENDING_MAX);
    let mut client = PipeClient::new(channel(address).await).max_decoding_message_size(ANSWER_BYTES_MAX);
    let opened = timeout(OPEN_WITHIN, client.open(ReceiverStream::new(sending))).await;
    let responses = opened.expect("the node takes a pipe in time").expect("the node takes a pipe").into_inner();
    Open { requests, responses }
}

/// A request as a message of a pipe.
pub(crate) const fn message(id: u64, request: Request) -> PipeRequest {
    PipeRequest { id, deadline_ms: DEADLINE_MS, request: Some(request) }
}

impl RawPipe {
    /// Opens a pipe to the node at `address`, and says hello.
    ///
    /// # Panics
    /// If the node does not take it.
    pub async fn open(address: &str) -> Self {
        let Open { requests, mut responses } = open(address).await;
        let said = requests.send(message(0, Request::Hello(Hello::default()))).await;
        said.expect("the pipe is open");
        let hello = timeout(OPEN_WITHIN, responses.message()).await.expect("the node says hello in time");
        let hello = hello.expect("the node keeps the pipe").and_then(|hello| hello.response);
        assert!(matches!(hello, Some(Response::Hello(_))), "expected a hello, found {hello:?}");
        let waiting = Waiting::default();
        spawn(receive(responses, Arc::clone(&waiting)));
        Self { requests, waiting, next: AtomicU64::new(1) }
    }

    /// Sends a request; the answer comes when it comes, or never.
    pub async fn ask(&self, request: Request) -> oneshot::Receiver<Response> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (reply, answer) = oneshot::channel();
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(id, reply);
        // A pipe that is gone shows by the answer that does not come.
        let _ = self.requests.send(message(id, request)).await;
        answer
    }

    /// The answer to a request, which comes soon.
    ///
    /// # Panics
    /// If it does not.
    pub async fn answer(&self, request: Request) -> Response {
        let answer = self.ask(request).await;
        timeout(OPEN_WITHIN, answer).await.expect("the node answers in time").expect("the node keeps the pipe")
    }
}

async fn receive(mut responses: Streaming<PipeResponse>, waiting: Waiting) {
    while let Ok(Some(PipeResponse { id, response })) = responses.message().await {
        let reply = waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
        if let (Some(reply), Some(response)) = (reply, response) {
            // Who no longer waits needs no answer.
            let _ = reply.send(response);
        }
    }
    waiting.lock().unwrap_or_else(PoisonError::into_inner).clear();
}
