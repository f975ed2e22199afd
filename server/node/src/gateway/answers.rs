//! Answers on their way to one caller, bounded when the caller does not read.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use lentic_proto::v1::{Failure, PipeResponse, pipe_response};
use prost::Message as _;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use crate::failure;

/// Answers up to this size are always kept: those to writes, which must not be lost, and failures.
const SMALL_BYTES: usize = 4 << 10;

/// Bytes of answers that wait, against what may.
#[derive(Debug)]
pub(crate) struct Budget {
    bytes_max: usize,
    bytes: AtomicUsize,
    parent: Option<Arc<Self>>,
}

impl Budget {
    pub(crate) fn new(bytes_max: usize) -> Arc<Self> {
        Arc::new(Self { bytes_max, bytes: AtomicUsize::new(0), parent: None })
    }

    /// A part of this budget with a bound of its own.
    pub(crate) fn part(self: &Arc<Self>, bytes_max: usize) -> Arc<Self> {
        Arc::new(Self { bytes_max, bytes: AtomicUsize::new(0), parent: Some(Arc::clone(self)) })
    }

    /// Bytes that wait now.
    pub(crate) fn waiting_bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Takes room for an answer that waits, or says that too many do. Small ones always have room.
    pub(crate) fn hold(self: &Arc<Self>, bytes: usize) -> Option<Held> {
        if bytes > SMALL_BYTES && self.is_over() {
            return None;
        }
        self.add(bytes);
        Some(Held { bytes, budget: Arc::clone(self) })
    }

    /// Whether more waits than may.
    pub(crate) fn is_over(&self) -> bool {
        self.bytes.load(Ordering::Relaxed) > self.bytes_max
            || self.parent.as_ref().is_some_and(|parent| parent.is_over())
    }

    fn add(&self, bytes: usize) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        if let Some(parent) = &self.parent {
            parent.add(bytes);
        }
    }

    fn remove(&self, bytes: usize) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        if let Some(parent) = &self.parent {
            parent.remove(bytes);
        }
    }
}

/// Room for an answer that waits; dropped, it is free again.
pub(crate) struct Held {
    bytes: usize,
    budget: Arc<Budget>,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.budget.remove(self.bytes);
    }
}

/// What is said to callers who do not read.
pub(crate) fn unread() -> Failure {
    failure::throttled("answers wait to be read; read them, then ask again", 100)
}

/// An encoded answer that waits to be sent; it frees its place when it is dropped.
pub(crate) struct Waiting {
    pub(crate) frame: Bytes,
    budget: Arc<Budget>,
    /// The request's place among the open ones.
    _open: Open,
}

/// A request's place among the open ones of its pipe, in number and in bytes.
pub(crate) struct Open {
    pub(crate) _request: OwnedSemaphorePermit,
    pub(crate) _bytes: OwnedSemaphorePermit,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.budget.remove(self.frame.len());
    }
}

/// Answers one request of a pipe.
pub(crate) struct Responder {
    pub(crate) id: u64,
    pub(crate) open: Open,
    pub(crate) budget: Arc<Budget>,
    /// Holds as many as requests can be open, so it is never full.
    pub(crate) out: mpsc::Sender<Waiting>,
}

impl Responder {
    /// Sends the answer, unless the caller reads so slowly that keeping it would cost the node its memory.
    pub(crate) fn send(self, result: Result<pipe_response::Response, Failure>) {
        let response = result.unwrap_or_else(pipe_response::Response::Failure);
        let mut response = PipeResponse { id: self.id, response: Some(response) };
        if response.encoded_len() > SMALL_BYTES && self.budget.is_over() {
            response.response = Some(pipe_response::Response::Failure(unread()));
        }
        let frame = Bytes::from(response.encode_to_vec());
        self.budget.add(frame.len());
        let waiting = Waiting { frame, budget: self.budget, _open: self.open };
        // A pipe that is gone needs no answers.
        let _ = self.out.try_send(waiting);
    }
}
