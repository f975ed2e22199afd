//! The knobs of a node.

use std::time::Duration;

use lentic_machine::shard::HeadsOptions;
use lentic_types::Limits;

/// The knobs of a node; each has a default that serves.
#[derive(Clone, Copy, Debug)]
pub struct NodeOptions {
    /// Limits of requests.
    pub limits: Limits,
    /// Most bytes of requests in one log entry; a larger request has an entry of its own. Small: more entries, each
    /// with its round. Large: a round takes longer, and all in it wait for it.
    pub entry_bytes_max: usize,
    /// Most operations in one log entry: decoding multiplies the bytes of small ones.
    pub entry_operations_max: usize,
    /// Most bytes of requests that wait for a shard's proposer; beyond it callers are asked to come again.
    pub queue_bytes_max: usize,
    /// Log entries of a shard on their way at once. 1: the disk and the network take turns. Many: small entries.
    pub entries_in_flight_max: usize,
    /// Bytes of waiting requests that are worth an entry beside others on their way. Small: many small entries, each
    /// of which costs every replica. Large: bulk loads wait for round trips.
    pub entry_beside_bytes_min: usize,
    /// How long a request waits that says nothing of a deadline.
    pub deadline: Duration,
    /// Requests of one pipe that are open at once; the node reads no more of them until some are answered.
    pub pipe_requests_max: usize,
    /// Bytes of requests of one pipe that are open at once.
    pub pipe_request_bytes_max: usize,
    /// Bytes of answers that wait for one slow reader, of a pipe or of calls on a connection; beyond it reads are refused.
    pub caller_answer_bytes_max: usize,
    /// Bytes of answers that wait for all readers of the node; unary calls have half of it.
    pub answer_bytes_max: usize,
    /// How often the log is shortened and the store looked after.
    pub upkeep_every: Duration,
    /// A sync of the log that takes so long is slow: a node whose disk is, hands over what it leads to those with quicker
    /// ones. Zero: never. Short: leadership moves for what a disk does now and then. Long: clients wait for the disk.
    pub slow_sync: Duration,
    /// For how long syncs have to be slow before that. Short: leadership moves for a hiccup. Long: clients wait so long.
    pub slow_for: Duration,
    /// How long history is kept of tables that do not say. Short: reads at old versions are refused early. Long: old versions
    /// take space, and make scans step over more.
    pub retention: Duration,
    /// How often the watermarks of the shards led here are looked at. Short: they are asked about for nothing. Long: history
    /// is kept for longer than it must be.
    pub history_every: Duration,
    /// By how much the version below which no more is pinned stays behind the ticks. Short: a snapshot that takes longer to
    /// commit is tried again. Long: no history goes sooner.
    pub pin_grace: Duration,
    /// The replicas of a node that was not heard from for so long are given to others. Zero: never. Short: whole shards are
    /// sent about for a node that is only started again. Long: another loss meanwhile may stop a shard.
    pub replace_after: Duration,
    /// How many nodes the meta group has, if there are so many: 1, 3 or 5.
    pub meta_replicas: usize,
    /// How often it is looked at who leads what, and shards are handed over so that all nodes lead as many. Zero: never.
    /// Short: leaders move for what passes. Long: after a restart one node leads much for so long.
    pub balance_every: Duration,
    /// A shard with more bytes on disk is cut in two. Zero: never. Small: many groups, each of which costs. Large: a move takes
    /// long, and so do compactions.
    pub split_bytes: u64,
    /// A shard to which more operations per second come for some seconds is cut in two. Zero: never. Small: shards are cut for
    /// what passes. Large: one log takes what several could.
    pub split_operations: u64,
    /// The memo of newest records of a shard.
    pub heads: HeadsOptions,
}

impl Default for NodeOptions {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            entry_bytes_max: 1 << 20,
            entry_operations_max: 20_000,
            queue_bytes_max: 64 << 20,
            entries_in_flight_max: 3,
            entry_beside_bytes_min: 64 << 10,
            deadline: Duration::from_secs(30),
            pipe_requests_max: 4_096,
            pipe_request_bytes_max: 128 << 20,
            caller_answer_bytes_max: 64 << 20,
            answer_bytes_max: 512 << 20,
            upkeep_every: Duration::from_secs(1),
            slow_sync: Duration::from_millis(250),
            slow_for: Duration::from_secs(3),
            retention: Duration::from_secs(60 * 60),
            history_every: Duration::from_secs(5),
            pin_grace: Duration::from_secs(10),
            replace_after: Duration::from_secs(5 * 60),
            meta_replicas: 3,
            balance_every: Duration::from_secs(5),
            split_bytes: 512 << 20,
            split_operations: 50_000,
            heads: HeadsOptions::default(),
        }
    }
}
