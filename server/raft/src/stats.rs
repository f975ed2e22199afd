//! Plain counters of what replication has done; whoever serves metrics gives them names.

use std::sync::atomic::{AtomicU64, Ordering};

use lentic_proto::internal::message::Body;

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// What replication on a node has done since it began.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Stats {
            $($(#[$doc])* pub $name: u64,)*
        }

        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            $(pub(crate) $name: AtomicU64,)*
        }

        impl Counters {
            pub(crate) fn stats(&self) -> Stats {
                Stats { $($name: self.$name.load(Ordering::Relaxed),)* }
            }
        }
    };
}

counters! {
    /// Frames sent to other nodes.
    frames_sent,
    /// Bytes of those frames.
    bytes_sent,
    /// Frames received from other nodes.
    frames_received,
    /// Bytes of those frames.
    bytes_received,
    /// Requests sent; each has one reply or is given up.
    requests_sent,
    /// Appends with entries sent.
    appends_sent,
    /// Entries in them.
    entries_sent,
    /// Heartbeats sent.
    heartbeats_sent,
    /// Votes and pre-votes asked for.
    votes_sent,
    /// Requests of others that were refused because their group was behind or not here.
    refused,
    /// Replies that were dropped because the other end did not take them.
    replies_dropped,
    /// Snapshots sent to their end.
    snapshots_sent,
    /// Bytes of snapshots sent, those sent again included.
    snapshot_bytes_sent,
    /// Snapshots received and installed.
    snapshots_received,
    /// Bytes of snapshots received.
    snapshot_bytes_received,
    /// Rounds that confirmed leadership for reads.
    read_rounds,
    /// Reads that shared them.
    reads,
}

pub(crate) fn add(counter: &AtomicU64, count: usize) {
    counter.fetch_add(count as u64, Ordering::Relaxed);
}

impl Counters {
    pub(crate) fn frame_sent(&self, bytes: usize) {
        add(&self.frames_sent, 1);
        add(&self.bytes_sent, bytes);
    }

    pub(crate) fn frame_received(&self, bytes: usize) {
        add(&self.frames_received, 1);
        add(&self.bytes_received, bytes);
    }

    /// Counts a request by its kind.
    pub(crate) fn asked(&self, body: &Body) {
        add(&self.requests_sent, 1);
        match body {
            Body::Append(append) if append.entries.is_empty() => add(&self.heartbeats_sent, 1),
            Body::Append(append) => {
                add(&self.appends_sent, 1);
                add(&self.entries_sent, append.entries.len());
            }
            Body::Vote(_) | Body::PreVote(_) => add(&self.votes_sent, 1),
            _ => {}
        }
    }
}
