//! The switch: from an entry to its effects.

use bytes::Bytes;
use lentic_engine::gc::GcRules;
use lentic_engine::{Batch, ReadError, ReadStats, StoreError, View};
use lentic_types::{Index, KeyRange, Limits, ShardId, TxnId, Version};

use super::answers::RequestKey;
use super::command::{Action, Command, Request, Split, TxnRef};
use super::outcome::{Outcome, Refusal};
use super::riders::RiderChanges;
use super::state::Shard;
use super::write;
use crate::invariants;
use crate::overlay::Overlay;

/// What an entry does.
#[derive(Debug, Default)]
pub struct Applied {
    /// Everything to write, the applied index among it: atomically, and before the next entry is applied (or as an
    /// [`Overlay`] under it).
    pub batch: Batch,
    /// The answers, in the order of the requests.
    pub replies: Vec<Outcome>,
    /// What others must hear of, once the batch is written.
    pub events: Vec<Event>,
    /// What it cost.
    pub stats: Stats,
}

/// Something that others on this node must hear of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// GC has new rules, from this entry's index on.
    GcRulesChanged(GcRules),
    /// Locks that keep readers waiting have come and gone.
    LocksChanged(LockChanges),
    /// A branch's shard rides in the group.
    RiderCame(ShardId),
    /// A branch's shard rides in the group no more. What it kept is still in the store.
    RiderLeft(ShardId),
    /// The shard was split: it is the lower part now, and the batch makes the other.
    Divided(Split),
}

/// What an entry changed of transactions and of the locks of those that change what they lock.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LockChanges {
    /// Transactions that were prepared, each with the version of its prepare.
    pub opened: Vec<(TxnRef, Version)>,
    /// Who locked which key to change it, and from which version on it may commit. They came before any of `gone` went.
    pub placed: Vec<(TxnId, Bytes, Version)>,
    /// Who may take which range.
    pub taking: Vec<(TxnId, KeyRange)>,
    /// Who may take which range back to an older version, and from which version on.
    pub going_back: Vec<(TxnId, KeyRange, Version)>,
    /// Whose lock on which key is gone: what was decided is done there.
    pub gone: Vec<(TxnId, Bytes)>,
    /// Transactions whose decision is known now: they block nobody any more, and what they take is taken.
    pub decided: Vec<TxnId>,
    /// Transactions that are done with here.
    pub ended: Vec<TxnId>,
}

/// What an entry cost and did. Each of its requests is counted once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Requests that took effect.
    pub committed: u64,
    /// Requests refused, those among them whose earlier answer is forgotten.
    pub refused: u64,
    /// Requests answered as an earlier copy was, whatever the answer.
    pub repeated: u64,
    /// Reads of the store.
    pub reads: ReadStats,
}

/// A fault that ends the group on this node: no reply follows from it. Another replica may be well.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fatal {
    /// The store failed or is damaged.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Something that must hold does not: a fault in the code or in the log. Applying more would make it worse.
    #[error("invariant broken: {0}; stop the group and report this")]
    Invariant(&'static str),
}

impl Applied {
    /// An entry of a shard that rides here no more.
    fn of_nobody(command: &Command) -> Self {
        let replies = command.requests.iter().map(|_| Refusal::OutOfRange.into()).collect();
        Self { replies, stats: Stats { refused: command.requests.len() as u64, ..Stats::default() }, ..Self::default() }
    }
}

impl From<ReadError> for Fatal {
    fn from(ReadError::Store(error): ReadError) -> Self {
        Self::Store(error)
    }
}

/// What the commands of one entry work on.
pub(super) struct Context<'a, 'v, V> {
    pub(super) overlay: &'a mut Overlay<'v, V>,
    /// Changes of one operation that may still be refused.
    pub(super) scratch: &'a mut Batch,
    /// Whether GC has new rules: told once an entry, for the rules carry all masks.
    pub(super) rules_changed: &'a mut bool,
    pub(super) locks: &'a mut LockChanges,
    pub(super) riders: &'a mut RiderChanges,
    /// The split that the entry makes.
    pub(super) split: &'a mut Option<Split>,
    pub(super) stats: &'a mut Stats,
}

impl Shard {
    /// Applies the entry at `index`: a function of the shard's state, which `view` shows, and of the entry, the same on
    /// every replica.
    ///
    /// Order: entries come in the order of the log, each once; `view` shows everything up to the entry before. An entry
    /// without requests (a new leader's, a change of members) only moves the applied index.
    ///
    /// # Errors
    /// [`Fatal`] ends the group; the shard must not be used again, and nothing of the entry may be written.
    pub fn apply<V: View>(&mut self, index: Index, command: &Command, view: &V) -> Result<Applied, Fatal> {
        self.apply_for(None, index, command, view)
    }

    /// The same for an entry of the group, which may be one of a shard that rides in it.
    ///
    /// # Errors
    /// As [`Self::apply`].
    pub fn apply_for<V: View>(
        &mut self,
        rider: Option<ShardId>,
        index: Index,
        command: &Command,
        view: &V,
    ) -> Result<Applied, Fatal> {
        if !invariants::entry_is_next(self.applied, index) {
            return Err(Fatal::Invariant("entries are applied in the order of the log, each once"));
        }
        let (mut applied, changes) = match rider {
            None => self.apply_requests(index, command, view)?,
            Some(rider) => match self.riders.get_mut(&rider) {
                Some(rider) => rider.apply_requests(index, command, view)?,
                None => (Applied::of_nobody(command), RiderChanges::default()),
            },
        };
        self.ride(index, rider.is_some(), changes, &mut applied)?;
        Ok(applied)
    }

    fn apply_requests<V: View>(
        &mut self,
        index: Index,
        command: &Command,
        view: &V,
    ) -> Result<(Applied, RiderChanges), Fatal> {
        let (mut overlay, mut scratch, mut rules_changed) = (Overlay::new(view), Batch::new(), false);
        let (mut locks, mut riders) = (LockChanges::default(), RiderChanges::default());
        let mut split = None;
        let mut applied = Applied { replies: Vec::with_capacity(command.requests.len()), ..Applied::default() };
        let (changes, bytes) = command.room();
        overlay.batch().reserve(changes, bytes);
        for request in &command.requests {
            if !invariants::stamp_rises(self.newest, request.version) {
                return Err(Fatal::Invariant("stamps rise strictly within a shard"));
            }
            self.answers.pass(self.newest, request.version);
            let stats = &mut applied.stats;
            let outcome = if command.epoch == self.descriptor.epoch {
                let (overlay, scratch, rules_changed) = (&mut overlay, &mut scratch, &mut rules_changed);
                let (locks, riders, split) = (&mut locks, &mut riders, &mut split);
                let context = &mut Context { overlay, scratch, rules_changed, locks, riders, split, stats };
                self.judge(index, request, context)?
            } else {
                stats.refused += 1;
                Refusal::WrongEpoch { epoch: self.descriptor.epoch }.into()
            };
            self.newest = request.version;
            applied.replies.push(outcome);
        }
        self.forget_ended(overlay.batch(), command.requests.len());
        self.applied = index;
        self.put_answers(overlay.batch(), index);
        self.put_progress(overlay.batch());
        if let Some(split) = &split {
            self.divide(index, split, &mut overlay)?;
        }
        if rules_changed || split.is_some() {
            applied.events.push(Event::GcRulesChanged(self.gc_rules()));
        }
        if locks != LockChanges::default() {
            applied.events.push(Event::LocksChanged(locks));
        }
        applied.events.extend(split.map(Event::Divided));
        applied.batch = overlay.into_batch();
        Ok((applied, riders))
    }

    /// One request: answered before, or judged now and, if it can be sent again, remembered.
    fn judge<V: View>(
        &mut self,
        index: Index,
        request: &Request,
        context: &mut Context<'_, '_, V>,
    ) -> Result<Outcome, Fatal> {
        // Whoever ends a transaction is no client: its answer is not kept, and it asks for no client's answer.
        let key = request.key.filter(|_| !request.action.is_ending());
        if let Some(answer) = key.as_ref().and_then(|key| self.answers.find(key)) {
            let is_forgotten = answer == Outcome::Refused(Refusal::AnswerForgotten);
            context.stats.refused += u64::from(is_forgotten);
            context.stats.repeated += u64::from(!is_forgotten);
            return Ok(answer);
        }
        let checked =
            request.check(&Limits::default()).and_then(|()| self.check_attempts(key.as_ref(), &request.action));
        let outcome = match checked {
            Ok(()) => self.act(index, request, context)?,
            Err(refusal) => refusal.into(),
        };
        // A prepare's answer is not the transaction's: that is kept when it is decided.
        let is_final = !matches!(&outcome, Outcome::Refused(refusal) if !refusal.is_final())
            && !matches!(request.action, Action::Prepare(_));
        if let Some(key) = key.filter(|_| is_final && !lentic_types::mutant!("no-answers")) {
            self.answers.keep(&key, index, request.version, outcome.clone());
        }
        let is_refused = matches!(outcome, Outcome::Refused(_));
        context.stats.refused += u64::from(is_refused);
        context.stats.committed += u64::from(!is_refused);
        Ok(outcome)
    }

    /// Checks that no other attempt at the request is open, which may yet commit.
    fn check_attempts(&self, key: Option<&RequestKey>, action: &Action) -> Result<(), Refusal> {
        let Some(holder) = key.and_then(|key| self.locks.of_request(key)) else { return Ok(()) };
        // A prepare sees to that itself: it may be a copy.
        if matches!(action, Action::Prepare(_)) { Ok(()) } else { Err(Refusal::Blocked { holder }) }
    }

    fn act<V: View>(
        &mut self,
        index: Index,
        request: &Request,
        context: &mut Context<'_, '_, V>,
    ) -> Result<Outcome, Fatal> {
        let version = request.version;
        match &request.action {
            Action::Write(write) => write::apply(self, version, write, context),
            Action::Take(take) => Ok(super::take::apply(self, version, take, context)),
            Action::Release(release) => Ok(super::release::apply(self, release, context)),
            Action::RaiseWatermark(raise) => Ok(super::watermark::apply(self, version, raise, context)),
            Action::Branch(branch) => super::branch::apply(self, index, version, branch, context),
            Action::DropBranch(shard) => super::drop_branch::apply(self, index, version, *shard, context),
            Action::Split(split) => Ok(super::split::apply(self, version, split, context)),
            Action::Decline(refusal) => Ok(refusal.clone().into()),
            Action::Prepare(prepare) => super::prepare::apply(self, request, prepare, context),
            Action::Decide(decide) => super::decide::apply(self, index, version, decide, context),
            Action::Resolve(resolve) => super::resolve::apply(self, version, resolve, context),
            Action::Status(txn) => Ok(super::status::apply(self, version, txn, context)),
        }
    }
}
