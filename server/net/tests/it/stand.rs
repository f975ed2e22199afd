//! A server to dial, and what its links do.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use lentic_net::grpc::{GrpcServer, ServerKnobs};
use lentic_net::{Accept, Address, BoxFuture, Class, Link};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Long enough for anything on this machine; what takes longer has failed.
pub(crate) const LONG: Duration = Duration::from_secs(20);

/// What `future` comes to, unless it takes too long.
pub(crate) async fn soon<F: Future>(what: &str, future: F) -> F::Output {
    timeout(LONG, future).await.unwrap_or_else(|_| panic!("{what} takes too long"))
}

/// Sends back each frame, until the other end has said all.
pub(crate) struct Echo;

impl Accept for Echo {
    fn accept(&self, _: Class, mut link: Link) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            while let Some(frame) = link.receiver.recv().await {
                if link.sender.send(frame).await.is_err() {
                    return;
                }
            }
        })
    }
}

/// Hands links over to the test.
pub(crate) struct HandOver(mpsc::UnboundedSender<(Class, Link)>);

impl HandOver {
    pub(crate) fn new() -> (Self, mpsc::UnboundedReceiver<(Class, Link)>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Self(sender), receiver)
    }
}

impl Accept for HandOver {
    fn accept(&self, class: Class, link: Link) -> BoxFuture<'static, ()> {
        self.0.send((class, link)).expect("the test takes links");
        Box::pin(std::future::ready(()))
    }
}

/// A server that runs.
pub(crate) struct Stand {
    pub(crate) address: Address,
    pub(crate) port: u16,
    stop: Option<oneshot::Sender<()>>,
    served: JoinHandle<()>,
}

impl Stand {
    pub(crate) async fn new(accept: impl Accept) -> Self {
        Self::with_knobs(accept, ServerKnobs::default()).await
    }

    pub(crate) async fn with_knobs(accept: impl Accept, knobs: ServerKnobs) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::on(listener, GrpcServer::new(Arc::new(accept)).with_knobs(knobs))
    }

    pub(crate) fn on(listener: TcpListener, server: GrpcServer) -> Self {
        let port = listener.local_addr().unwrap().port();
        let (stop, stopped) = oneshot::channel();
        let served = tokio::spawn(async move {
            let shutdown = async {
                _ = stopped.await;
            };
            server.serve(listener, shutdown).await.unwrap();
        });
        Self { address: Address::from(&*format!("http://127.0.0.1:{port}")), port, stop: Some(stop), served }
    }

    /// Tells the server to stop, and does not wait.
    pub(crate) fn stop(&mut self) {
        _ = self.stop.take().expect("stopped once").send(());
    }

    /// Waits until the server has stopped.
    pub(crate) async fn stopped(self) {
        soon("stopping", self.served).await.unwrap();
    }
}

/// The next frame, as text.
pub(crate) async fn recv(link: &mut Link) -> Option<String> {
    let frame = soon("a frame", link.receiver.recv()).await?;
    Some(String::from_utf8(frame.to_vec()).unwrap())
}

pub(crate) async fn send(link: &Link, text: &str) {
    soon("sending", link.sender.send(Bytes::from(text.to_owned()))).await.unwrap();
}
