//! Whether knobs make a node, each by itself and together.

use std::fmt::Display;

use lentic_log::LogOptions;
use lentic_rocks::StoreOptions;
use lentic_types::Limits;

use super::error::ConfigError;
use super::tree::{Config, Place};

impl Config {
    /// Checks the knobs against their bounds and against each other.
    ///
    /// # Errors
    /// [`ConfigError::Unfit`]: the first that makes no node.
    pub fn check(&self) -> Result<(), ConfigError> {
        Limits::from(&self.limits).check().map_err(unfit("limits"))?;
        StoreOptions::from(&self.store).check().map_err(unfit("store"))?;
        LogOptions::from(&self.log).check().map_err(unfit("log"))?;
        self.check_place()?;
        self.check_cluster()?;
        self.check_raft()?;
        self.check_counts()
    }

    /// What is served on all addresses of a machine is found at one of them, and nobody can tell at which.
    fn check_place(&self) -> Result<(), ConfigError> {
        let Place { listen, http_listen, advertise, http_advertise, .. } = &self.place;
        for (name, address, advertised) in
            [("advertise", listen, advertise), ("http_advertise", http_listen, http_advertise)]
        {
            if address.ip().is_unspecified() && advertised.is_none() {
                let reason = format!(
                    "expected `{name}`, for {address} is no address that others can reach; set it to the host and port \
                     where they find this node"
                );
                return Err(unfit("")(reason));
            }
        }
        Ok(())
    }

    fn check_cluster(&self) -> Result<(), ConfigError> {
        let found = self.cluster.replicas;
        if [1, 3, 5].contains(&found) {
            return Ok(());
        }
        Err(unfit("cluster")(format!("replicas is {found}, expected 1, 3 or 5: an even number stands no more losses")))
    }

    fn check_raft(&self) -> Result<(), ConfigError> {
        let (heartbeat, min, max) = (self.raft.heartbeat_ms, self.raft.election_ms_min, self.raft.election_ms_max);
        let least = heartbeat.saturating_mul(3);
        if min < least {
            let reason = format!("election_ms_min is {min}, expected at least {least}, three times heartbeat_ms");
            return Err(unfit("raft")(reason));
        }
        if max <= min {
            let reason = format!("election_ms_max is {max}, expected more than {min}, which election_ms_min is");
            return Err(unfit("raft")(reason));
        }
        lentic_raft::Options::from(&self.raft).check().map_err(unfit("raft"))
    }

    /// What nothing works without, and what must fit into what.
    fn check_counts(&self) -> Result<(), ConfigError> {
        let Self { raft, limits, shards, history, requests, connections, store, .. } = self;
        let rows: [(&'static str, &str, u64, u64, &str); 22] = [
            ("cluster", "join_ms_max", self.cluster.join_ms_max, 1, ""),
            ("raft", "heartbeat_ms", raft.heartbeat_ms, 1, ""),
            ("raft", "append_bytes_max", raft.append_bytes_max as u64, 1, ""),
            ("raft", "submit_bytes_max", raft.submit_bytes_max as u64, 1, ""),
            ("raft", "append_timeout_ms", raft.append_timeout_ms, 1, ""),
            ("raft", "snapshot_bytes_per_second", raft.snapshot_bytes_per_second, 1, ""),
            ("shards", "entry_bytes_max", shards.entry_bytes_max as u64, 1, ""),
            ("shards", "entry_operations_max", shards.entry_operations_max as u64, 1, ""),
            (
                "shards",
                "queue_bytes_max",
                shards.queue_bytes_max as u64,
                shards.entry_bytes_max as u64,
                ", one entry: entry_bytes_max",
            ),
            ("shards", "entries_in_flight_max", shards.entries_in_flight_max as u64, 1, ""),
            ("history", "retention_ms", history.retention_ms, 1, ""),
            ("history", "look_ms", history.look_ms, 1, ""),
            ("requests", "deadline_ms", requests.deadline_ms, 1, ""),
            ("requests", "open_max", requests.open_max as u64, 1, ""),
            (
                "requests",
                "open_bytes_max",
                requests.open_bytes_max as u64,
                limits.request_bytes_max as u64,
                ", one request: limits.request_bytes_max",
            ),
            ("requests", "answer_bytes_max", requests.answer_bytes_max as u64, 1, ""),
            (
                "requests",
                "answers_bytes_max",
                requests.answers_bytes_max as u64,
                requests.answer_bytes_max as u64,
                ", those of one reader: answer_bytes_max",
            ),
            ("connections", "max", connections.max as u64, 1, ""),
            ("connections", "links_max", connections.links_max as u64, 1, ""),
            ("connections", "calls_per_connection_max", connections.calls_per_connection_max.into(), 1, ""),
            ("connections", "http_max", connections.http_max as u64, 1, ""),
            ("store", "upkeep_ms", store.upkeep_ms, 1, ""),
        ];
        match rows.into_iter().find(|(_, _, found, least, _)| found < least) {
            Some((section, name, found, least, of)) => {
                Err(unfit(section)(format!("{name} is {found}, expected at least {least}{of}")))
            }
            None => Ok(()),
        }
    }
}

fn unfit<E: Display>(section: &'static str) -> impl FnOnce(E) -> ConfigError {
    move |reason| ConfigError::Unfit { section, reason: reason.to_string() }
}
