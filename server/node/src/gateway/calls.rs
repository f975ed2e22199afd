//! Unary calls: how many read at once, and what their unread answers may take.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use lentic_proto::v1::Failure;
use lentic_proto::v1::pipe_request::Request;
use lentic_types::limits;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::answers::{Budget, unread};

/// Largest values that are read at once for unary calls: what is read has no room until its size is known.
const READING_MAX: usize = 16;
/// How long a call waits for its turn, and how long it has it. Reads take milliseconds; one whose shard has no leader takes
/// as long as it likes, and must not hold up those of other shards.
const TURN_MAX: Duration = Duration::from_millis(100);
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

/// A read's turn, unless it goes without.
pub(super) struct Turn(Option<OwnedSemaphorePermit>);

impl Turn {
    /// Does the work of the turn, which passes on to another call if that takes too long.
    pub(super) async fn cover<F: Future>(self, work: F) -> F::Output {
        let mut work = pin!(work);
        let within = timeout(TURN_MAX, &mut work).await;
        drop(self.0);
        match within {
            Ok(done) => done,
            Err(_) => work.await,
        }
    }
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

    /// Waits for a read's turn. Whoever has too many answers to read already is told so before anything is read.
    pub(super) async fn turn(&self, request: &Request, budget: &Budget) -> Result<Turn, Failure> {
        let bytes_max = match request {
            Request::Get(_) => limits::VALUE_BYTES_MAX,
            Request::Scan(_) | Request::Diff(_) => limits::SCAN_BYTES_MAX,
            Request::Feed(_) => limits::FEED_BYTES_MAX,
            Request::MultiGet(_) => limits::MULTI_GET_BYTES_MAX,
            _ => return Ok(Turn(None)),
        };
        let values = u32::try_from(bytes_max / limits::VALUE_BYTES_MAX).unwrap_or(u32::MAX);
        let reading = timeout(TURN_MAX, Arc::clone(&self.reading).acquire_many_owned(values)).await;
        if budget.is_over() {
            return Err(unread());
        }
        Ok(Turn(reading.ok().and_then(Result::ok)))
    }
}

const _: () = assert!(limits::MULTI_GET_BYTES_MAX / limits::VALUE_BYTES_MAX <= READING_MAX, "each call gets its turn");

#[cfg(test)]
mod tests {
    use super::*;
    use lentic_proto::v1::{self, GetRequest};

    #[tokio::test(start_paused = true)]
    async fn calls_that_hang_hold_up_no_other() {
        let calls = Calls::new(Budget::new(1 << 20), 1 << 10);
        let (get, budget) = (Request::Get(GetRequest::default()), calls.budget_of(None));
        for _ in 0..READING_MAX {
            let turn = calls.turn(&get, &budget).await.ok().unwrap();
            tokio::spawn(turn.cover(std::future::pending::<()>()));
        }
        assert_eq!(calls.reading.available_permits(), 0);
        let began = tokio::time::Instant::now();
        calls.turn(&get, &budget).await.ok().unwrap().cover(async {}).await;
        assert!(began.elapsed() <= TURN_MAX);
        tokio::time::sleep(TURN_MAX).await;
        assert_eq!(calls.reading.available_permits(), READING_MAX, "turns pass on");
    }

    #[tokio::test]
    async fn who_does_not_read_is_refused_before_a_read_and_others_are_not() {
        let calls = Calls::new(Budget::new(1 << 20), 8 << 10);
        let caller = |port| Some(SocketAddr::from(([127, 0, 0, 1], port)));
        let get = Request::Get(GetRequest::default());
        let slow = calls.budget_of(caller(1));
        let _held = slow.hold(9 << 10).unwrap();
        assert!(calls.turn(&get, &calls.budget_of(caller(1))).await.is_err(), "the same connection");
        assert!(calls.turn(&get, &calls.budget_of(caller(2))).await.is_ok());
        assert!(calls.turn(&Request::Now(v1::NowRequest::default()), &slow).await.is_ok(), "it reads nothing");
    }

    #[test]
    fn connections_without_unread_answers_are_forgotten() {
        let calls = Calls::new(Budget::new(1 << 20), 8 << 10);
        (1..10_000).for_each(|port| drop(calls.budget_of(Some(SocketAddr::from(([127, 0, 0, 1], port))))));
        assert!(calls.connections.lock().unwrap().len() <= KEPT_MIN);
    }
}
