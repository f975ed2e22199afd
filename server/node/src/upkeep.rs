//! What a node does by itself, all the time.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use lentic_engine::{Portable, StoreError};
use lentic_log::Holder;
use lentic_machine::meta::{self, Catalog};
use lentic_proto::v1::JoinRequest;
use lentic_proto::v1::pipe_request::Request;
use lentic_raft::{Group, Machine};
use lentic_runtime::{blocking, spawn};
use lentic_types::{GroupId, NodeId, ShardId};
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, error, info, warn};

use crate::ask::{Answer, Question};
use crate::balance;
use crate::disk;
use crate::gateway::Gateway;
use crate::meta::service::MetaService;
use crate::moves;
use crate::node::Identity;
use crate::{shard, txn};

/// How often a node says that it is alive.
const ALIVE_EVERY: Duration = Duration::from_secs(1);
/// How soon a question that nobody answered is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(20);
/// How often the meta group's leader looks after its members.
const MEMBERS_EVERY: Duration = Duration::from_millis(500);
/// How long a registration may take before it is tried anew.
const REGISTER_WITHIN: Duration = Duration::from_secs(5);
/// How long a change of members may take before it is looked at anew.
const CHANGE_WITHIN: Duration = Duration::from_secs(10);

/// What a node tells the cluster of itself.
pub(crate) struct Registration {
    pub(crate) identity: Identity,
    pub(crate) address: String,
    pub(crate) http_address: String,
}

/// Starts all of it. The tasks end with the scope.
pub(crate) fn start<S: Portable>(gateway: &Gateway<S>, registration: Registration) {
    let meta = Arc::clone(&gateway.meta);
    spawn(async move { meta.follow_replica().await });
    let meta = Arc::clone(&gateway.meta);
    spawn(async move { follow_others(&meta).await });
    let meta = Arc::clone(&gateway.meta);
    spawn(async move { learn_what_was_known(&meta).await });
    let shards = Arc::clone(&gateway.shards);
    let follows = gateway.clone();
    spawn(async move { shards.follow(&follows).await });
    let register = gateway.clone();
    spawn(async move { self::register(&register, registration).await });
    let alive = gateway.clone();
    spawn(async move { say_alive(&alive).await });
    let members = gateway.clone();
    spawn(async move { keep_members(&members).await });
    let leaves = gateway.clone();
    spawn(async move { moves::keep(&leaves).await });
    let pins = Arc::clone(&gateway.meta);
    spawn(async move { pins.sweep_expired().await });
    let history = gateway.clone();
    spawn(async move { shard::history::keep(&history).await });
    let hears = gateway.clone();
    spawn(async move { shard::hear::keep(&hears).await });
    let txns = gateway.clone();
    spawn(async move { txn::sweep(&txns).await });
    let leaders = gateway.clone();
    spawn(async move { balance::keep(&leaders).await });
    let divides = gateway.clone();
    spawn(async move { moves::divide(&divides).await });
    let disk = gateway.clone();
    // It ends with the log, and whoever runs the node is told of that by the log.
    spawn(async move { disk::watch(&disk).await });
    let store = gateway.clone();
    spawn(async move { keep_store(&store).await });
}

/// Tells the cluster where this node is, until it is heard.
async fn register<S: Portable>(gateway: &Gateway<S>, registration: Registration) {
    let Registration { identity, address, http_address } = registration;
    loop {
        let catalog = gateway.meta.catalog();
        let is_known = catalog
            .nodes
            .get(&identity.node)
            .is_some_and(|node| *node.address == *address && *node.http_address == *http_address);
        if is_known {
            return;
        }
        let request = JoinRequest {
            incarnation: identity.incarnation.to_vec().into(),
            address: address.clone(),
            http_address: http_address.clone(),
        };
        let deadline = Instant::now() + REGISTER_WITHIN;
        match gateway.join_as(Request::Join(request), deadline).await {
            Ok(node) if node == identity.node => {}
            Ok(node) => {
                error!(
                    expected = identity.node.0,
                    found = node.0,
                    "the cluster knows this data directory by another id"
                );
                return;
            }
            Err(failure) => warn!(reason = failure.message, "not registered with the cluster yet"),
        }
        sleep(Duration::from_millis(100)).await;
    }
}

/// Follows the catalog of others, for a node that has no replica of the meta group or lags behind. Who has one asks now and
/// then, for it may have been let go without hearing of it.
async fn follow_others<S: Portable>(meta: &MetaService<S>) {
    loop {
        if meta.leads() || meta.leader_by_replica().is_some() {
            sleep(ALIVE_EVERY).await;
        }
        if meta.leads() {
            continue;
        }
        let newer_than = meta.catalog().revision;
        match meta.ask_leader(&Question::Catalog { newer_than }).await {
            Some(Answer::Catalog(bytes)) if bytes.is_empty() => {}
            Some(Answer::Catalog(bytes)) => match Catalog::decode(&bytes) {
                Ok(catalog) => meta.learn(Arc::new(catalog)),
                Err(reason) => warn!(%reason, "another node's catalog was not understood"),
            },
            _ => sleep(Duration::from_millis(100)).await,
        }
    }
}

/// Asks which catalog is as new as any that this node knew before it was started, until that is answered.
async fn learn_what_was_known<S: Portable>(meta: &MetaService<S>) {
    while !meta.ask_revision().await {
        sleep(ASK_AGAIN).await;
    }
}

/// Says that this node is alive.
async fn say_alive<S: Portable>(gateway: &Gateway<S>) {
    loop {
        let leaders = gateway.shards.leading();
        if gateway.meta.leads() {
            gateway.meta.heard_from(gateway.meta.node, leaders);
        } else {
            gateway.meta.ask_leader(&Question::Alive { leaders }).await;
        }
        sleep(ALIVE_EVERY).await;
    }
}

/// While this node leads the meta group: gives it, and shards that have too few, more replicas when there are nodes.
async fn keep_members<S: Portable>(gateway: &Gateway<S>) {
    loop {
        sleep(MEMBERS_EVERY).await;
        let meta = &gateway.meta;
        let status = meta.group.watch().borrow().clone();
        if status.is_leader && status.is_changing {
            // An earlier leader was lost half way: until the change is finished, both sets must agree.
            match timeout(CHANGE_WITHIN, meta.group.change_voters(BTreeSet::clone(&status.voters))).await {
                Ok(Ok(())) => info!("a change of the meta group's members was finished"),
                Ok(Err(error)) => warn!(%error, "a change of the meta group's members was not finished"),
                Err(_) => warn!("a change of the meta group's members does not come to its end"),
            }
            continue;
        }
        if let Some(gone) = meta.member_to_leave(&meta.dead(gateway.options.replace_after)) {
            match timeout(CHANGE_WITHIN, replace_member(meta, gone)).await {
                Ok(Ok(())) => info!(node = gone.0, "a node is no member of the meta group any more"),
                Ok(Err(reason)) => warn!(node = gone.0, reason, "the meta group did not let go of a member"),
                Err(_) => warn!(node = gone.0, "the meta group does not let go of a member"),
            }
            continue;
        }
        if let Some(node) = meta.next_member(gateway.options.meta_replicas) {
            match timeout(CHANGE_WITHIN, add_voter(&meta.group, node)).await {
                Ok(Ok(())) => info!(node = node.0, "the meta group has a new member"),
                Ok(Err(reason)) => warn!(node = node.0, reason, "the meta group did not take a new member"),
                Err(_) => warn!(node = node.0, "a new member of the meta group does not catch up"),
            }
        }
    }
}

/// Lets go of a member of the meta group, and takes another in its place if there is one.
async fn replace_member<S: Portable>(meta: &MetaService<S>, gone: NodeId) -> Result<(), String> {
    let (status, catalog) = (meta.group.status(), meta.catalog());
    if gone == meta.node {
        // Who goes leads no more: another lets it go.
        let is_active = |node: &&NodeId| catalog.nodes.get(*node).is_some_and(|node| node.state.is_active());
        let heirs = status.voters.iter().filter(|node| **node != gone).filter(is_active);
        let heir = heirs.max_by_key(|node| status.matched.get(node).copied()).ok_or("nobody else can lead it")?;
        return if disk::hand_over(&meta.group, *heir).await { Ok(()) } else { Err("nobody took over".to_owned()) };
    }
    let mut voters = BTreeSet::clone(&status.voters);
    if let Some(node) = meta.next_member(usize::MAX) {
        meta.group.add_learner(node).await.map_err(|error| error.to_string())?;
        voters.insert(node);
    }
    voters.remove(&gone);
    meta.group.change_voters(voters).await.map_err(|error| error.to_string())
}

/// Adds a voter: as a learner first, so that the group does not wait for it.
async fn add_voter<M: Machine>(group: &Group<M>, node: NodeId) -> Result<(), String> {
    group.add_learner(node).await.map_err(|error| error.to_string())?;
    let mut voters = BTreeSet::clone(&group.watch().borrow().voters);
    voters.insert(node);
    group.change_voters(voters).await.map_err(|error| error.to_string())
}

/// Looks after the store, and lets go of what the log need not keep.
async fn keep_store<S: Portable>(gateway: &Gateway<S>) {
    loop {
        sleep(gateway.options.upkeep_every).await;
        let store = &gateway.shards.shared.store;
        if let Err(error) = blocking(|| store.maintain()) {
            match error {
                StoreError::Failed(_) => gateway.shards.shared.failure.note(&error),
                StoreError::Damaged { .. } => error!(%error, "the store was not looked after"),
            }
        }
        gateway.shards.shared.windows.sweep();
        release(gateway, meta::GROUP, None).await;
        for replica in gateway.shards.groups() {
            release(gateway, GroupId::from(replica.shard), None).await;
        }
    }
}

/// Lets go of what a group's log need not keep; pressed, of what the log has named.
pub(crate) async fn release<S: Portable>(gateway: &Gateway<S>, group: GroupId, pressed: Option<Holder>) {
    let released = if group == meta::GROUP {
        gateway.meta.group.release_log(pressed).await
    } else if let Some(replica) = gateway.shards.get(ShardId(group.0)) {
        replica.group.release_log(pressed).await
    } else {
        Ok(())
    };
    if let Err(error) = released {
        debug!(group = group.0, %error, "the log was not shortened");
    }
}
