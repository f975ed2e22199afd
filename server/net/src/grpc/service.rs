//! The four streaming methods of the wire contract, served into an [`Accept`].

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use lentic_runtime::Scope;
use tokio::sync::{Semaphore, watch};
use tonic::body::Body;
use tonic::codegen::{BoxFuture, Service, http};
use tonic::server::{Grpc, NamedService, StreamingService};
use tonic::{Request, Response, Status, Streaming};

use super::codec::FrameCodec;
use super::pump::{End, Finish, Guard, Outgoing, receive};
use crate::link::{Accept, Class, Link};
use crate::queue::{QUEUE_FRAMES_MAX, queue};

impl Class {
    /// The method that opens a link of this class.
    pub(super) const fn path(self) -> &'static str {
        match self {
            Self::Pipe => "/lentic.v1.Pipe/Open",
            Self::Control => "/lentic.internal.v1.Peer/Control",
            Self::Append => "/lentic.internal.v1.Peer/Append",
            Self::Snapshot => "/lentic.internal.v1.Peer/Snapshot",
        }
    }
}

/// How far the server is with stopping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    Serving,
    /// Links receive nothing more; what they still answer is sent.
    Draining,
    /// Links are cut.
    Cutting,
}

/// What all links of a server share.
pub(super) struct Links {
    pub(super) accept: Arc<dyn Accept>,
    pub(super) scope: Option<Scope>,
    pub(super) open: Arc<Semaphore>,
    pub(super) open_max: usize,
    pub(super) phase: watch::Receiver<Phase>,
}

impl Links {
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        // Not in the scope of the caller: that is a connection of the transport, which has none.
        _ = match &self.scope {
            Some(scope) => scope.spawn(task),
            None => tokio::spawn(task),
        };
    }

    /// A link for a stream of frames that someone opened; the stream of its answers.
    fn open(&self, class: Class, frames: Streaming<Bytes>) -> Result<Outgoing, Status> {
        if *self.phase.borrow() != Phase::Serving {
            return Err(stopping());
        }
        let permit = self.open.clone().try_acquire_owned().map_err(|_| {
            let open = self.open_max;
            Status::resource_exhausted(format!(
                "this node has {open} links open and takes no more; ask another, or wait"
            ))
        })?;
        let guard: Guard = Arc::new(permit);
        let (to_peer, from_top) = queue(QUEUE_FRAMES_MAX);
        let (to_top, from_peer) = queue(QUEUE_FRAMES_MAX);
        let finish = Finish::new();
        let outgoing = Outgoing::new(End::Accepting, from_top, class, finish.clone(), Some(guard.clone()));
        let (draining, cutting) = (self.reached(Phase::Draining), self.reached(Phase::Cutting));
        self.spawn(async move {
            receive(End::Accepting, frames, to_top, finish.clone(), draining).await;
            tokio::select! {
                _ = finish.raised() => {}
                () = cutting => finish.raise(Some(stopping())),
            }
        });
        let served = self.accept.accept(class, Link { sender: to_peer, receiver: from_peer });
        self.spawn(async move {
            served.await;
            drop(guard);
        });
        Ok(outgoing)
    }

    /// Waits until the server is at `phase`, or gone.
    fn reached(&self, phase: Phase) -> impl Future<Output = ()> + Send + use<> {
        let mut now = self.phase.clone();
        async move {
            _ = now.wait_for(|now| *now >= phase).await;
        }
    }
}

fn stopping() -> Status {
    Status::unavailable("this node is stopping; ask another")
}

/// `lentic.v1.Pipe`.
#[derive(Clone)]
pub(super) struct PipeService(pub(super) Arc<Links>);

/// `lentic.internal.v1.Peer`.
#[derive(Clone)]
pub(super) struct PeerService(pub(super) Arc<Links>);

impl NamedService for PipeService {
    const NAME: &'static str = "lentic.v1.Pipe";
}

impl NamedService for PeerService {
    const NAME: &'static str = "lentic.internal.v1.Peer";
}

macro_rules! services {
    ($($service:ident: $($class:ident)|+;)*) => {$(
        impl Service<http::Request<Body>> for $service {
            type Response = http::Response<Body>;
            type Error = Infallible;
            type Future = BoxFuture<Self::Response, Infallible>;

            fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
                Poll::Ready(Ok(()))
            }

            fn call(&mut self, request: http::Request<Body>) -> Self::Future {
                let path = request.uri().path();
                let class = [$(Class::$class),+].into_iter().find(|class| class.path() == path);
                Box::pin(answer(self.0.clone(), class, request))
            }
        }
    )*};
}

services! {
    PipeService: Pipe;
    PeerService: Control | Append | Snapshot;
}

async fn answer(
    links: Arc<Links>,
    class: Option<Class>,
    request: http::Request<Body>,
) -> Result<http::Response<Body>, Infallible> {
    let Some(class) = class else {
        return Ok(Status::unimplemented("there is no such method").into_http());
    };
    let mut grpc = Grpc::new(FrameCodec).max_decoding_message_size(class.frame_bytes_max());
    Ok(grpc.streaming(Open { links, class }, request).await)
}

/// One of the methods.
struct Open {
    links: Arc<Links>,
    class: Class,
}

impl StreamingService<Bytes> for Open {
    type Response = Bytes;
    type ResponseStream = Outgoing;
    type Future = BoxFuture<Response<Outgoing>, Status>;

    fn call(&mut self, request: Request<Streaming<Bytes>>) -> Self::Future {
        let opened = self.links.open(self.class, request.into_inner()).map(Response::new);
        Box::pin(std::future::ready(opened))
    }
}
