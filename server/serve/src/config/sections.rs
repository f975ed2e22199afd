//! The knobs of each section. What a knob is for stands beside it, here and in the printed configuration.
//!
//! Defaults of what other crates own are taken from there, so that there is one of each.

use lentic_log::LogOptions;
use lentic_net::grpc::ServerKnobs;
use lentic_rocks::StoreOptions;
use lentic_types::Limits;

use super::knob::{Knob, quoted, section};

section! {
    /// The process.
    pub struct Process {
        /// Threads that serve requests and replication, at most 1,024; 0: one for each core of the machine. Fewer, where
        /// several nodes or other programs share it: threads that wake each other on busy cores cost latency. Disk and
        /// background work have threads of their own.
        pub worker_threads: u16 = 0,
    }
}

section! {
    /// The shape of the cluster.
    pub struct Cluster {
        /// How many nodes keep each shard and the meta group, if there are so many: 1, 3 or 5. With 1, a node that is
        /// lost takes its data with it. With 5, two may be lost, and each write goes to five disks. It counts when the
        /// cluster is made; tables may say otherwise.
        pub replicas: u32 = 3,
        /// How long a new node tries to join before it gives up, in milliseconds. Too short: nodes that are started
        /// together give up on each other. Too long: a wrong address is found out late.
        pub join_ms_max: u64 = 120_000,
        /// How long a node may not be heard from before its replicas are made anew on others, in milliseconds; 0: never.
        /// It is the node that leads the meta group whose value counts. Too short: whole shards are sent about for a node
        /// that is only started again. Too long: another loss meanwhile may stop a shard.
        pub replace_after_ms: u64 = 300_000,
    }
}

section! {
    /// Replication.
    pub struct Raft {
        /// How often a leader says to an idle follower that it leads, in milliseconds. Too short: idle shards cost
        /// CPU. Too long: one lost message starts an election.
        pub heartbeat_ms: u64 = 100,
        /// Shortest time that a follower waits for its leader before it asks for votes, in milliseconds. At least
        /// three heartbeats. Too short: elections while a leader is only slow.
        pub election_ms_min: u64 = 300,
        /// Longest such time, in milliseconds. Too long: a shard whose leader is gone takes no writes for up to twice
        /// as long. Too near to the shortest: candidates split the vote.
        pub election_ms_max: u64 = 600,
        /// Most bytes of entries in one message to a follower, unless one entry alone has more. Too small: a round
        /// trip's overhead for little. Too large: other shards wait behind it on the connection.
        pub append_bytes_max: usize = 1 << 20,
        /// Most bytes of commands of one shard that are submitted and not applied yet. Too small: the disk and the
        /// network take turns. Too large: memory, and a queue that callers wait behind.
        pub submit_bytes_max: usize = 64 << 20,
        /// How long a reply to a message with entries may take before it is sent again, in milliseconds. It only
        /// matters when a node hangs: far longer than any fdatasync.
        pub append_timeout_ms: u64 = 5_000,
        /// Bytes of snapshots sent per second, over all shards. Too small: a node that was away long does not catch
        /// up. Too large: clients wait behind it on disk and network.
        pub snapshot_bytes_per_second: u64 = 100 << 20,
        /// Entries kept in the log though they are durably applied, so that a follower that was away shortly catches
        /// up without a snapshot. Too many: a longer log, and a longer start.
        pub log_keep_entries: u64 = 10_000,
    }
}

section! {
    /// What a request may hold: below the ceilings of the format, never above.
    pub struct RequestLimits {
        /// Largest key in bytes. Too small: jobs with composite keys are refused.
        pub key_bytes_max: usize = Limits::default().key_bytes_max,
        /// Largest value in bytes. Large values make every hop's memory larger.
        pub value_bytes_max: usize = Limits::default().value_bytes_max,
        /// Largest request in bytes. It bounds the memory that one caller can hold on a node.
        pub request_bytes_max: usize = Limits::default().request_bytes_max,
        /// Most operations in one request. It bounds the time that one request holds a shard.
        pub operations_max: usize = Limits::default().operations_max,
    }
}

section! {
    /// The shards of this node: from requests to log entries.
    pub struct Shards {
        /// Most bytes of requests in one log entry; a larger request has an entry of its own. Too small: more entries,
        /// each with its round. Too large: a round takes longer, and all in it wait for it.
        pub entry_bytes_max: usize = 1 << 20,
        /// Most operations in one log entry. As for its bytes: decoding multiplies those of small operations.
        pub entry_operations_max: usize = 20_000,
        /// Most bytes of requests that wait for a shard to take them; beyond it callers are asked to come again. Too
        /// small: bursts are refused. Too large: requests wait longer than their callers do.
        pub queue_bytes_max: usize = 64 << 20,
        /// Log entries of a shard that are on their way at once. With 1, the disk and the network take turns. With
        /// many, entries are small.
        pub entries_in_flight_max: usize = 3,
        /// Bytes of waiting requests that are worth a log entry beside others on their way; fewer wait until those are
        /// done. Too small: many small entries, each of which costs every replica. Too large: bulk loads wait for
        /// round trips.
        pub entry_beside_bytes_min: usize = 64 << 10,
        /// Memory of each shard for the newest records of hot keys, in bytes. Too small: merges into many hot keys
        /// read the store each time.
        pub heads_bytes_max: u64 = 8 << 20,
        /// How often it is looked at which node leads which shards, and some are handed over so that all lead as much, in
        /// milliseconds; 0: never, and then no replica moves to a node that holds fewer either. The node that leads the
        /// meta group looks. Too short: leaders move for what passes. Too long: after a restart one node leads much for so
        /// long.
        pub balance_ms: u64 = 5_000,
        /// A shard with more bytes on disk is cut in two, in bytes as they are compressed there; 0: never. Too small: many
        /// groups, each of which costs. Too large: a move takes long.
        pub split_bytes: u64 = 512 << 20,
        /// A shard to which more operations come per second, for some seconds, is cut in two; 0: never. Too small: shards
        /// are cut for what passes. Too large: one log takes what several could.
        pub split_operations: u64 = 50_000,
    }
}

section! {
    /// The requests of clients.
    pub struct Requests {
        /// How long a request waits that says nothing of a deadline, in milliseconds. Too short: requests fail during
        /// an election. Too long: their callers have gone.
        pub deadline_ms: u64 = 30_000,
        /// Requests of one connection that are open at once; no more of them are read until some are answered. Too
        /// small: a caller with many small requests waits for round trips.
        pub open_max: usize = 4_096,
        /// Bytes of requests of one connection that are open at once.
        pub open_bytes_max: usize = 128 << 20,
        /// Bytes of answers that wait for one slow reader; beyond it its reads are refused.
        pub answer_bytes_max: usize = 64 << 20,
        /// Bytes of answers that wait for all readers of the node. It bounds memory; too small, and many slow readers
        /// starve the quick ones.
        pub answers_bytes_max: usize = 512 << 20,
    }
}

section! {
    /// Who may connect, and how many.
    pub struct Connections {
        /// Most TCP connections of clients and nodes at a time; one above is closed at once. Each takes a file
        /// descriptor, and some 20 KiB when idle.
        pub max: usize = ServerKnobs::default().connections_max,
        /// Most open pipes and links between nodes; opening one above is refused.
        pub links_max: usize = ServerKnobs::default().links_max,
        /// Most open calls and pipes of one connection; further ones wait.
        pub calls_per_connection_max: u32 = ServerKnobs::default().calls_per_connection_max,
        /// How long a node that stops waits for what it still has to say, in milliseconds. Too short: callers see
        /// connections break. Too long: a restart takes that long while a client does not read.
        pub drain_ms_max: u64 = ServerKnobs::default().drain_ms_max,
        /// Most connections to the HTTP pages at a time; one above waits. They share file descriptors with clients.
        pub http_max: usize = 64,
    }
}

section! {
    /// The store: RocksDB.
    pub struct Store {
        /// How often the store is looked after and the log is shortened, in milliseconds. Too long: garbage and log
        /// stay longer than they need to. Too short: seeks for nothing.
        pub upkeep_ms: u64 = 1_000,
        /// Memory for blocks read from files, with their indexes and filters, in bytes. Too small: every read goes to
        /// the disk. Too large: memory that the page cache would have used for the same blocks, compressed.
        pub block_cache_bytes: usize = StoreOptions::default().block_cache_bytes,
        /// Size at which a memtable is flushed, and the others with it, in bytes. Too small: many small files, and
        /// more compaction. Too large: a crash replays more of the log.
        pub memtable_bytes: usize = StoreOptions::default().memtable_bytes,
        /// Memory of all memtables, those being flushed included, in bytes; beyond it everything is flushed. Near the
        /// size of one: writers are slowed during each flush. Large: memory is the price.
        pub memtables_bytes_max: usize = StoreOptions::default().memtables_bytes_max,
        /// Threads for flushes and compactions. Too few: compaction falls behind and writers are slowed. More than the
        /// machine has cores: compaction takes them from the requests.
        pub background_jobs: u16 = StoreOptions::default().background_jobs,
        /// Files kept open, within what the process may open. Too few: files are opened again and again. Too many:
        /// none are left for connections.
        pub open_files_max: u16 = StoreOptions::default().open_files_max,
        /// Size of a file of sorted records in bytes. Too small: many files. Too large: a compaction rewrites more at
        /// once.
        pub file_bytes: usize = StoreOptions::default().file_bytes,
        /// Age in seconds at which a file is compacted again although nothing was written over it: how long the
        /// garbage of keys that nobody writes any more may stay. Too low: the whole store is rewritten that often.
        pub file_seconds_max: u64 = StoreOptions::default().file_seconds_max,
        /// Bytes that flushes and compactions may write per second; 0 for no limit. Too low: compaction falls behind,
        /// and in the end writers are stopped.
        pub background_write_bytes_per_second: Option<u64> = StoreOptions::default().background_write_bytes_per_second,
        /// Files in level 0 at which writers are slowed down. Every read looks into each of them.
        pub level_zero_files_slow: u16 = StoreOptions::default().level_zero_files_slow,
        /// Files in level 0 at which writers are stopped. Too close to the former: they stop without warning.
        pub level_zero_files_stop: u16 = StoreOptions::default().level_zero_files_stop,
        /// Bytes waiting for compaction at which writers are slowed down: a debt in space and in the cost of reads.
        pub pending_compaction_bytes_slow: usize = StoreOptions::default().pending_compaction_bytes_slow,
        /// Bytes waiting for compaction at which writers are stopped.
        pub pending_compaction_bytes_stop: usize = StoreOptions::default().pending_compaction_bytes_stop,
        /// Whether compactions start by themselves. Off, nothing is collected and the store stops taking writes in the
        /// end: for an operator who must stop all disk writes but those of flushes.
        pub automatic_compaction: bool = StoreOptions::default().automatic_compaction,
    }
}

section! {
    /// The log that all shards of the node share.
    pub struct Log {
        /// Length of a segment file in bytes. Too small: a new one, with its three syncs, comes often. Too large: one
        /// quiet shard holds more, and space is reserved long before it is used.
        pub segment_bytes: u32 = LogOptions::default().segment_bytes,
        /// Bytes of live segments above which the store is asked to flush. It is a request, not a wall: up to twice as
        /// much stays for whoever is sent a snapshot. Too small: memtables are flushed while they are small, and nodes
        /// that were away get snapshots. Too large: space, and a longer start.
        pub bytes_max: u64 = LogOptions::default().bytes_max,
        /// Most bytes of entries waiting for the disk; beyond it appends are refused. Too small: little is written at
        /// once while an fdatasync runs. Too large: memory, and an append waits long behind it.
        pub queue_bytes_max: usize = LogOptions::default().queue_bytes_max,
        /// Most bytes of entries in one write with its fdatasync, unless one entry alone is larger. Too small: more
        /// fdatasyncs under load. Too large: a small append waits for the write of everyone else's.
        pub gather_bytes_max: usize = LogOptions::default().gather_bytes_max,
        /// Memory for written entries that are read again, newest first, in bytes. Too small: followers that lag a
        /// little read files.
        pub cache_bytes_max: usize = LogOptions::default().cache_bytes_max,
        /// How long a write to the log with its fdatasync takes on a disk that is slow, on average, in milliseconds; 0:
        /// no disk is. A node with a slow disk hands over what it leads to nodes with quicker ones. Too short: leadership
        /// moves for what a disk does under load. Too long: clients wait for the disk.
        pub slow_sync_ms: u64 = 250,
        /// For how long it has to be slow before that, in milliseconds. Too short: leadership moves for a hiccup. Too
        /// long: clients wait so long.
        pub slow_for_ms: u64 = 3_000,
    }
}

section! {
    /// How far back versions can be read.
    pub struct History {
        /// How long history is kept of tables that do not say, in milliseconds of version time. Snapshots are kept beside
        /// it. Too short: reads at old versions are refused early. Too long: old versions take space, and scans step over
        /// them.
        pub retention_ms: u64 = 60 * 60 * 1000,
        /// How often the shards that are led here are looked at for history that is too old, in milliseconds. Too short:
        /// they are asked about for nothing. Too long: history is kept for longer than it must be.
        pub look_ms: u64 = 5_000,
        /// How long a snapshot may take to be made before it is tried again with a newer version, in milliseconds. Too
        /// short: snapshots are tried again. Too long: no history goes sooner.
        pub pin_grace_ms: u64 = 10_000,
    }
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// One JSON object a line, for machines.
    Json,
}

impl Knob for Format {
    fn expected() -> String {
        "\"text\" or \"json\"".to_owned()
    }

    fn from_text(text: &str) -> Option<Self> {
        match text.trim() {
            "text" => Some(Self::Text),
            "json" => Some(Self::Json),
            _ => None,
        }
    }

    fn to_toml(&self) -> String {
        quoted(if *self == Self::Text { "text" } else { "json" })
    }
}

/// Which events are logged: a level, and other levels for parts: `info,lentic_raft=debug`. By default openraft, which
/// tells its whole state, speaks only of what is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Level(String);

impl Level {
    /// The text, which [`logging`](crate::logging) understands.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Level {
    fn default() -> Self {
        // Consensus tells each step of each election of each shard at info; that is for whoever looks into it. And of a
        // node that is away it tells several times a second for each shard, at warn: its link tells it once.
        Self("info,openraft=warn,openraft::core::heartbeat=error,openraft::replication=error".to_owned())
    }
}

impl Knob for Level {
    fn expected() -> String {
        "a level (off, error, warn, info, debug, trace), then parts with levels of their own, as in \
         \"info,lentic_raft=debug\""
            .to_owned()
    }

    fn from_text(text: &str) -> Option<Self> {
        crate::logging::filter(text).map(|_| Self(text.to_owned()))
    }

    fn to_toml(&self) -> String {
        quoted(&self.0)
    }
}

section! {
    /// What the node says of itself, on standard error.
    pub struct Logging {
        /// How lines look: "text" for people, "json" for machines.
        pub format: Format = Format::Text,
        /// Which events are logged: off, error, warn, info, debug or trace, and other levels for parts, as in
        /// `info,lentic_raft=debug`. Below info: too little to understand an incident. Above: much, and slower.
        pub level: Level = Level::default(),
    }
}

impl From<&RequestLimits> for Limits {
    fn from(section: &RequestLimits) -> Self {
        let RequestLimits { key_bytes_max, value_bytes_max, request_bytes_max, operations_max } = *section;
        Self { key_bytes_max, value_bytes_max, request_bytes_max, operations_max }
    }
}

impl From<&Store> for StoreOptions {
    fn from(section: &Store) -> Self {
        Self {
            block_cache_bytes: section.block_cache_bytes,
            memtable_bytes: section.memtable_bytes,
            memtables_bytes_max: section.memtables_bytes_max,
            background_jobs: section.background_jobs,
            open_files_max: section.open_files_max,
            file_bytes: section.file_bytes,
            file_seconds_max: section.file_seconds_max,
            background_write_bytes_per_second: section.background_write_bytes_per_second,
            level_zero_files_slow: section.level_zero_files_slow,
            level_zero_files_stop: section.level_zero_files_stop,
            pending_compaction_bytes_slow: section.pending_compaction_bytes_slow,
            pending_compaction_bytes_stop: section.pending_compaction_bytes_stop,
            automatic_compaction: section.automatic_compaction,
        }
    }
}

impl From<&Log> for LogOptions {
    fn from(section: &Log) -> Self {
        // Whether the disk is slow is the node's question.
        let Log { segment_bytes, bytes_max, queue_bytes_max, gather_bytes_max, cache_bytes_max, .. } = *section;
        Self { segment_bytes, bytes_max, queue_bytes_max, gather_bytes_max, cache_bytes_max }
    }
}

impl From<&Connections> for ServerKnobs {
    fn from(section: &Connections) -> Self {
        let Connections { max, links_max, calls_per_connection_max, drain_ms_max, http_max: _ } = *section;
        Self { connections_max: max, links_max, calls_per_connection_max, drain_ms_max }
    }
}
