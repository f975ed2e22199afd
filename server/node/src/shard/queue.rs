//! What waits for a shard's proposer: bounded in bytes, refused beyond.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use lentic_machine::shard::{Action, RequestKey};
use lentic_machine::{Outcome, Request};
use lentic_proto::v1::Failure;
use lentic_types::{Epoch, Version};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::failure;

/// A request that waits to be proposed.
pub(crate) struct Proposal {
    pub(crate) epoch: Epoch,
    pub(crate) key: Option<RequestKey>,
    pub(crate) action: Action,
    /// Bytes and operations it brings into an entry.
    pub(crate) cost: Cost,
    /// After this nobody waits for the answer.
    pub(crate) deadline: Instant,
    pub(crate) reply: Reply,
}

/// What a request costs an entry.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cost {
    pub(crate) bytes: usize,
    pub(crate) operations: usize,
}

/// Answers one request. Dropped without an answer, it says that the outcome is unknown.
pub(crate) struct Reply(Option<Answer>);

type Answer = Box<dyn FnOnce(Result<Outcome, Failure>) + Send>;

impl Reply {
    pub(crate) fn new(answer: impl FnOnce(Result<Outcome, Failure>) + Send + 'static) -> Self {
        Self(Some(Box::new(answer)))
    }

    pub(crate) fn send(mut self, result: Result<Outcome, Failure>) {
        if let Some(answer) = self.0.take() {
            answer(result);
        }
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        if let Some(answer) = self.0.take() {
            answer(Err(failure::unknown("the node lost track of the request; send it again with the same key")));
        }
    }
}

impl Proposal {
    /// The request, stamped.
    pub(crate) fn stamped(self, version: Version) -> (Request, Reply) {
        (Request { version, key: self.key, action: self.action }, self.reply)
    }
}

/// How much may wait, and how much goes into one entry.
#[derive(Clone, Copy, Debug)]
pub(crate) struct QueueLimits {
    pub(crate) waiting_bytes_max: usize,
    pub(crate) entry_bytes_max: usize,
    pub(crate) entry_operations_max: usize,
    /// So many bytes are worth an entry beside others that are under way.
    pub(crate) beside_bytes_min: usize,
}

/// The queue of one shard.
#[derive(Default)]
pub(crate) struct Queue {
    state: Mutex<State>,
    filled: Notify,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Proposal>,
    bytes: usize,
    /// Whether this node leads the shard and takes requests.
    open: bool,
}

/// Why a request was not taken.
pub(crate) enum Refused {
    NotLeader,
    Full,
}

impl Queue {
    /// Takes a request, or gives it back.
    pub(crate) fn offer(&self, proposal: Proposal, limits: &QueueLimits) -> Result<(), Box<(Proposal, Refused)>> {
        let mut state = self.lock();
        if !state.open {
            return Err(Box::new((proposal, Refused::NotLeader)));
        }
        // One request of any size is taken when nothing waits.
        if state.bytes > 0 && state.bytes + proposal.cost.bytes > limits.waiting_bytes_max {
            return Err(Box::new((proposal, Refused::Full)));
        }
        state.bytes += proposal.cost.bytes;
        state.waiting.push_back(proposal);
        drop(state);
        self.filled.notify_one();
        Ok(())
    }

    /// Waits for requests, and takes as many as go into one entry: at least one. While other entries are under way it
    /// waits until there are enough to be worth one beside them: each entry costs every replica the same, whatever it
    /// holds. [`Self::look_again`] when none is under way any more.
    pub(crate) async fn gather(&self, limits: &QueueLimits, is_alone: impl Fn() -> bool) -> Vec<Proposal> {
        loop {
            let bytes_min = if is_alone() { 0 } else { limits.beside_bytes_min };
            let gathered = self.take(limits, bytes_min);
            if !gathered.is_empty() {
                return gathered;
            }
            self.filled.notified().await;
        }
    }

    /// An entry is done: what waits may be worth one now.
    pub(crate) fn look_again(&self) {
        self.filled.notify_one();
    }

    fn take(&self, limits: &QueueLimits, bytes_min: usize) -> Vec<Proposal> {
        let mut state = self.lock();
        if state.bytes < bytes_min {
            return Vec::new();
        }
        let (mut gathered, mut cost) = (Vec::new(), Cost::default());
        while let Some(next) = state.waiting.front() {
            cost.bytes += next.cost.bytes;
            cost.operations += next.cost.operations;
            let fits = cost.bytes <= limits.entry_bytes_max && cost.operations <= limits.entry_operations_max;
            if !gathered.is_empty() && !fits {
                break;
            }
            let next = state.waiting.pop_front().expect("there is a front");
            state.bytes -= next.cost.bytes;
            gathered.push(next);
        }
        gathered
    }

    /// Lets requests in: this node leads, and has fetched its first tick.
    pub(crate) fn open(&self) {
        self.lock().open = true;
    }

    /// Lets nothing in any more, and gives back what waits.
    pub(crate) fn close(&self) -> VecDeque<Proposal> {
        let mut state = self.lock();
        state.open = false;
        state.bytes = 0;
        std::mem::take(&mut state.waiting)
    }

    /// Whether requests are let in.
    pub(crate) fn is_open(&self) -> bool {
        self.lock().open
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
