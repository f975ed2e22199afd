//! Performs the steps of a coordinator: asks shards, and tells it what they said.

use std::sync::Arc;
use std::time::Duration;

use lentic_engine::Portable;
use lentic_machine::shard::{Action, Decide, Decision, Participant, Prepare, RequestKey, Resolve, TxnRef};
use lentic_machine::txn::coordinator::{self, Event};
use lentic_machine::txn::ending::Ask;
use lentic_machine::txn::{Coordinator, Verdict};
use lentic_machine::{Outcome, Refusal};
use lentic_proto::v1::Failure;
use lentic_runtime::spawn;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};
use tracing::warn;

use super::shares::Share;
use super::steps::Step;
use crate::failure;
use crate::gateway::Gateway;

/// How long the end of a transaction is asked for; after that whoever leads its shards has it recovered.
const END_WITHIN: Duration = Duration::from_secs(10);

/// One attempt to commit a client's transaction.
pub(super) struct Attempt {
    pub(super) txn: TxnRef,
    pub(super) key: Option<RequestKey>,
    pub(super) shares: Arc<Vec<Share>>,
    /// When it is given up.
    pub(super) until: Instant,
}

/// What an attempt comes to.
pub(super) enum Came {
    /// The coordinator's word.
    To(Verdict),
    /// A participant could not be asked, and why.
    Failed(Failure),
}

impl Attempt {
    /// Drives the attempt to its end; the client is answered on the way, by `answer`.
    pub(super) async fn run<S: Portable>(self, gateway: Gateway<S>, answer: oneshot::Sender<Came>) {
        let (mut coordinator, actions) = Coordinator::new(self.shares.len(), self.key.is_some());
        // An event for each thing asked, and each is asked once.
        let (events, mut heard) = mpsc::channel(3 * self.shares.len() + 5);
        let (mut answer, mut failed) = (Some(answer), None);
        let attempt = Arc::new(self);
        attempt.perform(&gateway, actions, &events, &mut answer, &mut failed);
        while !coordinator.is_over() {
            let event = tokio::select! {
                biased;
                Some(event) = heard.recv() => event,
                () = sleep_until(attempt.until), if !coordinator.is_ending() => Heard::Event(Event::GaveUp),
            };
            let event = match event {
                Heard::Event(event) => event,
                Heard::Failed(failure) => {
                    failed.get_or_insert(failure);
                    Event::GaveUp
                }
                // Whoever leads its shards ends it.
                Heard::Lost => return,
            };
            let actions = coordinator.step(event);
            attempt.perform(&gateway, actions, &events, &mut answer, &mut failed);
        }
    }

    fn perform<S: Portable>(
        self: &Arc<Self>,
        gateway: &Gateway<S>,
        actions: Vec<coordinator::Action>,
        events: &mpsc::Sender<Heard>,
        answer: &mut Option<oneshot::Sender<Came>>,
        failed: &mut Option<Failure>,
    ) {
        for action in actions {
            match action {
                coordinator::Action::Prepare { participant } => {
                    let (attempt, gateway, events) = (Arc::clone(self), gateway.clone(), events.clone());
                    spawn(async move {
                        let heard = attempt.prepare(&gateway, participant).await;
                        // It has room for each; a coordinator that is over needs no more events.
                        let _ = events.send(heard).await;
                    });
                }
                coordinator::Action::Decline { participant, refusal } => {
                    let (attempt, gateway, events) = (Arc::clone(self), gateway.clone(), events.clone());
                    spawn(async move {
                        let heard = attempt.decline(&gateway, participant, &refusal).await;
                        let _ = events.send(heard).await;
                    });
                }
                coordinator::Action::Answer(verdict) => {
                    let came = match (verdict, failed.take()) {
                        (Verdict::Again, Some(failure)) => Came::Failed(failure),
                        (verdict, _) => Came::To(verdict),
                    };
                    // Who no longer waits needs no answer.
                    let _ = answer.take().map(|answer| answer.send(came));
                }
                coordinator::Action::End(ask) => {
                    let (attempt, gateway, events) = (Arc::clone(self), gateway.clone(), events.clone());
                    spawn(async move {
                        let participant = |place: usize| attempt.shares[place].participant();
                        let heard = match end(&gateway, &attempt.txn, ask, participant).await {
                            Ok(Ended::Decided(decision)) => Heard::Event(Event::Decided(decision)),
                            Ok(Ended::Resolved(participant)) => Heard::Event(Event::Resolved { participant }),
                            Err(failure) => {
                                let (id, reason) = (attempt.txn.id, &failure.message);
                                warn!(txn = %id, reason, "the end of a transaction is left to recovery");
                                Heard::Lost
                            }
                        };
                        let _ = events.send(heard).await;
                    });
                }
            }
        }
    }

    async fn prepare<S: Portable>(&self, gateway: &Gateway<S>, participant: usize) -> Heard {
        let (share, is_anchor) = (&self.shares[participant], participant == 0);
        let participants = match is_anchor {
            true => self.shares.iter().map(Share::participant).collect(),
            false => Vec::new(),
        };
        let (parts, take) = (share.parts.clone(), share.take.clone().map(Box::new));
        let prepare = Prepare { txn: self.txn.clone(), participants, parts, take };
        let step = Step { key: self.key.filter(|_| is_anchor), action: Action::Prepare(prepare) };
        let place = &share.place;
        let key = if is_anchor { self.txn.anchor.key.clone() } else { place.range.start().clone() };
        let told = gateway.ask_cut(place, &key, &step, self.until).await;
        Heard::Event(match told {
            Ok(Outcome::Prepared(prepared)) => Event::Prepared { participant, prepared },
            Ok(Outcome::Committed { version }) => Event::CommittedBefore(version),
            Ok(Outcome::Refused(refusal)) => Event::Refused { participant, refusal },
            Ok(outcome) => {
                return Heard::Failed(failure::internal(format!("a prepare was answered by {outcome:?}")));
            }
            Err(failure) => return Heard::Failed(failure),
        })
    }

    /// Has the anchor keep a refusal as the answer to the client's request.
    async fn decline<S: Portable>(&self, gateway: &Gateway<S>, participant: usize, refusal: &Refusal) -> Heard {
        let action = Action::Decline(self.shares[participant].placed_refusal(refusal));
        let step = Step { key: self.key, action };
        let anchor = &self.txn.anchor;
        match gateway.ask_step(anchor.table, &anchor.key, &step, Instant::now() + END_WITHIN).await {
            Ok(Outcome::Committed { version }) => Heard::Event(Event::CommittedBefore(version)),
            Ok(Outcome::Refused(Refusal::Blocked { .. })) => Heard::Event(Event::RefusalNotKept),
            Ok(Outcome::Refused(refusal)) => Heard::Event(Event::RefusalKept(refusal)),
            Ok(outcome) => Heard::Failed(unexpected(&outcome)),
            Err(_) => Heard::Lost,
        }
    }
}

enum Heard {
    Event(Event),
    Failed(Failure),
    Lost,
}

pub(super) enum Ended {
    Decided(Decision),
    Resolved(usize),
}

/// Asks for what ends a transaction.
pub(super) async fn end<S: Portable>(
    gateway: &Gateway<S>,
    txn: &TxnRef,
    ask: Ask,
    participant: impl Fn(usize) -> Participant,
) -> Result<Ended, Failure> {
    let deadline = Instant::now() + END_WITHIN;
    match ask {
        Ask::Decide(decision) => {
            let action = Action::Decide(Decide { txn: txn.clone(), decision });
            let step = Step { key: None, action };
            match gateway.ask_step(txn.anchor.table, &txn.anchor.key, &step, deadline).await? {
                Outcome::Decided(decision) => Ok(Ended::Decided(decision)),
                outcome => Err(unexpected(&outcome)),
            }
        }
        Ask::Resolve { participant: place, decision } => {
            resolve(gateway, txn, decision, &participant(place), deadline).await.map(|()| Ended::Resolved(place))
        }
    }
}

/// Has the shards of a participant do as was decided, the anchor at last: until then it can be asked. One that is gone has
/// nothing to do.
pub(super) async fn resolve<S: Portable>(
    gateway: &Gateway<S>,
    txn: &TxnRef,
    decision: Decision,
    Participant { table, range }: &Participant,
    deadline: Instant,
) -> Result<(), Failure> {
    let step = Step { key: None, action: Action::Resolve(Resolve { txn: txn.clone(), decision }) };
    let anchor = Some(&*txn.anchor.key).filter(|_| txn.anchor.table == *table);
    match gateway.ask_all((*table, range), anchor, &step, deadline).await {
        Ok(outcomes) => match outcomes.iter().find(|outcome| **outcome != Outcome::Resolved) {
            Some(outcome) => Err(unexpected(outcome)),
            None => Ok(()),
        },
        Err(failure) if failure::is_not_found(&failure) => Ok(()),
        Err(failure) => Err(failure),
    }
}

pub(super) fn unexpected(outcome: &Outcome) -> Failure {
    match outcome {
        Outcome::Refused(refusal @ Refusal::Invalid(_)) => failure::of_refusal(refusal),
        outcome => failure::internal(format!("a step was answered by {outcome:?}")),
    }
}
