//! A node with its sockets.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use lentic_net::Accept;
use lentic_net::grpc::{GrpcNetwork, GrpcServer, Routes, ServeError, ServerKnobs};
use lentic_node::Node;
use lentic_rocks::RocksStore;
use lentic_runtime::spawn;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;
use tracing::{error, info};

use crate::config::{Config, HostPort};
use crate::core::{Core, Place, random_bytes};
use crate::directory::{DataDirectory, Member};
use crate::error::{Fatal, StartError, StopError};
use crate::http::{self, Probe as _};
use crate::observe::{Observer, Parts};

/// How often the node is looked at: whether it is ready, and whether its log or store has failed.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How long the servers may take to end, beyond what they wait for by themselves.
const END_TIMEOUT: Duration = Duration::from_secs(15);

/// A node that serves. Dropped, it ends as a killed process does; [`shutdown`](Self::shutdown) is the way to stop.
pub struct Running {
    core: Core,
    observer: Observer,
    address: SocketAddr,
    http_address: SocketAddr,
    health: HealthReporter,
    server: Server<Result<(), ServeError>>,
    http: Server<()>,
}

/// A server in a task of its own.
struct Server<T> {
    stop: oneshot::Sender<()>,
    task: JoinHandle<T>,
}

impl<T: Send + 'static> Server<T> {
    fn start<F>(serve: impl FnOnce(oneshot::Receiver<()>) -> F) -> Self
    where
        F: Future<Output = T> + Send + 'static,
    {
        let (stop, stopped) = oneshot::channel();
        Self { stop, task: spawn(serve(stopped)) }
    }

    /// Lets it end, and cuts it if it does not.
    async fn end(self) {
        let Self { stop, mut task } = self;
        // It may have ended by itself.
        let _ = stop.send(());
        if timeout(END_TIMEOUT, &mut task).await.is_err() {
            task.abort();
        }
    }
}

impl Running {
    /// Starts the node of a configuration. When it returns, clients are served; the shards may still elect leaders.
    ///
    /// # Errors
    /// [`StartError`]: each says what to do. Nothing runs on.
    pub async fn start(config: &Config) -> Result<Self, StartError> {
        config.check()?;
        let directory = DataDirectory::open(&config.place.data, random_bytes)?;
        let (listener, address) = listen("listen", config.place.listen).await?;
        let (http_listener, http_address) = listen("http_listen", config.place.http_listen).await?;
        let observer = Observer::default();
        let (probe, connections_max) = (Arc::new(observer.clone()), config.connections.http_max);
        // Before the node: who waits for it sees that it is on its way.
        let http = Server::start(move |stopped| {
            http::serve(http_listener, probe, connections_max, async {
                // Dropped or sent, it is over.
                _ = stopped.await;
            })
        });
        let advertised = |given: &Option<HostPort>, bound| given.clone().unwrap_or_else(|| HostPort::from(bound)).url();
        let place = Place {
            network: Arc::new(GrpcNetwork::new()),
            address: advertised(&config.place.advertise, address),
            http_address: advertised(&config.place.http_advertise, http_address),
        };
        let core = match Core::open(config, directory, place).await {
            Ok(core) => core,
            Err(error) => {
                http.end().await;
                return Err(error);
            }
        };
        let (health, routes) = services(&core.node);
        let server = serve(&core, routes, listener, (&config.connections).into()).await;
        let (node, store, log) = (core.node.clone(), Arc::clone(&core.store), core.log.clone());
        observer.is_up(Parts { node, store, log });
        core.scope.spawn(report_health(observer.clone(), health.clone()));
        let Member { cluster, node, .. } = core.member;
        info!(%address, %http_address, %cluster, node = node.0, "serving");
        Ok(Self { core, observer, address, http_address, health, server, http })
    }

    /// Where clients and nodes are served.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where the HTTP pages are.
    #[must_use]
    pub const fn http_address(&self) -> SocketAddr {
        self.http_address
    }

    /// Who the node is.
    #[must_use]
    pub const fn member(&self) -> Member {
        self.core.member
    }

    /// The node itself.
    #[must_use]
    pub const fn node(&self) -> &Node<RocksStore> {
        &self.core.node
    }

    /// Waits until the node can go on no longer. The process should end: a failed disk is not tried again.
    pub async fn wait(&mut self) -> Fatal {
        let fatal = self.watch().await;
        error!(reason = %fatal, "this node cannot go on and ends");
        fatal
    }

    async fn watch(&mut self) -> Fatal {
        loop {
            tokio::select! {
                biased;
                ended = &mut self.server.task => {
                    let reason = match ended {
                        Ok(Ok(())) => "the gRPC server stopped".to_owned(),
                        Ok(Err(error)) => error.to_string(),
                        Err(error) => format!("the gRPC server stopped: {error}"),
                    };
                    return Fatal::Server(reason);
                }
                () = sleep(LOOK_EVERY) => {}
            }
            if let Err(poisoned) = self.core.log.stats() {
                return Fatal::Log(poisoned);
            }
            if let Some(failure) = self.core.node.store_failure() {
                return Fatal::Store(failure);
            }
        }
    }

    /// Stops the node as it should: hands over what it leads, lets clients go, flushes and closes.
    ///
    /// # Errors
    /// [`StopError`]: not everything could be flushed. Nothing that was acknowledged is lost.
    pub async fn shutdown(self) -> Result<(), StopError> {
        let Self { core, observer, health, server, http, .. } = self;
        info!("stopping");
        observer.is_stopping();
        set_health(&health, false).await;
        // The servers last until the node has handed over: others still speak to it.
        let stopped = core.close(async {
            server.end().await;
            http.end().await;
        });
        let stopped = stopped.await;
        info!("stopped");
        stopped
    }
}

async fn listen(key: &'static str, address: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let failed = |error: std::io::Error| StartError::Listen { key, address, reason: error.to_string() };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

/// The services beside the links: those of the node, health and reflection.
fn services(node: &Node<RocksStore>) -> (HealthReporter, Routes) {
    let (health, health_service) = tonic_health::server::health_reporter();
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(lentic_proto::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()
        .expect("the descriptors were made by this build");
    (health, node.services().add_service(health_service).add_service(reflection))
}

async fn serve(
    core: &Core,
    routes: Routes,
    listener: TcpListener,
    knobs: ServerKnobs,
) -> Server<Result<(), ServeError>> {
    let accept: Arc<dyn Accept> = Arc::new(core.node.clone());
    // Its links are in the node's scope; the server itself is not, for it ends after the node.
    let server = core.scope.run(async { GrpcServer::new(accept) }).await.with_knobs(knobs).with_routes(routes);
    Server::start(move |stopped| {
        server.serve(listener, async {
            // Dropped or sent, it is over.
            _ = stopped.await;
        })
    })
}

/// Tells over gRPC whether the node is ready, for as long as it runs.
async fn report_health(observer: Observer, health: HealthReporter) {
    loop {
        set_health(&health, observer.not_ready().is_empty()).await;
        sleep(LOOK_EVERY).await;
    }
}

async fn set_health(health: &HealthReporter, is_ready: bool) {
    let status = if is_ready { ServingStatus::Serving } else { ServingStatus::NotServing };
    // The empty name stands for the whole server.
    health.set_service_status("", status).await;
}
