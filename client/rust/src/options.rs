//! The knobs of a client.

use std::time::Duration;

use crate::error::Error;
use crate::replicas::ReadFrom;

/// The knobs of a client. The defaults suit a cluster in one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// How long an operation may take in all, retries among it. Too small: a change of leader (1 to 2 s) becomes an error.
    pub deadline: Duration,
    /// How long to wait for an answer before asking others whether the leader has changed, again and again. It gives
    /// nothing up, and all who wait on a table ask together. Too small: questions for nothing when nodes are slow; too
    /// large: a leader that hangs holds its requests for longer than an election takes.
    pub patience: Duration,
    /// How long a node may be silent, questions among it, before its connection is given up and its open requests are
    /// sent again.
    pub silence_max: Duration,
    /// How long opening a connection may take.
    pub dial_max: Duration,
    /// The first pause before a retry; each further one of an operation is twice as long, half of it at random.
    pub backoff_min: Duration,
    /// The longest pause before a retry.
    pub backoff_max: Duration,
    /// How long a put, delete or merge waits for others of its shard, to be sent with them as one request. 0: not at
    /// all; requests are pipelined all the same. All operations of such a request take effect together; if it is
    /// refused, each is sent again by itself, so that its caller gets its own answer.
    pub linger: Duration,
    /// Most bytes of keys and values in a request that lingering made.
    pub batch_bytes_max: usize,
    /// Most operations in a request that lingering made.
    pub batch_operations_max: usize,
    /// Most bytes of requests that are sent to one node and not answered; more wait. A request alone may exceed it.
    pub pipeline_bytes_max: usize,
    /// Most client ids to take from the cluster, 1 to 64. Each allows 1,000 writes in flight, and more wait.
    pub sessions_max: usize,
    /// How often [`transact`](crate::Client::transact) runs a transaction whose reads were changed by others, within its
    /// deadline. Too small: busy keys become errors.
    pub txn_attempts_max: u32,
    /// About how many bytes of rows to ask for at a time in a scan; two such pages are held.
    pub page_bytes: u32,
    /// Who answers reads at versions, where a table does not say otherwise.
    pub read_from: ReadFrom,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(30),
            patience: Duration::from_millis(400),
            silence_max: Duration::from_secs(5),
            dial_max: Duration::from_secs(3),
            backoff_min: Duration::from_millis(10),
            backoff_max: Duration::from_millis(500),
            linger: Duration::ZERO,
            batch_bytes_max: 256 << 10,
            batch_operations_max: 1_000,
            pipeline_bytes_max: 32 << 20,
            sessions_max: 16,
            txn_attempts_max: 64,
            page_bytes: 1 << 20,
            read_from: ReadFrom::Leader,
        }
    }
}

/// Most client ids of one client. Each holds up to 1,024 answers of every shard it writes to, of 65,536.
const SESSIONS_MAX: usize = 64;

impl Options {
    /// Checks what no client can work with.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let rows = [
            ("deadline", !self.deadline.is_zero(), "more than 0"),
            ("patience", !self.patience.is_zero(), "more than 0"),
            ("silence_max", self.silence_max >= Duration::from_millis(2), "at least 2 ms"),
            ("dial_max", !self.dial_max.is_zero(), "more than 0"),
            ("backoff_min", !self.backoff_min.is_zero(), "more than 0"),
            ("backoff_max", self.backoff_max >= self.backoff_min, "at least backoff_min"),
            ("batch_bytes_max", self.batch_bytes_max > 0, "more than 0"),
            ("batch_operations_max", self.batch_operations_max > 0, "more than 0"),
            ("pipeline_bytes_max", (1 << 16..=1 << 30).contains(&self.pipeline_bytes_max), "64 KiB to 1 GiB"),
            ("sessions_max", (1..=SESSIONS_MAX).contains(&self.sessions_max), "1 to 64"),
            ("txn_attempts_max", self.txn_attempts_max > 0, "more than 0"),
            ("page_bytes", self.page_bytes > 0, "more than 0"),
        ];
        match rows.into_iter().find(|(_, is_usable, _)| !is_usable) {
            Some((name, _, expected)) => {
                Err(Error::invalid(format!("option {name} cannot be used; expected {expected}")))
            }
            None => Ok(()),
        }
    }
}
