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
//!
//! In the store the answers of one entry are one row: see `answers/pages.rs`.

use std::collections::BTreeMap;

use lentic_types::codec::DecodeError;
use lentic_types::limits::{ANSWER_MS_MIN, ANSWER_STEP_MS_MAX, ANSWERS_PER_CLIENT_MAX, ANSWERS_PER_SHARD_MAX};
use lentic_types::{ClientId, Index, Version};

use super::outcome::{Outcome, Refusal};
use pages::Pages;
pub(super) use pages::decode as decode_page;

mod pages;

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
    by_client: BTreeMap<ClientId, OfClient>,
    /// The oldest first, each with the shard's age when it was kept.
    by_version: BTreeMap<Version, (AnswerId, u64)>,
    horizon: Version,
    age_ms: u64,
    pages: Pages,
}

/// The kept answers of one client: at least one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct OfClient {
    by_sequence: BTreeMap<u64, Kept>,
    /// The largest `acked_below` of them.
    acked_below: u64,
}

/// An answer, and the page that it is on.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Kept {
    answer: Answer,
    page: Index,
}

impl Answers {
    /// No answers, in a shard of this horizon and age. What the store has is added page by page, from the oldest on,
    /// and then [`Self::loaded`].
    pub(super) fn empty(horizon: Version, age_ms: u64) -> Self {
        Self { horizon, age_ms, ..Self::default() }
    }

    /// Adds what the page of an entry says, as it was kept then: each answer lets go of those that its request had
    /// acknowledged.
    ///
    /// # Errors
    /// No writer wrote these pages.
    pub(super) fn add_page(&mut self, page: Index, answers: Vec<(AnswerId, Answer)>) -> Result<(), DecodeError> {
        for (id, answer) in answers {
            if self.by_version.contains_key(&answer.version) || self.get(id).is_some() {
                return Err(DecodeError::Invalid { field: "answer that is there already" });
            }
            let acked_below = answer.acked_below;
            self.insert(id, answer, page);
            self.let_go_of_acknowledged(id, acked_below);
        }
        Ok(())
    }

    /// All pages are added: what lies behind the horizon went for its age, or because there were too many.
    pub(super) fn loaded(mut self) -> Self {
        while let Some((version, (id, _))) = self.by_version.first_key_value()
            && *version <= self.horizon
        {
            self.remove(*id);
        }
        self
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
        if let Some(kept) = kept.by_sequence.get(&key.sequence) {
            return Some(kept.answer.outcome.clone());
        }
        // There is no room below a full window: the answer would be the first to go.
        let is_below_window = kept.by_sequence.len() >= ANSWERS_PER_CLIENT_MAX
            && kept.by_sequence.first_key_value().is_some_and(|(first, _)| key.sequence < *first);
        let is_forgotten = key.sequence < kept.acked_below || is_below_window || key.issued <= self.horizon;
        is_forgotten.then_some(Refusal::AnswerForgotten.into())
    }

    /// The answer kept under `id`.
    pub(super) fn get(&self, (client, sequence): AnswerId) -> Option<&Answer> {
        self.by_client.get(&client)?.by_sequence.get(&sequence).map(|kept| &kept.answer)
    }

    /// Keeps the answer to a new request of the entry at `page`, and lets go of others for it.
    pub(super) fn keep(&mut self, key: &RequestKey, page: Index, version: Version, outcome: Outcome) {
        let Self { age_ms, .. } = *self;
        let id = (key.client, key.sequence);
        self.insert(id, Answer { version, acked_below: key.acked_below, age_ms, outcome }, page);
        self.let_go_of_acknowledged(id, key.acked_below);
        if self.by_client[&key.client].by_sequence.len() > ANSWERS_PER_CLIENT_MAX {
            self.move_window(id);
        }
        for _ in 0..EXPIRED_PER_REQUEST_MAX {
            let (oldest, since_ms) = *self.by_version.first_key_value().expect("the new answer is kept").1;
            let is_old = since_ms.saturating_add(ANSWER_MS_MIN) < age_ms;
            if !is_old && self.len() <= ANSWERS_PER_SHARD_MAX {
                break;
            }
            self.forget(oldest);
        }
    }

    /// Ends an entry: which pages the store need not hold any more. What it is to hold is [`Self::encode_page`].
    pub(super) fn end_entry(&mut self, page: Index) -> Vec<Index> {
        let mut pages = std::mem::take(&mut self.pages);
        pages.end(page, |id| self.get(id).is_some());
        let mut gone = Vec::new();
        while let Some((index, ids)) = pages.take(page) {
            for id in ids {
                if let Some(kept) = self.kept(id).filter(|kept| kept.page == index) {
                    kept.page = page;
                    pages.add(page, id);
                }
            }
            gone.push(index);
        }
        self.pages = pages;
        gone
    }

    /// Whether the entry at `page` has kept answers.
    pub(super) fn has_page(&self, page: Index) -> bool {
        !self.pages.ids(page).is_empty()
    }

    /// Appends the bytes of an entry's page.
    pub(super) fn encode_page(&self, page: Index, out: &mut Vec<u8>) {
        let ids = self.pages.ids(page).iter();
        pages::encode(out, ids.map(|id| (*id, self.get(*id).expect("what is on the newest page is kept"))));
    }

    /// Lets go of what a client has acknowledged with the request of `newest`.
    fn let_go_of_acknowledged(&mut self, newest: AnswerId, acked_below: u64) {
        let kept = &self.by_client[&newest.0].by_sequence;
        let acked: Vec<u64> = kept.range(..acked_below.min(newest.1)).map(|(sequence, _)| *sequence).collect();
        acked.into_iter().for_each(|sequence| self.remove((newest.0, sequence)));
    }

    /// Lets go of a client's lowest answer, as if the request of its `newest` had acknowledged it.
    fn move_window(&mut self, newest: AnswerId) {
        let kept = self.by_client.get_mut(&newest.0).expect("the client has answers");
        let lowest = *kept.by_sequence.first_key_value().expect("the client has answers").0;
        let answer = &mut kept.by_sequence.get_mut(&newest.1).expect("the new answer is kept").answer;
        assert!(lowest < newest.1, "a request below a full window is refused before it is judged");
        answer.acked_below = answer.acked_below.max(lowest + 1);
        kept.acked_below = kept.acked_below.max(answer.acked_below);
        self.remove((newest.0, lowest));
    }

    /// Lets go of an answer that its client may still ask for.
    fn forget(&mut self, id: AnswerId) {
        let version = self.get(id).expect("the answer is kept").version;
        self.horizon = self.horizon.max(version);
        self.remove(id);
    }

    fn insert(&mut self, id: AnswerId, answer: Answer, page: Index) {
        self.by_version.insert(answer.version, (id, answer.age_ms));
        self.pages.add(page, id);
        let kept = self.by_client.entry(id.0).or_default();
        kept.acked_below = kept.acked_below.max(answer.acked_below);
        kept.by_sequence.insert(id.1, Kept { answer, page });
    }

    fn remove(&mut self, (client, sequence): AnswerId) {
        let kept = self.by_client.get_mut(&client).expect("the client has answers");
        let Kept { answer, page } = kept.by_sequence.remove(&sequence).expect("the answer is kept");
        self.by_version.remove(&answer.version);
        self.pages.remove(page);
        if kept.by_sequence.is_empty() {
            self.by_client.remove(&client);
        } else if answer.acked_below == kept.acked_below {
            // Seldom: what goes has most often acknowledged less than what is newer.
            let acked_below = kept.by_sequence.values().map(|kept| kept.answer.acked_below).max();
            kept.acked_below = acked_below.expect("the client has answers");
        }
    }

    fn kept(&mut self, (client, sequence): AnswerId) -> Option<&mut Kept> {
        self.by_client.get_mut(&client)?.by_sequence.get_mut(&sequence)
    }
}

/// The bytes of a page.
#[cfg(test)]
pub(super) fn encode_page(page: &[(AnswerId, Answer)]) -> Vec<u8> {
    let mut out = Vec::new();
    pages::encode(&mut out, page.iter().map(|(id, answer)| (*id, answer)));
    out
}

#[cfg(test)]
mod tests;
