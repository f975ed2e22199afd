//! What others know of transactions: they say nothing that the protocol does not allow.

use lentic_machine::shard::{Action, Anchor, Decide, Decision, Participant, Prepare, RequestKey, Resolve, TxnRef};
use lentic_types::{KeyRange, NodeId, TableId, TxnId, Version};

use super::history::{Begin, Step};
use super::replica::TABLE;
use super::txns::Txns;

/// A transaction as its coordinator knows it.
#[derive(Clone, Debug)]
struct Attempt {
    prepare: Prepare,
    key: Option<RequestKey>,
    is_anchor_here: bool,
    /// What becomes of it, once that is certain.
    fate: Option<Decision>,
}

/// All transactions that were ever begun.
#[derive(Debug, Default)]
pub(crate) struct World {
    attempts: Vec<Attempt>,
}

impl World {
    /// Begins a transaction.
    pub(crate) fn begin(&mut self, now: Version, begin: &Begin, prepare: Prepare, key: Option<RequestKey>) {
        self.attempts.push(Attempt { prepare, key, is_anchor_here: begin.is_anchor_here, fate: None });
        assert!(
            self.attempts.iter().all(|attempt| attempt.prepare.txn.id.begun <= now),
            "nothing begins in the future"
        );
    }

    /// Names a new transaction.
    pub(crate) fn name(&self, now: Version, begin: &Begin) -> (TxnRef, Vec<Participant>) {
        let tick = |ms| Version::tick(ms, 0).expect("histories are short");
        let begun = tick(now.ms().saturating_sub(begin.age));
        let id = TxnId { begun, node: NodeId(1), number: self.attempts.len() as u64 };
        let elsewhere = TableId(9);
        let table = if begin.is_anchor_here { TABLE } else { elsewhere };
        let all = [TABLE, elsewhere].map(|table| Participant { table, range: KeyRange::all() });
        let participants = if begin.is_anchor_here { all.to_vec() } else { Vec::new() };
        (TxnRef { id, anchor: Anchor { table, key: "a".into() }, until: tick(now.ms() + begin.open_ms) }, participants)
    }

    /// The next word about an earlier transaction, if there is one.
    pub(crate) fn step(
        &self,
        now: Version,
        back: usize,
        step: &Step,
        txns: &Txns,
    ) -> Option<(Action, Option<RequestKey>)> {
        let attempt = &self.attempts[self.attempts.len().checked_sub(back + 1)?];
        let txn = attempt.prepare.txn.clone();
        let action = match step {
            Step::Prepare => return Some((Action::Prepare(attempt.prepare.clone()), attempt.key)),
            Step::Decide(back) => {
                let decision = match (txns.open(txn.id), txns.ended(txn.id), attempt.fate) {
                    // Whatever is asked, it is told what stands.
                    (Some(open), ..) => commit(now, open.prepared.version, *back),
                    (None, Some(_), _) => commit(now, now, *back),
                    (None, None, fate) => fate.unwrap_or(Decision::Abort),
                };
                Action::Decide(Decide { txn, decision })
            }
            Step::Resolve(back) => {
                let decision = match (txns.open(txn.id), attempt.fate) {
                    // An anchor that has forgotten a commit says so.
                    (_, Some(_)) if back.is_none() && !attempt.is_anchor_here => Decision::Abort,
                    (_, Some(fate)) => fate,
                    (Some(open), None) => commit(now, open.prepared.version, *back),
                    (None, None) => Decision::Abort,
                };
                Action::Resolve(Resolve { txn, decision })
            }
            Step::Status => Action::Status(txn),
        };
        Some((action, None))
    }

    /// Learns what the shard has made certain.
    pub(crate) fn learn(&mut self, now: Version, txns: &Txns) {
        for Attempt { prepare, fate, .. } in &mut self.attempts {
            let id = prepare.txn.id;
            let known = txns.ended(id).or_else(|| txns.open(id)?.decision);
            let never = (txns.open(id).is_none() && now >= prepare.txn.until).then_some(Decision::Abort);
            *fate = fate.or(known).or(never);
        }
    }
}

/// A commit so many milliseconds ago, or at the prepare if that is later.
fn commit(now: Version, prepared: Version, back: Option<u64>) -> Decision {
    back.map_or(Decision::Abort, |ms| {
        let commit = Version::tick(now.ms().saturating_sub(ms), 0).expect("histories are short");
        Decision::Commit(commit.max(prepared))
    })
}
