//! Accepts TCP connections, within bounds.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Sleep, sleep};
use tonic::codegen::tokio_stream::Stream;
use tonic::transport::server::{Connected, TcpConnectInfo};

use super::knobs::{ACCEPT_PAUSE, FIRST_BYTE_TIMEOUT};

/// The connections of a listener, as the stream that the server asks for. It never ends.
pub(super) struct Connections {
    listener: TcpListener,
    free: Arc<Semaphore>,
    pause: Option<Pin<Box<Sleep>>>,
}

impl Connections {
    /// At most `connections_max` at a time.
    pub(super) fn new(listener: TcpListener, connections_max: usize) -> Self {
        let free = Arc::new(Semaphore::new(connections_max.min(Semaphore::MAX_PERMITS)));
        Self { listener, free, pause: None }
    }
}

impl Stream for Connections {
    type Item = io::Result<Connection>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            if let Some(pause) = &mut this.pause {
                ready!(pause.as_mut().poll(context));
                this.pause = None;
            }
            let Ok((stream, _)) = ready!(this.listener.poll_accept(context)) else {
                // Out of file descriptors, or the other end was faster than we. Trying at once again would spin.
                this.pause = Some(Box::pin(sleep(ACCEPT_PAUSE)));
                continue;
            };
            // Above the bound the connection is closed at once: the client sees a reset and goes elsewhere. To answer it
            // would take what the bound protects.
            let Ok(permit) = this.free.clone().try_acquire_owned() else { continue };
            // Without it small frames wait for acknowledgements of those before them.
            _ = stream.set_nodelay(true);
            return Poll::Ready(Some(Ok(Connection::new(stream, permit))));
        }
    }
}

/// A connection that counts until it is closed, and is given up if it does not say anything.
pub(super) struct Connection {
    stream: TcpStream,
    /// Until the first byte has come.
    silent_until: Option<Pin<Box<Sleep>>>,
    _permit: OwnedSemaphorePermit,
}

impl Connection {
    fn new(stream: TcpStream, permit: OwnedSemaphorePermit) -> Self {
        Self { stream, silent_until: Some(Box::pin(sleep(FIRST_BYTE_TIMEOUT))), _permit: permit }
    }
}

impl Connected for Connection {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> TcpConnectInfo {
        self.stream.connect_info()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if read.is_ready() {
            self.silent_until = None;
        } else if let Some(silent_until) = &mut self.silent_until {
            ready!(silent_until.as_mut().poll(context));
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "nothing was said on the connection")));
        }
        read
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
