//! What was answered: so that a retry gets the same answer and not a second effect.
//!
//! A request with a [`RequestKey`] leaves its answer in the replicated state. A copy of it (a retry, a duplicate in the
//! network) is answered from there. Answers are let go of in two ways, and neither lets a late copy through:
//!
//! - the client says with each request which of its sequence numbers it will never send again (`acked_below`): those
//!   answers go, and a copy of such a request is refused from then on. A client that has too many answers is taken to
//!   have said so of its lowest one: it forgets at its own cost, not at that of others;
//! - too old, or too many of all clients: the oldest answers go, and the *horizon* rises to their version. What was
//!   issued at or below the horizon and has no answer here may have been applied before: it is refused as forgotten.
//!
//! How old an answer is follows from the *age* of the shard, not from versions. The age goes on with the stamps, but by a
//! second at most from one request to the next: a leap of the oracle's time by an hour, or a year, makes no answer old
//! while its client still waits for it, and a shard that is little used keeps its answers longer, for they are few.
//!
//! Why a copy never slips through: a request issued at tick i commits at a version v > i. When its answer went because
//! it was acknowledged, a newer request of the client had said so; while any answer of that client with that word is
//! kept, the copy is below it; when the last such answer goes, the horizon is above v, so above i. (The scheme of
//! RIFL, Lee et al., SOSP 2015, with versions in place of leases.)

use std::collections::BTreeMap;

use lentic_types::codec::{DecodeError, Reader, put_varint};
use lentic_types::limits::{ANSWER_MS_MIN, ANSWER_STEP_MS_MAX, ANSWERS_PER_CLIENT_MAX, ANSWERS_PER_SHARD_MAX};
use lentic_types::{ClientId, Version};

use super::outcome::{Outcome, Refusal};

/// Most answers let go of for age in one request, so that no request pays for many.
const EXPIRED_PER_REQUEST_MAX: usize = 4;

/// Names a request, so that it takes effect once however often it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestKey {
    /// The client.
    pub client: ClientId,
    /// The client's number for the request; each new request has a higher one.
    pub sequence: u64,
    /// The client will never send a request below this sequence again.
    pub acked_below: u64,
    /// A tick that the client had seen when it first sent the request: never tick 0, which nobody was ever given.
    pub issued: Version,
}

/// A kept answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    /// The version of the request that it answers.
    pub(super) version: Version,
    /// What the client had acknowledged by then.
    pub(super) acked_below: u64,
    /// The shard's age by then, in milliseconds.
    pub(super) age_ms: u64,
    /// The answer.
    pub(super) outcome: Outcome,
}

/// Names a kept answer: client and sequence.
pub(super) type AnswerId = (ClientId, u64);

/// The kept answers of a shard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Answers {
    by_client: BTreeMap<ClientId, BTreeMap<u64, Answer>>,
    /// The oldest first, each with the shard's age when it was kept.
    by_version: BTreeMap<Version, (AnswerId, u64)>,
    horizon: Version,
    age_ms: u64,
}

impl Answers {
    /// Answers read back from the store.
    pub(super) fn load(kept: impl IntoIterator<Item = (AnswerId, Answer)>, horizon: Version, age_ms: u64) -> Self {
        let mut answers = Self { horizon, age_ms, ..Self::default() };
        kept.into_iter().for_each(|(id, answer)| answers.insert(id, answer));
        answers
    }

    /// The version at or below which answers may have been let go of.
    pub(super) const fn horizon(&self) -> Version {
        self.horizon
    }

    /// The shard's age in milliseconds: how long it was in use, not what the time is.
    pub(super) const fn age_ms(&self) -> u64 {
        self.age_ms
    }

    /// A request is stamped `now`, the one before it was stamped `before`: the shard gets older.
    pub(super) fn pass(&mut self, before: Version, now: Version) {
        let step_ms = now.ms().saturating_sub(before.ms()).min(ANSWER_STEP_MS_MAX);
        self.age_ms = self.age_ms.saturating_add(step_ms);
    }

    /// How many answers are kept.
    pub(super) fn len(&self) -> usize {
        self.by_version.len()
    }

    /// The answer to a request that was, or may have been, judged before; `None` if it is new.
    pub(super) fn find(&self, key: &RequestKey) -> Option<Outcome> {
        let Some(kept) = self.by_client.get(&key.client) else {
            return (key.issued <= self.horizon).then_some(Refusal::AnswerForgotten.into());
        };
        if let Some(answer) = kept.get(&key.sequence) {
            return Some(answer.outcome.clone());
        }
        let acked_below = kept.values().map(|answer| answer.acked_below).max().unwrap_or(0);
        // There is no room below a full window: the answer would be the first to go.
        let is_below_window = kept.len() >= ANSWERS_PER_CLIENT_MAX
            && kept.first_key_value().is_some_and(|(first, _)| key.sequence < *first);
        let is_forgotten = key.sequence < acked_below || is_below_window || key.issued <= self.horizon;
        is_forgotten.then_some(Refusal::AnswerForgotten.into())
    }

    /// The answer kept under `id`.
    pub(super) fn get(&self, (client, sequence): AnswerId) -> Option<&Answer> {
        self.by_client.get(&client)?.get(&sequence)
    }

    /// Keeps the answer to a new request. Returns those that are let go of for it.
    pub(super) fn keep(&mut self, key: &RequestKey, version: Version, outcome: Outcome) -> Vec<AnswerId> {
        let Self { age_ms, .. } = *self;
        self.insert((key.client, key.sequence), Answer { version, acked_below: key.acked_below, age_ms, outcome });
        let kept = &self.by_client[&key.client];
        let acked = kept.range(..key.acked_below.min(key.sequence)).map(|(sequence, _)| (key.client, *sequence));
        let mut gone: Vec<AnswerId> = acked.collect();
        gone.iter().for_each(|id| self.remove(*id));
        if self.by_client[&key.client].len() > ANSWERS_PER_CLIENT_MAX {
            gone.push(self.move_window((key.client, key.sequence)));
        }
        for _ in 0..EXPIRED_PER_REQUEST_MAX {
            let (oldest, since_ms) = *self.by_version.first_key_value().expect("the new answer is kept").1;
            let is_old = since_ms.saturating_add(ANSWER_MS_MIN) < age_ms;
            if !is_old && self.len() <= ANSWERS_PER_SHARD_MAX {
                break;
            }
            gone.push(self.forget(oldest));
        }
        gone
    }

    /// Lets go of a client's lowest answer, as if the request of its `newest` had acknowledged it.
    fn move_window(&mut self, newest: AnswerId) -> AnswerId {
        let kept = self.by_client.get_mut(&newest.0).expect("the client has answers");
        let lowest = *kept.first_key_value().expect("the client has answers").0;
        let answer = kept.get_mut(&newest.1).expect("the new answer is kept");
        assert!(lowest < newest.1, "a request below a full window is refused before it is judged");
        answer.acked_below = answer.acked_below.max(lowest + 1);
        self.remove((newest.0, lowest));
        (newest.0, lowest)
    }

    /// Lets go of an answer that its client may still ask for.
    fn forget(&mut self, id: AnswerId) -> AnswerId {
        let answer = self.by_client[&id.0][&id.1].version;
        self.horizon = self.horizon.max(answer);
        self.remove(id);
        id
    }

    fn insert(&mut self, id: AnswerId, answer: Answer) {
        self.by_version.insert(answer.version, (id, answer.age_ms));
        self.by_client.entry(id.0).or_default().insert(id.1, answer);
    }

    fn remove(&mut self, (client, sequence): AnswerId) {
        let kept = self.by_client.get_mut(&client).expect("the client has answers");
        let answer = kept.remove(&sequence).expect("the answer is kept");
        self.by_version.remove(&answer.version);
        if kept.is_empty() {
            self.by_client.remove(&client);
        }
    }
}

impl Answer {
    /// Appends the answer's bytes.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        put_varint(out, self.version.0);
        put_varint(out, self.acked_below);
        put_varint(out, self.age_ms);
        self.outcome.encode(out);
    }

    /// Decodes an answer's bytes.
    pub(super) fn decode(input: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(input);
        let version = Version(reader.varint("version of answer")?);
        let acked_below = reader.varint("acknowledged sequence")?;
        let age_ms = reader.varint("age of shard")?;
        let outcome = Outcome::decode(&mut reader)?;
        reader.finish("answer")?;
        Ok(Self { version, acked_below, age_ms, outcome })
    }
}

#[cfg(test)]
mod tests;
