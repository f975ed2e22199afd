//! How the outcome of an entry gets back to whoever asked for it.

use openraft::raft::responder::Responder;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::types::Types;

/// Sends an outcome once. While it lives, the entry counts against what may wait in its group.
#[derive(Debug)]
pub(crate) struct Answering<T> {
    sender: oneshot::Sender<T>,
    _permit: Option<OwnedSemaphorePermit>,
}

impl<T> Answering<T> {
    /// A responder that holds `permit` until the outcome is known, and where the outcome arrives.
    pub(crate) fn new(permit: Option<OwnedSemaphorePermit>) -> (Self, oneshot::Receiver<T>) {
        let (sender, receiver) = oneshot::channel();
        (Self { sender, _permit: permit }, receiver)
    }
}

impl<T: Send + 'static> Responder<Types, T> for Answering<T> {
    fn on_complete(self, result: T) {
        // Whoever asked may not be interested any more.
        let _ = self.sender.send(result);
    }
}
