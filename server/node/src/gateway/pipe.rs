//! A client's pipe: many requests in one stream, answered as they are done.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use lentic_engine::Portable;
use lentic_net::{Link, LinkSender};
use lentic_proto::v1::{self, Failure, Hello, PipeRequest, PipeResponse, pipe_request, pipe_response};
use lentic_runtime::spawn;
use lentic_types::{ErrorKind, ShardId};
use prost::Message as _;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::{Instant, timeout};

use super::Gateway;
use super::answers::{Open, Responder, Waiting};
use super::forward;
use crate::failure;

/// How long a client may take to say hello.
const HELLO_WITHIN: Duration = Duration::from_secs(10);
/// How long a pipe that ends waits for what is still to be answered.
const LAST_WORDS_WITHIN: Duration = Duration::from_secs(1);
/// Requests taken from a pipe at once.
const FRAMES_AT_ONCE: usize = 256;
/// What a request weighs at least, in bytes.
const REQUEST_BYTES_MIN: usize = 256;

/// Who is at the other end of a pipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    /// A client: what it asks is passed on if need be.
    Client,
    /// A node that passes on what a client asked: it is answered here or not at all, so that nothing goes in circles.
    Node,
}

/// Tells when a pipe is gone: its other end is dropped then.
type Gone = watch::Receiver<()>;

impl<S: Portable> Gateway<S> {
    /// Serves a pipe until it is gone.
    pub(crate) async fn serve_pipe(self, mut link: Link) {
        let hello = timeout(HELLO_WITHIN, link.receiver.recv()).await;
        let Ok(Some(frame)) = hello else { return };
        let (answer, caller) = self.greet(&frame);
        let refused = matches!(answer.response, Some(pipe_response::Response::Failure(_)));
        if link.sender.send(answer.encode_to_vec().into()).await.is_err() || refused {
            return;
        }
        let options = self.options;
        // What a node passes on was let in where its client is: the ends of transactions do not wait for a place here.
        let requests_max = match caller {
            Caller::Client => options.pipe_requests_max,
            Caller::Node => options.pipe_requests_max.max(forward::OPEN_MAX),
        };
        let (out, waiting) = mpsc::channel(requests_max);
        let sending = spawn(send_all(link.sender, waiting));
        let requests = Arc::new(Semaphore::new(requests_max));
        let bytes = Arc::new(Semaphore::new(options.pipe_request_bytes_max));
        let budget = self.budget.part(options.caller_answer_bytes_max);
        // Dropped when the pipe is gone.
        let (_here, gone) = watch::channel(());
        let mut frames = Vec::new();
        while link.receiver.recv_many(&mut frames, FRAMES_AT_ONCE).await > 0 {
            let arrived = Instant::now();
            for frame in frames.drain(..) {
                let weight = frame.len().clamp(REQUEST_BYTES_MIN, options.pipe_request_bytes_max);
                let weight = u32::try_from(weight).unwrap_or(u32::MAX);
                let open =
                    (Arc::clone(&requests).acquire_owned().await, Arc::clone(&bytes).acquire_many_owned(weight).await);
                let (Ok(_request), Ok(_bytes)) = open else { return };
                let request = PipeRequest::decode(frame);
                let id = request.as_ref().map_or(0, |request| request.id);
                let (open, budget) = (Open { _request, _bytes }, Arc::clone(&budget));
                let responder = Responder { id, open, budget, out: out.clone() };
                let Ok(request) = request else {
                    // What follows a frame that is no request has no meaning either.
                    let words = "a frame is no request, and the pipe ends; check that the caller speaks lentic.v1";
                    responder.send(Err(failure::invalid(words)));
                    drop(out);
                    // Once the link is let go of, what is not on it will not be said.
                    let _ = timeout(LAST_WORDS_WITHIN, sending).await;
                    return;
                };
                self.handle(request, (caller, &gone), arrived, responder);
            }
        }
    }

    fn greet(&self, frame: &Bytes) -> (PipeResponse, Caller) {
        let request = PipeRequest::decode(frame.clone());
        let id = request.as_ref().map_or(0, |request| request.id);
        let mut caller = Caller::Client;
        let response = match request.map(|request| request.request) {
            Ok(Some(pipe_request::Request::Hello(hello))) => {
                if hello.node != 0 {
                    caller = Caller::Node;
                }
                self.hello(&hello).map_or_else(pipe_response::Response::Failure, pipe_response::Response::Hello)
            }
            _ => pipe_response::Response::Failure(failure::invalid("the first message of a pipe is a hello")),
        };
        (PipeResponse { id, response: Some(response) }, caller)
    }

    fn hello(&self, hello: &Hello) -> Result<Hello, Failure> {
        let catalog = self.meta.catalog();
        let cluster = catalog.cluster;
        if !hello.cluster.is_empty() && hello.cluster != cluster.0.as_slice() {
            let message = format!("this node belongs to cluster {cluster}; check the address");
            return Err(Failure::new(ErrorKind::Invalid, message));
        }
        Ok(Hello {
            cluster: Bytes::copy_from_slice(&cluster.0),
            node: self.meta.node.0,
            release: env!("CARGO_PKG_VERSION").to_owned(),
            request_bytes_max: u64::try_from(self.options.limits.request_bytes_max).unwrap_or(u64::MAX),
            addresses: catalog.nodes.values().map(|node| node.address.to_string()).collect(),
        })
    }

    /// Begins a request; its responder answers it, now or later.
    fn handle(&self, request: PipeRequest, from: (Caller, &Gone), arrived: Instant, responder: Responder) {
        let deadline = match request.deadline_ms {
            0 => self.options.deadline,
            ms => Duration::from_millis(u64::from(ms)),
        };
        let deadline = arrived + deadline;
        let Some(request) = request.request else {
            return responder.send(Err(failure::invalid("the request is of a kind this release does not know")));
        };
        let soon = route_of(&request).map(|route| ShardId(route.shard)).filter(|shard| self.shards.soon.has(*shard));
        if let Some(shard) = soon {
            let (gateway, (caller, gone)) = (self.clone(), (from.0, from.1.clone()));
            spawn(async move {
                gateway.shards.soon.over(shard).await;
                gateway.begin(request, (caller, &gone), deadline, responder);
            });
            return;
        }
        self.begin(request, from, deadline, responder);
    }

    /// Begins a request whose shard, if it is for one, serves as far as is known.
    fn begin(
        &self,
        request: pipe_request::Request,
        (caller, gone): (Caller, &Gone),
        deadline: Instant,
        responder: Responder,
    ) {
        use pipe_request::Request;
        use pipe_response::Response;
        match request {
            Request::Hello(_) => responder.send(Err(failure::invalid("hello is said once, at the beginning"))),
            Request::Write(write) if write.route.is_some() => {
                self.write(write, deadline, move |result| responder.send(result.map(Response::Write)));
            }
            Request::Get(get) if get.route.is_some() => {
                self.get(get, deadline, move |result| responder.send(result.map(Response::Get)));
            }
            // A transaction whose coordinator is gone need not be prepared.
            step @ Request::Step(_) => {
                let (gateway, mut gone) = (self.clone(), gone.clone());
                spawn(async move {
                    tokio::select! {
                        biased;
                        answer = gateway.answer(step, caller, deadline) => responder.send(answer),
                        _ = gone.changed() => {}
                    }
                });
            }
            other => {
                let gateway = self.clone();
                spawn(async move { responder.send(gateway.answer(other, caller, deadline).await) });
            }
        }
    }

    /// Answers a request that takes a task of its own.
    pub(crate) async fn answer(
        &self,
        request: pipe_request::Request,
        caller: Caller,
        deadline: Instant,
    ) -> Result<pipe_response::Response, Failure> {
        match tokio::time::timeout_at(deadline, self.answer_in_time(request, caller, deadline)).await {
            Ok(result) => result,
            Err(_) => Err(failure::unknown("the deadline passed; the request may have had its effect")),
        }
    }

    async fn answer_in_time(
        &self,
        request: pipe_request::Request,
        caller: Caller,
        deadline: Instant,
    ) -> Result<pipe_response::Response, Failure> {
        use pipe_request::Request;
        use pipe_response::Response;
        if is_of_a_shard(&request) && route_of(&request).is_none() {
            return self.relay(request, deadline).await;
        }
        Ok(match request {
            Request::MultiGet(request) => Response::MultiGet(self.multi_get(request).await?),
            Request::Scan(request) => Response::Scan(self.scan(request).await?),
            Request::Feed(request) => Response::Feed(self.feed(request).await?),
            Request::Diff(request) => Response::Diff(self.diff(request).await?),
            Request::Now(_) => Response::Now(self.now().await?),
            Request::Status(request) => Response::Status(self.status(&request).await?),
            Request::DescribeTable(describe) => match self.describe_table(&describe) {
                Ok(described) => Response::DescribeTable(described),
                // It may have been made a moment ago, and the news not be here yet: the meta group's leader knows.
                Err(_) => self.ask_meta(Request::DescribeTable(describe), caller, deadline).await?,
            },
            Request::TransferLeader(request) => Response::TransferLeader(self.transfer_leader(&request).await?),
            // The first id is the founder's: nobody gets one before it has registered.
            Request::Join(_) if self.meta.catalog().nodes.is_empty() => {
                return Err(failure::throttled("this node is not registered with its cluster yet; ask again", 50));
            }
            Request::CreateSnapshot(mut request) => {
                if request.nonce.is_empty() {
                    request.nonce = new_nonce();
                }
                self.ask_meta(Request::CreateSnapshot(request), caller, deadline).await?
            }
            Request::Branch(mut request) => {
                if request.nonce.is_empty() {
                    request.nonce = new_nonce();
                }
                self.ask_meta(Request::Branch(request), caller, deadline).await?
            }
            Request::History(request) => Response::History(self.history(request, caller, deadline).await?),
            Request::ListPins(_)
            | Request::ShowSnapshot(_)
            | Request::DropPin(_)
            | Request::RenewPin(_)
            | Request::LastCheckpoint(_)
            | Request::CreateTable(_)
            | Request::DropTable(_)
            | Request::ListTables(_)
            | Request::IssueClient(_)
            | Request::Balance(_)
            | Request::MoveReplica(_)
            | Request::SplitShard(_)
            | Request::SetNodeState(_)
            | Request::Join(_) => self.ask_meta(request, caller, deadline).await?,
            Request::Transact(request) => Response::Transact(self.transact(request, deadline).await?),
            Request::Take(request) => Response::Take(self.take(request, deadline).await?),
            Request::Release(request) => Response::Release(self.release(request, deadline).await?),
            Request::Checkpoint(mut request) => {
                if request.nonce.is_empty() {
                    request.nonce = new_nonce();
                }
                self.ask_meta(Request::Checkpoint(request), caller, deadline).await?
            }
            Request::Owned(request) => Response::Owned(self.owned(request).await?),
            Request::Step(_) if caller == Caller::Client => {
                return Err(failure::invalid("steps are what nodes ask of each other; send the transaction"));
            }
            Request::Step(request) => Response::Step(self.step(request, deadline).await?),
            Request::Write(_) | Request::Get(_) => return self.answer_here(request, deadline).await,
            Request::Hello(_) => return Err(failure::invalid("hello is said once, at the beginning")),
        })
    }
}

/// The shard that a request names.
const fn route_of(request: &pipe_request::Request) -> Option<v1::Route> {
    use pipe_request::Request;
    match request {
        Request::Write(request) => request.route,
        Request::Get(request) => request.route,
        Request::MultiGet(request) => request.route,
        Request::Scan(request) => request.route,
        Request::Owned(request) => request.route,
        Request::Feed(request) => request.route,
        Request::Diff(request) => request.route,
        Request::Step(request) => request.route,
        _ => None,
    }
}

/// Whether a request is for one shard, or for those of a table that hold its keys if it names none.
const fn is_of_a_shard(request: &pipe_request::Request) -> bool {
    use pipe_request::Request;
    matches!(
        request,
        Request::Write(_)
            | Request::Get(_)
            | Request::MultiGet(_)
            | Request::Scan(_)
            | Request::Owned(_)
            | Request::Feed(_)
            | Request::Diff(_)
    )
}

/// For a caller who does not send a request again.
fn new_nonce() -> Bytes {
    [lentic_runtime::random(), lentic_runtime::random()].iter().flat_map(|half| half.to_be_bytes()).collect()
}

async fn send_all(link: LinkSender, mut waiting: mpsc::Receiver<Waiting>) {
    while let Some(answer) = waiting.recv().await {
        if link.send(answer.frame.clone()).await.is_err() {
            return;
        }
    }
}
