//! What nodes say to each other: votes, leaderships, entries, commits.
//!
//! Nothing here depends on the order in which messages arrive: what was said once stays said, also by a node that has
//! crashed since.

use std::collections::BTreeMap;

use bytes::Bytes;
use lentic_proto::internal::message::Body;
use lentic_proto::internal::{Append, Ballot, BallotReply, Entry, Frame, LogId, entry};
use prost::Message as _;

use crate::trace::digest;

/// What was said of all groups.
#[derive(Debug, Default)]
pub(super) struct Said(BTreeMap<u64, Group>);

/// What was said of one group.
#[derive(Debug, Default)]
struct Group {
    /// Who leads in a term.
    leaders: BTreeMap<u64, u64>,
    /// Whom a voter has voted for in a term: by voter and term.
    votes: BTreeMap<(u64, u64), u64>,
    /// The last entry of a candidate that asked for votes: by term and candidate.
    candidates: BTreeMap<(u64, u64), Place>,
    /// Entries that were sent: by index and term.
    entries: BTreeMap<(u64, u64), Known>,
    /// The newest entry that was said to be committed, by the term of who said so.
    committed: BTreeMap<u64, Place>,
    /// The terms of committed entries by index, and the lowest term in which somebody said so.
    chosen: BTreeMap<u64, Chosen>,
}

/// Where an entry stands: logs are compared by term first.
type Place = (u64, u64);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Known {
    digest: u64,
    previous: u64,
}

#[derive(Clone, Copy, Debug)]
struct Chosen {
    term: u64,
    said_in: u64,
}

/// What holds, or what does not.
pub(super) type Verdict = Result<(), String>;

impl Said {
    /// Takes in a frame from `node`. What is no frame is not looked at: it is the receiver's to refuse it.
    pub(super) fn hear(&mut self, node: u64, frame: &Bytes) -> Verdict {
        let Ok(frame) = Frame::decode(frame.clone()) else { return Ok(()) };
        for message in frame.messages {
            let said = |words| format!("group {}: {words}", message.group);
            let group = self.0.entry(message.group).or_default();
            match message.body {
                Some(Body::Append(append)) => group.append(node, &append).map_err(said)?,
                Some(Body::Vote(ballot)) => group.ballot(node, &ballot).map_err(said)?,
                Some(Body::VoteReply(reply)) => group.ballot_reply(node, &reply).map_err(said)?,
                _ => {}
            }
        }
        Ok(())
    }
}

impl Group {
    fn ballot(&mut self, node: u64, ballot: &Ballot) -> Verdict {
        let Some(vote) = ballot.vote else { return Ok(()) };
        self.candidates.insert((vote.term, node), place(ballot.last));
        self.one_vote_a_term(node, vote.term, node)
    }

    fn ballot_reply(&mut self, node: u64, reply: &BallotReply) -> Verdict {
        let Some(vote) = reply.vote.filter(|_| reply.granted) else { return Ok(()) };
        self.one_vote_a_term(node, vote.term, vote.node)?;
        self.votes_go_to_longer_logs(node, vote.term, vote.node, place(reply.last))
    }

    fn append(&mut self, node: u64, append: &Append) -> Verdict {
        let Some(vote) = append.vote else { return Ok(()) };
        if self.one_leader_a_term(vote.term, node)? {
            self.leaders_have_what_is_committed(vote.term, node)?;
        }
        let mut previous = append.previous.map_or(0, |id| id.term);
        for entry in &append.entries {
            let Some(id) = entry.id else { return Ok(()) };
            self.same_place_same_entry(id, Known { digest: entry_digest(entry), previous })?;
            self.committed_entries_stay(vote.term, id)?;
            previous = id.term;
        }
        match append.committed {
            Some(committed) => self.commit(vote.term, committed),
            None => Ok(()),
        }
    }

    /// Election safety, from the voters' side: nobody votes twice in a term, crashed in between or not.
    fn one_vote_a_term(&mut self, voter: u64, term: u64, candidate: u64) -> Verdict {
        let voted = *self.votes.entry((voter, term)).or_insert(candidate);
        match voted == candidate {
            true => Ok(()),
            false => Err(format!("n{voter} votes for n{candidate} in term {term}, and has voted for n{voted}")),
        }
    }

    /// A vote is given to nobody whose log is older than the voter's.
    fn votes_go_to_longer_logs(&self, voter: u64, term: u64, candidate: u64, last: Place) -> Verdict {
        match self.candidates.get(&(term, candidate)) {
            Some(asked) if *asked < last => Err(format!(
                "n{voter} votes for n{candidate} in term {term}, whose log ends at {asked:?}, and its own at {last:?}"
            )),
            _ => Ok(()),
        }
    }

    /// Election safety: a term has one leader. True if it is new.
    fn one_leader_a_term(&mut self, term: u64, node: u64) -> Result<bool, String> {
        match self.leaders.insert(term, node) {
            None => Ok(true),
            Some(leader) if leader == node => Ok(false),
            Some(leader) => Err(format!("n{node} leads in term {term}, and so does n{leader}")),
        }
    }

    /// Log matching: an entry is told by index and term, and so is all before it.
    fn same_place_same_entry(&mut self, id: LogId, found: Known) -> Verdict {
        let known = *self.entries.entry((id.index, id.term)).or_insert(found);
        match known == found {
            true => Ok(()),
            false => Err(format!("entry {} of term {} is sent as {found:?} and as {known:?}", id.index, id.term)),
        }
    }

    /// Leader completeness, by what a leader sends: in place of a committed entry it has no other.
    fn committed_entries_stay(&self, term: u64, id: LogId) -> Verdict {
        match self.chosen.get(&id.index) {
            Some(chosen) if chosen.term != id.term && term >= chosen.said_in => Err(format!(
                "the leader of term {term} sends an entry {} of term {}; one of term {} was committed by term {}",
                id.index, id.term, chosen.term, chosen.said_in
            )),
            _ => Ok(()),
        }
    }

    /// Somebody says in `term` that everything up to `id` is committed.
    fn commit(&mut self, term: u64, id: LogId) -> Verdict {
        let newest = self.committed.entry(term).or_default();
        if *newest >= (id.term, id.index) {
            return Ok(());
        }
        *newest = (id.term, id.index);
        let later: Vec<_> = self.leaders.range(term + 1..).map(|(term, node)| (*term, *node)).collect();
        later.into_iter().try_for_each(|(later, node)| self.leaders_have_what_is_committed(later, node))?;
        self.choose(term, id)
    }

    /// Leader completeness, by how a leader was elected: its log then ended no earlier than what was committed before.
    fn leaders_have_what_is_committed(&self, term: u64, leader: u64) -> Verdict {
        let Some(ended) = self.candidates.get(&(term, leader)) else { return Ok(()) };
        match self.committed.range(..term).find(|(_, committed)| *committed > ended) {
            Some((said_in, committed)) => Err(format!(
                "n{leader} leads in term {term} with a log that ended at {ended:?}; {committed:?} was committed by term {said_in}"
            )),
            None => Ok(()),
        }
    }

    /// An index has one committed entry. What is before it is known by log matching, as far as it was sent.
    fn choose(&mut self, said_in: u64, id: LogId) -> Verdict {
        let (mut index, mut term) = (id.index, id.term);
        loop {
            match self.chosen.get_mut(&index) {
                Some(chosen) if chosen.term != term => {
                    let Chosen { term: other, said_in: by } = *chosen;
                    return Err(format!(
                        "entry {index} is committed as of term {term} by term {said_in}, and as of term {other} by term {by}"
                    ));
                }
                Some(chosen) if chosen.said_in <= said_in => return Ok(()),
                Some(chosen) => chosen.said_in = said_in,
                None => {
                    self.chosen.insert(index, Chosen { term, said_in });
                }
            }
            let Some(known) = self.entries.get(&(index, term)).filter(|_| index > 0) else { return Ok(()) };
            (index, term) = (index - 1, known.previous);
        }
    }
}

fn place(id: Option<LogId>) -> Place {
    id.map_or((0, 0), |id| (id.term, id.index))
}

fn entry_digest(entry: &Entry) -> u64 {
    match &entry.payload {
        None => 0,
        Some(entry::Payload::Command(command)) => digest(command),
        Some(entry::Payload::Membership(membership)) => digest(&membership.encode_to_vec()),
    }
}

#[cfg(test)]
mod tests {
    use lentic_proto::internal::Vote;

    use super::*;

    fn id(term: u64, index: u64) -> LogId {
        LogId { term, index }
    }

    fn ballot(term: u64, node: u64, last: LogId) -> Ballot {
        Ballot { vote: Some(Vote { term, node, committed: false }), last: Some(last), transfer: false }
    }

    fn granted(term: u64, node: u64, last: LogId) -> BallotReply {
        BallotReply { vote: Some(Vote { term, node, committed: false }), last: Some(last), granted: true }
    }

    fn append(term: u64, node: u64, previous: LogId, entries: &[(LogId, &'static str)], committed: LogId) -> Append {
        let entry = |(id, command): &(LogId, &'static str)| Entry {
            id: Some(*id),
            payload: Some(entry::Payload::Command((*command).into())),
        };
        Append {
            vote: Some(Vote { term, node, committed: true }),
            previous: Some(previous),
            committed: Some(committed),
            entries: entries.iter().map(entry).collect(),
        }
    }

    /// n1 leads in term 1 and has committed two entries.
    fn group() -> Group {
        let mut group = Group::default();
        group.ballot(1, &ballot(1, 1, id(0, 0))).unwrap();
        group.ballot_reply(2, &granted(1, 1, id(0, 0))).unwrap();
        group.append(1, &append(1, 1, id(0, 0), &[(id(1, 1), "a"), (id(1, 2), "b")], id(0, 0))).unwrap();
        group.append(1, &append(1, 1, id(1, 2), &[], id(1, 2))).unwrap();
        group
    }

    fn assert_says<T: std::fmt::Debug>(verdict: Result<T, String>, words: &str) {
        let said = verdict.expect_err("it does not hold");
        assert!(said.contains(words), "{said}");
    }

    #[test]
    fn what_is_right_is_right_twice() {
        let mut group = group();
        group.append(1, &append(1, 1, id(0, 0), &[(id(1, 1), "a"), (id(1, 2), "b")], id(1, 2))).unwrap();
        group.ballot(2, &ballot(2, 2, id(1, 2))).unwrap();
        group.ballot_reply(3, &granted(2, 2, id(1, 1))).unwrap();
        group.append(2, &append(2, 2, id(1, 2), &[(id(2, 3), "c")], id(1, 2))).unwrap();
        // A message of before, late.
        group.append(1, &append(1, 1, id(1, 2), &[(id(1, 3), "late")], id(1, 2))).unwrap();
    }

    #[test]
    fn a_second_vote_in_a_term_is_found() {
        let mut group = group();
        assert_says(group.ballot_reply(2, &granted(1, 3, id(0, 0))), "has voted for n1");
        assert_says(group.ballot(2, &ballot(1, 2, id(0, 0))), "has voted for n1");
    }

    #[test]
    fn a_vote_for_an_older_log_is_found() {
        let mut group = group();
        group.ballot(3, &ballot(2, 3, id(1, 1))).unwrap();
        assert_says(group.ballot_reply(2, &granted(2, 3, id(1, 2))), "its own at (1, 2)");
    }

    #[test]
    fn a_second_leader_of_a_term_is_found() {
        assert_says(group().append(3, &append(1, 3, id(1, 2), &[], id(0, 0))), "and so does n1");
    }

    #[test]
    fn a_leader_without_what_is_committed_is_found() {
        let mut before = group();
        before.ballot(3, &ballot(2, 3, id(1, 1))).unwrap();
        assert_says(before.append(3, &append(2, 3, id(1, 1), &[], id(0, 0))), "(1, 2) was committed by term 1");
        let mut after = group();
        after.ballot(3, &ballot(2, 3, id(1, 2))).unwrap();
        after.append(3, &append(2, 3, id(1, 2), &[], id(0, 0))).unwrap();
        assert_says(after.append(1, &append(1, 1, id(1, 2), &[], id(1, 3))), "(1, 3) was committed by term 1");
    }

    #[test]
    fn two_entries_at_one_place_are_found() {
        let other = append(1, 1, id(1, 1), &[(id(1, 2), "another")], id(0, 0));
        assert_says(group().append(1, &other), "entry 2 of term 1 is sent as");
        let other = append(2, 2, id(2, 1), &[(id(1, 2), "b")], id(0, 0));
        assert_says(group().append(2, &other), "entry 2 of term 1 is sent as");
    }

    #[test]
    fn another_entry_in_place_of_a_committed_one_is_found() {
        let sends = append(2, 2, id(0, 0), &[(id(2, 1), "x")], id(0, 0));
        assert_says(group().append(2, &sends), "one of term 1 was committed by term 1");
        assert_says(group().append(2, &append(2, 2, id(0, 0), &[], id(2, 2))), "entry 2 is committed as of term 2");
    }
}
