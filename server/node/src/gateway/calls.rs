//! Unary calls: how many read at once, and what their unread answers may take.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use lentic_proto::v1::Failure;
use lentic_proto::v1::pipe_request::Request;
use lentic_types::limits;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use super::answers::{Budget, unread};
use crate::failure;

/// Largest values that are read at once for unary calls: what is read has no room until its size is known.
const READING_MAX: usize = 16;
/// Connections beyond which those without unread answers are forgotten.
const KEPT_MIN: usize = 64;

/// What the unary calls of a node share.
pub(crate) struct Calls {
    reading: Arc<Semaphore>,
    budget: Arc<Budget>,
    /// Of connections whose answers wait. A caller who does not read takes its own part, and not everyone's.
    connections: Mutex<BTreeMap<SocketAddr, Weak<Budget>>>,
    connection_bytes_max: usize,
}

/// A read's turn: dropped, it is another's.
pub(crate) struct Turn {
    _reading: Option<OwnedSemaphorePermit>,
}

impl Calls {
    /// Answers of all connections share `budget`; those of one may take `connection_bytes_max` of it.
    pub(crate) fn new(budget: Arc<Budget>, connection_bytes_max: usize) -> Arc<Self> {
        let reading = Arc::new(Semaphore::new(READING_MAX));
        Arc::new(Self { reading, budget, connections: Mutex::default(), connection_bytes_max })
    }

    /// The budget of a caller's connection.
    pub(super) fn budget_of(&self, caller: Option<SocketAddr>) -> Arc<Budget> {
        let Some(caller) = caller else { return Arc::clone(&self.budget) };
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(budget) = connections.get(&caller).and_then(Weak::upgrade) {
            return budget;
        }
        if connections.len() >= KEPT_MIN && connections.len().is_power_of_two() {
            connections.retain(|_, budget| budget.strong_count() > 0);
        }
        let budget = self.budget.part(self.connection_bytes_max);
        connections.insert(caller, Arc::downgrade(&budget));
        budget
    }

    /// Waits until a request may read. Whoever has too many answers to read already is told so before anything is read.
    pub(super) async fn turn(&self, request: &Request, budget: &Budget, deadline: Instant) -> Result<Turn, Failure> {
        let bytes_max = match request {
            Request::Get(_) => limits::VALUE_BYTES_MAX,
            Request::Scan(_) => limits::SCAN_BYTES_MAX,
            Request::MultiGet(_) => limits::MULTI_GET_BYTES_MAX,
            _ => return Ok(Turn { _reading: None }),
        };
        let values = u32::try_from(bytes_max / limits::VALUE_BYTES_MAX).unwrap_or(u32::MAX);
        let reading = timeout_at(deadline, Arc::clone(&self.reading).acquire_many_owned(values)).await;
        let reading = reading.ok().and_then(Result::ok);
        let reading = reading.ok_or_else(|| failure::throttled("too many calls read at once; send again", 100))?;
        if budget.is_over() {
            return Err(unread());
        }
        Ok(Turn { _reading: Some(reading) })
    }
}

const _: () = assert!(limits::MULTI_GET_BYTES_MAX / limits::VALUE_BYTES_MAX <= READING_MAX, "each call gets its turn");
