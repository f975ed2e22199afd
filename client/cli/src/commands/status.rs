//! `lentic status`

use clap::Args;
use lentic_client::{ClusterStatus, Move, NodeState, NodeStatus};
use serde::Serialize;

use super::table::{ShardRow, shard_table};
use super::under_way::{SendRow, SplitRow};
use crate::ending::Ending;
use crate::output::{Align, Answer, Table};
use crate::session::{Outcome, Session};

/// Show nodes, leaders and tables; exits with 1 if a node is down or a shard has no leader
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct StatusArgs {
    /// Show every shard
    #[arg(long)]
    shards: bool,
}

impl StatusArgs {
    pub(crate) async fn run(self, session: &mut Session) -> Outcome {
        // Health is about all shards, shown or not.
        let status = session.client().await?.status(true).await?;
        let shown = StatusShown::new(&status, self.shards);
        session.printer.answer(&shown)?;
        Ok(if shown.healthy { Ending::Done } else { Ending::No })
    }
}

#[derive(Serialize)]
struct StatusShown<'a> {
    healthy: bool,
    cluster: String,
    /// The node that answered, and its release.
    node: u64,
    release: &'a str,
    meta_leader: Option<u64>,
    tables: u32,
    shard_count: usize,
    shards_without_leader: usize,
    nodes: Vec<NodeRow<'a>>,
    moves: Vec<MoveRow>,
    splits: Vec<SplitRow<'a>>,
    sends: Vec<SendRow>,
    #[serde(skip_serializing_if = "Option::is_none")]
    shards: Option<Vec<ShardRow<'a>>>,
}

/// A shard that leaves nodes.
#[derive(Serialize)]
struct MoveRow {
    shard: u64,
    leaving: Vec<u64>,
}

#[derive(Serialize)]
struct NodeRow<'a> {
    node: u64,
    address: &'a str,
    http_address: &'a str,
    alive: bool,
    leads_meta: bool,
    replicas: u32,
    leaders: u32,
    state: &'static str,
}

impl NodeRow<'_> {
    /// Whether it is there, or should not be, and what it is used for, if that is not the usual.
    fn shown_state(&self) -> String {
        match (self.state, self.alive) {
            ("removed", _) => "removed".to_owned(),
            ("active", true) => "up".to_owned(),
            ("active", false) => "down".to_owned(),
            (state, true) => format!("up, {state}"),
            (state, false) => format!("down, {state}"),
        }
    }
}

/// What a node is used for, in a word.
pub(crate) fn state_word(state: NodeState) -> &'static str {
    match state {
        NodeState::Active => "active",
        NodeState::Draining => "draining",
        NodeState::Removed => "removed",
    }
}

impl<'a> StatusShown<'a> {
    fn new(status: &'a ClusterStatus, with_shards: bool) -> Self {
        let node_row = |node: &'a NodeStatus| NodeRow {
            node: node.node.0,
            address: &node.address.0,
            http_address: &node.http_address,
            alive: node.is_alive,
            leads_meta: status.meta_leader == Some(node.node),
            replicas: node.replicas,
            leaders: node.leaders,
            state: state_word(node.state),
        };
        let move_row = |Move { shard, leaving }: &Move| MoveRow {
            shard: shard.0,
            leaving: leaving.iter().map(|node| node.0).collect(),
        };
        let shard_row = |(table, shard): &'a (String, _)| ShardRow { table: Some(table.as_str()), shard };
        let shards_without_leader = status.shards.iter().filter(|(_, shard)| shard.leader.is_none()).count();
        let are_nodes_up = status.nodes.iter().all(|node| node.is_alive || node.state == NodeState::Removed);
        Self {
            healthy: are_nodes_up && status.meta_leader.is_some() && shards_without_leader == 0,
            cluster: status.cluster.to_string(),
            node: status.node.0,
            release: &status.release,
            meta_leader: status.meta_leader.map(|node| node.0),
            tables: status.tables,
            shard_count: status.shards.len(),
            shards_without_leader,
            nodes: status.nodes.iter().map(node_row).collect(),
            moves: status.moves.iter().map(move_row).collect(),
            splits: status.splits.iter().map(SplitRow::new).collect(),
            sends: status.sends.iter().map(SendRow::new).collect(),
            shards: with_shards.then(|| status.shards.iter().map(shard_row).collect()),
        }
    }

    /// What keeps the cluster from being healthy, in words.
    fn verdict(&self) -> String {
        if self.healthy {
            return "healthy: all nodes are up, and all shards have a leader".to_owned();
        }
        let mut faults = Vec::new();
        let is_down = |node: &&NodeRow<'_>| !node.alive && node.state != state_word(NodeState::Removed);
        let down: Vec<String> = self.nodes.iter().filter(is_down).map(|node| format!("n{}", node.node)).collect();
        if !down.is_empty() {
            faults.push(format!("not heard from: {}", down.join(" ")));
        }
        if self.meta_leader.is_none() {
            faults.push("the meta group has no leader".to_owned());
        }
        if self.shards_without_leader > 0 {
            faults.push(format!("{} of {} shards have no leader", self.shards_without_leader, self.shard_count));
        }
        format!("not healthy: {}", faults.join("; "))
    }
}

impl Answer for StatusShown<'_> {
    fn human(&self) -> String {
        let mut table = Table::new(&[
            ("NODE", Align::Left),
            ("ADDRESS", Align::Left),
            ("HTTP", Align::Left),
            ("STATE", Align::Left),
            ("META", Align::Left),
            ("REPLICAS", Align::Right),
            ("LEADS", Align::Right),
        ]);
        for node in &self.nodes {
            table.push(vec![
                format!("n{}", node.node),
                node.address.to_owned(),
                node.http_address.to_owned(),
                node.shown_state(),
                if node.leads_meta { "leader" } else { "" }.to_owned(),
                node.replicas.to_string(),
                node.leaders.to_string(),
            ]);
        }
        let Self { cluster, release, node, tables, shard_count, .. } = self;
        let head =
            format!("cluster {cluster}, release {release} on n{node}, tables: {tables}, shards: {shard_count}\n");
        let shards = self.shards.as_ref().filter(|shards| !shards.is_empty());
        let shards = shards.map(|shards| shard_table(shards.iter().cloned())).unwrap_or_default();
        let leaves = |MoveRow { shard, leaving }: &MoveRow| {
            let leaving: Vec<String> = leaving.iter().map(|node| format!("n{node}")).collect();
            format!("moving: s{shard} leaves {}\n", leaving.join(" "))
        };
        let moves: String = self.moves.iter().map(leaves).collect();
        let splits: String = self.splits.iter().map(SplitRow::human).collect();
        let sends: String = self.sends.iter().map(SendRow::human).collect();
        format!("{head}{}{shards}{moves}{splits}{sends}{}\n", table.rendered(), self.verdict())
    }

    /// Lines that begin with their kind: `node`, with number, address, http address, up or down, leader of meta or
    /// nothing, replicas, leaders, what it is used for; `shard`, with table, number, epoch, leader, replicas, start, end;
    /// `move`, with a shard and the nodes that it is leaving; `split`, with a shard, the one that is cut off it, and the first key
    /// of that; `send`, with a shard, the node that gets its state, bytes that have come, bytes of all, bytes per second, and
    /// seconds that the rest takes, or nothing.
    fn plain(&self) -> Vec<Vec<String>> {
        let node_line = |node: &NodeRow<'_>| {
            let state = if node.alive { "up" } else { "down" };
            let meta = if node.leads_meta { "leader" } else { "" };
            let (replicas, leaders) = (node.replicas.to_string(), node.leaders.to_string());
            let fields = ["node", &node.node.to_string(), node.address, node.http_address, state, meta];
            let fields = fields.into_iter().map(str::to_owned);
            fields.chain([replicas, leaders, node.state.to_owned()]).collect()
        };
        let shard_line = |shard: &ShardRow<'_>| {
            let head = ["shard".to_owned(), shard.table.unwrap_or_default().to_owned()];
            head.into_iter().chain(shard.plain()).collect()
        };
        let shards = self.shards.iter().flatten().map(shard_line);
        let move_line = |MoveRow { shard, leaving }: &MoveRow| {
            let leaving: Vec<String> = leaving.iter().map(ToString::to_string).collect();
            vec!["move".to_owned(), shard.to_string(), leaving.join(",")]
        };
        let under_way = self.moves.iter().map(move_line);
        let under_way =
            under_way.chain(self.splits.iter().map(SplitRow::plain)).chain(self.sends.iter().map(SendRow::plain));
        self.nodes.iter().map(node_line).chain(shards).chain(under_way).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::shapes_of;
    use lentic_client::{Address, ClusterId, Epoch, KeyRange, NodeId, ShardDescription, ShardId, TableId};

    fn status(second_is_alive: bool, leader: Option<NodeId>) -> ClusterStatus {
        let node = |node, is_alive| NodeStatus {
            node: NodeId(node),
            address: Address::from("http://a:7420"),
            http_address: "http://a:7421".to_owned(),
            state: NodeState::Active,
            is_alive,
            replicas: 2,
            leaders: 1,
        };
        let shard = ShardDescription {
            shard: ShardId(3),
            epoch: Epoch(1),
            table: TableId(1),
            range: KeyRange::all(),
            replicas: vec![NodeId(1), NodeId(2)],
            leader,
            leader_address: None,
        };
        ClusterStatus {
            cluster: ClusterId([0xab; 16]),
            node: NodeId(1),
            meta_leader: Some(NodeId(1)),
            nodes: vec![node(1, true), node(2, second_is_alive)],
            tables: 1,
            shards: vec![("default.t".to_owned(), shard)],
            moves: vec![],
            splits: vec![],
            sends: vec![],
            release: "0.1.0".to_owned(),
        }
    }

    #[test]
    fn a_healthy_cluster_says_so() {
        let status = status(true, Some(NodeId(2)));
        let shown = StatusShown::new(&status, false);
        assert!(shown.healthy);
        let [human, plain, json] = shapes_of(&shown);
        assert_eq!(
            human,
            "cluster abababababababababababababababab, release 0.1.0 on n1, tables: 1, shards: 1\n\
             NODE  ADDRESS        HTTP           STATE  META    REPLICAS  LEADS\n\
             n1    http://a:7420  http://a:7421  up     leader         2      1\n\
             n2    http://a:7420  http://a:7421  up                    2      1\n\
             healthy: all nodes are up, and all shards have a leader\n"
        );
        assert_eq!(
            plain,
            "node\t1\thttp://a:7420\thttp://a:7421\tup\tleader\t2\t1\tactive\n\
             node\t2\thttp://a:7420\thttp://a:7421\tup\t\t2\t1\tactive\n"
        );
        assert_eq!(
            json,
            "{\"healthy\":true,\"cluster\":\"abababababababababababababababab\",\"node\":1,\"release\":\"0.1.0\",\
             \"meta_leader\":1,\"tables\":1,\"shard_count\":1,\"shards_without_leader\":0,\"nodes\":[\
             {\"node\":1,\"address\":\"http://a:7420\",\"http_address\":\"http://a:7421\",\"alive\":true,\
             \"leads_meta\":true,\"replicas\":2,\"leaders\":1,\"state\":\"active\"},\
             {\"node\":2,\"address\":\"http://a:7420\",\"http_address\":\"http://a:7421\",\"alive\":true,\
             \"leads_meta\":false,\"replicas\":2,\"leaders\":1,\"state\":\"active\"}],\"moves\":[],\"splits\":[],\"sends\":[]}\n"
        );
    }

    #[test]
    fn what_ails_a_cluster_is_told() {
        let mut status = status(false, None);
        status.meta_leader = None;
        let shown = StatusShown::new(&status, true);
        assert!(!shown.healthy);
        let [human, plain, json] = shapes_of(&shown);
        assert!(
            human.ends_with(
                "SHARD  TABLE      LEADER  REPLICAS  FROM  TO\n\
                 s3     default.t  none    n1 n2     ..    ..\n\
                 not healthy: not heard from: n2; the meta group has no leader; 1 of 1 shards have no leader\n"
            ),
            "{human}"
        );
        assert!(plain.ends_with("shard\tdefault.t\t3\t1\t\t1,2\t\t\n"), "{plain}");
        assert!(
            json.ends_with(
                ",\"shards\":[{\"table\":\"default.t\",\"shard\":3,\"epoch\":1,\"start\":\"\",\"end\":null,\
                 \"replicas\":[1,2],\"leader\":null,\"leader_address\":null}]}\n"
            ),
            "{json}"
        );
    }

    #[test]
    fn nodes_that_are_emptied_and_gone_and_shards_on_their_way_are_told() {
        let mut status = status(false, Some(NodeId(1)));
        status.nodes[0].state = NodeState::Draining;
        status.nodes[1].state = NodeState::Removed;
        status.moves = vec![Move { shard: ShardId(3), leaving: vec![NodeId(1), NodeId(2)] }];
        let shown = StatusShown::new(&status, false);
        assert!(shown.healthy, "what is removed is not missed");
        let [human, plain, json] = shapes_of(&shown);
        assert!(human.contains("  up, draining  leader "), "{human}");
        assert!(human.contains("  removed  "), "{human}");
        assert!(human.contains("\nmoving: s3 leaves n1 n2\nhealthy"), "{human}");
        assert!(plain.contains("\tdraining\nnode\t2\t") && plain.ends_with("\nmove\t3\t1,2\n"), "{plain}");
        assert!(json.contains(",\"moves\":[{\"shard\":3,\"leaving\":[1,2]}],"), "{json}");
        status.nodes[0].is_alive = false;
        assert!(!StatusShown::new(&status, false).healthy, "one that is emptied is still needed");
    }

    #[test]
    fn each_fault_alone_is_a_fault() {
        let healthy = |status: &ClusterStatus| StatusShown::new(status, false).healthy;
        assert!(!healthy(&status(false, Some(NodeId(1)))));
        assert!(!healthy(&status(true, None)));
        assert!(!healthy(&ClusterStatus { meta_leader: None, ..status(true, Some(NodeId(1))) }));
    }
}
