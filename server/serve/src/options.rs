//! From the configuration's sections to the options of the node and of replication.

use std::time::Duration;

use lentic_machine::shard::HeadsOptions;
use lentic_node::NodeOptions;
use lentic_runtime::random;

use crate::config::{Config, Raft};

impl From<&Config> for NodeOptions {
    fn from(config: &Config) -> Self {
        let Config { cluster, limits, shards, history, requests, store, log, .. } = config;
        Self {
            limits: limits.into(),
            entry_bytes_max: shards.entry_bytes_max,
            entry_operations_max: shards.entry_operations_max,
            queue_bytes_max: shards.queue_bytes_max,
            entries_in_flight_max: shards.entries_in_flight_max,
            entry_beside_bytes_min: shards.entry_beside_bytes_min,
            deadline: Duration::from_millis(requests.deadline_ms),
            pipe_requests_max: requests.open_max,
            pipe_request_bytes_max: requests.open_bytes_max,
            caller_answer_bytes_max: requests.answer_bytes_max,
            answer_bytes_max: requests.answers_bytes_max,
            upkeep_every: Duration::from_millis(store.upkeep_ms),
            slow_sync: Duration::from_millis(log.slow_sync_ms),
            slow_for: Duration::from_millis(log.slow_for_ms),
            retention: Duration::from_millis(history.retention_ms),
            history_every: Duration::from_millis(history.look_ms),
            pin_grace: Duration::from_millis(history.pin_grace_ms),
            meta_replicas: cluster.replicas as usize,
            replace_after: Duration::from_millis(cluster.replace_after_ms),
            balance_every: Duration::from_millis(shards.balance_ms),
            split_bytes: shards.split_bytes,
            split_operations: shards.split_operations,
            // The seed is the process's secret.
            heads: HeadsOptions { bytes_max: shards.heads_bytes_max, seed: random() },
        }
    }
}

impl From<&Raft> for lentic_raft::Options {
    fn from(section: &Raft) -> Self {
        let ms = Duration::from_millis;
        Self {
            heartbeat: ms(section.heartbeat_ms),
            election_min: ms(section.election_ms_min),
            election_max: ms(section.election_ms_max),
            append_bytes_max: section.append_bytes_max,
            submit_bytes_max: section.submit_bytes_max,
            snapshot_bytes_per_second: section.snapshot_bytes_per_second,
            log_keep_entries: section.log_keep_entries,
            append_timeout: ms(section.append_timeout_ms),
        }
    }
}
