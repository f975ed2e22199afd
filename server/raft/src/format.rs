//! The bytes that stay: entries, votes, purge markers, replica states. See docs/formats.md.
//!
//! Each begins with a tag that is never given to anything else. An index stands beside an entry in the log, so it is
//! not repeated inside.
//!
//! ```text
//!   entry       tag (1 blank, 2 command, 3 membership), term, then the command to the end | a membership
//!   vote        1, term, node, flag: granted by a quorum
//!   marker      1, term                                   the index is the log's
//!   replica     1, log id of the last entry, flag [log id of the membership's entry], a membership
//!   membership  count of sets, each: count of voters, rising ids; count of nodes, rising ids
//! ```

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use lentic_types::codec::{DecodeError, Reader, put_varint};
use lentic_types::{Index, NodeId};
use openraft::EntryPayload;

use crate::types::{Command, Entry, LogId, Membership, StoredMembership, Vote, log_id, term_of};

const ENTRY_BLANK: u8 = 1;
const ENTRY_COMMAND: u8 = 2;
const ENTRY_MEMBERSHIP: u8 = 3;
const VOTE_1: u8 = 1;
const MARKER_1: u8 = 1;
const REPLICA_1: u8 = 1;

/// Tag and term at most.
pub(crate) const ENTRY_HEAD_BYTES: usize = 11;
/// A change of voters goes through two sets; more has no meaning.
const SETS_MAX: usize = 2;

/// The bytes of an entry in the log.
pub(crate) fn encode_entry(entry: &Entry) -> Bytes {
    let term = term_of(&entry.log_id);
    let mut out;
    match &entry.payload {
        EntryPayload::Blank => {
            out = Vec::with_capacity(ENTRY_HEAD_BYTES);
            out.push(ENTRY_BLANK);
            put_varint(&mut out, term);
        }
        EntryPayload::Normal(Command(command)) => {
            out = Vec::with_capacity(ENTRY_HEAD_BYTES + command.len());
            out.push(ENTRY_COMMAND);
            put_varint(&mut out, term);
            out.extend_from_slice(command);
        }
        EntryPayload::Membership(membership) => {
            out = vec![ENTRY_MEMBERSHIP];
            put_varint(&mut out, term);
            put_membership(&mut out, membership);
        }
    }
    out.into()
}

/// An entry from its bytes and its index. The command shares their memory.
pub(crate) fn decode_entry(index: u64, bytes: &Bytes) -> Result<Entry, DecodeError> {
    let mut reader = Reader::new(bytes);
    let tag = reader.u8("entry")?;
    let id = log_id(reader.varint("entry term")?, index);
    let payload = match tag {
        ENTRY_BLANK => EntryPayload::Blank,
        ENTRY_COMMAND => {
            let command = bytes.slice_ref(reader.rest());
            return Ok(Entry { log_id: id, payload: EntryPayload::Normal(Command(command)) });
        }
        ENTRY_MEMBERSHIP => EntryPayload::Membership(membership(&mut reader)?),
        tag => return Err(DecodeError::UnknownTag { field: "entry", tag }),
    };
    reader.finish("entry")?;
    Ok(Entry { log_id: id, payload })
}

/// The bytes of a vote.
pub(crate) fn encode_vote(vote: &Vote) -> Bytes {
    let mut out = vec![VOTE_1];
    put_varint(&mut out, vote.leader_id.term);
    put_varint(&mut out, vote.leader_id.voted_for);
    out.push(u8::from(vote.committed));
    out.into()
}

/// A vote from its bytes.
pub(crate) fn decode_vote(bytes: &[u8]) -> Result<Vote, DecodeError> {
    let mut reader = Reader::new(bytes);
    expect(&mut reader, VOTE_1, "vote")?;
    let (term, node) = (reader.varint("vote term")?, reader.varint("vote node")?);
    let committed = reader.bool("vote granted")?;
    reader.finish("vote")?;
    Ok(match committed {
        true => Vote::new_committed(term, node),
        false => Vote::new(term, node),
    })
}

/// The bytes beside a purge point.
pub(crate) fn encode_marker(id: &LogId) -> Bytes {
    let mut out = vec![MARKER_1];
    put_varint(&mut out, term_of(id));
    out.into()
}

/// The log id of the last purged entry.
pub(crate) fn decode_marker(index: u64, bytes: &[u8]) -> Result<LogId, DecodeError> {
    let mut reader = Reader::new(bytes);
    expect(&mut reader, MARKER_1, "purge marker")?;
    let term = reader.varint("purge marker term")?;
    reader.finish("purge marker")?;
    Ok(log_id(term, index))
}

/// What a store keeps of a replica beside the machine's own state, in the batch of the last applied entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Replica {
    /// The last applied entry.
    pub(crate) applied: LogId,
    /// The newest membership at or before it.
    pub(crate) membership: StoredMembership,
}

/// The replica bytes of a group that begins with a state instead of with an entry: see
/// [`Host::begin_behind`](crate::Host::begin_behind). All its voters begin with the same.
#[must_use]
pub fn replica_behind(index: Index, voters: &[NodeId]) -> Bytes {
    let (applied, voters) = (log_id(0, index.0), voters.iter().map(|node| node.0).collect::<BTreeSet<_>>());
    let nodes: BTreeMap<u64, ()> = voters.iter().map(|node| (*node, ())).collect();
    // The nodes are the voters, so it is one.
    let membership = Membership::new(vec![voters], nodes).unwrap_or_default();
    Replica { applied, membership: StoredMembership::new(Some(applied), membership) }.encode()
}

impl Replica {
    pub(crate) fn encode(&self) -> Bytes {
        let mut out = vec![REPLICA_1];
        put_log_id(&mut out, &self.applied);
        out.push(u8::from(self.membership.log_id().is_some()));
        self.membership.log_id().iter().for_each(|id| put_log_id(&mut out, id));
        put_membership(&mut out, self.membership.membership());
        out.into()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        expect(&mut reader, REPLICA_1, "replica state")?;
        let applied = read_log_id(&mut reader)?;
        let id = match reader.bool("membership id")? {
            true => Some(read_log_id(&mut reader)?),
            false => None,
        };
        let membership = StoredMembership::new(id, membership(&mut reader)?);
        reader.finish("replica state")?;
        Ok(Self { applied, membership })
    }
}

fn expect(reader: &mut Reader<'_>, expected: u8, field: &'static str) -> Result<(), DecodeError> {
    match reader.u8(field)? {
        tag if tag == expected => Ok(()),
        tag => Err(DecodeError::UnknownTag { field, tag }),
    }
}

fn put_log_id(out: &mut Vec<u8>, id: &LogId) {
    put_varint(out, term_of(id));
    put_varint(out, id.index);
}

fn read_log_id(reader: &mut Reader<'_>) -> Result<LogId, DecodeError> {
    Ok(log_id(reader.varint("log id term")?, reader.varint("log id index")?))
}

fn put_membership(out: &mut Vec<u8>, membership: &Membership) {
    let sets = membership.get_joint_config();
    put_varint(out, sets.len() as u64);
    sets.iter().for_each(|set| put_ids(out, set.iter().copied()));
    put_ids(out, membership.nodes().map(|(node, ())| *node));
}

fn put_ids(out: &mut Vec<u8>, ids: impl Iterator<Item = u64>) {
    let ids: Vec<u64> = ids.collect();
    put_varint(out, ids.len() as u64);
    ids.into_iter().for_each(|id| put_varint(out, id));
}

fn membership(reader: &mut Reader<'_>) -> Result<Membership, DecodeError> {
    let count = reader.count(1, "voter sets")?;
    if count > SETS_MAX {
        return Err(DecodeError::Invalid { field: "voter sets" });
    }
    let sets = (0..count).map(|_| ids(reader)).collect::<Result<Vec<_>, _>>()?;
    let nodes: BTreeMap<u64, ()> = ids(reader)?.into_iter().map(|node| (node, ())).collect();
    if sets.is_empty() && nodes.is_empty() {
        return Ok(Membership::default());
    }
    Membership::new(sets, nodes).map_err(|_| DecodeError::Invalid { field: "membership" })
}

fn ids(reader: &mut Reader<'_>) -> Result<BTreeSet<u64>, DecodeError> {
    let count = reader.count(1, "node ids")?;
    let mut set = BTreeSet::new();
    for _ in 0..count {
        let id = reader.varint("node id")?;
        if set.last().is_some_and(|last| *last >= id) {
            return Err(DecodeError::Invalid { field: "node ids" });
        }
        set.insert(id);
    }
    Ok(set)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn set(nodes: &[u64]) -> BTreeSet<u64> {
        nodes.iter().copied().collect()
    }

    fn entry(term: u64, index: u64, payload: EntryPayload<Command, u64, ()>) -> Entry {
        Entry { log_id: log_id(term, index), payload }
    }

    fn joint() -> Membership {
        Membership::new_with_defaults(vec![set(&[1, 2]), set(&[2, 300])], set(&[4]))
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn bytes_stay_what_they_are() {
        let command = || EntryPayload::Normal(Command(Bytes::from_static(b"put")));
        let entries = [
            (entry(7, 1, EntryPayload::Blank), "0107"),
            (entry(300, 2, command()), "02ac02707574"),
            (entry(0, 0, EntryPayload::Membership(joint())), "03000202010202 02ac02 04010204ac02"),
        ];
        for (entry, golden) in entries {
            let bytes = encode_entry(&entry);
            assert_eq!(hex(&bytes), golden.replace(' ', ""), "{entry}");
            assert_eq!(decode_entry(entry.log_id.index, &bytes), Ok(entry));
        }
        for (vote, golden) in [(Vote::new(5, 300), "0105ac0200"), (Vote::new_committed(5, 2), "01050201")] {
            assert_eq!(hex(&encode_vote(&vote)), golden);
            assert_eq!(decode_vote(&encode_vote(&vote)), Ok(vote));
        }
        assert_eq!(hex(&encode_marker(&log_id(300, 9))), "01ac02");
        assert_eq!(decode_marker(9, &encode_marker(&log_id(300, 9))), Ok(log_id(300, 9)));
        let membership = StoredMembership::new(Some(log_id(2, 3)), joint());
        let replica = Replica { applied: log_id(3, 300), membership };
        assert_eq!(hex(&replica.encode()), "0103ac02010203020201020202ac0204010204ac02");
        assert_eq!(Replica::decode(&replica.encode()), Ok(replica));
    }

    #[test]
    fn a_command_shares_the_memory_of_its_entry() {
        let bytes = encode_entry(&entry(1, 1, EntryPayload::Normal(Command(Bytes::from(vec![9; 100])))));
        let EntryPayload::Normal(Command(command)) = decode_entry(1, &bytes).unwrap().payload else {
            panic!("expected a command");
        };
        assert_eq!(command.as_ptr(), bytes[bytes.len() - 100..].as_ptr());
    }

    #[test]
    fn what_no_encoder_writes_is_refused() {
        for (bytes, name) in [
            (&[9, 1][..], "an unknown tag"),
            (&[ENTRY_BLANK, 1, 0], "bytes after a blank entry"),
            (&[ENTRY_MEMBERSHIP, 1, 3, 1, 1, 1, 2, 1, 3, 3, 1, 2, 3], "three sets of voters"),
            (&[ENTRY_MEMBERSHIP, 1, 1, 2, 2, 1, 2, 1, 2], "ids that do not rise"),
            (&[ENTRY_MEMBERSHIP, 1, 1, 1, 1, 1, 2], "a voter that is no node"),
            (&[ENTRY_MEMBERSHIP, 1, 1, 0, 1, 1], "a set without voters"),
        ] {
            assert!(decode_entry(1, &Bytes::copy_from_slice(bytes)).is_err(), "{name}");
        }
        assert!(decode_vote(&[VOTE_1, 1, 1, 2]).is_err(), "a flag that is none");
        assert!(decode_vote(&[2, 1, 1, 1]).is_err(), "a vote of another version");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(index: u64, bytes: Vec<u8>) {
            let bytes = Bytes::from(bytes);
            if let Ok(entry) = decode_entry(index, &bytes) {
                prop_assert_eq!(encode_entry(&entry), bytes.clone());
            }
            if let Ok(vote) = decode_vote(&bytes) {
                prop_assert_eq!(encode_vote(&vote), bytes.clone());
            }
            if let Ok(replica) = Replica::decode(&bytes) {
                prop_assert_eq!(replica.encode(), bytes);
            }
        }

        #[test]
        fn round_trip(term: u64, index: u64, command: Vec<u8>, voters: BTreeSet<u64>, learners: BTreeSet<u64>) {
            let command = entry(term, index, EntryPayload::Normal(Command(command.into())));
            prop_assert_eq!(decode_entry(index, &encode_entry(&command)), Ok(command));
            let sets = if voters.is_empty() { Vec::new() } else { vec![voters] };
            let membership = Membership::new_with_defaults(sets, learners);
            let change = entry(term, index, EntryPayload::Membership(membership.clone()));
            prop_assert_eq!(decode_entry(index, &encode_entry(&change)), Ok(change));
            let membership = StoredMembership::new(None, membership);
            let replica = Replica { applied: log_id(term, index), membership };
            prop_assert_eq!(Replica::decode(&replica.encode()), Ok(replica));
        }
    }
}
