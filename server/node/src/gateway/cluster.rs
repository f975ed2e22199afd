//! Nodes, clients and time; and requests that only the meta group's leader answers.

use std::time::Duration;

use bytes::Bytes;
use lentic_engine::Portable;
use lentic_machine::meta::{MetaCommand, MetaOutcome, NodeState};
use lentic_net::Address;
use lentic_proto::v1::pipe_request::Request;
use lentic_proto::v1::pipe_response::Response;
use lentic_proto::v1::{self, Failure};
use lentic_raft::ChangeError;
use lentic_types::{ErrorKind, NodeId, ShardId};
use tokio::time::{Instant, sleep};

use super::Gateway;
use super::forward::Lane;
use super::pipe::Caller;
use crate::ask::{Answer, Question};
use crate::balance;
use crate::failure;
use crate::moves;
use crate::report::Sending;
use crate::ticks::last_of;

/// The pause before the meta group's leader is looked for again.
const PAUSE: Duration = Duration::from_millis(50);

impl<S: Portable> Gateway<S> {
    /// A version above every write acknowledged before.
    pub(crate) async fn now(&self) -> Result<v1::NowResponse, Failure> {
        let ticks = self.shards.shared.ticks.fetch(1).await.map_err(|_| failure::not_leader())?;
        Ok(v1::NowResponse { version: last_of(ticks).0 })
    }

    /// What the cluster is made of.
    pub(crate) async fn status(&self, request: &v1::StatusRequest) -> Result<v1::StatusResponse, Failure> {
        let catalog = self.meta.catalog();
        let leader = self.meta.leader();
        let alive = if self.meta.leads() { self.meta.alive() } else { self.meta.ask_alive().await };
        let nodes = catalog.nodes.iter().map(|(id, node)| {
            let (alive, leaders) = alive.get(id).copied().unwrap_or((false, 0));
            v1::Node {
                node: id.0,
                address: node.address.to_string(),
                http_address: node.http_address.to_string(),
                alive,
                replicas: u32::try_from(catalog.shards_on(*id).count()).unwrap_or(u32::MAX),
                leaders,
                state: state_to_wire(node.state).into(),
            }
        });
        let sends = if request.shards { self.sends().await } else { Vec::new() };
        let shards = catalog.shards.values().filter(|_| request.shards).map(|place| v1::ShardStatus {
            shard: Some(self.routes.shard(&catalog, place)),
            table: catalog.tables.get(&place.table).map_or_else(String::new, |table| table.name.clone()),
            leaving: place.shape.leaving.iter().map(|node| node.0).collect(),
            child: place.shape.splitting.as_ref().map(|splitting| splitting.child.0),
            split_at: place.shape.splitting.as_ref().map(|splitting| splitting.at.clone()).unwrap_or_default(),
            sends: sends.iter().filter(|sending| sending.shard == place.shard).map(sending_to_wire).collect(),
        });
        Ok(v1::StatusResponse {
            cluster: Bytes::copy_from_slice(&catalog.cluster.0),
            node: self.meta.node.0,
            meta_leader: leader.map(|node| node.0),
            nodes: nodes.collect(),
            tables: u32::try_from(catalog.tables.len()).unwrap_or(u32::MAX),
            shards: shards.collect(),
            release: env!("CARGO_PKG_VERSION").to_owned(),
        })
    }

    /// The states of shards that are on their way between nodes.
    async fn sends(&self) -> Vec<Sending> {
        if self.meta.leads() {
            return self.balance.sends(self.meta.group.watch().borrow().term);
        }
        match self.meta.ask_leader(&Question::Sends).await {
            Some(Answer::Sends(sends)) => sends,
            _ => Vec::new(),
        }
    }

    /// Hands a shard over, if this node leads it.
    pub(crate) async fn transfer_leader(
        &self,
        request: &v1::TransferLeaderRequest,
    ) -> Result<v1::TransferLeaderResponse, Failure> {
        let shard = ShardId(request.shard);
        let replica = self.shards.get(shard).filter(|replica| replica.serves());
        let Some(replica) = replica else {
            // Who names a shard means that one: there is no other to look for in its place.
            if !self.meta.catalog().shards.contains_key(&shard) {
                return Err(failure::not_found(format!("there is no shard {shard}; check the number")));
            }
            return Err(self.routes.add_to(self.routes.elsewhere(shard), shard, None));
        };
        let status = replica.status();
        let others = status.voters.iter().copied().filter(|node| *node != self.meta.node);
        let to = match request.to {
            0 => others.max_by_key(|node| status.matched.get(node).copied()),
            to => Some(NodeId(to)).filter(|node| status.voters.contains(node)),
        };
        let to = to.ok_or_else(|| failure::invalid("no other voter of the shard is there to take over"))?;
        match replica.group.transfer_leader(to).await {
            Ok(()) => Ok(v1::TransferLeaderResponse {}),
            Err(ChangeError::NotLeader { .. }) => Err(self.routes.add_to(failure::not_leader(), shard, None)),
            Err(ChangeError::Lost) => Err(failure::throttled(format!("{to} did not take over in time"), 100)),
            Err(ChangeError::Refused(reason)) => Err(failure::invalid(reason)),
            Err(error @ ChangeError::Stopped(_)) => Err(failure::internal(error.to_string())),
        }
    }

    /// Answers what only the meta group's leader can, here or by asking there, until the deadline.
    pub(crate) async fn ask_meta(
        &self,
        request: Request,
        caller: Caller,
        deadline: Instant,
    ) -> Result<Response, Failure> {
        if caller == Caller::Node {
            return self.answer_as_meta(request).await;
        }
        let mut in_doubt = false;
        loop {
            let result = if self.meta.leads() {
                self.answer_as_meta(request.clone()).await
            } else {
                match self.meta_address() {
                    Some(address) => self.forwarder.ask(&address, Lane::NeverWaits, request.clone(), deadline).await,
                    None => Err(failure::not_leader()),
                }
            };
            // All of these may be asked twice: a name is made or removed once, a nonce says whose it is, a block of ids may go unused.
            let again = matches!(
                result.as_ref().map_err(Failure::kind),
                Err(v1::ErrorKind::NotLeader | v1::ErrorKind::Unknown | v1::ErrorKind::Throttled)
            );
            if !again || Instant::now() + PAUSE >= deadline {
                // It was there when it was removed the first time.
                return match (result, removed(&request)) {
                    (Err(failure), Some(done)) if in_doubt && failure::is_not_found(&failure) => Ok(done),
                    (result, _) => result,
                };
            }
            in_doubt |= matches!(result.as_ref().map_err(Failure::kind), Err(v1::ErrorKind::Unknown));
            sleep(PAUSE).await;
        }
    }

    /// Where the meta group's leader is.
    fn meta_address(&self) -> Option<Address> {
        let leader = self.meta.leader().filter(|leader| *leader != self.meta.node)?;
        self.meta.catalog().nodes.get(&leader).map(|node| Address::from(&*node.address))
    }

    /// Makes a node a member, or tells the cluster its new addresses; the id that the cluster knows it by.
    pub(crate) async fn join_as(&self, request: Request, deadline: Instant) -> Result<NodeId, Failure> {
        match self.ask_meta(request, Caller::Client, deadline).await? {
            Response::Join(response) => Ok(NodeId(response.node)),
            _ => Err(failure::internal("the meta group answered something else")),
        }
    }

    async fn answer_as_meta(&self, request: Request) -> Result<Response, Failure> {
        Ok(match request {
            Request::CreateTable(request) => Response::CreateTable(self.create_table(request).await?),
            Request::Branch(request) => Response::Branch(self.create_branch(request).await?),
            Request::DescribeTable(request) => {
                self.meta.confirm().await?;
                Response::DescribeTable(self.describe_table(&request)?)
            }
            Request::ListTables(_) => {
                self.meta.confirm().await?;
                Response::ListTables(self.list_tables())
            }
            Request::DropTable(request) => Response::DropTable(self.drop_table(request).await?),
            Request::CreateSnapshot(request) => Response::CreateSnapshot(self.create_snapshot(request).await?),
            Request::ListPins(request) => {
                self.meta.confirm().await?;
                Response::ListPins(self.list_pins(&request)?)
            }
            Request::ShowSnapshot(request) => {
                self.meta.confirm().await?;
                Response::ShowSnapshot(self.show_snapshot(&request)?)
            }
            Request::Checkpoint(request) => Response::Checkpoint(Box::pin(self.checkpoint(request)).await?),
            Request::LastCheckpoint(request) => {
                Response::LastCheckpoint(Box::pin(self.last_checkpoint(request)).await?)
            }
            Request::DropPin(request) => Response::DropPin(self.drop_pin(request).await?),
            Request::RenewPin(request) => Response::RenewPin(self.renew_pin(request).await?),
            Request::Balance(request) => Response::Balance(self.balance(&request).await?),
            Request::MoveReplica(request) => Response::MoveReplica(self.move_replica(&request).await?),
            Request::SplitShard(request) => Response::SplitShard(self.split_shard(&request).await?),
            Request::SetNodeState(request) => Response::SetNodeState(self.set_node_state(&request).await?),
            Request::IssueClient(_) => Response::IssueClient(self.issue_client().await?),
            Request::Join(request) => Response::Join(self.join(request).await?),
            _ => return Err(failure::internal("this is no question for the meta group")),
        })
    }

    /// Switches the balance of leaders, if it is asked for; whether it is on, and what comes next.
    async fn balance(&self, request: &v1::BalanceRequest) -> Result<v1::BalanceResponse, Failure> {
        if let Some(on) = request.on {
            self.meta.propose(&MetaCommand::SetBalance { on }).await?;
        } else {
            self.meta.confirm().await?;
        }
        balance::shown(self)
    }

    /// Says that a shard shall have a replica elsewhere.
    async fn move_replica(&self, request: &v1::MoveReplicaRequest) -> Result<v1::MoveReplicaResponse, Failure> {
        self.meta.confirm().await?;
        let (shard, catalog) = (ShardId(request.shard), self.meta.catalog_after_apply());
        let (from, to) = (Some(NodeId(request.from)).filter(|node| node.0 != 0), NodeId(request.to));
        let place = catalog.shards.get(&shard);
        let place = place.ok_or_else(|| failure::not_found(format!("there is no shard {shard}; check the number")))?;
        if !self.meta.alive().get(&to).is_none_or(|(alive, _)| *alive) {
            return Err(failure::invalid(format!("node {to} was not heard from lately; start it, or name another")));
        }
        let command = MetaCommand::MoveReplica { shard, epoch: place.epoch, from, to };
        // A group that never began would never begin with others.
        if !moves::has_leader(self, place).await {
            return Err(failure::throttled(format!("shard {shard} has no leader now; a move needs one"), 100));
        }
        self.meta.propose(&command).await?;
        Ok(v1::MoveReplicaResponse {})
    }

    /// Says that the shard of a key shall be cut there.
    pub(crate) async fn split_shard(&self, request: &v1::SplitShardRequest) -> Result<v1::SplitShardResponse, Failure> {
        self.meta.confirm().await?;
        let catalog = self.meta.catalog_after_apply();
        let table = catalog.table_named(&request.table);
        let table = table.ok_or_else(|| failure::not_found(format!("there is no table {}", request.table)))?;
        let place = catalog.shard_for(table.table, &request.at);
        let place = place.ok_or_else(|| failure::internal("a table has no shard for a key"))?;
        if place.range.start() == &request.at && !request.at.is_empty() {
            return Ok(v1::SplitShardResponse { shard: place.shard.0 });
        }
        if !moves::has_leader(self, place).await {
            let reason = format!("shard {} has no leader now; a split needs one", place.shard);
            return Err(failure::throttled(reason, 100));
        }
        let command = MetaCommand::BeginSplit { shard: place.shard, epoch: place.epoch, at: request.at.clone() };
        match self.meta.propose(&command).await? {
            MetaOutcome::Splitting { child } => Ok(v1::SplitShardResponse { shard: child.0 }),
            outcome => Err(failure::internal(format!("a split was answered by {outcome:?}"))),
        }
    }

    /// Says what a node is used for.
    async fn set_node_state(&self, request: &v1::SetNodeStateRequest) -> Result<v1::SetNodeStateResponse, Failure> {
        self.meta.confirm().await?;
        let node = NodeId(request.node);
        let state = match v1::NodeState::try_from(request.state) {
            Ok(v1::NodeState::Active) => NodeState::Active,
            Ok(v1::NodeState::Draining) => NodeState::Draining,
            Ok(v1::NodeState::Removed) => NodeState::Removed,
            Err(_) => return Err(failure::invalid("a node is active, draining or removed")),
        };
        let status = self.meta.group.status();
        if state == NodeState::Removed && (status.voters.contains(&node) || status.learners.contains(&node)) {
            let reason =
                format!("node {node} is a member of the meta group; drain it first, and wait until it is none");
            return Err(Failure::new(ErrorKind::InUse, reason));
        }
        self.meta.propose(&MetaCommand::SetNodeState { node, state }).await?;
        Ok(v1::SetNodeStateResponse {})
    }

    async fn issue_client(&self) -> Result<v1::IssueClientResponse, Failure> {
        let version = self.now().await?.version;
        match self.meta.propose(&MetaCommand::IssueClients { count: 1 }).await? {
            MetaOutcome::Clients { first, .. } => Ok(v1::IssueClientResponse { client: first.0, version }),
            outcome => Err(failure::internal(format!("the meta group answered {outcome:?}"))),
        }
    }

    async fn join(&self, request: v1::JoinRequest) -> Result<v1::JoinResponse, Failure> {
        let incarnation = <[u8; 16]>::try_from(&request.incarnation[..])
            .map_err(|_| failure::invalid("an incarnation has 16 bytes"))?;
        let v1::JoinRequest { address, http_address, .. } = request;
        // A node that is known by its incarnation tells where it is now.
        let node = self.meta.catalog_after_apply().node_of_incarnation(&incarnation);
        let command = MetaCommand::RegisterNode { node, address, http_address, incarnation };
        let MetaOutcome::Node(node) = self.meta.propose(&command).await? else {
            return Err(v1::Failure::new(ErrorKind::Internal, "the meta group answered something else".to_owned()));
        };
        self.meta.heard_from(node, 0);
        let catalog = self.meta.catalog_after_apply();
        let nodes = catalog.nodes.iter().map(|(id, node)| v1::Node {
            node: id.0,
            address: node.address.to_string(),
            http_address: node.http_address.to_string(),
            ..v1::Node::default()
        });
        Ok(v1::JoinResponse {
            cluster: Bytes::copy_from_slice(&catalog.cluster.0),
            node: node.0,
            nodes: nodes.collect(),
        })
    }
}

fn sending_to_wire(sending: &Sending) -> v1::Sending {
    let Sending { to, sent, bytes, ms, .. } = *sending;
    v1::Sending { to: to.0, sent, bytes, elapsed_ms: ms }
}

const fn state_to_wire(state: NodeState) -> v1::NodeState {
    match state {
        NodeState::Active => v1::NodeState::Active,
        NodeState::Draining => v1::NodeState::Draining,
        NodeState::Removed => v1::NodeState::Removed,
    }
}

/// The answer to a request that removes something, once it is gone.
const fn removed(request: &Request) -> Option<Response> {
    match request {
        Request::DropTable(_) => Some(Response::DropTable(v1::DropTableResponse {})),
        Request::DropPin(_) => Some(Response::DropPin(v1::DropPinResponse {})),
        _ => None,
    }
}
