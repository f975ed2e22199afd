//! Where the groups of all nodes stand.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use lentic_raft::Status;
use lentic_types::{GroupId, Index, NodeId};

use super::said::Verdict;
use crate::trace::digest;

/// Where all groups stand, as far as was seen.
#[derive(Debug, Default)]
pub(super) struct Standing {
    groups: BTreeMap<GroupId, Group>,
    nodes: BTreeMap<(NodeId, GroupId), Seen>,
}

#[derive(Debug, Default)]
struct Group {
    leaders: BTreeMap<u64, NodeId>,
    /// Up to where a node knew entries to be committed, by the term it was in.
    committed: BTreeMap<u64, Index>,
    /// Digests of committed entries as some node had them, and which.
    entries: BTreeMap<Index, (u64, NodeId)>,
}

/// What was seen of a group on a node since it started.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    term: u64,
    applied: Index,
    committed: Index,
    purged: Index,
    /// Up to where its entries were compared.
    compared: Index,
}

impl Standing {
    /// A node starts: what it knew only in memory may be gone.
    pub(super) fn start(&mut self, node: NodeId) {
        self.nodes.retain(|(of, _), _| *of != node);
    }

    /// The groups of a node, all of them: one that has left it may come back with nothing.
    pub(super) fn has_only(&mut self, node: NodeId, groups: &BTreeSet<GroupId>) {
        self.nodes.retain(|(of, group), _| *of != node || groups.contains(group));
    }

    /// Where a group was last seen on each node, in words.
    pub(super) fn describe(&self, group: GroupId) -> String {
        let of_group = self.nodes.iter().filter(|((_, of), _)| *of == group);
        let words: Vec<String> = of_group.map(|((node, _), seen)| format!("{node} {seen:?}")).collect();
        words.join(", ")
    }

    /// Takes in where a group stands on a node.
    pub(super) fn look(&mut self, node: NodeId, group: GroupId, status: &Status) -> Verdict {
        let seen = self.nodes.entry((node, group)).or_default();
        let known = self.groups.entry(group).or_default();
        let holds = indexes_are_in_order(status)
            .and_then(|()| nothing_goes_back(seen, status))
            .and_then(|()| known.one_leader_a_term(node, status))
            .and_then(|()| known.leaders_have_what_is_committed(status));
        *seen = Seen {
            term: status.term,
            applied: status.applied,
            committed: status.committed,
            purged: status.purged,
            compared: seen.compared.max(status.purged),
        };
        let committed = known.committed.entry(status.term).or_default();
        *committed = (*committed).max(status.committed);
        holds.map_err(|words| format!("{group} on {node}: {words}; {status:?}"))
    }

    /// The committed entries of a group on a node that were not compared yet: the first, and the one behind the last.
    pub(super) fn to_compare(&self, node: NodeId, group: GroupId) -> Option<(Index, Index)> {
        let seen = self.nodes.get(&(node, group))?;
        (seen.compared < seen.committed).then(|| (seen.compared.next(), seen.committed.next()))
    }

    /// Compares committed entries of a node, from `first` on, with what others had there.
    pub(super) fn compare(&mut self, node: NodeId, group: GroupId, first: Index, entries: &[Bytes]) -> Verdict {
        let known = self.groups.entry(group).or_default();
        let mut index = first;
        for entry in entries {
            known.committed_entries_agree(node, index, digest(entry)).map_err(|words| format!("{group}: {words}"))?;
            index = index.next();
        }
        if let Some(seen) = self.nodes.get_mut(&(node, group)) {
            seen.compared = seen.compared.max(Index(index.0 - 1));
        }
        Ok(())
    }
}

/// purged ≤ applied ≤ committed ≤ last.
fn indexes_are_in_order(status: &Status) -> Verdict {
    match status.purged <= status.applied && status.applied <= status.committed && status.committed <= status.last {
        true => Ok(()),
        false => Err("expected purged <= applied <= committed <= last".to_owned()),
    }
}

/// While a node lives, its term and what it has applied, knows to be committed and has purged only rise.
fn nothing_goes_back(seen: &Seen, status: &Status) -> Verdict {
    let rises = seen.term <= status.term
        && seen.applied <= status.applied
        && seen.committed <= status.committed
        && seen.purged <= status.purged;
    if rises { Ok(()) } else { Err(format!("something goes back from {seen:?}")) }
}

impl Group {
    /// Election safety, as far as nodes know.
    fn one_leader_a_term(&mut self, node: NodeId, status: &Status) -> Verdict {
        let named = status.leader.into_iter().chain(status.is_leader.then_some(node));
        for leader in named {
            let first = *self.leaders.entry(status.term).or_insert(leader);
            if first != leader {
                return Err(format!("{leader} leads in term {}, and so does {first}", status.term));
            }
        }
        Ok(())
    }

    /// Leader completeness: who leads and serves has applied whatever was committed in lower terms.
    fn leaders_have_what_is_committed(&self, status: &Status) -> Verdict {
        if !status.is_leader {
            return Ok(());
        }
        match self.committed.range(..status.term).find(|(_, committed)| **committed > status.applied) {
            Some((term, committed)) => {
                Err(format!("it leads, and lacks {committed}, which was committed by term {term}"))
            }
            None => Ok(()),
        }
    }

    /// State-machine safety, before anything is applied: committed entries are the same everywhere.
    fn committed_entries_agree(&mut self, node: NodeId, index: Index, digest: u64) -> Verdict {
        let (known, first) = *self.entries.entry(index).or_insert((digest, node));
        match known == digest {
            true => Ok(()),
            false => Err(format!("the committed entry {index} is another on {node} than on {first}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GROUP: GroupId = GroupId(3);

    fn status(term: u64, applied: u64, committed: u64) -> Status {
        let (applied, committed, last) = (Index(applied), Index(committed), Index(committed));
        Status { term, applied, committed, last, ..Status::default() }
    }

    fn leads(status: Status) -> Status {
        Status { is_leader: true, ..status }
    }

    fn assert_says(verdict: Verdict, words: &str) {
        let said = verdict.expect_err("it does not hold");
        assert!(said.contains(words), "{said}");
    }

    #[test]
    fn what_is_right_is_right() {
        let mut standing = Standing::default();
        standing.look(NodeId(1), GROUP, &leads(status(1, 5, 7))).unwrap();
        standing.look(NodeId(2), GROUP, &leads(status(2, 7, 7))).unwrap();
        assert_eq!(standing.to_compare(NodeId(2), GROUP), Some((Index(1), Index(8))));
        standing.compare(NodeId(2), GROUP, Index(1), &["a".into(), "b".into()]).unwrap();
        assert_eq!(standing.to_compare(NodeId(2), GROUP), Some((Index(3), Index(8))));
        standing.compare(NodeId(1), GROUP, Index(2), &["b".into()]).unwrap();
        standing.start(NodeId(2));
        standing.look(NodeId(2), GROUP, &status(1, 3, 3)).unwrap();
        standing.has_only(NodeId(2), &BTreeSet::new());
        standing.look(NodeId(2), GROUP, &status(0, 0, 0)).unwrap();
        standing.has_only(NodeId(2), &BTreeSet::from([GROUP]));
        assert_eq!(standing.to_compare(NodeId(1), GROUP), Some((Index(3), Index(8))), "that of another node");
    }

    #[test]
    fn indexes_out_of_order_are_found() {
        let purged = Status { purged: Index(6), ..status(1, 5, 7) };
        let short = Status { last: Index(6), ..status(1, 5, 7) };
        for wrong in [purged, short, status(1, 8, 7)] {
            assert_says(Standing::default().look(NodeId(1), GROUP, &wrong), "expected purged <= applied");
        }
    }

    #[test]
    fn what_goes_back_is_found() {
        for wrong in [status(1, 5, 7), status(2, 4, 7), status(2, 5, 6)] {
            let mut standing = Standing::default();
            standing.look(NodeId(1), GROUP, &status(2, 5, 7)).unwrap();
            assert_says(standing.look(NodeId(1), GROUP, &wrong), "something goes back");
        }
    }

    #[test]
    fn two_leaders_of_a_term_are_found() {
        let mut standing = Standing::default();
        standing.look(NodeId(1), GROUP, &leads(status(2, 5, 7))).unwrap();
        let hears = Status { leader: Some(NodeId(3)), ..status(2, 5, 7) };
        assert_says(standing.look(NodeId(2), GROUP, &hears), "n3 leads in term 2, and so does n1");
    }

    #[test]
    fn a_leader_that_lacks_what_is_committed_is_found() {
        let mut standing = Standing::default();
        standing.look(NodeId(1), GROUP, &status(2, 5, 7)).unwrap();
        assert_says(standing.look(NodeId(2), GROUP, &leads(status(3, 6, 6))), "lacks i7");
    }

    #[test]
    fn committed_entries_that_differ_are_found() {
        let mut standing = Standing::default();
        standing.compare(NodeId(1), GROUP, Index(4), &["a".into(), "b".into()]).unwrap();
        assert_says(
            standing.compare(NodeId(2), GROUP, Index(5), &["c".into()]),
            "entry i5 is another on n2 than on n1",
        );
    }
}
