//! Connections to the pages: few, short, and none that holds anything for long.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use lentic_runtime::spawn;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout};
use tracing::{debug, warn};

use super::pages::answer;
use super::probe::Probe;

/// How long a client may take for the head of a request, and how long a connection may be idle between two.
const HEAD_TIMEOUT: Duration = Duration::from_secs(20);
/// How long a connection lasts, then it ends after the request it is at: whoever scrapes opens another one.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(120);
/// How long the last request of a connection may take, and the end of the server. A client that does not read is cut.
const END_TIMEOUT: Duration = Duration::from_secs(5);
/// Largest head of a request in bytes, and what is read of a body that nobody looks at.
const HEAD_BYTES_MAX: usize = 16 << 10;
/// Most fields in the head of a request.
const FIELDS_MAX: usize = 64;
/// How long accepting pauses after it failed, for want of file descriptors as a rule.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves the pages on `listener` until `shutdown` is done and the connections have ended. Of `connections_max`
/// connections that are open at a time, further ones wait.
pub async fn serve(
    listener: TcpListener,
    probe: Arc<dyn Probe>,
    connections_max: usize,
    shutdown: impl Future<Output = ()>,
) {
    let places = Arc::new(Semaphore::new(connections_max));
    let (stop, stopped) = watch::channel(());
    let accepting = async {
        loop {
            let place = Arc::clone(&places).acquire_owned().await.expect("the semaphore is never closed");
            match listener.accept().await {
                Ok((stream, _)) => {
                    let (probe, stopped) = (Arc::clone(&probe), stopped.clone());
                    spawn(async move {
                        serve_connection(stream, probe, stopped).await;
                        drop(place);
                    });
                }
                Err(error) => {
                    warn!(%error, "a connection to the HTTP pages was not accepted");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    };
    tokio::select! {
        biased;
        () = shutdown => {}
        () = accepting => {}
    }
    drop(stop);
    // Every connection has a place until it ends.
    let all = u32::try_from(connections_max).unwrap_or(u32::MAX);
    let _ = timeout(2 * END_TIMEOUT, places.acquire_many(all)).await;
}

/// Serves one connection until its end. It ends by itself: neither a client that says nothing nor one that reads
/// nothing holds it.
async fn serve_connection<S>(stream: S, probe: Arc<dyn Probe>, mut stopped: watch::Receiver<()>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let service = service_fn(move |request| {
        let response = answer(&*probe, &request);
        async { Ok::<_, Infallible>(response) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(FIELDS_MAX)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        biased;
        ended = &mut connection => Some(ended),
        // The sender is dropped, nothing is ever sent.
        _ = stopped.changed() => None,
        () = sleep(CONNECTION_TIMEOUT) => None,
    };
    let ended = match ended {
        Some(ended) => Some(ended),
        None => {
            connection.as_mut().graceful_shutdown();
            timeout(END_TIMEOUT, &mut connection).await.ok()
        }
    };
    if let Some(Err(error)) = ended {
        debug!(%error, "a connection to the HTTP pages broke");
    }
}

#[cfg(test)]
mod tests;
