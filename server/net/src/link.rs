//! The seam: dialling, accepting, and what a link is.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;

/// A boxed future, so that the seam can be a trait object.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Where a node is spoken to: `http://host:port`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address(pub Arc<str>);

impl From<&str> for Address {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a link is for. Links of different classes never wait for each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// A client's requests: frames are `lentic.v1.PipeRequest` one way and `lentic.v1.PipeResponse` the other.
    Pipe,
    /// Votes, heartbeats and questions between nodes: frames are `lentic.internal.v1.Frame`, both ways.
    Control,
    /// Entries between nodes, framed the same way.
    Append,
    /// Snapshots between nodes, framed the same way.
    Snapshot,
}

impl Class {
    /// Every class.
    pub const ALL: [Self; 4] = [Self::Pipe, Self::Control, Self::Append, Self::Snapshot];
}

/// Why a link could not be opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{address} cannot be reached: {reason}")]
pub struct DialError {
    /// Who was dialled.
    pub address: Address,
    /// What went wrong.
    pub reason: String,
}

/// The link is gone: frames that were sent and not answered may have been received or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the connection is closed")]
pub struct LinkClosed;

/// One end of a bidirectional stream of frames. Dropping either half tells the other end.
#[derive(Debug)]
pub struct Link {
    /// To the other end.
    pub sender: LinkSender,
    /// From the other end.
    pub receiver: LinkReceiver,
}

/// Sends frames, in order. Clones send on the same link.
#[derive(Clone, Debug)]
pub struct LinkSender(mpsc::Sender<Bytes>);

/// Receives frames, in order.
#[derive(Debug)]
pub struct LinkReceiver(mpsc::Receiver<Bytes>);

impl Link {
    /// A link from the two channels of a transport: what is sent goes into `outgoing`, what is received comes from
    /// `incoming`. The transport closes both when the stream breaks.
    #[must_use]
    pub fn new(outgoing: mpsc::Sender<Bytes>, incoming: mpsc::Receiver<Bytes>) -> Self {
        Self { sender: LinkSender(outgoing), receiver: LinkReceiver(incoming) }
    }

    /// Two ends that are connected to each other, each way holding `frames` frames before a sender waits.
    #[must_use]
    pub fn pair(frames: usize) -> (Self, Self) {
        let (here, from_here) = mpsc::channel(frames);
        let (there, from_there) = mpsc::channel(frames);
        (Self::new(here, from_there), Self::new(there, from_here))
    }
}

impl LinkSender {
    /// Sends a frame; waits while the link is full.
    ///
    /// # Errors
    /// The link is gone: dial again.
    pub async fn send(&self, frame: Bytes) -> Result<(), LinkClosed> {
        self.0.send(frame).await.map_err(|_| LinkClosed)
    }

    /// Whether the other end is gone.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.0.is_closed()
    }

    /// Waits until the other end is gone.
    pub async fn closed(&self) {
        self.0.closed().await;
    }
}

impl LinkReceiver {
    /// The next frame, or `None` when the link is gone.
    pub async fn recv(&mut self) -> Option<Bytes> {
        self.0.recv().await
    }

    /// Up to `limit` frames that are there, after waiting for the first; 0 when the link is gone.
    pub async fn recv_many(&mut self, frames: &mut Vec<Bytes>, limit: usize) -> usize {
        self.0.recv_many(frames, limit).await
    }
}

/// Opens links to others.
pub trait Network: Send + Sync + 'static {
    /// Opens a link of `class` to the process at `address`.
    ///
    /// # Errors
    /// [`DialError`] at once or within a few seconds; a caller waits a little before it dials again.
    fn dial(&self, address: &Address, class: Class) -> BoxFuture<'_, Result<Link, DialError>>;
}

/// Takes links that others opened to this process.
pub trait Accept: Send + Sync + 'static {
    /// Serves `link` until it is gone. The transport runs it as a task of its own.
    fn accept(&self, class: Class, link: Link) -> BoxFuture<'static, ()>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_pair_is_two_ends_of_one_link() {
        let (mut here, mut there) = Link::pair(1);
        here.sender.send(Bytes::from_static(b"ask")).await.unwrap();
        assert_eq!(there.receiver.recv().await.unwrap(), "ask");
        there.sender.send(Bytes::from_static(b"answer")).await.unwrap();
        assert_eq!(here.receiver.recv().await.unwrap(), "answer");
        drop(there);
        assert_eq!(here.receiver.recv().await, None);
        assert_eq!(here.sender.send(Bytes::new()).await, Err(LinkClosed));
    }
}
