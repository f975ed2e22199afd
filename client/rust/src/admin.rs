//! Tables, nodes and shards.

use std::time::Duration;

use bytes::Bytes;
use lentic_net::Address;
use lentic_proto::ShardPlace;
use lentic_proto::v1::pipe_request::Request;
use lentic_proto::v1::pipe_response::Response;
use lentic_proto::v1::{
    self, BranchRequest, CreateTableRequest, DescribeTableRequest, DropTableRequest, ListTablesRequest,
};
use lentic_types::limits::TTL_MS_MAX;
use lentic_types::{ClusterId, Epoch, ErrorKind, KeyRange, NodeId, ShardId, TableId, Version};

use crate::call::{self, unexpected};
use crate::client::Client;
use crate::error::Error;
use crate::progress::Effect;

/// How a table is made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableOptions {
    /// How many shards it begins with, cut where keys with a uniform prefix would fill them equally; 0: one.
    pub shards: u32,
    /// Where it is cut at first, in key order; if given, `shards` is left out.
    pub split_points: Vec<Bytes>,
    /// How long history is kept; `None`: the server's choice.
    pub retention: Option<Duration>,
    /// How many replicas each shard has; 0: the cluster's choice.
    pub replicas: u32,
    /// How long a value lives whose writer does not say, from the version of its commit on; `None`: for ever.
    pub ttl: Option<Duration>,
}

/// A table by name and options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableEntry {
    /// Its id.
    pub table: TableId,
    /// `namespace.name`, or `name` in the namespace `default`.
    pub name: String,
    /// How it was made; a branch has its parent's.
    pub options: TableOptions,
    /// What it is a branch of, if it is one.
    pub branch_of: Option<BranchOf>,
}

/// What a branch continues.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BranchOf {
    /// The parent's full name.
    pub name: String,
    /// The newest version that the branch has from it. The branch's own history is above.
    pub version: Version,
}

/// A table with its shards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableDescription {
    /// Its name and options.
    pub table: TableEntry,
    /// Its shards, in key order.
    pub shards: Vec<ShardDescription>,
}

/// A shard and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardDescription {
    /// Its id.
    pub shard: ShardId,
    /// Counts its changes of shape.
    pub epoch: Epoch,
    /// Its table.
    pub table: TableId,
    /// Its keys.
    pub range: KeyRange,
    /// Who holds a replica.
    pub replicas: Vec<NodeId>,
    /// Who leads, if that is known.
    pub leader: Option<NodeId>,
    /// Where the leader is spoken to, if that is known.
    pub leader_address: Option<Address>,
}

/// What the cluster is made of, as one node knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterStatus {
    /// The cluster.
    pub cluster: ClusterId,
    /// The node that answered.
    pub node: NodeId,
    /// The node that leads the meta group, if that is known.
    pub meta_leader: Option<NodeId>,
    /// All nodes.
    pub nodes: Vec<NodeStatus>,
    /// How many tables there are.
    pub tables: u32,
    /// All shards with the names of their tables, if they were asked for.
    pub shards: Vec<(String, ShardDescription)>,
    /// Those of these shards that have replicas on nodes that they are leaving.
    pub moves: Vec<Move>,
    /// Those of these shards that are being cut in two.
    pub splits: Vec<ShardSplit>,
    /// Their states, on the way to nodes that lack them: for a move, or for a replica that was away for long. They are told
    /// every few seconds.
    pub sends: Vec<Sending>,
    /// The release of the node that answered.
    pub release: String,
}

/// A shard on its way from some nodes to others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move {
    /// The shard.
    pub shard: ShardId,
    /// The nodes that hold a replica until its other replicas have all, and then none.
    pub leaving: Vec<NodeId>,
}

/// A shard that is being cut in two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardSplit {
    /// The shard.
    pub shard: ShardId,
    /// The shard that its keys from `at` on will be.
    pub child: ShardId,
    /// The first key of that.
    pub at: Bytes,
}

/// The state of a shard on its way to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sending {
    /// The shard.
    pub shard: ShardId,
    /// The node that gets it.
    pub to: NodeId,
    /// Bytes that have come there, as compressed as on disk.
    pub sent: u64,
    /// Bytes of all of it.
    pub bytes: u64,
    /// For how long it has been on its way.
    pub elapsed: Duration,
}

impl Sending {
    /// Bytes per second so far; 0 if nothing has come yet.
    #[must_use]
    pub fn bytes_per_second(&self) -> u64 {
        let ms = u64::try_from(self.elapsed.as_millis()).unwrap_or(u64::MAX);
        self.sent.saturating_mul(1_000).checked_div(ms).unwrap_or(0)
    }

    /// How long the rest takes at this rate; `None` if nothing has come yet.
    #[must_use]
    pub fn left(&self) -> Option<Duration> {
        let left = self.bytes.saturating_sub(self.sent);
        left.checked_div(self.bytes_per_second()).map(Duration::from_secs)
    }
}

/// What a node is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeState {
    /// It holds replicas, and gets more.
    Active,
    /// It is being emptied.
    Draining,
    /// It is gone for good.
    Removed,
}

/// A node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeStatus {
    /// Its id.
    pub node: NodeId,
    /// Where it is spoken to.
    pub address: Address,
    /// Where its metrics and health are.
    pub http_address: String,
    /// What it is used for.
    pub state: NodeState,
    /// Whether it was heard from lately.
    pub is_alive: bool,
    /// How many replicas it holds.
    pub replicas: u32,
    /// How many groups it leads.
    pub leaders: u32,
}

/// How leaders are balanced over the nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Balance {
    /// Whether they are.
    pub is_on: bool,
    /// How often it is looked at; `None`: never, by the configuration of the node that leads the meta group.
    pub every: Option<Duration>,
    /// What would be handed over next, the one that helps most first; empty if leaders are spread evenly. It is planned
    /// anew each time.
    pub steps: Vec<HandOver>,
    /// Which replicas would move, one after the other, if nothing else happens; empty if all are where they should be.
    pub moves: Vec<ReplicaMove>,
}

/// A replica that should be on another node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplicaMove {
    /// The shard.
    pub shard: ShardId,
    /// The node that it leaves; `None`: the shard gets one replica more.
    pub from: Option<NodeId>,
    /// The node that gets it.
    pub to: NodeId,
}

/// A shard that another of its replicas should lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HandOver {
    /// The shard.
    pub shard: ShardId,
    /// Who leads it.
    pub from: NodeId,
    /// Who should.
    pub to: NodeId,
}

impl Client {
    /// Makes a table and places its shards. Made already with the same options, it is described as it is.
    ///
    /// # Errors
    /// `AlreadyExists` if there is one of this name with other options.
    pub async fn create_table(&self, name: &str, options: TableOptions) -> Result<TableDescription, Error> {
        let ms = |span: Option<Duration>| span.map_or(0, |span| u64::try_from(span.as_millis()).unwrap_or(u64::MAX));
        let TableOptions { shards, split_points, retention, replicas, ttl } = options;
        let (retention_ms, ttl_ms) = (ms(retention), ms(ttl));
        if ttl.is_some() && !(1..=TTL_MS_MAX).contains(&ttl_ms) {
            return Err(Error::invalid("a TTL is a millisecond to 100 years; leave it out for values that never end"));
        }
        let options = Some(v1::TableOptions { shards, split_points, retention_ms, replicas, ttl_ms });
        let request = CreateTableRequest { name: name.to_owned(), options };
        match self.any(Request::CreateTable(request), Effect::Writes).await? {
            Response::CreateTable(made) => {
                self.core().table(name).set(made.shards.clone())?;
                table_description(made.table, made.shards)
            }
            _ => Err(unexpected()),
        }
    }

    /// Makes a branch of a table: a table `name` that shows what the table `of` held at the version `at`, or else at one above
    /// every write that was acknowledged before this call, and then goes its own way. Neither sees what is written to the
    /// other. It costs one small write, however much the table holds.
    ///
    /// A branch is read from its version on; who wants to look further back reads its parent.
    ///
    /// # Errors
    /// `AlreadyExists` if there is a table of this name, `NotFound` if there is none to make a branch of, `VersionTooOld` or
    /// `VersionTooNew` if its history at `at` is not kept any more, or not yet there.
    pub async fn branch(&self, name: &str, of: &str, at: Option<Version>) -> Result<TableDescription, Error> {
        let random = &self.core().random;
        // Sent again, it is known by this.
        let nonce: Bytes =
            [random.next_seed(), random.next_seed()].iter().flat_map(|half| half.to_be_bytes()).collect();
        let (name, of) = (name.to_owned(), of.to_owned());
        let request = BranchRequest { name: name.clone(), of, at: at.map(|at| at.0), nonce };
        match self.any(Request::Branch(request), Effect::Writes).await? {
            Response::Branch(made) => {
                self.core().table(&name).set(made.shards.clone())?;
                table_description(made.table, made.shards)
            }
            _ => Err(unexpected()),
        }
    }

    /// Removes a table and everything in it. Of a branch, that is what was written to the branch.
    ///
    /// When it returns, no node answers for the table any more. A node that the meta group's leader has not heard from for
    /// five seconds is not waited for: it is down, or cut off, and may then answer who still reaches it until it hears of the
    /// drop.
    ///
    /// # Errors
    /// `NotFound` if there is none of this name, `InUse` if it has branches: the message names one. `Unknown` also if it is
    /// removed and a node that is up does not hear of it: ask again.
    pub async fn drop_table(&self, name: &str) -> Result<(), Error> {
        let mut progress = self.progress(Effect::Writes);
        let request = Request::DropTable(DropTableRequest { name: name.to_owned() });
        let answer = call::any_with(self.core(), request, &mut progress).await;
        self.core().table(name).forget();
        match answer {
            Ok(Response::DropTable(_)) => Ok(()),
            Ok(_) => Err(unexpected()),
            // It was there when it was dropped the first time.
            Err(error) if error.kind() == ErrorKind::NotFound && progress.in_doubt > 1 => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// All tables, by name.
    pub async fn list_tables(&self) -> Result<Vec<TableEntry>, Error> {
        match self.any(Request::ListTables(ListTablesRequest {}), Effect::Reads).await? {
            Response::ListTables(list) => Ok(list.tables.into_iter().map(table_entry).collect()),
            _ => Err(unexpected()),
        }
    }

    /// A table with its shards.
    ///
    /// # Errors
    /// `NotFound` if there is none of this name.
    pub async fn describe_table(&self, name: &str) -> Result<TableDescription, Error> {
        let request = DescribeTableRequest { name: name.to_owned() };
        match self.any(Request::DescribeTable(request), Effect::Reads).await? {
            Response::DescribeTable(described) => table_description(described.table, described.shards),
            _ => Err(unexpected()),
        }
    }

    /// What the cluster is made of; with `shards`, every shard too.
    pub async fn status(&self, shards: bool) -> Result<ClusterStatus, Error> {
        match self.any(Request::Status(v1::StatusRequest { shards }), Effect::Reads).await? {
            Response::Status(status) => cluster_status(status),
            _ => Err(unexpected()),
        }
    }

    /// Asks a shard's leader to hand over: to the replica on node `to`, or to any that can.
    pub async fn transfer_leader(&self, shard: ShardId, to: Option<NodeId>) -> Result<(), Error> {
        let request = v1::TransferLeaderRequest { shard: shard.0, to: to.map_or(0, |node| node.0) };
        match self.any(Request::TransferLeader(request), Effect::Writes).await? {
            Response::TransferLeader(_) => Ok(()),
            _ => Err(unexpected()),
        }
    }

    /// Whether leaders and replicas are balanced over the nodes, and what would be handed over and moved next.
    pub async fn balance(&self) -> Result<Balance, Error> {
        self.ask_balance(None, Effect::Reads).await
    }

    /// Switches the balance of leaders on or off, for the whole cluster and until it is switched again. Off, leaders stay
    /// where they are until somebody hands them over, or their node is gone. A hand-over that has begun is not called back.
    pub async fn set_balance(&self, on: bool) -> Result<Balance, Error> {
        self.ask_balance(Some(on), Effect::Writes).await
    }

    async fn ask_balance(&self, on: Option<bool>, effect: Effect) -> Result<Balance, Error> {
        match self.any(Request::Balance(v1::BalanceRequest { on }), effect).await? {
            Response::Balance(v1::BalanceResponse { on, every_ms, steps, moves }) => {
                let step = |step: v1::HandOver| HandOver {
                    shard: ShardId(step.shard),
                    from: NodeId(step.from),
                    to: NodeId(step.to),
                };
                let every = (every_ms > 0).then(|| Duration::from_millis(every_ms));
                let one = |one: v1::MoveReplicaRequest| ReplicaMove {
                    shard: ShardId(one.shard),
                    from: Some(NodeId(one.from)).filter(|node| node.0 != 0),
                    to: NodeId(one.to),
                };
                let (steps, moves) = (steps.into_iter().map(step).collect(), moves.into_iter().map(one).collect());
                Ok(Balance { is_on: on, every, steps, moves })
            }
            _ => Err(unexpected()),
        }
    }

    /// Says that a shard shall have a replica on node `to`, in place of the one on node `from`, or beside all that it has. It is
    /// made so afterwards, while it is read and written; [`Self::status`] says when it is.
    ///
    /// # Errors
    /// `Invalid` if `to` holds one or gets none, or `from` holds none; `Throttled` while the shard moves, or has no leader.
    pub async fn move_replica(&self, shard: ShardId, from: Option<NodeId>, to: NodeId) -> Result<(), Error> {
        let request = v1::MoveReplicaRequest { shard: shard.0, from: from.map_or(0, |node| node.0), to: to.0 };
        match self.any(Request::MoveReplica(request), Effect::Writes).await? {
            Response::MoveReplica(_) => Ok(()),
            _ => Err(unexpected()),
        }
    }

    /// Says that the shard of key `at` shall be cut there in two, while it is read and written: the key is the first of the new
    /// shard, whose number is returned. No data moves. If a shard begins there already, that is the one.
    ///
    /// # Errors
    /// `Invalid` if the table is a branch, or the key is empty or too long; `InUse` if the table has branches; `NotFound` if there
    /// is no such table; `Throttled` while the shard is being moved or split, or has no leader.
    pub async fn split_shard(&self, table: &str, at: impl Into<Bytes>) -> Result<ShardId, Error> {
        let request = v1::SplitShardRequest { table: table.to_owned(), at: at.into() };
        match self.any(Request::SplitShard(request), Effect::Writes).await? {
            Response::SplitShard(response) => Ok(ShardId(response.shard)),
            _ => Err(unexpected()),
        }
    }

    /// Says that a node shall be emptied, and gets nothing more. It is emptied afterwards, while all is served;
    /// [`Self::status`] says what it still holds.
    ///
    /// # Errors
    /// `Invalid` if what it holds would have no place elsewhere.
    pub async fn drain_node(&self, node: NodeId) -> Result<(), Error> {
        self.set_node_state(node, v1::NodeState::Draining).await
    }

    /// Says that a node that was being emptied is used again.
    pub async fn undrain_node(&self, node: NodeId) -> Result<(), Error> {
        self.set_node_state(node, v1::NodeState::Active).await
    }

    /// Removes a node that holds nothing from the cluster, for good.
    ///
    /// # Errors
    /// `InUse` as long as it holds something.
    pub async fn remove_node(&self, node: NodeId) -> Result<(), Error> {
        self.set_node_state(node, v1::NodeState::Removed).await
    }

    async fn set_node_state(&self, node: NodeId, state: v1::NodeState) -> Result<(), Error> {
        let request = v1::SetNodeStateRequest { node: node.0, state: state.into() };
        match self.any(Request::SetNodeState(request), Effect::Writes).await? {
            Response::SetNodeState(_) => Ok(()),
            _ => Err(unexpected()),
        }
    }

    async fn any(&self, request: Request, effect: Effect) -> Result<Response, Error> {
        call::any(self.core(), request, self.progress(effect)).await
    }
}

fn table_entry(table: v1::Table) -> TableEntry {
    let v1::TableOptions { shards, split_points, retention_ms, replicas, ttl_ms } = table.options.unwrap_or_default();
    let span = |ms: u64| (ms > 0).then(|| Duration::from_millis(ms));
    let options = TableOptions { shards, split_points, retention: span(retention_ms), replicas, ttl: span(ttl_ms) };
    let branch_of = table.branch_of.map(|of| BranchOf { name: of.name, version: Version(of.version) });
    TableEntry { table: TableId(table.table), name: table.name, options, branch_of }
}

fn table_description(table: Option<v1::Table>, shards: Vec<v1::Shard>) -> Result<TableDescription, Error> {
    let shards = shards.into_iter().map(shard_description).collect::<Result<_, _>>()?;
    Ok(TableDescription { table: table_entry(table.ok_or_else(unexpected)?), shards })
}

fn shard_description(shard: v1::Shard) -> Result<ShardDescription, Error> {
    let ShardPlace { shard, epoch, table, range, replicas, leader, leader_address, .. } =
        shard.try_into().map_err(Error::from_failure)?;
    let leader_address = (!leader_address.is_empty()).then(|| Address::from(&*leader_address));
    Ok(ShardDescription { shard, epoch, table, range, replicas, leader, leader_address })
}

fn cluster_status(status: v1::StatusResponse) -> Result<ClusterStatus, Error> {
    let cluster = lentic_proto::cluster_id(&status.cluster).map_err(Error::from_failure)?.ok_or_else(unexpected)?;
    let node_status = |node: v1::Node| NodeStatus {
        node: NodeId(node.node),
        address: Address::from(&*node.address),
        http_address: node.http_address,
        state: match v1::NodeState::try_from(node.state) {
            Ok(v1::NodeState::Draining) => NodeState::Draining,
            Ok(v1::NodeState::Removed) => NodeState::Removed,
            Ok(v1::NodeState::Active) | Err(_) => NodeState::Active,
        },
        is_alive: node.alive,
        replicas: node.replicas,
        leaders: node.leaders,
    };
    let shard_of = |status: &v1::ShardStatus| ShardId(status.shard.as_ref().map_or(0, |shard| shard.shard));
    let moves = status
        .shards
        .iter()
        .filter(|status| !status.leaving.is_empty())
        .map(|status| Move { shard: shard_of(status), leaving: status.leaving.iter().copied().map(NodeId).collect() });
    let moves = moves.collect();
    let splits = status.shards.iter().filter_map(|status| {
        let child = ShardId(status.child?);
        Some(ShardSplit { shard: shard_of(status), child, at: status.split_at.clone() })
    });
    let sends = status.shards.iter().flat_map(|status| {
        status.sends.iter().map(|sending| Sending {
            shard: shard_of(status),
            to: NodeId(sending.to),
            sent: sending.sent,
            bytes: sending.bytes,
            elapsed: Duration::from_millis(sending.elapsed_ms),
        })
    });
    let (splits, sends) = (splits.collect(), sends.collect());
    let shard_status =
        |status: v1::ShardStatus| Ok((status.table, shard_description(status.shard.ok_or_else(unexpected)?)?));
    Ok(ClusterStatus {
        cluster,
        node: NodeId(status.node),
        meta_leader: status.meta_leader.map(NodeId),
        nodes: status.nodes.into_iter().map(node_status).collect(),
        tables: status.tables,
        shards: status.shards.into_iter().map(shard_status).collect::<Result<_, _>>()?,
        moves,
        splits,
        sends,
        release: status.release,
    })
}
