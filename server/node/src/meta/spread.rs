//! News of the catalog that all nodes must have before somebody is told that it is so.

use std::time::Duration;

use lentic_engine::Portable;
use lentic_proto::v1::Failure;
use lentic_types::NodeId;
use tokio::time::{Instant, sleep, timeout};

use super::service::{ALIVE_FOR, ASK_TIMEOUT, MetaService};
use crate::ask::{Answer, Question};
use crate::failure;

/// How long a node waits for a catalog that it is asked for: it answers before its asker stops waiting.
const NEWS_WITHIN: Duration = Duration::from_millis(400);
/// The pause before a node is asked again.
const AGAIN: Duration = Duration::from_millis(20);
/// How long a node that is heard from may be without the news.
const SPREAD_WITHIN: Duration = ALIVE_FOR.saturating_mul(2);

impl<S: Portable> MetaService<S> {
    /// Whether this node knows the catalog of a revision, or a newer one, now or in a moment.
    pub(crate) async fn knows(&self, revision: u64) -> bool {
        let mut catalog = self.catalog.subscribe();
        let known = timeout(NEWS_WITHIN, catalog.wait_for(|catalog| catalog.revision >= revision)).await;
        known.is_ok_and(|known| known.is_ok())
    }

    /// Waits until every node knows what this one, as the meta group's leader, has just applied. Nodes are not waited for that
    /// have not been heard from for some time: they are down, or cut off.
    ///
    /// # Errors
    /// Unknown, if a node that is heard from does not hear of it.
    pub(crate) async fn spread(&self) -> Result<(), Failure> {
        self.learn(self.catalog_after_apply());
        let catalog = self.catalog();
        let (revision, until) = (catalog.revision, Instant::now() + SPREAD_WITHIN);
        for node in catalog.nodes.keys().filter(|node| **node != self.node) {
            self.wait_for(*node, revision, until).await?;
        }
        Ok(())
    }

    async fn wait_for(&self, node: NodeId, revision: u64, until: Instant) -> Result<(), Failure> {
        let question = Question::Knows { revision }.encode();
        while Instant::now() < until {
            let answer = self.host.ask(node, question.clone(), ASK_TIMEOUT).await.ok();
            let knows = answer.is_some_and(|bytes| Answer::decode(&bytes) == Ok(Answer::Done));
            if knows || self.leads() && self.alive().get(&node).is_none_or(|(is_alive, _)| !is_alive) {
                return Ok(());
            }
            sleep(AGAIN).await;
        }
        Err(failure::unknown(format!("it is done, but {node} has not heard of it and may answer as before; ask again")))
    }
}
