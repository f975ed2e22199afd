//! Status: how a transaction stands in a shard, for whoever has to end it.
//!
//! The answer stays true: where nothing is prepared, the transaction is closed (an *abort fence*), so that a prepare that
//! is still on its way is refused. So all who ask all participants come to the same decision.

use lentic_engine::View;
use lentic_types::Version;

use super::apply::Context;
use super::command::TxnRef;
use super::locks::OpenTxn;
use super::outcome::{Decision, Outcome, Prepared, TxnStatus};
use super::state::Shard;

/// Answers at `version`.
pub(super) fn apply<V: View>(
    shard: &mut Shard,
    version: Version,
    txn: &TxnRef,
    context: &mut Context<'_, '_, V>,
) -> Outcome {
    let status = match (shard.locks.get(txn.id), shard.locks.ended(txn.id)) {
        (Some(open), _) => of_open(open),
        (None, Some(decision)) => TxnStatus::Ended(decision),
        (None, None) => {
            // Late, its age keeps a prepare out.
            if !shard.is_late(txn, version) && !lentic_types::mutant!("no-abort-fence") {
                shard.end_txn(context.overlay.batch(), txn, Decision::Abort);
            }
            TxnStatus::Ended(Decision::Abort)
        }
    };
    Outcome::Status(status)
}

fn of_open(open: &OpenTxn) -> TxnStatus {
    let participants = open.participants.clone();
    match open.decision {
        Some(decision) => TxnStatus::Decided { decision, participants },
        None => {
            let prepared = Prepared { version: open.version, valid_until: open.valid_until };
            TxnStatus::Prepared { prepared, participants }
        }
    }
}
