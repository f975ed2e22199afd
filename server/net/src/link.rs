//! The seam: dialling, accepting, and what a link is.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use lentic_types::limits::{CATALOG_BYTES_MAX, ENTRY_BYTES_MAX, REQUEST_BYTES_MAX};

use crate::queue::{LinkReceiver, LinkSender, queue};

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

    /// Largest frame in bytes. A larger one breaks the link: both ends are told the reason.
    #[must_use]
    pub const fn frame_bytes_max(self) -> usize {
        match self {
            Self::Pipe => REQUEST_BYTES_MAX + FRAME_SLACK_BYTES,
            Self::Append => ENTRY_BYTES_MAX + FRAME_SLACK_BYTES,
            Self::Control => CATALOG_BYTES_MAX + FRAME_SLACK_BYTES,
            Self::Snapshot => SNAPSHOT_PART_BYTES_MAX + FRAME_SLACK_BYTES,
        }
    }

    /// What is said of a frame that is larger.
    pub(crate) fn too_large(self, found: usize) -> String {
        let expected = self.frame_bytes_max();
        format!("a frame of class {self:?} has {found} bytes, expected {expected} at most; send it in parts")
    }
}

/// What a frame may need beside its largest content.
const FRAME_SLACK_BYTES: usize = 1 << 20;

/// Largest part of a snapshot in one frame, in bytes. Smaller parts cost more frames; larger ones hold more memory.
pub const SNAPSHOT_PART_BYTES_MAX: usize = 4 << 20;

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

/// One end of a bidirectional stream of frames.
///
/// The dialling end that drops its sender has said all it will say, and what the other end still says arrives. In every
/// other case dropping a half ends the link: what was sent before is still delivered if it can be, then the other end
/// sees that the link is gone.
#[derive(Debug)]
pub struct Link {
    /// To the other end.
    pub sender: LinkSender,
    /// From the other end.
    pub receiver: LinkReceiver,
}

impl Link {
    /// Two ends that are connected to each other, each way holding `frames` frames before a sender waits.
    #[must_use]
    pub fn pair(frames: usize) -> (Self, Self) {
        let (here, from_here) = queue(frames);
        let (there, from_there) = queue(frames);
        (Self { sender: here, receiver: from_there }, Self { sender: there, receiver: from_here })
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
    use bytes::Bytes;

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
