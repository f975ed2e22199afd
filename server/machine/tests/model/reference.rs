//! What a shard must answer, worked out from all that was ever done.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use lentic_machine::shard::{
    Action, Condition, Expected, Operation, Prepare, Prepared, RaiseWatermark, RangeRead, RequestKey, Take, Token,
    Write,
};
use lentic_machine::{Outcome, Refusal, Request};
use lentic_types::{ClientId, Expiry, KeyRange, Version};

use super::history::{Begin, Draft};
use super::replica::TABLE;
use super::table::{self, Done, Table, What, keys, shard_range};
use super::txns::{Txns, earlier};
use super::world::World;

/// Everything that ever was.
#[derive(Debug, Default)]
pub(crate) struct Reference {
    done: Vec<Done>,
    txns: Txns,
    world: World,
    /// Who owns each key.
    owners: BTreeMap<Bytes, (Bytes, Token)>,
    tokens: Vec<Token>,
    watermark: Version,
    /// Pinned versions, but for those that were not pinned when the watermark passed them.
    pins: BTreeSet<Version>,
    revision: u64,
    answers: BTreeMap<u64, Outcome>,
    keyed: Vec<Request>,
    keys: u64,
    steps: u64,
}

impl Reference {
    /// A shard of a table whose values live for `ttl_ms`, if their writers do not say.
    pub(crate) fn new(ttl_ms: u64) -> Self {
        Self { txns: Txns { ttl_ms, ..Txns::default() }, ..Self::default() }
    }

    /// Pins below the watermark, then all from the watermark to beyond what was done.
    pub(crate) fn readable(&self) -> Vec<Version> {
        let later = (self.watermark.ms()..=self.now().ms() + 12).filter_map(|ms| Version::tick(ms, 0));
        self.pins_below().chain(later.filter(|version| *version >= self.watermark)).chain([Version::MAX]).collect()
    }

    /// The pins below the watermark.
    pub(crate) fn pins_below(&self) -> impl Iterator<Item = Version> {
        self.pins.range(..self.watermark).copied()
    }

    pub(crate) fn now(&self) -> Version {
        Version::tick(self.steps, 0).expect("histories are short")
    }

    /// What can be seen of what was done.
    fn visible(&self) -> Vec<Done> {
        self.done.iter().filter(|done| !self.txns.is_hidden(done)).cloned().collect()
    }

    /// The table as a reader at `at` sees it.
    pub(crate) fn table_at(&self, at: Version) -> Table {
        table::table_at(&self.visible(), at)
    }

    /// Makes requests of the drafts of an entry, versions, tokens and keys filled in, and judges them.
    pub(crate) fn enter(&mut self, drafts: &[Draft]) -> (Vec<Request>, Vec<Outcome>) {
        let one = |draft| {
            let request = self.stamp(draft);
            let outcome = self.judge(&request);
            self.txns.sweep(&self.done);
            self.world.learn(self.now(), &self.txns);
            (request, outcome)
        };
        let entry = drafts.iter().map(one).collect();
        self.txns.forget(self.now(), drafts.len());
        entry
    }

    fn stamp(&mut self, draft: &Draft) -> Request {
        self.steps += 1;
        let version = self.now();
        let nothing = || (Action::Write(Write::default()), None);
        let (action, key) = match draft {
            Draft::Copy(back) => match self.keyed.iter().rev().nth(*back) {
                Some(request) => (request.action.clone(), request.key),
                None => nothing(),
            },
            Draft::New(action, is_keyed) => (self.resolve(action.clone()), is_keyed.then(|| self.new_key())),
            Draft::Decline(back, refusal) => {
                let earlier = back.and_then(|back| self.keyed.iter().rev().nth(back)?.key);
                (Action::Decline(refusal.clone()), earlier)
            }
            Draft::Prepare(begin) => self.begin(version, begin),
            Draft::Step(back, step) => self.world.step(version, *back, step, &self.txns).unwrap_or_else(nothing),
        };
        let request = Request { version, key, action };
        if request.key.is_some() {
            self.keyed.push(request.clone());
        }
        request
    }

    fn begin(&mut self, version: Version, begin: &Begin) -> (Action, Option<RequestKey>) {
        let parts = begin.parts.iter().map(|part| match self.resolve(Action::Write(part.clone())) {
            Action::Write(part) => part,
            _ => unreachable!("a write stays one"),
        });
        let parts = parts.collect();
        let earlier = begin.key.and_then(|back| self.keyed.iter().rev().nth(back.checked_sub(1)?)?.key);
        let key = begin.key.map(|_| earlier.unwrap_or_else(|| self.new_key()));
        let (txn, participants) = self.world.name(version, begin);
        let take = begin.take.clone().map(|take| match self.resolve(Action::Take(take)) {
            Action::Take(take) => Box::new(take),
            _ => unreachable!("a take stays one"),
        });
        let prepare = Prepare { txn: txn.clone(), participants, parts, take };
        self.world.begin(version, begin, prepare.clone(), key);
        if begin.is_late { (Action::Status(txn), None) } else { (Action::Prepare(prepare), key) }
    }

    fn new_key(&mut self) -> RequestKey {
        self.keys += 1;
        let issued = Version(self.now().0 - 1);
        RequestKey { client: ClientId(1), sequence: self.keys, acked_below: 0, issued }
    }

    /// Fills in what is relative to the stamp.
    fn resolve(&self, mut action: Action) -> Action {
        let back = |steps: &mut Version| *steps = Version::tick(self.steps.saturating_sub(steps.0), 0).expect("small");
        let token = |place: &mut Token| {
            let place_from_end = usize::try_from(place.0.0).expect("small") + 1;
            let given = self.tokens.len().checked_sub(place_from_end).map(|position| self.tokens[position]);
            *place = given.unwrap_or(Token(Version(7)));
        };
        match &mut action {
            Action::Write(write) => {
                write.fence.iter_mut().for_each(token);
                for condition in &mut write.conditions {
                    if let Expected::VersionIs(version) | Expected::UnchangedSince(version) = &mut condition.expected {
                        back(version);
                    }
                }
                write.ranges.iter_mut().for_each(|read| back(&mut read.since));
                for operation in &mut write.operations {
                    if let Operation::Put { expiry, .. } | Operation::Merge { expiry, .. } = operation {
                        expiry.iter_mut().for_each(|expiry| expiry.0 += self.steps);
                    }
                }
            }
            Action::Release(release) => token(&mut release.token),
            Action::Take(take) => take.back.iter_mut().for_each(|part| back(&mut part.to)),
            Action::RaiseWatermark(RaiseWatermark { to, revision, pins }) => {
                back(to);
                *revision = (self.revision + 1).saturating_sub(*revision);
                pins.iter_mut().for_each(back);
                *pins = pins.iter().copied().collect::<BTreeSet<_>>().into_iter().collect();
            }
            _ => {}
        }
        action
    }

    /// The outcome of a request, and its effect.
    fn judge(&mut self, request: &Request) -> Outcome {
        let is_of_client = !matches!(request.action, Action::Decide(_) | Action::Resolve(_) | Action::Status(_));
        let sequence = request.key.filter(|_| is_of_client).map(|key| key.sequence);
        if let Some(answer) = sequence.and_then(|sequence| self.answers.get(&sequence)) {
            return answer.clone();
        }
        let outcome = self.judge_new(request, sequence).unwrap_or_else(Outcome::Refused);
        let is_kept = match (&request.action, &outcome) {
            (Action::Prepare(_), _) => false,
            (_, Outcome::Refused(refusal)) => !matches!(
                refusal,
                Refusal::OutOfRange | Refusal::Blocked { .. } | Refusal::TxnEnded | Refusal::Invalid(_)
            ),
            _ => true,
        };
        if let Some(sequence) = sequence.filter(|_| is_kept) {
            self.answers.insert(sequence, outcome.clone());
        }
        outcome
    }

    fn judge_new(&mut self, request: &Request, sequence: Option<u64>) -> Result<Outcome, Refusal> {
        let version = request.version;
        match &request.action {
            Action::Write(write) => check_operands([write])?,
            Action::Prepare(prepare) => check_operands(&prepare.parts)?,
            _ => {}
        }
        if let Some(holder) = self.txns.attempt_at(sequence).filter(|_| !matches!(request.action, Action::Prepare(_))) {
            return Err(Refusal::Blocked { holder });
        }
        match &request.action {
            Action::Write(write) => self.write(version, write).map(|()| Outcome::Committed { version }),
            Action::Take(take) => {
                self.check_take(version, take)?;
                Ok(Outcome::Taken { token: self.take(version, take) })
            }
            Action::Release(release) => self.release(&release.range, release.token),
            Action::RaiseWatermark(raise) => self.raise(raise),
            Action::Decline(refusal) => Err(refusal.clone()),
            Action::Prepare(prepare) => self.prepare(version, prepare, sequence),
            Action::Decide(decide) if decide.txn.anchor.table != TABLE => Err(Refusal::OutOfRange),
            Action::Decide(decide) => {
                let (told, answered) = self.txns.decide(&mut self.done, version, decide);
                self.take_decided();
                if let (Ok(Outcome::Decided(lentic_machine::shard::Decision::Commit(version))), Some(sequence)) =
                    (&told, answered)
                {
                    let before = self.answers.insert(sequence, Outcome::Committed { version: *version });
                    assert_eq!(before, None, "what was answered is not prepared, and what may commit is not answered");
                }
                told
            }
            Action::Resolve(resolve) => {
                let told = self.txns.resolve(&mut self.done, version, resolve);
                self.take_decided();
                told
            }
            Action::Status(name) => Ok(self.txns.status(version, name)),
            Action::Branch(_) | Action::DropBranch(_) | Action::Split(_) => {
                unreachable!("histories of one shard have no branches and no splits")
            }
        }
    }

    fn raise(&mut self, RaiseWatermark { to, revision, pins }: &RaiseWatermark) -> Result<Outcome, Refusal> {
        if *revision >= self.revision {
            if let Some(holder) = self.txns.blocks_watermark(&self.done, self.watermark.max(*to)) {
                return Err(Refusal::Blocked { holder });
            }
            let kept = pins.iter().copied().filter(|pin| *pin >= self.watermark || self.pins.contains(pin));
            self.pins = kept.collect();
            self.revision = *revision;
            self.watermark = self.watermark.max(*to);
        }
        Ok(Outcome::Raised { watermark: self.watermark })
    }

    fn write(&mut self, version: Version, write: &Write) -> Result<(), Refusal> {
        self.check_keys(write)?;
        if let Some(holder) = self.txns.blocks_write(write, true) {
            return Err(Refusal::Blocked { holder });
        }
        self.check(version, [write])?;
        let operations = table::expand(&self.visible(), version, &write.operations);
        let operations = operations.map_err(|position| Refusal::WrongKind { position })?;
        let ttl_ms = self.txns.ttl_ms;
        self.done.extend(operations.into_iter().map(|one| Done::change(version, None, one, ttl_ms)));
        Ok(())
    }

    fn prepare(&mut self, version: Version, prepare: &Prepare, sequence: Option<u64>) -> Result<Outcome, Refusal> {
        let id = prepare.txn.id;
        if let Some(open) = self.txns.open(id) {
            return Ok(Outcome::Prepared(open.prepared));
        }
        if version >= prepare.txn.until || self.txns.ended(id).is_some() {
            return Err(Refusal::TxnEnded);
        }
        if let Some(holder) = self.txns.attempt_at(sequence) {
            return Err(Refusal::Blocked { holder });
        }
        let tried = self.try_prepare(version, prepare);
        if let Err(refusal) = &tried
            && !matches!(refusal, Refusal::OutOfRange | Refusal::Blocked { .. })
        {
            self.txns.close(version, &prepare.txn);
        }
        let (operations, valid_until) = tried?;
        let prepared = Prepared { version, valid_until };
        self.txns.prepare(prepare, prepare.txn.anchor.table == TABLE, sequence, prepared, operations);
        Ok(Outcome::Prepared(prepared))
    }

    fn try_prepare(&self, version: Version, prepare: &Prepare) -> Result<(Vec<Operation>, Option<Expiry>), Refusal> {
        if let Some(take) = &prepare.take {
            return self.check_take(version, take).map(|()| (Vec::new(), None));
        }
        prepare.parts.iter().try_for_each(|part| self.check_keys(part))?;
        if let Some(holder) = prepare.parts.iter().filter_map(|part| self.txns.blocks_write(part, false)).min() {
            return Err(Refusal::Blocked { holder });
        }
        let until = self.check(version, &prepare.parts)?;
        let operations = prepare.parts.iter().flat_map(|part| &part.operations);
        let operations = table::expand(&self.visible(), version, operations);
        Ok((operations.map_err(|position| Refusal::WrongKind { position })?, until))
    }

    fn check_keys(&self, write: &Write) -> Result<(), Refusal> {
        let range_of = |operation: &Operation| match operation {
            Operation::Put { key, .. } | Operation::Delete { key } | Operation::Merge { key, .. } => {
                KeyRange::new(key.clone(), Some(vec![key[0] + 1])).expect("in order")
            }
            Operation::DeleteRange { range } => range.clone(),
        };
        let ranges: Vec<_> = write.operations.iter().map(range_of).collect();
        let is_inside = ranges.iter().all(|range| shard_range().covers(range))
            && write.ranges.iter().all(|read| shard_range().covers(&read.range));
        if !is_inside || !write.conditions.iter().all(|condition| shard_range().contains(&condition.key)) {
            return Err(Refusal::OutOfRange);
        }
        for range in &ranges {
            let fenced = |newest| match self.txns.taker(range) {
                Some(holder) => Refusal::Blocked { holder },
                None => Refusal::Fenced { newest },
            };
            let owners: Vec<_> = keys(range).map(|key| self.owners.get(&key).map(|(_, token)| *token)).collect();
            if let Some(other) = owners.iter().flatten().find(|token| Some(**token) != write.fence) {
                return Err(fenced(Some(*other)));
            }
            if write.fence.is_some() && owners.contains(&None) {
                return Err(fenced(None));
            }
        }
        Ok(())
    }

    /// Checks conditions and ranges, part by part. Returns when the first value that they depend on ends.
    fn check<'a>(
        &self,
        version: Version,
        parts: impl IntoIterator<Item = &'a Write>,
    ) -> Result<Option<Expiry>, Refusal> {
        let done = self.visible();
        let (mut position, mut until) = (0, None);
        for part in parts {
            for condition in &part.conditions {
                until = earlier(until, self.holds(&done, version, condition, position)?);
                position += 1;
            }
            for RangeRead { range, since } in &part.ranges {
                self.check_since(version, *since)?;
                let rolled_back = |one: &Done| match &one.what {
                    What::Rollback(other, _) => other.overlaps(range) && one.version > *since,
                    What::Change(_) => false,
                };
                if done.iter().any(rolled_back) {
                    return Err(Refusal::Conflict { position });
                }
                for key in keys(range) {
                    let ends = table::unchanged(&done, &key, *since, version);
                    until = earlier(until, ends.map_err(|()| Refusal::Conflict { position })?);
                }
                position += 1;
            }
        }
        Ok(until)
    }

    fn holds(
        &self,
        done: &[Done],
        version: Version,
        Condition { key, expected }: &Condition,
        position: u32,
    ) -> Result<Option<Expiry>, Refusal> {
        let value = table::seen(done, key, version);
        let holds = match expected {
            Expected::Exists => value.is_some(),
            Expected::Absent => value.is_none(),
            Expected::VersionIs(version) => value.as_ref().is_some_and(|value| value.0 == *version),
            Expected::ValueIs(wanted) => value.as_ref().is_some_and(|value| value.1 == *wanted),
            Expected::UnchangedSince(since) => {
                self.check_since(version, *since)?;
                return table::unchanged(done, key, *since, version).map_err(|()| Refusal::Conflict { position });
            }
        };
        if holds {
            return Ok(value.and_then(|value| value.2));
        }
        Err(Refusal::ConditionFailed { position, found: value.map(|value| value.0) })
    }

    fn check_since(&self, version: Version, since: Version) -> Result<(), Refusal> {
        if since < self.watermark {
            return Err(Refusal::VersionTooOld { watermark: self.watermark });
        }
        if since < version { Ok(()) } else { Err(Refusal::VersionTooNew { newest: version }) }
    }

    fn check_take(&self, version: Version, Take { range, owner, force, back }: &Take) -> Result<(), Refusal> {
        if back.iter().any(|part| part.to < self.watermark && !self.pins.contains(&part.to)) {
            return Err(Refusal::VersionTooOld { watermark: self.watermark });
        }
        if back.iter().any(|part| part.to >= version) {
            return Err(Refusal::VersionTooNew { newest: version });
        }
        let others: Vec<_> = keys(range).filter_map(|key| self.owners.get(&key)).collect();
        if let Some((other, _)) = others.into_iter().find(|(other, _)| other != owner && !force) {
            return Err(Refusal::Owned { owner: other.clone() });
        }
        self.txns.blocks_range(range, false).map_or(Ok(()), |holder| Err(Refusal::Blocked { holder }))
    }

    fn take(&mut self, version: Version, Take { range, owner, back, force: _ }: &Take) -> Token {
        let token = Token(version);
        keys(range).for_each(|key| drop(self.owners.insert(key, (owner.clone(), token))));
        self.tokens.push(token);
        let back = back.iter().map(|part| What::Rollback(part.range.clone(), part.to));
        self.done.extend(back.map(|what| Done { version, txn: None, what }));
        token
    }

    /// Takes what was decided just now.
    fn take_decided(&mut self) {
        for (version, take) in std::mem::take(&mut self.txns.taken) {
            self.take(version, &take);
        }
    }

    fn release(&mut self, range: &KeyRange, token: Token) -> Result<Outcome, Refusal> {
        if !shard_range().covers(range) {
            return Err(Refusal::OutOfRange);
        }
        let before = self.owners.len();
        self.owners.retain(|key, (_, owner)| *owner != token || !range.contains(key));
        if self.owners.len() < before { Ok(Outcome::Released) } else { Err(Refusal::Fenced { newest: None }) }
    }
}

/// Checks operands, whatever the state. Operations are counted from part to part.
fn check_operands<'a>(parts: impl IntoIterator<Item = &'a Write>) -> Result<(), Refusal> {
    for (position, operation) in (0..).zip(parts.into_iter().flat_map(|part| &part.operations)) {
        if let Operation::Merge { operator, operand, .. } = operation {
            operator.check_operand(operand).map_err(|_| Refusal::WrongKind { position })?;
        }
    }
    Ok(())
}
