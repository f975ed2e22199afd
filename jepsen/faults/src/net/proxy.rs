//! Carries streams between nodes: on loopback, where nobody sees packets.
//!
//! Each link has a proxy. A cut does not close anything: what was read is held until the link is open again, an end
//! too, so that neither side learns through a cut that the other one is gone. Connections that are opened across a cut
//! are accepted by the proxy, for the kernel does that, and get no answer. That is also so of a cut one way: one of
//! packets would stop the handshake as well.
//!
//! A piece that is being written when [`super::Network::set`] is called may still pass.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::pin::pin;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::{runtime, time};

use super::links::{Links, Way};

/// The largest piece of a stream, in bytes.
const PIECE_BYTES_MAX: usize = 64 << 10;
/// How many pieces of one direction of a connection may be under way; beyond it no more is read.
const PIECES_MAX: usize = 64;
/// How many connections a link may have; beyond it new ones are reset.
const CONNECTIONS_MAX: usize = 64;
/// When to accept again if it failed: then this process has too many files open.
const ACCEPT_AGAIN: Duration = Duration::from_millis(20);

/// A link of loopback.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) way: Way,
    /// The one that `way` goes to.
    pub(crate) target: SocketAddrV4,
    listener: TcpListener,
}

impl Link {
    /// Makes a proxy at some port of `address`. It accepts and does not answer until [`Proxies::start`].
    pub(crate) fn new(way: Way, target: SocketAddrV4, address: Ipv4Addr) -> io::Result<Self> {
        let listener = TcpListener::bind((address, 0))?;
        listener.set_nonblocking(true)?;
        Ok(Self { way, target, listener })
    }

    /// Where the proxy is.
    pub(crate) fn proxy(&self) -> io::Result<SocketAddrV4> {
        match self.listener.local_addr()? {
            std::net::SocketAddr::V4(address) => Ok(address),
            std::net::SocketAddr::V6(address) => Err(io::Error::other(format!("{address} is not of IPv4"))),
        }
    }
}

/// A thread with the proxies of all links. The connections end with it.
#[derive(Debug)]
pub(crate) struct Proxies {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Proxies {
    /// Starts to carry streams.
    pub(crate) fn start(all: Vec<Link>, links: Arc<Links>) -> io::Result<Self> {
        let (stop, stopped) = oneshot::channel();
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let listeners = {
            let _inside = runtime.enter();
            let listener = |link: Link| Ok((link.way, link.target, tokio::net::TcpListener::from_std(link.listener)?));
            all.into_iter().map(listener).collect::<io::Result<Vec<_>>>()?
        };
        let run = move || {
            runtime.block_on(async move {
                let mut tasks = JoinSet::new();
                for (way, target, listener) in listeners {
                    tasks.spawn(serve(listener, way, target, Arc::clone(&links)));
                }
                // An error is that nobody can stop it any more.
                let _ = stopped.await;
            });
        };
        let thread = thread::Builder::new().name("proxies".to_owned()).spawn(run)?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Proxies {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // If it panicked, it has said so.
            let _ = thread.join();
        }
    }
}

/// Accepts the connections of a link.
async fn serve(listener: tokio::net::TcpListener, way: Way, target: SocketAddrV4, links: Arc<Links>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((caller, _)) if connections.len() < CONNECTIONS_MAX => {
                    let links = Arc::clone(&links);
                    // An error is one of the two ends: both have noticed by now.
                    connections.spawn(async move { carry(caller, way, target, &links).await.ok() });
                }
                Ok((caller, _)) => reset(&caller),
                Err(_) => time::sleep(ACCEPT_AGAIN).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Carries a connection, both ways.
async fn carry(mut caller: TcpStream, way: Way, target: SocketAddrV4, links: &Links) -> io::Result<()> {
    caller.set_nodelay(true)?;
    let (from_caller, to_caller) = caller.split();
    let (read, pieces) = mpsc::channel(PIECES_MAX);
    let both_ways = [way, way.back()];
    let mut reading = pin!(pull(from_caller, way, read, links));
    tokio::select! {
        biased;
        () = links.open(&both_ways) => {}
        // It gave up before it got through.
        () = &mut reading => return Ok(()),
    }
    let connected = TcpStream::connect(target).await;
    let mut called = connected.inspect_err(|_| reset(to_caller.as_ref()))?;
    called.set_nodelay(true)?;
    let (from_called, to_called) = called.split();
    let (read, pieces_back) = mpsc::channel(PIECES_MAX);
    let there = push(pieces, way, to_called, links);
    let back = push(pieces_back, way.back(), to_caller, links);
    let reading_back = pull(from_called, way.back(), read, links);
    tokio::try_join!(
        there,
        back,
        async {
            reading.await;
            Ok(())
        },
        async {
            reading_back.await;
            Ok(())
        }
    )?;
    Ok(())
}

/// Reads pieces, and says when each is due. Ends after the end of the stream, which is a piece without bytes; a broken
/// stream has ended.
async fn pull(mut from: ReadHalf<'_>, way: Way, pieces: mpsc::Sender<(Instant, Vec<u8>)>, links: &Links) {
    let mut buffer = vec![0; PIECE_BYTES_MAX];
    loop {
        let length = from.read(&mut buffer).await.unwrap_or(0);
        let due = links.lock().due(way, Instant::now());
        let is_taken = pieces.send((due, buffer[..length].to_vec())).await.is_ok();
        if length == 0 || !is_taken {
            return;
        }
    }
}

/// Writes pieces when they are due and the link is open.
async fn push(
    mut pieces: mpsc::Receiver<(Instant, Vec<u8>)>,
    way: Way,
    mut to: WriteHalf<'_>,
    links: &Links,
) -> io::Result<()> {
    while let Some((due, piece)) = pieces.recv().await {
        if due > Instant::now() {
            time::sleep_until(due.into()).await;
        }
        links.open(&[way]).await;
        let written = if piece.is_empty() { to.shutdown().await } else { to.write_all(&piece).await };
        if let Err(error) = written {
            // The one who sends must not learn through a cut that nobody receives.
            links.open(&[way.back()]).await;
            return Err(error);
        }
        links.lock().piece_passed(way);
    }
    Ok(())
}

/// Lets the connection end with a reset, as one to nobody does.
fn reset(connection: &TcpStream) {
    // If that fails it ends with an end.
    let _ = connection.set_zero_linger();
}
