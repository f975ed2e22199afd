//! Figures of a node for an operator.

use std::sync::atomic::{AtomicU64, Ordering};

use lentic_engine::Portable;
use lentic_engine::store::{Metric, MetricKind};
use lentic_raft::Status;
use lentic_types::{Index, Version};

use crate::node::Node;

impl<S: Portable> Node<S> {
    /// Figures of the node and its replication. Those of the store are the store's.
    #[must_use]
    pub fn metrics(&self) -> Vec<Metric> {
        let gauge = |name, help, value| Metric { name, help, kind: MetricKind::Gauge, value };
        let shards = self.gateway.shards.all();
        let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        let splits = |name, help, value| Metric { name, help, kind: MetricKind::Counter, value };
        let (by_load, by_bytes) = self.gateway.divided.counts();
        let led: Vec<_> = shards.iter().filter(|replica| !replica.is_rider() && replica.serves()).collect();
        let mut metrics = self.replication();
        metrics.extend(self.transactions());
        metrics.extend(self.disk());
        metrics.extend(self.replica_reads());
        metrics.extend(self.pins());
        metrics.extend([
            gauge("lentic_node_replicas_count", "Replicas of shards on this node.", count(shards.len())),
            gauge(
                "lentic_node_leaders_count",
                "Shards that this node leads and takes requests for.",
                u64::from(self.gateway.shards.leading()),
            ),
            Metric {
                name: "lentic_node_balance_handovers_count",
                help: "Shards handed over so that all nodes lead as much.",
                kind: MetricKind::Counter,
                value: self.gateway.balance.handed_over(),
            },
            splits(
                "lentic_node_splits_by_load_count",
                "Cuts of shards that this node asked for, for they were too busy.",
                by_load,
            ),
            splits(
                "lentic_node_splits_by_bytes_count",
                "Cuts of shards that this node asked for, for they were too large.",
                by_bytes,
            ),
            gauge(
                "lentic_node_led_bytes",
                "Bytes on disk of the shards that this node leads, as they were seen last.",
                led.iter().map(|replica| replica.gauges().bytes.load(Ordering::Relaxed)).sum(),
            ),
            gauge(
                "lentic_node_led_operations_per_second",
                "Operations per second that come to the shards that this node leads, on the average over some seconds.",
                led.iter().map(|replica| replica.gauges().rate.load(Ordering::Relaxed)).sum(),
            ),
            gauge(
                "lentic_node_faults_count",
                "Groups that have stopped on this node and need a person.",
                count(self.faults().len()),
            ),
            gauge(
                "lentic_node_meta_leader_count",
                "1 if this node leads the meta group, else 0.",
                u64::from(self.gateway.meta.leads()),
            ),
            gauge(
                "lentic_node_catalog_revision_count",
                "The revision of the newest catalog this node knows.",
                self.gateway.meta.catalog().revision,
            ),
            gauge(
                "lentic_node_answer_bytes",
                "Bytes of answers that wait for their readers.",
                count(self.gateway.budget.waiting_bytes()),
            ),
        ]);
        metrics
    }

    /// Figures of reads that replicas answer without their leaders.
    fn replica_reads(&self) -> [Metric; 3] {
        let replicas = self.gateway.shards.all();
        let counts: Vec<_> = replicas.iter().map(|replica| replica.resolved().counts()).collect();
        let now = self.gateway.shards.shared.ticks.newest();
        let read = replicas.iter().filter(|replica| !replica.serves() && replica.resolved().is_wanted());
        let lag = read.map(|replica| now.ms().saturating_sub(replica.resolved_here().ms())).max();
        let counter = |name, help, value| Metric { name, help, kind: MetricKind::Counter, value };
        [
            counter(
                "lentic_node_replica_reads_count",
                "Reads at versions that replicas on this node answered without asking a leader.",
                counts.iter().map(|(served, _)| served).sum(),
            ),
            counter(
                "lentic_node_replica_refusals_count",
                "Reads at versions that replicas on this node left to leaders, for they might lack something.",
                counts.iter().map(|(_, refused)| refused).sum(),
            ),
            Metric {
                name: "lentic_node_resolved_lag_ms",
                help: "By how much the resolved version is behind the newest tick, in the replica furthest behind that is read.",
                kind: MetricKind::Gauge,
                value: lag.unwrap_or(0),
            },
        ]
    }

    /// Figures of the pins, as far as this node's replica of the meta group knows of them.
    fn pins(&self) -> [Metric; 2] {
        let (pins, now) = (self.gateway.meta.pins_after_apply(), self.gateway.shards.shared.ticks.newest());
        let (count, oldest) = pins.iter().fold((0, None), |(count, oldest), pin| {
            (count + 1, Some(oldest.map_or(pin.version, |oldest: Version| oldest.min(pin.version))))
        });
        let age_ms = oldest.map_or(0, |oldest| now.ms().saturating_sub(oldest.ms()));
        let gauge = |name, help, value| Metric { name, help, kind: MetricKind::Gauge, value };
        [
            gauge(
                "lentic_node_pins_count",
                "Snapshots and checkpoints that are kept; 0 on a node without the meta group.",
                count,
            ),
            gauge(
                "lentic_node_oldest_pin_age_ms",
                "How far the oldest pin's version lies behind the newest tick of this node, in milliseconds; 0 if there are \
                 none.",
                age_ms,
            ),
        ]
    }

    /// Figures of transactions over several shards.
    fn transactions(&self) -> Vec<Metric> {
        let counts = &self.gateway.txns.counts;
        let counter = |name, help, count: &AtomicU64| {
            let value = count.load(Ordering::Relaxed);
            Metric { name, help, kind: MetricKind::Counter, value }
        };
        let open = self.gateway.shards.all().iter().map(|replica| replica.locked().open_len()).sum::<usize>();
        vec![
            counter(
                "lentic_node_txn_commits_count",
                "Transactions over several shards that this node coordinated and that committed.",
                &counts.committed,
            ),
            counter(
                "lentic_node_txn_refusals_count",
                "Transactions over several shards that were refused for a condition, a conflict or their form.",
                &counts.refused,
            ),
            counter(
                "lentic_node_txn_attempts_aborted_count",
                "Attempts that gave way to another transaction or found no leader, and were made again or given up.",
                &counts.attempts_aborted,
            ),
            counter(
                "lentic_node_txn_rounds_count",
                "Rounds of consensus, one after the other, before those that committed were answered.",
                &counts.rounds,
            ),
            counter(
                "lentic_node_txn_recoveries_count",
                "Transactions whose coordinator was gone and that this node ended.",
                &counts.recovered,
            ),
            Metric {
                name: "lentic_node_txn_open_count",
                help: "Transactions that are open in replicas on this node, each once in every shard.",
                kind: MetricKind::Gauge,
                value: u64::try_from(open).unwrap_or(u64::MAX),
            },
        ]
    }

    /// Figures of the log's disk, as the node judges it.
    fn disk(&self) -> [Metric; 3] {
        let disk = &self.gateway.disk;
        let pace = disk.pace();
        let sync = pace.sync.map_or(0, |sync| u64::try_from(sync.as_micros()).unwrap_or(u64::MAX));
        let (gauge, counter) = (MetricKind::Gauge, MetricKind::Counter);
        let metric = |name, help, kind, value| Metric { name, help, kind, value };
        [
            metric(
                "lentic_node_disk_sync_micros",
                "Microseconds of a write to the log with its sync, on average over two seconds; 0 if there was none.",
                gauge,
                sync,
            ),
            metric(
                "lentic_node_disk_slow_count",
                "1 while the disk of the log is taken for slow and the node hands over what it leads, else 0.",
                gauge,
                u64::from(pace.is_slow),
            ),
            metric(
                "lentic_node_disk_handovers_count",
                "Groups that this node led and handed over because the disk of the log was slow.",
                counter,
                disk.handed_over(),
            ),
        ]
    }

    /// Figures of replication, over all groups.
    fn replication(&self) -> Vec<Metric> {
        let counter = |name, help, value| Metric { name, help, kind: MetricKind::Counter, value };
        let stats = self.host.stats();
        let lag = Metric {
            name: "lentic_raft_lag_entries",
            help: "Entries that the follower furthest behind lacks of a group that this node leads.",
            kind: MetricKind::Gauge,
            value: self.lag_entries(),
        };
        let behind = Metric {
            name: "lentic_raft_followers_behind_log_count",
            help: "Followers that lack what their leader here has let go of: they are sent snapshots.",
            kind: MetricKind::Gauge,
            value: self.followers_behind_log(),
        };
        let voters = Metric {
            name: "lentic_raft_meta_voters_count",
            help: "Voters of the meta group, as far as this node knows.",
            kind: MetricKind::Gauge,
            value: u64::try_from(self.gateway.meta.group.watch().borrow().voters.len()).unwrap_or(u64::MAX),
        };
        vec![
            lag,
            behind,
            voters,
            counter("lentic_raft_sent_bytes", "Bytes of frames sent to other nodes.", stats.bytes_sent),
            counter("lentic_raft_received_bytes", "Bytes of frames received from other nodes.", stats.bytes_received),
            counter("lentic_raft_entries_sent_count", "Entries sent to followers.", stats.entries_sent),
            counter("lentic_raft_votes_sent_count", "Votes and pre-votes asked for.", stats.votes_sent),
            counter("lentic_raft_snapshots_sent_count", "Snapshots sent to their end.", stats.snapshots_sent),
            counter("lentic_raft_snapshot_sent_bytes", "Bytes of snapshots sent.", stats.snapshot_bytes_sent),
            counter(
                "lentic_raft_snapshots_received_count",
                "Snapshots received and installed.",
                stats.snapshots_received,
            ),
            counter(
                "lentic_raft_snapshot_received_bytes",
                "Bytes of snapshots received.",
                stats.snapshot_bytes_received,
            ),
            counter("lentic_raft_reads_count", "Reads that asked a quorum who leads.", stats.reads),
            counter("lentic_raft_read_rounds_count", "Rounds in which a quorum was asked.", stats.read_rounds),
        ]
    }

    fn lag_entries(&self) -> u64 {
        let lag = |status: &Status| {
            let least = status.voters.iter().filter(|node| **node != self.id());
            let least = least.map(|node| status.matched.get(node).map_or(0, |Index(index)| *index)).min();
            least.filter(|_| status.is_leader).map_or(0, |least| status.last.0.saturating_sub(least))
        };
        self.statuses().iter().map(lag).max().unwrap_or(0)
    }

    fn followers_behind_log(&self) -> u64 {
        let behind = |status: &Status| {
            let behind = status.matched.values().filter(|matched| **matched < status.purged);
            if status.is_leader { behind.count() } else { 0 }
        };
        u64::try_from(self.statuses().iter().map(behind).sum::<usize>()).unwrap_or(u64::MAX)
    }

    /// Where replication of each group stands.
    fn statuses(&self) -> Vec<Status> {
        let mut statuses: Vec<Status> = self.gateway.shards.all().iter().map(|replica| replica.status()).collect();
        statuses.push(self.gateway.meta.group.watch().borrow().clone());
        statuses
    }
}
