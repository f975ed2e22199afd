//! Performs the steps of a recovery, and looks for transactions that need one.

use std::sync::Arc;
use std::time::Duration;

use lentic_engine::Portable;
use lentic_machine::Outcome;
use lentic_machine::shard::{Action, Decision, Participant, TxnRef, TxnStatus};
use lentic_machine::txn::Recovery;
use lentic_machine::txn::ending::Ask;
use lentic_machine::txn::recovery::{self, Event};
use lentic_proto::v1::Failure;
use lentic_runtime::spawn;
use lentic_types::TxnId;
use lentic_types::limits::PREPARE_MS_MAX;
use tokio::time::{Instant, sleep};
use tracing::{debug, info};

use super::drive::{Ended, end, resolve, unexpected};
use super::state::add;
use super::steps::Step;
use crate::failure;
use crate::gateway::Gateway;
use crate::shard::locked::Open;
use crate::shard::replica::Replica;

/// How often a leader looks for old prepares.
const SWEEP_EVERY: Duration = Duration::from_millis(200);
/// Recoveries of a node at once; the others have their turn at a later sweep.
const RECOVERIES_MAX: usize = 256;
/// How long one recovery may take before it is begun anew.
const RECOVERY_WITHIN: Duration = Duration::from_secs(10);

/// Has old transactions of the shards that this node leads ended, until the node does.
pub(crate) async fn sweep<S: Portable>(gateway: &Gateway<S>) {
    loop {
        sleep(SWEEP_EVERY).await;
        let replicas = gateway.shards.all();
        let led: Vec<_> =
            replicas.into_iter().filter(|replica| replica.serves() && replica.locked().open_len() > 0).collect();
        let is_old = |open: &Open| {
            open.since.elapsed() >= Duration::from_millis(PREPARE_MS_MAX) && !lentic_types::mutant!("no-sweep")
        };
        for replica in led {
            for open in replica.locked().open().into_iter().filter(is_old) {
                begin(gateway, open.txn);
            }
        }
    }
}

fn begin<S: Portable>(gateway: &Gateway<S>, txn: TxnRef) {
    let id: TxnId = txn.id;
    if !gateway.txns.begin_recovery(id, RECOVERIES_MAX) {
        return;
    }
    let gateway = gateway.clone();
    spawn(async move {
        match tokio::time::timeout(RECOVERY_WITHIN, recover(&gateway, &txn)).await {
            Ok(Ok(decision)) => {
                add(&gateway.txns.counts.recovered, 1);
                info!(txn = %id, ?decision, "a transaction whose coordinator was gone has ended");
            }
            Ok(Err(failure)) => debug!(txn = %id, reason = failure.message, "a recovery is tried again"),
            Err(_) => debug!(txn = %id, "a recovery takes long and is tried again"),
        }
        gateway.txns.end_recovery(id);
    });
}

/// Ends a transaction that was met in a shard here.
async fn recover<S: Portable>(gateway: &Gateway<S>, txn: &TxnRef) -> Result<Decision, Failure> {
    let (mut recovery, mut todo) = Recovery::new();
    let is_anchor = |participant: &Participant| {
        participant.table == txn.anchor.table && participant.range.contains(&txn.anchor.key)
    };
    let mut ended = Decision::Abort;
    // One after the other: it is seldom, and has time.
    while let Some(action) = todo.pop() {
        let event = match action {
            recovery::Action::AskAnchor => {
                let (step, until) = (status_of(txn), Instant::now() + RECOVERY_WITHIN);
                let told = gateway.ask_step(txn.anchor.table, &txn.anchor.key, &step, until).await;
                Event::Anchor(together(told.map(|told| vec![told]))?)
            }
            recovery::Action::AskStatus { participant } => {
                let Participant { table, range } = &recovery.participants()[participant];
                let (step, until) = (status_of(txn), Instant::now() + RECOVERY_WITHIN);
                let status = together(gateway.ask_all((*table, range), None, &step, until).await)?;
                Event::Status { participant, status }
            }
            recovery::Action::End(ask) => {
                if let Ask::Resolve { decision, .. } = ask {
                    ended = decision;
                }
                match end(gateway, txn, ask, |place| recovery.participants()[place].clone()).await? {
                    Ended::Decided(decision) => Event::Decided(decision),
                    Ended::Resolved(participant) => Event::Resolved { participant },
                }
            }
            recovery::Action::ResolveHere(decision) => {
                ended = decision;
                // In all shards here: a split has left it in both, and only who was asked to prepare is known elsewhere.
                for met in met_here(gateway, txn.id) {
                    resolve(gateway, txn, decision, &met, Instant::now() + RECOVERY_WITHIN).await?;
                }
                continue;
            }
        };
        todo.extend(recovery.step(event, is_anchor));
    }
    Ok(ended)
}

/// The shards that this node leads and where a transaction is open.
fn met_here<S: Portable>(gateway: &Gateway<S>, txn: TxnId) -> Vec<Participant> {
    let replicas = gateway.shards.all();
    let met = replicas.iter().filter(|replica| replica.serves() && replica.locked().is_open(txn));
    let place = |replica: &Arc<Replica<S>>| {
        let descriptor = replica.descriptor();
        Participant { table: descriptor.table, range: descriptor.range }
    };
    met.map(place).collect()
}

fn status_of(txn: &TxnRef) -> Step {
    Step { key: None, action: Action::Status(txn.clone()) }
}

/// How a transaction stands at a participant, which may be several shards by now. A split divides what is prepared, so all of
/// them are or none is; and what one knows of the end holds for all.
fn together(told: Result<Vec<Outcome>, Failure>) -> Result<TxnStatus, Failure> {
    let told = match told {
        // A shard whose table was dropped will never be prepared.
        Err(failure) if failure::is_not_found(&failure) => return Ok(TxnStatus::Ended(Decision::Abort)),
        told => told?,
    };
    let mut prepared = None;
    for outcome in told {
        match outcome {
            Outcome::Status(status @ TxnStatus::Prepared { .. }) => drop(prepared.get_or_insert(status)),
            Outcome::Status(status) => return Ok(status),
            outcome => return Err(unexpected(&outcome)),
        }
    }
    prepared.ok_or_else(|| failure::internal("a participant has no shard"))
}
