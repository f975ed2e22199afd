//! Figures of a node for an operator.

use lentic_engine::Portable;
use lentic_engine::store::{Metric, MetricKind};

use crate::node::Node;

impl<S: Portable> Node<S> {
    /// Figures of the node and its replication. Those of the store are the store's.
    #[must_use]
    pub fn metrics(&self) -> Vec<Metric> {
        let gauge = |name, help, value| Metric { name, help, kind: MetricKind::Gauge, value };
        let shards = self.gateway.shards.all();
        let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        vec![
            gauge("lentic_node_replicas_count", "Replicas of shards on this node.", count(shards.len())),
            gauge(
                "lentic_node_leaders_count",
                "Shards that this node leads and takes requests for.",
                u64::from(self.gateway.shards.leading()),
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
        ]
    }
}
