//! One direction of a link inside a process: frames in order, bounded by their number and by their bytes.
//!
//! A [`LinkSender`] waits while the queue is full, so a reader that does not read holds back whoever writes to it, all
//! the way: the other process's queue, the stream's window, this queue, the writer.

use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::sync::{Semaphore, mpsc};

use crate::link::LinkClosed;

/// Most frames that one direction of a link holds in one process before a sender waits. Enough that a burst of small
/// frames is moved in a few wake-ups.
pub(crate) const QUEUE_FRAMES_MAX: usize = 256;

/// Most bytes of them. A frame larger than this goes alone.
pub(crate) const QUEUE_BYTES_MAX: u32 = 4 << 20;

/// Sends frames, in order. Clones send on the same link.
#[derive(Clone, Debug)]
pub struct LinkSender {
    frames: mpsc::Sender<Bytes>,
    shared: Arc<Shared>,
}

/// Receives frames, in order.
#[derive(Debug)]
pub struct LinkReceiver {
    frames: mpsc::Receiver<Bytes>,
    shared: Arc<Shared>,
}

/// A place in the queue, for a frame of the size that was asked for.
#[derive(Debug)]
pub(crate) struct Slot<'a>(mpsc::Permit<'a, Bytes>);

#[derive(Debug)]
struct Shared {
    /// What is left of the bytes.
    room: Semaphore,
    /// Why the transport broke the link, if it did.
    reason: OnceLock<String>,
}

/// The two ends of a queue of at most `frames` frames.
pub(crate) fn queue(frames: usize) -> (LinkSender, LinkReceiver) {
    let (sender, receiver) = mpsc::channel(frames);
    let shared = Arc::new(Shared { room: Semaphore::new(QUEUE_BYTES_MAX as usize), reason: OnceLock::new() });
    (LinkSender { frames: sender, shared: shared.clone() }, LinkReceiver { frames: receiver, shared })
}

/// What a frame takes of the queue's bytes. The same on the way in and out.
fn weight(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX).min(QUEUE_BYTES_MAX)
}

impl LinkSender {
    /// Sends a frame; waits while the link is full. If the returned future is dropped before it is done, the frame is
    /// not sent.
    ///
    /// # Errors
    /// The link is gone: dial again.
    pub async fn send(&self, frame: Bytes) -> Result<(), LinkClosed> {
        let slot = self.reserve(frame.len()).await?;
        slot.send(frame);
        Ok(())
    }

    /// Whether the other end is gone.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.frames.is_closed()
    }

    /// Waits until the other end is gone.
    pub async fn closed(&self) {
        self.frames.closed().await;
    }

    /// Waits for a place for a frame of so many bytes. An error if the other end is gone.
    pub(crate) async fn reserve(&self, bytes: usize) -> Result<Slot<'_>, LinkClosed> {
        // The place first: while this sender waits for bytes, none behind it can take them.
        let slot = self.frames.reserve().await.map_err(|_| LinkClosed)?;
        let room = self.shared.room.acquire_many(weight(bytes)).await.map_err(|_| LinkClosed)?;
        room.forget();
        Ok(Slot(slot))
    }

    /// Says why the link broke, before this end of it is dropped. Only the first reason counts.
    pub(crate) fn set_reason(&self, reason: &str) {
        _ = self.shared.reason.set(reason.to_owned());
    }
}

impl Slot<'_> {
    /// Puts the frame there. It has the size that was asked for.
    pub(crate) fn send(self, frame: Bytes) {
        self.0.send(frame);
    }
}

impl LinkReceiver {
    /// The next frame, or `None` when the link is gone. If the returned future is dropped before it is done, no frame is
    /// lost.
    pub async fn recv(&mut self) -> Option<Bytes> {
        let frame = self.frames.recv().await?;
        self.shared.took(std::slice::from_ref(&frame));
        Some(frame)
    }

    /// Up to `limit` frames that are there, after waiting for the first; 0 when the link is gone.
    pub async fn recv_many(&mut self, frames: &mut Vec<Bytes>, limit: usize) -> usize {
        let before = frames.len();
        let count = self.frames.recv_many(frames, limit).await;
        self.shared.took(&frames[before..]);
        count
    }

    /// Why the link broke, as the transport knows it. `None` if it has not, or if the other end just left.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        self.shared.reason.get().map(String::as_str)
    }

    /// As [`Self::recv_many`].
    pub(crate) fn poll_recv_many(
        &mut self,
        context: &mut Context<'_>,
        frames: &mut Vec<Bytes>,
        limit: usize,
    ) -> Poll<usize> {
        let before = frames.len();
        let count = ready!(self.frames.poll_recv_many(context, frames, limit));
        self.shared.took(&frames[before..]);
        Poll::Ready(count)
    }

    /// The next frame, if one is there.
    pub(crate) fn try_recv(&mut self) -> Option<Bytes> {
        let frame = self.frames.try_recv().ok()?;
        self.shared.took(std::slice::from_ref(&frame));
        Some(frame)
    }

    /// Takes nothing more: senders see that the link is gone. What is queued can still be received.
    pub(crate) fn close(&mut self) {
        self.frames.close();
        self.shared.room.close();
    }
}

impl Drop for LinkReceiver {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    /// Gives back the bytes of frames that were taken out, all at once: it takes a lock.
    fn took(&self, frames: &[Bytes]) {
        self.room.add_permits(frames.iter().map(|frame| weight(frame.len()) as usize).sum());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::time::timeout;

    const MOMENT: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn senders_wait_for_frames_and_for_bytes() {
        let (sender, mut receiver) = queue(2);
        let large = Bytes::from(vec![0; QUEUE_BYTES_MAX as usize * 2]);
        sender.send(large.clone()).await.unwrap();
        assert!(timeout(MOMENT, sender.send(Bytes::from_static(b"x"))).await.is_err(), "the large frame goes alone");
        assert_eq!(receiver.recv().await.unwrap().len(), large.len());
        for _ in 0..2 {
            sender.send(Bytes::new()).await.unwrap();
        }
        assert!(timeout(MOMENT, sender.send(Bytes::new())).await.is_err(), "frames are counted too");
        let mut frames = vec![Bytes::new()];
        assert_eq!((receiver.recv_many(&mut frames, 9).await, frames.len()), (2, 3));
        sender.send(large).await.expect("a wait that was given up has taken nothing");
    }

    #[tokio::test(start_paused = true)]
    async fn a_waiting_sender_learns_that_the_receiver_is_gone() {
        let (sender, receiver) = queue(2);
        sender.send(Bytes::from(vec![0; QUEUE_BYTES_MAX as usize])).await.unwrap();
        let waiting = tokio::spawn(async move { sender.send(Bytes::from_static(b"x")).await });
        tokio::task::yield_now().await;
        drop(receiver);
        assert_eq!(waiting.await.unwrap(), Err(LinkClosed));
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_queued_before_the_end_arrives() {
        let (sender, mut receiver) = queue(2);
        sender.send(Bytes::from_static(b"last")).await.unwrap();
        sender.set_reason("cable");
        sender.set_reason("second");
        drop(sender);
        assert_eq!(receiver.recv().await.unwrap(), "last");
        assert_eq!((receiver.recv().await, receiver.reason()), (None, Some("cable")));
    }
}
