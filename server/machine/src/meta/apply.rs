//! The switch: from an entry to its effects.

use lentic_engine::Batch;
use lentic_types::Index;

use super::command::MetaCommand;
use super::outcome::{MetaOutcome, MetaRefusal};
use super::state::{Change, Meta};
use super::{
    begin_split, create_branch, create_pin, create_table, drop_table, end_split, extend_window, issue_clients,
    move_replica, register_node, release_pin, renew_pin, set_balance, set_cluster, set_node_state, set_replicas,
    settle_replicas, sweep_pins,
};
use crate::invariants;
use crate::shard::Fatal;

/// What an entry does.
#[derive(Debug)]
pub struct MetaApplied {
    /// Everything to write, the applied index among it: atomically, and before the next entry's.
    pub batch: Batch,
    /// The answer.
    pub reply: MetaOutcome,
    /// Whether [`Meta::catalog`] is another one now: nodes that follow it must hear of it.
    pub catalog_changed: bool,
}

impl Meta {
    /// Applies the entry at `index`: a function of the state and of the entry, the same on every replica.
    ///
    /// Order: entries come in the order of the log, each once. An entry without a command (a new leader's, a change of
    /// members) only moves the applied index, and is told [`MetaOutcome::Done`].
    ///
    /// # Errors
    /// [`Fatal`] ends the group; the image must not be used again, and nothing of the entry may be written.
    pub fn apply(&mut self, index: Index, command: Option<&MetaCommand>) -> Result<MetaApplied, Fatal> {
        if !invariants::entry_is_next(self.applied, index) {
            return Err(Fatal::Invariant("entries are applied in the order of the log, each once"));
        }
        let mut change = Change::default();
        let reply = match command.map_or(Ok(MetaOutcome::Done), |command| self.act(command, &mut change)) {
            Ok(outcome) => outcome,
            Err(_) if !change.batch.is_empty() || change.catalog_changed || change.pins_changed => {
                return Err(Fatal::Invariant("a refused command leaves no trace but its answer"));
            }
            Err(refusal) => refusal.into(),
        };
        self.put_progress(index, &mut change);
        let Change { batch, catalog_changed, .. } = change;
        Ok(MetaApplied { batch, reply, catalog_changed })
    }

    fn act(&mut self, command: &MetaCommand, change: &mut Change) -> Result<MetaOutcome, MetaRefusal> {
        match command {
            MetaCommand::RegisterNode { node, address, http_address, incarnation } => {
                register_node::apply(self, *node, address, http_address, *incarnation, change)
            }
            MetaCommand::CreateTable { name, options, avoid } => {
                create_table::apply(self, name, options, avoid, change)
            }
            MetaCommand::CreateBranch { name, of, version, now, nonce } => {
                create_branch::apply(self, (name, of), *version, *now, nonce, change)
            }
            MetaCommand::DropTable { name } => drop_table::apply(self, name, change),
            MetaCommand::ExtendWindow { until } => extend_window::apply(self, *until, change),
            MetaCommand::IssueClients { count } => issue_clients::apply(self, *count, change),
            MetaCommand::SetReplicas { shard, epoch, replicas } => {
                set_replicas::apply(self, *shard, *epoch, replicas, change)
            }
            MetaCommand::MoveReplica { shard, epoch, from, to } => {
                move_replica::apply(self, *shard, *epoch, (*from, *to), change)
            }
            MetaCommand::SettleReplicas { shard, epoch, revision } => {
                settle_replicas::apply(self, *shard, *epoch, *revision, change)
            }
            MetaCommand::SetNodeState { node, state } => set_node_state::apply(self, *node, *state, change),
            MetaCommand::BeginSplit { shard, epoch, at } => begin_split::apply(self, *shard, *epoch, at, change),
            MetaCommand::EndSplit { parent, child, epoch, born } => {
                end_split::apply(self, (*parent, *child), *epoch, *born, change)
            }
            MetaCommand::SetCluster { replicas } => set_cluster::apply(self, *replicas, change),
            MetaCommand::SetBalance { on } => set_balance::apply(self, *on, change),
            MetaCommand::CreatePin { pin, lease_ms } => create_pin::apply(self, pin, *lease_ms, change),
            MetaCommand::RenewPin { pin, now, lease_ms } => renew_pin::apply(self, *pin, *now, *lease_ms, change),
            MetaCommand::ReleasePin { pin } => release_pin::apply(self, *pin, change),
            MetaCommand::SweepPins { now, floor } => sweep_pins::apply(self, *now, *floor, change),
        }
    }
}
