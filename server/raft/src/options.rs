//! The knobs of replication.

use std::time::Duration;

use openraft::{Config, SnapshotPolicy};

/// The knobs of replication on one node. Timings are the same on all nodes of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// How often a leader tells an idle follower that it leads. Shorter than `election_min` by at least a factor of
    /// 2.3. Too short: idle groups cost CPU. Too long: losing one message starts an election.
    pub heartbeat: Duration,
    /// Shortest time that a follower waits, after the leader's lease (`election_max`) has run out, before it asks for
    /// votes. Too short: elections while a leader is only slow.
    pub election_min: Duration,
    /// Longest such time, and the leader's lease: followers refuse votes for this long after the leader was heard. Too
    /// long: a group whose leader is gone takes no writes for up to twice as long. Too near to `election_min`:
    /// candidates split the vote.
    pub election_max: Duration,
    /// Most bytes of entries in one message to a follower, unless one entry alone has more. Too small: a round trip's
    /// overhead for little. Too large: other groups wait behind it on the link.
    pub append_bytes_max: usize,
    /// Commands of one group that were submitted and are not applied yet, in bytes; a single larger one is taken when
    /// nothing waits. More are refused as full.
    pub submit_bytes_max: usize,
    /// Bytes of snapshots sent per second, over all groups. Too small: a node that was away long does not catch up. Too
    /// large: clients wait behind it on disk and network.
    pub snapshot_bytes_per_second: u64,
    /// Entries that are kept in the log though they are durably applied and no follower is known to need them, so that
    /// one that was away shortly catches up without a snapshot, whoever leads then.
    pub log_keep_entries: u64,
    /// How long a reply to an append may take before it is sent again. Far longer than any fdatasync: links do not
    /// lose messages, so it only matters when a node hangs.
    pub append_timeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_millis(100),
            election_min: Duration::from_millis(300),
            election_max: Duration::from_millis(600),
            append_bytes_max: 1 << 20,
            submit_bytes_max: 64 << 20,
            snapshot_bytes_per_second: 100 << 20,
            log_keep_entries: 10_000,
            append_timeout: Duration::from_secs(5),
        }
    }
}

/// Knobs that do not fit each other.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}; change it in the configuration")]
pub struct OptionError(String);

impl Options {
    /// Checks the knobs against each other. Call it once, where the configuration is read.
    ///
    /// # Errors
    /// The message names the knob.
    pub fn check(&self) -> Result<(), OptionError> {
        let positive = [
            ("heartbeat", self.heartbeat.as_millis()),
            ("append_bytes_max", self.append_bytes_max as u128),
            ("submit_bytes_max", self.submit_bytes_max as u128),
            ("snapshot_bytes_per_second", u128::from(self.snapshot_bytes_per_second)),
            ("append_timeout", self.append_timeout.as_millis()),
        ];
        if let Some((name, _)) = positive.into_iter().find(|(_, value)| *value == 0) {
            return Err(OptionError(format!("{name} is 0, expected more")));
        }
        self.config().map(drop)
    }

    /// openraft's configuration.
    pub(crate) fn config(&self) -> Result<Config, OptionError> {
        let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX / 4);
        let (heartbeat, election_max) = (ms(self.heartbeat), ms(self.election_max));
        let config = Config {
            cluster_name: "lentic".to_owned(),
            heartbeat_interval: heartbeat,
            // A follower that has just answered an append has heard the leader.
            heartbeat_min_interval: Some(heartbeat),
            election_timeout_min: ms(self.election_min),
            election_timeout_max: election_max,
            // The time to read, send and install is the transfer's own business.
            install_snapshot_timeout: u64::MAX / 4,
            // Bytes bound a message, and the log reads by bytes.
            max_payload_entries: 4_096,
            // As long as the log has the entries, they are what a follower gets.
            replication_lag_threshold: u64::MAX,
            snapshot_policy: SnapshotPolicy::Never,
            // Only `Group::release_log` decides how much of the log may go.
            max_in_snapshot_log_to_keep: u64::MAX,
            // Leaves a quorum that has lost its leader in one direction only the time to elect another.
            quorum_loss_probe_interval: Some(2 * election_max),
            enable_pre_vote: Some(true),
            // The committed index is not stored: a leader that restarts learns it by an election.
            enable_leader_restore: Some(false),
            allow_log_reversion: Some(false),
            // A follower that cannot be reached is tried this often.
            backoff: "50ms 100ms 200ms ..500ms".to_owned(),
            ..Config::default()
        };
        config.validate().map_err(|error| OptionError(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knobs_fit_each_other() {
        assert_eq!(Options::default().check(), Ok(()));
        let slow = Options { heartbeat: Duration::from_millis(200), ..Options::default() };
        assert!(slow.check().unwrap_err().to_string().contains("heartbeat"), "{:?}", slow.check());
        let none = Options { append_bytes_max: 0, ..Options::default() };
        assert_eq!(
            none.check().unwrap_err().to_string(),
            "append_bytes_max is 0, expected more; change it in the configuration"
        );
    }
}
