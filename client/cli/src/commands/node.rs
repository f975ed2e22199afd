//! `lentic node`

use clap::{Args, Subcommand};
use lentic_client::{Client, Error, NodeId, NodeState};
use serde::Serialize;
use tokio::time::sleep;

use super::shard::{LOOK_EVERY, number_after};
use super::status::state_word;
use crate::ending::Ending;
use crate::output::Answer;
use crate::session::{Outcome, Session};

/// Empty nodes, use them again, or take them out of the cluster
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum NodeCommand {
    /// Move all that a node holds to others, and give it nothing more
    Drain(DrainArgs),
    /// Use a node again that was being emptied
    Undrain(NodeArgs),
    /// Take an empty node out of the cluster, for good: its number and its data are not accepted again
    Remove(NodeArgs),
}

#[derive(Clone, Debug, Args)]
pub(crate) struct NodeArgs {
    /// The node, by the number that `lentic status` shows
    #[arg(value_parser = number_after('n'))]
    node: u64,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct DrainArgs {
    #[command(flatten)]
    node: NodeArgs,
    /// Wait until it holds nothing
    #[arg(long)]
    wait: bool,
}

impl NodeCommand {
    pub(crate) async fn run(&self, session: &mut Session) -> Outcome {
        let client = session.client().await?;
        let (node, state) = match self {
            Self::Drain(DrainArgs { node: NodeArgs { node }, wait }) => {
                client.drain_node(NodeId(*node)).await?;
                while *wait && held(&client, NodeId(*node)).await? > 0 {
                    sleep(LOOK_EVERY).await;
                }
                (*node, NodeState::Draining)
            }
            Self::Undrain(NodeArgs { node }) => {
                client.undrain_node(NodeId(*node)).await?;
                (*node, NodeState::Active)
            }
            Self::Remove(NodeArgs { node }) => {
                client.remove_node(NodeId(*node)).await?;
                (*node, NodeState::Removed)
            }
        };
        let replicas = held(&client, NodeId(node)).await?;
        session.printer.answer(&Shown { node, state: state_word(state), replicas })?;
        Ok(Ending::Done)
    }
}

/// How many replicas of shards a node holds.
async fn held(client: &Client, node: NodeId) -> Result<u32, Error> {
    let status = client.status(false).await?;
    Ok(status.nodes.iter().find(|found| found.node == node).map_or(0, |found| found.replicas))
}

#[derive(Serialize)]
struct Shown {
    node: u64,
    state: &'static str,
    /// Replicas of shards that it holds.
    replicas: u32,
}

impl Answer for Shown {
    fn human(&self) -> String {
        let Self { node, state, replicas } = self;
        match (*state, *replicas) {
            ("draining", 0) => format!("node n{node} is empty; it can be removed\n"),
            ("draining", _) => format!("node n{node} is being emptied, replicas left: {replicas}\n"),
            ("removed", _) => format!("node n{node} is out of the cluster; its process can be ended\n"),
            _ => format!("node n{node} is used, replicas: {replicas}\n"),
        }
    }

    /// Node, what it is used for, replicas.
    fn plain(&self) -> Vec<Vec<String>> {
        vec![vec![self.node.to_string(), self.state.to_owned(), self.replicas.to_string()]]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::shapes_of;

    #[test]
    fn what_a_node_is_used_for_is_told() {
        let shown = |state, replicas| shapes_of(&Shown { node: 4, state: state_word(state), replicas });
        let [human, plain, json] = shown(NodeState::Draining, 2);
        assert_eq!(human, "node n4 is being emptied, replicas left: 2\n");
        assert_eq!((&*plain, &*json), ("4\tdraining\t2\n", "{\"node\":4,\"state\":\"draining\",\"replicas\":2}\n"));
        assert_eq!(shown(NodeState::Draining, 0)[0], "node n4 is empty; it can be removed\n");
        assert_eq!(shown(NodeState::Removed, 0)[0], "node n4 is out of the cluster; its process can be ended\n");
        assert_eq!(shown(NodeState::Active, 5)[0], "node n4 is used, replicas: 5\n");
    }
}
