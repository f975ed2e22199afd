//! What a shard must answer, computed from whole tables.

use std::collections::BTreeMap;

use bytes::Bytes;
use lentic_machine::shard::{Acquire, Action, Condition, Expected, Operation, RequestKey, Rollback, Token, Write};
use lentic_machine::{Outcome, Refusal, Request};
use lentic_types::{ClientId, Expiry, KeyRange, Version};

use super::history::Draft;

/// A value: its version, its bytes and its end.
pub(crate) type Value = (Version, Vec<u8>, Option<Expiry>);
/// A table: live and ended values by key.
pub(crate) type Table = BTreeMap<Vec<u8>, Value>;

/// The keys of the shard.
pub(crate) fn shard_range() -> KeyRange {
    KeyRange::new("a", Some("g")).expect("in order")
}

/// Every state there ever was.
#[derive(Debug, Default)]
pub(crate) struct Reference {
    tables: BTreeMap<Version, Table>,
    /// Who owns each key.
    owners: BTreeMap<u8, (Bytes, Token)>,
    tokens: Vec<Token>,
    watermark: Version,
    answers: BTreeMap<u64, Outcome>,
    keyed: Vec<Request>,
    steps: u64,
}

fn is_over(value: &Value, at: Version) -> bool {
    value.2.is_some_and(|expiry| expiry.is_over_at(at))
}

impl Reference {
    pub(crate) fn watermark(&self) -> Version {
        self.watermark
    }

    pub(crate) fn now(&self) -> Version {
        Version::tick(self.steps, 0).expect("histories are short")
    }

    /// The table as a reader at `at` sees it.
    pub(crate) fn table_at(&self, at: Version) -> Table {
        let mut table = self.tables.range(..=at).next_back().map(|(_, table)| table.clone()).unwrap_or_default();
        table.retain(|_, value| !is_over(value, at));
        table
    }

    /// Makes requests of drafts: versions, tokens and keys are filled in.
    pub(crate) fn stamp(&mut self, drafts: &[Draft]) -> Vec<Request> {
        drafts.iter().map(|draft| self.stamp_one(draft)).collect()
    }

    fn stamp_one(&mut self, draft: &Draft) -> Request {
        self.steps += 1;
        let version = self.now();
        match draft {
            Draft::Copy(back) if *back < self.keyed.len() => {
                Request { version, ..self.keyed[self.keyed.len() - 1 - back].clone() }
            }
            Draft::Copy(_) => Request { version, key: None, action: Action::Write(Write::default()) },
            Draft::New(action, is_keyed) => {
                let sequence = self.keyed.len() as u64;
                let key = RequestKey { client: ClientId(1), sequence, acked_below: 0, issued: Version(version.0 - 1) };
                let request = Request { version, key: is_keyed.then_some(key), action: self.resolve(action.clone()) };
                if *is_keyed {
                    self.keyed.push(request.clone());
                }
                request
            }
        }
    }

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
                    if let Expected::VersionIs(version) = &mut condition.expected {
                        back(version);
                    }
                }
                for operation in &mut write.operations {
                    if let Operation::Put { expiry, .. } | Operation::Merge { expiry, .. } = operation {
                        expiry.iter_mut().for_each(|expiry| expiry.0 += self.steps);
                    }
                }
            }
            Action::Release(release) => token(&mut release.token),
            Action::Rollback(rollback) => back(&mut rollback.to),
            Action::RaiseWatermark(to) => back(to),
            Action::Acquire(_) | Action::Decline { .. } => {}
        }
        action
    }

    /// The outcome of a request, and its effect.
    pub(crate) fn judge(&mut self, request: &Request) -> Outcome {
        if let Some(answer) = request.key.and_then(|key| self.answers.get(&key.sequence)) {
            return answer.clone();
        }
        let version = request.version;
        let outcome = match &request.action {
            Action::Write(write) => self.write(version, write).map(|()| Outcome::Committed { version }),
            Action::Acquire(Acquire { range, owner, force }) => {
                self.take(version, range, owner, *force).map(|token| Outcome::Acquired { token })
            }
            Action::Release(release) => self.release(release.token),
            Action::Rollback(rollback) => self.rollback(version, rollback),
            Action::RaiseWatermark(to) => {
                self.watermark = self.watermark.max(*to);
                Ok(Outcome::Raised { watermark: self.watermark })
            }
            Action::Decline { position } => Err(Refusal::TooLarge { position: *position }),
        };
        let outcome = outcome.unwrap_or_else(Outcome::Refused);
        if let Some(key) = request.key.filter(|_| outcome != Outcome::Refused(Refusal::OutOfRange)) {
            self.answers.insert(key.sequence, outcome.clone());
        }
        outcome
    }

    fn write(&mut self, version: Version, write: &Write) -> Result<(), Refusal> {
        for (position, operation) in (0..).zip(&write.operations) {
            if let Operation::Merge { operator, operand, .. } = operation {
                operator.check_operand(operand).map_err(|_| Refusal::WrongKind { position })?;
            }
        }
        self.check_keys(write)?;
        let mut table = self.table_at(version);
        for (position, condition) in (0..).zip(&write.conditions) {
            let value = table.get(&condition.key[..]);
            if !holds(condition, value) {
                return Err(Refusal::ConditionFailed { position, found: value.map(|value| value.0) });
            }
        }
        for (position, operation) in (0..).zip(&write.operations) {
            operate(&mut table, version, position, operation)?;
        }
        self.tables.insert(version, table);
        Ok(())
    }

    fn check_keys(&self, write: &Write) -> Result<(), Refusal> {
        let range_of = |operation: &Operation| match operation {
            Operation::Put { key, .. } | Operation::Delete { key } | Operation::Merge { key, .. } => {
                KeyRange::new(key.clone(), Some(vec![key[0] + 1])).expect("in order")
            }
            Operation::DeleteRange { range } => range.clone(),
        };
        let ranges: Vec<_> = write.operations.iter().map(range_of).collect();
        let is_inside = ranges.iter().all(|range| shard_range().covers(range));
        if !is_inside || !write.conditions.iter().all(|condition| shard_range().contains(&condition.key)) {
            return Err(Refusal::OutOfRange);
        }
        for range in &ranges {
            let owners: Vec<_> = keys(range).map(|key| self.owners.get(&key).map(|(_, token)| *token)).collect();
            if let Some(other) = owners.iter().flatten().find(|token| Some(**token) != write.fence) {
                return Err(Refusal::Fenced { newest: Some(*other) });
            }
            if write.fence.is_some() && owners.contains(&None) {
                return Err(Refusal::Fenced { newest: None });
            }
        }
        Ok(())
    }

    fn take(&mut self, version: Version, range: &KeyRange, owner: &Bytes, force: bool) -> Result<Token, Refusal> {
        let others = keys(range).filter_map(|key| self.owners.get(&key));
        if let Some((other, _)) = others.into_iter().find(|(other, _)| other != owner && !force) {
            return Err(Refusal::Owned { owner: other.clone() });
        }
        let token = Token(version);
        keys(range).for_each(|key| drop(self.owners.insert(key, (owner.clone(), token))));
        self.tokens.push(token);
        Ok(token)
    }

    fn release(&mut self, token: Token) -> Result<Outcome, Refusal> {
        let before = self.owners.len();
        self.owners.retain(|_, (_, owner)| *owner != token);
        if self.owners.len() < before { Ok(Outcome::Released) } else { Err(Refusal::Fenced { newest: None }) }
    }

    fn rollback(&mut self, version: Version, rollback: &Rollback) -> Result<Outcome, Refusal> {
        let Rollback { range, to, owner, force } = rollback;
        if *to < self.watermark {
            return Err(Refusal::VersionTooOld { watermark: self.watermark });
        }
        if *to >= version {
            return Err(Refusal::VersionTooNew { newest: version });
        }
        let token = self.take(version, range, owner, *force)?;
        let old = self.tables.range(..=*to).next_back().map(|(_, table)| table.clone()).unwrap_or_default();
        let mut table = self.tables.last_key_value().map(|(_, table)| table.clone()).unwrap_or_default();
        table.retain(|key, _| !range.contains(key));
        table.extend(old.into_iter().filter(|(key, _)| range.contains(key)));
        self.tables.insert(version, table);
        Ok(Outcome::RolledBack { token })
    }
}

fn keys(range: &KeyRange) -> impl Iterator<Item = u8> {
    (b'a'..=b'z').filter(|key| range.contains(&[*key]))
}

fn holds(condition: &Condition, value: Option<&Value>) -> bool {
    match &condition.expected {
        Expected::Exists => value.is_some(),
        Expected::Absent => value.is_none(),
        Expected::VersionIs(version) => value.is_some_and(|value| value.0 == *version),
        Expected::ValueIs(wanted) => value.is_some_and(|value| value.1 == *wanted),
    }
}

fn operate(table: &mut Table, version: Version, position: u32, operation: &Operation) -> Result<(), Refusal> {
    match operation {
        Operation::Put { key, value, expiry } => {
            table.insert(key.to_vec(), (version, value.to_vec(), *expiry));
        }
        Operation::Delete { key } => drop(table.remove(&key[..])),
        Operation::DeleteRange { range } => table.retain(|key, _| !range.contains(key)),
        Operation::Merge { key, operator, operand, expiry } => {
            let below = table.get(&key[..]).filter(|value| !is_over(value, version));
            let (bytes, end) = below.map_or((None, None), |(_, bytes, end)| (Some(bytes.as_slice()), *end));
            let folded = operator.fold(bytes, [&operand[..]]).map_err(|_| Refusal::WrongKind { position })?;
            table.insert(key.to_vec(), (version, folded, expiry.or(end)));
        }
    }
    Ok(())
}
