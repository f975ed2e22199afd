//! The observer above the world: it sees every entry as it is applied first.

use lentic_machine::shard::{Action, Decision, TxnStatus};
use lentic_machine::{Outcome, Refusal, Request};
use lentic_types::TxnId;

use super::attempt::Attempt;
use super::luck::Broken;
use super::world::{Caller, Done, Step, World};

impl World {
    /// A request of a call was judged. `was_closed` tells whether the transaction of a prepare had ended in the shard.
    pub(crate) fn observe(&mut self, call: usize, request: &Request, outcome: &Outcome, was_closed: bool) -> Done {
        let (caller, group) = (self.calls[call].caller, self.calls[call].group);
        match (&request.action, outcome) {
            (Action::Write(_), Outcome::Committed { version }) => {
                let Caller::Single(work) = caller else { return Err(format!("{caller:?} writes")) };
                self.stats.single_commits += u64::from(*version == request.version);
                self.stats.repeated += u64::from(*version != request.version);
                self.history.committed(work, *version, TxnId::default())
            }
            (Action::Prepare(_), Outcome::Committed { version }) => {
                let Caller::Attempt(attempt, _) = caller else { return Err(format!("{caller:?} prepares")) };
                self.stats.repeated += 1;
                let found = self.history.commits.get(&self.attempts[attempt].work).map(|(found, _)| *found);
                match found == Some(*version) {
                    true => Ok(()),
                    false => Err(format!("a prepare is told of a commit at {version}, but there is {found:?}")),
                }
            }
            (Action::Decline(_), _) => self.observe_decline(caller, outcome),
            (Action::Prepare(_), Outcome::Prepared(_)) => {
                let Caller::Attempt(attempt, _) = caller else { return Err(format!("{caller:?} prepares")) };
                let refused = self.history.declined.get(&self.attempts[attempt].work);
                // Under another key it is another request.
                let is_keyed = request.key.is_some() && self.broken != Some(Broken::ForgetfulRetries);
                match refused.filter(|_| is_keyed) {
                    None => Ok(()),
                    Some(refused) => Err(format!("attempt {attempt} is prepared at its anchor after {refused:?}")),
                }
            }
            (Action::Prepare(prepare), Outcome::Refused(Refusal::TxnEnded)) => {
                let is_fenced = was_closed && self.fences.contains(&(group, prepare.txn.id));
                self.stats.fenced += u64::from(is_fenced);
                self.stats.aged += u64::from(!was_closed);
                Ok(())
            }
            (Action::Prepare(prepare), Outcome::Refused(refusal)) if request.key.is_some() => {
                let Caller::Attempt(attempt, _) = caller else { return Err(format!("{caller:?} prepares")) };
                let kept = self.history.declined.get(&self.attempts[attempt].work);
                if let Some((refused, _)) = kept.filter(|(_, kept)| kept == refusal) {
                    self.stats.kept_out += 1;
                    let is_new = !was_closed && self.groups[group].leader().shard.locks().get(prepare.txn.id).is_none();
                    self.stats.kept_out_own += u64::from(*refused == prepare.txn.id && is_new);
                }
                Ok(())
            }
            (Action::Status(txn), Outcome::Status(TxnStatus::Ended(Decision::Abort))) => {
                self.fences.insert((group, txn.id));
                Ok(())
            }
            (Action::Decide(decide), Outcome::Decided(decision)) => {
                self.observe_decision(caller, decide.txn.id, decide.decision, *decision)?;
                self.observe_deferral(group, decide.txn.id);
                Ok(())
            }
            (Action::Resolve(resolve), Outcome::Resolved) => {
                self.observe_deferral(group, resolve.txn.id);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// The anchor was asked to keep a refusal.
    fn observe_decline(&mut self, caller: Caller, outcome: &Outcome) -> Done {
        let Caller::Attempt(attempt, _) = caller else { return Err(format!("{caller:?} declines")) };
        let Attempt { work, ref txn, .. } = self.attempts[attempt];
        let found = self.history.commits.get(&work).map(|(version, _)| *version);
        match outcome {
            Outcome::Committed { version } => {
                self.stats.undeserved += 1;
                match found == Some(*version) {
                    true => Ok(()),
                    false => Err(format!("a refusal is told of a commit at {version}, but there is {found:?}")),
                }
            }
            Outcome::Refused(Refusal::Blocked { .. }) => {
                self.stats.not_kept += 1;
                Ok(())
            }
            Outcome::Refused(Refusal::AnswerForgotten) => Ok(()),
            Outcome::Refused(kept) => {
                let is_retry = self.attempts[..attempt].iter().any(|earlier| earlier.work == work);
                let (_, before) = self.history.declined.entry(work).or_insert_with(|| {
                    self.stats.declined += 1;
                    self.stats.declined_retries += u64::from(is_retry);
                    (txn.id, kept.clone())
                });
                match before == kept && found.is_none() {
                    true => Ok(()),
                    false => Err(format!("work {work}, {found:?}, is refused by {before:?}, and by {kept:?}")),
                }
            }
            other => Err(format!("a refusal was answered {other:?}")),
        }
    }

    fn observe_decision(&mut self, caller: Caller, txn: TxnId, asked: Decision, decision: Decision) -> Done {
        let attempt = self.attempts.iter().position(|attempt| attempt.txn.id == txn);
        let work = self.attempts[attempt.ok_or("nobody began this transaction")?].work;
        if !self.history.decided(work, txn, decision)? {
            return Ok(());
        }
        let is_recovered = matches!(caller, Caller::Recovery(_, Step::Decide));
        let is_commit = matches!(decision, Decision::Commit(_));
        self.stats.commits += u64::from(is_commit);
        self.stats.aborts += u64::from(!is_commit);
        self.stats.recovered_commits += u64::from(is_recovered && is_commit);
        self.stats.recovered_aborts += u64::from(is_recovered && !is_commit);
        match asked == decision {
            true => Ok(()),
            false => Err(format!("of {txn} {asked:?} was asked and {decision:?} recorded")),
        }
    }

    /// Counts what is committed in a shard and waits for others.
    fn observe_deferral(&mut self, group: usize, txn: TxnId) {
        let locks = self.groups[group].leader().shard.locks();
        let is_committed = locks.get(txn).is_some_and(|open| matches!(open.decision, Some(Decision::Commit(_))));
        let is_deferred = is_committed && locks.locks_of(txn).next().is_some();
        self.stats.deferred += u64::from(is_deferred);
    }
}
