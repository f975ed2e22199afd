//! Between the stream of a call and the queues of a link.
//!
//! ```text
//!               LinkSender ─► queue ─► Outgoing ─► HTTP/2 ─► peer
//!   what is on                            ▲ finish
//!   top         LinkReceiver ◄─ queue ◄─ receive ◄─ HTTP/2 ◄─ peer
//! ```
//!
//! The two directions end together: what ends the incoming one raises `finish` for the outgoing one, which sends what is
//! queued and ends. Only the end of the dialling side's frames leaves the other direction open.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::timeout;
use tonic::codegen::tokio_stream::Stream;
use tonic::{Status, Streaming};

use crate::link::{BoxFuture, Class};
use crate::queue::{LinkReceiver, LinkSender};

/// Tells the outgoing direction of a link to end, with a status if something is wrong. Clones are the same.
#[derive(Clone, Debug)]
pub(super) struct Finish(Arc<watch::Sender<Option<Option<Status>>>>);

impl Finish {
    pub(super) fn new() -> Self {
        Self(Arc::new(watch::channel(None).0))
    }

    /// Ends the outgoing direction after what is queued. Only the first call counts.
    pub(super) fn raise(&self, status: Option<Status>) {
        self.0.send_if_modified(|raised| {
            let first = raised.is_none();
            if first {
                *raised = Some(status);
            }
            first
        });
    }

    /// Waits until it is raised.
    pub(super) fn raised(&self) -> BoxFuture<'static, Option<Status>> {
        let mut receiver = self.0.subscribe();
        Box::pin(async move {
            let raised = receiver.wait_for(Option::is_some).await.ok();
            raised.and_then(|raised| raised.clone()).flatten()
        })
    }
}

/// The frames of a link on their way out, as the stream that gRPC asks for.
pub(super) struct Outgoing {
    end: End,
    queue: LinkReceiver,
    /// Taken out of the queue, the next one last.
    taken: Vec<Bytes>,
    class: Class,
    finish: Finish,
    raised: BoxFuture<'static, Option<Status>>,
    state: State,
    _guard: Option<Guard>,
}

/// Something that is given back when all who hold it are gone.
pub(super) type Guard = Arc<dyn Send + Sync>;

/// How many frames are taken out of a queue at a time.
const TAKE_FRAMES: usize = 64;

enum State {
    Open,
    /// Sends what is queued, then the status.
    Finishing(Option<Status>),
    /// What is on top has said all it will say.
    SaidAll,
    Ended,
}

impl Outgoing {
    /// The frames in `queue`. The guard is kept as long as the stream lives.
    pub(super) fn new(end: End, queue: LinkReceiver, class: Class, finish: Finish, guard: Option<Guard>) -> Self {
        let raised = finish.raised();
        Self { end, queue, taken: Vec::new(), class, finish, raised, state: State::Open, _guard: guard }
    }

    /// The frame, or the status that ends the stream because of it.
    fn checked(&mut self, frame: Bytes) -> Result<Bytes, Status> {
        if frame.len() <= self.class.frame_bytes_max() {
            return Ok(frame);
        }
        self.state = State::Ended;
        self.queue.close();
        let status = Status::out_of_range(self.class.too_large(frame.len()));
        self.finish.raise(Some(status.clone()));
        Err(status)
    }
}

impl Stream for Outgoing {
    type Item = Result<Bytes, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if this.taken.is_empty()
            && matches!(this.state, State::Open)
            && let Poll::Ready(status) = this.raised.as_mut().poll(context)
        {
            this.state = State::Finishing(status);
        }
        if matches!(this.state, State::SaidAll | State::Ended) {
            return Poll::Ready(None);
        }
        if this.taken.is_empty() {
            match this.queue.poll_recv_many(context, &mut this.taken, TAKE_FRAMES) {
                Poll::Pending if matches!(this.state, State::Open) => return Poll::Pending,
                Poll::Ready(_) | Poll::Pending => this.taken.reverse(),
            }
        }
        if let Some(frame) = this.taken.pop() {
            return Poll::Ready(Some(this.checked(frame)));
        }
        this.queue.close();
        match std::mem::replace(&mut this.state, State::Ended) {
            State::Finishing(status) => Poll::Ready(status.map(Err)),
            State::Open | State::SaidAll | State::Ended => {
                this.state = State::SaidAll;
                Poll::Ready(None)
            }
        }
    }
}

/// The call is over, unless only this direction of it is.
impl Drop for Outgoing {
    fn drop(&mut self) {
        if self.end == End::Accepting || !matches!(self.state, State::SaidAll) {
            self.finish.raise(None);
        }
    }
}

/// The same for a dialling end, which cannot send a status: it just ends.
pub(super) struct OutgoingFrames(pub(super) Outgoing);

impl Stream for OutgoingFrames {
    type Item = Bytes;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        Pin::new(&mut self.0).poll_next(context).map(|item| item.and_then(Result::ok))
    }
}

/// How long a dialling end that has left the link waits for the other one to leave too.
const LINGER_TIMEOUT: Duration = Duration::from_secs(1);

/// Which end of a link this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Dialling,
    Accepting,
}

/// Moves frames from the stream into the queue until one of them ends, or `stop` says that no more shall be received.
pub(super) async fn receive(
    end: End,
    mut stream: Streaming<Bytes>,
    queue: LinkSender,
    finish: Finish,
    stop: impl Future<Output = ()>,
) {
    let outcome = tokio::select! {
        biased;
        outcome = move_frames(&mut stream, &queue) => outcome,
        // Broken on the way out.
        status = finish.raised() => Outcome::Over(status),
        () = stop => Outcome::HalfClosed,
    };
    match outcome {
        Outcome::HalfClosed if end == End::Accepting => {}
        Outcome::HalfClosed => finish.raise(None),
        Outcome::Over(status) => {
            if let Some(status) = &status {
                queue.set_reason(status.message());
            }
            drop(queue);
            finish.raise(status);
            if end == End::Dialling {
                // To drop the stream cancels the call, and what was sent last may be lost with it.
                _ = timeout(LINGER_TIMEOUT, async { while let Ok(Some(_)) = stream.message().await {} }).await;
            }
        }
    }
}

enum Outcome {
    /// The other end has said all it will say.
    HalfClosed,
    /// Neither direction goes on.
    Over(Option<Status>),
}

async fn move_frames(stream: &mut Streaming<Bytes>, queue: &LinkSender) -> Outcome {
    loop {
        let next = tokio::select! {
            biased;
            next = stream.message() => next,
            // What is on top receives nothing more: it has left the link.
            () = queue.closed() => return Outcome::Over(None),
        };
        match next {
            Ok(Some(frame)) => {
                if queue.send(frame).await.is_err() {
                    return Outcome::Over(None);
                }
            }
            Ok(None) => return Outcome::HalfClosed,
            Err(status) => return Outcome::Over(Some(status)),
        }
    }
}
