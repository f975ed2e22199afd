//! One port for links and for other services.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use lentic_runtime::Scope;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, oneshot, watch};
use tokio::time::timeout;
use tonic::service::Routes;
use tonic::transport::Server;

use super::connections::Connections;
use super::knobs::{
    CONNECTION_WINDOW_BYTES, HTTP2_FRAME_BYTES_MAX, SERVER_PING_INTERVAL, SERVER_PING_TIMEOUT, STREAM_WINDOW_BYTES,
};
use super::service::{Links, PeerService, Phase, PipeService};
use crate::link::Accept;

/// What a server allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerKnobs {
    /// Most TCP connections at a time; one above is closed at once. Each takes a file descriptor, and some 35 KiB when
    /// idle.
    pub connections_max: usize,
    /// Most open links; opening one above is refused.
    pub links_max: usize,
    /// Most open calls and links of one connection; further ones wait.
    pub calls_per_connection_max: u32,
    /// How long a server that stops waits for links to send what they still have to say, in milliseconds.
    pub drain_ms_max: u64,
}

impl Default for ServerKnobs {
    fn default() -> Self {
        Self { connections_max: 20_000, links_max: 20_000, calls_per_connection_max: 1_024, drain_ms_max: 5_000 }
    }
}

/// How long the connections have to close when all calls have ended.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Serving failed.
#[derive(Debug, thiserror::Error)]
#[error("the gRPC server stopped: {0}")]
pub struct ServeError(String);

/// Serves links into an [`Accept`], and other gRPC services beside them, on one port.
pub struct GrpcServer {
    accept: Arc<dyn Accept>,
    routes: Routes,
    knobs: ServerKnobs,
    scope: Option<Scope>,
}

impl GrpcServer {
    /// A server that gives links to `accept`. Their tasks run in the scope of the caller.
    #[must_use]
    pub fn new(accept: Arc<dyn Accept>) -> Self {
        Self { accept, routes: Routes::default(), knobs: ServerKnobs::default(), scope: Scope::current() }
    }

    /// The server with other bounds.
    #[must_use]
    pub fn with_knobs(self, knobs: ServerKnobs) -> Self {
        Self { knobs, ..self }
    }

    /// The server with more services: unary calls, health, reflection.
    #[must_use]
    pub fn with_routes(self, routes: Routes) -> Self {
        Self { routes, ..self }
    }

    /// Serves until `shutdown` is done and everything has ended. Then no connection and no link is taken any more, and
    /// links receive nothing more: an [`Accept`] sends what it still has to say and drops its link. What is left after
    /// [`ServerKnobs::drain_ms_max`] is cut.
    ///
    /// # Errors
    /// [`ServeError`]: the transport gave up. Nothing is served any more.
    pub async fn serve(self, listener: TcpListener, shutdown: impl Future<Output = ()>) -> Result<(), ServeError> {
        let (phase, seen) = watch::channel(Phase::Serving);
        let links = Arc::new(Links {
            accept: self.accept,
            scope: self.scope,
            open: Arc::new(Semaphore::new(self.knobs.links_max.min(Semaphore::MAX_PERMITS))),
            open_max: self.knobs.links_max,
            phase: seen,
        });
        let routes = self.routes.add_service(PipeService(links.clone())).add_service(PeerService(links)).prepare();
        let connections = Connections::new(listener, self.knobs.connections_max);
        let (stop, stopped) = oneshot::channel::<()>();
        let server = Server::builder()
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_frame_size(HTTP2_FRAME_BYTES_MAX)
            .max_concurrent_streams(self.knobs.calls_per_connection_max)
            .http2_keepalive_interval(Some(SERVER_PING_INTERVAL))
            .http2_keepalive_timeout(Some(SERVER_PING_TIMEOUT))
            .serve_with_incoming_shutdown(routes, connections, async {
                _ = stopped.await;
            });
        tokio::pin!(server);
        let ended = tokio::select! {
            ended = &mut server => Some(ended),
            () = shutdown => None,
        };
        let ended = match ended {
            Some(ended) => ended,
            None => {
                phase.send_replace(Phase::Draining);
                _ = stop.send(());
                match timeout(Duration::from_millis(self.knobs.drain_ms_max), &mut server).await {
                    Ok(ended) => ended,
                    Err(_) => {
                        phase.send_replace(Phase::Cutting);
                        // A connection that still does not close dies with the process.
                        timeout(CLOSE_TIMEOUT, &mut server).await.unwrap_or(Ok(()))
                    }
                }
            }
        };
        ended.map_err(|error| ServeError(error.to_string()))
    }
}
