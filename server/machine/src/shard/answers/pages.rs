//! The answers of one entry are one row of the store: a page. One row for each answer would cost more than the write
//! that it answers: a record put and one deleted, on every replica.
//!
//! ```text
//!   entry      41          42          43          44
//!   page    [a b c]      [d]        [e f]        [g]
//!            x x x                     x
//!            └─ goes with its last answer
//! ```
//!
//! A page is written once and holds what its entry kept. What went since is not marked: whoever loads the pages lets go
//! of answers as the requests on them did, in the same order, and comes to the same answers:
//!
//! - What is kept is on exactly one page, and nothing behind it takes it away: whatever acknowledges it would have taken
//!   it away when it was judged, or would have kept it from being judged.
//! - What went because a later request had acknowledged it goes again, for that request's page is behind its own. If the
//!   request's answer has gone too, then because a still later one had acknowledged more, or for its age.
//! - What made room in a client's window was acknowledged by the newest: so it is written.
//! - What went for its age, or because there were too many, lies behind the horizon, and all that was older too.
//!
//! An answer that stays holds its page, with those on it that have gone. When the pages list four times what may be
//! kept, what is left of the oldest moves to the newest.

use std::collections::BTreeMap;

use lentic_types::codec::{DecodeError, Reader, put_varint};
use lentic_types::limits::ANSWERS_LISTED_MAX;
use lentic_types::{ClientId, Index, Version};

use super::{Answer, AnswerId};
use crate::shard::outcome::Outcome;

/// Which answers are on which page.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Pages {
    by_index: BTreeMap<Index, Page>,
    /// Pages without an answer that is kept, until the entry ends.
    ended: Vec<Index>,
    /// Answers on all pages, those among them that have gone.
    listed: usize,
}

/// The answers that an entry kept, in the order in which they are written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Page {
    ids: Vec<AnswerId>,
    /// How many of them are still kept.
    live: usize,
}

impl Pages {
    /// An answer is kept on the page of an entry.
    pub(super) fn add(&mut self, page: Index, id: AnswerId) {
        let page = self.by_index.entry(page).or_default();
        page.ids.push(id);
        page.live += 1;
        self.listed += 1;
    }

    /// An answer on the page of an entry has gone.
    pub(super) fn remove(&mut self, index: Index) {
        let page = self.by_index.get_mut(&index).expect("an answer is on a page");
        page.live -= 1;
        if page.live == 0 {
            self.ended.push(index);
        }
    }

    /// How many answers are on all pages.
    #[cfg(test)]
    pub(super) const fn listed(&self) -> usize {
        self.listed
    }

    /// What is on the page of an entry.
    pub(super) fn ids(&self, page: Index) -> &[AnswerId] {
        self.by_index.get(&page).map_or(&[], |page| &page.ids)
    }

    /// Ends the entry at `newest`, whose page is not in the store yet. What came and went with it is not written.
    pub(super) fn end(&mut self, newest: Index, is_kept: impl Fn(AnswerId) -> bool) {
        let Some(page) = self.by_index.get_mut(&newest) else { return };
        let before = page.ids.len();
        page.ids.retain(|id| is_kept(*id));
        self.listed -= before - page.ids.len();
        if page.ids.is_empty() {
            self.by_index.remove(&newest);
        }
    }

    /// Removes a page that holds nothing any more, or the oldest one while there are too many answers on pages. Says
    /// which it was, and what was on it.
    pub(super) fn take(&mut self, newest: Index) -> Option<(Index, Vec<AnswerId>)> {
        // One may be named twice, or have come to new answers within the entry that named it.
        while let Some(index) = self.ended.pop() {
            if self.by_index.get(&index).is_some_and(|page| page.live == 0) {
                return Some((index, self.drop(index)));
            }
        }
        let oldest = self.by_index.first_key_value().map(|(index, _)| *index)?;
        (self.listed > ANSWERS_LISTED_MAX && oldest < newest).then(|| (oldest, self.drop(oldest)))
    }

    fn drop(&mut self, index: Index) -> Vec<AnswerId> {
        let page = self.by_index.remove(&index).expect("the caller has seen it");
        self.listed -= page.ids.len();
        page.ids
    }
}

/// Least bytes of an answer on a page.
const ANSWER_BYTES_MIN: usize = 6;

/// Appends the bytes of a page.
pub(super) fn encode<'a>(out: &mut Vec<u8>, page: impl ExactSizeIterator<Item = (AnswerId, &'a Answer)>) {
    put_varint(out, page.len() as u64);
    for ((client, sequence), answer) in page {
        put_varint(out, client.0);
        put_varint(out, sequence);
        put_varint(out, answer.version.0);
        put_varint(out, answer.acked_below);
        put_varint(out, answer.age_ms);
        answer.outcome.encode(out);
    }
}

/// The answers of a page, in their order.
pub(in crate::shard) fn decode(value: &[u8]) -> Result<Vec<(AnswerId, Answer)>, DecodeError> {
    let mut reader = Reader::new(value);
    let count = reader.count(ANSWER_BYTES_MIN, "answers of an entry")?;
    let mut answers = Vec::with_capacity(count);
    for _ in 0..count {
        let id = (ClientId(reader.varint("client of answer")?), reader.varint("sequence of answer")?);
        let version = Version(reader.varint("version of answer")?);
        let acked_below = reader.varint("acknowledged sequence")?;
        let age_ms = reader.varint("age of shard")?;
        let outcome = Outcome::decode(&mut reader)?;
        answers.push((id, Answer { version, acked_below, age_ms, outcome }));
    }
    reader.finish("answers of an entry")?;
    match answers.is_empty() {
        true => Err(DecodeError::Invalid { field: "answers of an entry without any" }),
        false => Ok(answers),
    }
}
