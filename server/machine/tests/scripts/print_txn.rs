//! How scripts print transactions and their locks.

use lentic_engine::MergeOperator;
use lentic_engine::keys::lock;
use lentic_machine::shard::{
    Decision, LockChanges, Locks, Mode, OpenTxn, Operation, Participant, Prepared, Take, TxnStatus,
};
use lentic_types::codec::{DecodeError, Reader};
use lentic_types::{Expiry, NodeId, TxnId, Version};

use crate::notation::{Kind, operator_name, range, text, until, value, version};
use crate::print::{at, key_range};

/// Prints a transaction's name, as scripts write it.
pub(crate) fn id(TxnId { begun, node, number }: TxnId) -> String {
    assert_eq!(node, NodeId(1), "scripts have one coordinator");
    let number = if number > 0 { format!(".{number}") } else { String::new() };
    format!("x{}{number}", version(begun).trim_start_matches('@'))
}

pub(crate) fn decision(decision: Decision) -> String {
    match decision {
        Decision::Commit(at) => format!("commit {}", version(at)),
        Decision::Abort => "abort".to_owned(),
    }
}

pub(crate) fn prepared(Prepared { version: at, valid_until }: &Prepared) -> String {
    format!("prepared {}{}", version(*at), until(*valid_until))
}

fn with(participants: &[Participant]) -> String {
    let all = participants.iter().map(|Participant { table, range: keys }| format!("{table}/{}", range(keys)));
    all.reduce(|all, one| all + " " + &one).map_or_else(String::new, |all| format!(", with {all}"))
}

pub(crate) fn status(status: &TxnStatus) -> String {
    match status {
        TxnStatus::Prepared { prepared: given, participants } => prepared(given) + &with(participants),
        TxnStatus::Decided { decision: decided, participants } => {
            format!("decided {}{}", decision(*decided), with(participants))
        }
        TxnStatus::Ended(decided) => format!("ended, {}", decision(*decided)),
    }
}

/// Prints what became of transactions and their locks.
pub(crate) fn lock_changes(
    LockChanges { opened, placed, taking, going_back, gone, decided, ended }: &LockChanges,
) -> String {
    let opened = opened.iter().map(|(txn, at)| format!("{} opens {}", id(txn.id), version(*at)));
    let placed = placed.iter().map(|(txn, key, at)| format!("{} locks {} {}", id(*txn), text(key), version(*at)));
    let takes = taking.iter().map(|(txn, keys)| format!("{} may take {}", id(*txn), range(keys)));
    let back = going_back.iter();
    let back = back.map(|(txn, keys, at)| format!("{} may take {} back {}", id(*txn), range(keys), version(*at)));
    let gone = gone.iter().map(|(txn, key)| format!("{} lets go of {}", id(*txn), text(key)));
    let decided = decided.iter().map(|txn| format!("{} is decided", id(*txn)));
    let ended = ended.iter().map(|txn| format!("{} ends", id(*txn)));
    let all: Vec<_> = opened.chain(placed).chain(takes).chain(back).chain(gone).chain(decided).chain(ended).collect();
    format!("event: {}", all.join(", "))
}

/// Prints what transactions hold, and those that have ended.
pub(crate) fn locks(locks: &Locks) -> Vec<String> {
    let mut lines = Vec::new();
    for open in locks.open() {
        lines.push(open_txn(open));
        lines.extend(open.ranges.iter().map(|held| format!("  read {}", range(held))));
        lines.extend(open.take.iter().map(take));
        for (key, lock) in locks.locks_of(open.txn.id) {
            let operations: String = lock.operations.iter().map(|one| format!(" {}", operation(one))).collect();
            lines.push(format!("  {} {}{operations}", mode(lock.mode), text(key)));
        }
    }
    let ended = |(txn, by, decided)| format!("ended {} by {}: {}", id(txn), version(by), decision(decided));
    lines.extend(locks.all_ended().map(ended));
    lines
}

fn open_txn(open: &OpenTxn) -> String {
    let OpenTxn { txn, version: at, valid_until, key, participants, decision: decided, is_resolved, .. } = open;
    let key = key.map_or_else(String::new, |key| format!(", key c{}/{}", key.client.0, key.sequence));
    let decided = decided.map_or_else(String::new, |decided| format!(", decided {}", decision(decided)));
    let resolved = if *is_resolved { ", resolved" } else { "" };
    let (name, until) = (id(txn.id), until(*valid_until));
    format!(
        "open {name} {} by {}{until}{key}{}{decided}{resolved}",
        version(*at),
        version(txn.until),
        with(participants)
    )
}

fn take(Take { range: keys, owner, force, back }: &Take) -> String {
    let back: String = back.iter().map(|back| format!(" back={}{}", range(&back.range), version(back.to))).collect();
    let force = if *force { " by force" } else { "" };
    format!("  take {} owner={}{force}{back}", range(keys), text(owner))
}

fn mode(mode: Mode) -> String {
    match mode {
        Mode::Read => "read".to_owned(),
        Mode::Put => "put".to_owned(),
        Mode::Merge(operator) => operator_name(operator).to_owned(),
        Mode::Write => "write".to_owned(),
    }
}

fn operation(operation: &Operation) -> String {
    match operation {
        Operation::Put { value: bytes, expiry, .. } => format!("put={}{}", value(Kind::Bytes, bytes), until(*expiry)),
        Operation::Delete { .. } => "delete".to_owned(),
        Operation::DeleteRange { range: deleted } => format!("delete-range={}", range(deleted)),
        Operation::Merge { operator, operand, expiry, .. } => {
            let name = operator_name(*operator);
            format!("merge={name}/{}{}", value(Kind::from(*operator), operand), until(*expiry))
        }
    }
}

// What follows is decoded as the formats are documented, and not by the machine's own code.

pub(crate) fn id_entry(reader: &mut Reader<'_>) -> Result<String, DecodeError> {
    let (begun, node) = (Version(reader.u64_be("begun")?), NodeId(reader.u64_be("node")?));
    Ok(id(TxnId { begun, node, number: reader.u64_be("number")? }))
}

pub(crate) fn decision_entry(reader: &mut Reader<'_>) -> Result<String, DecodeError> {
    Ok(match reader.u8("decision")? {
        0x00 => "undecided".to_owned(),
        0x01 => format!("commit {}", at(reader)?),
        0x02 => "abort".to_owned(),
        tag => return Err(DecodeError::UnknownTag { field: "decision", tag }),
    })
}

/// Prints an open transaction of family sys.
pub(crate) fn open_entry(name: &[u8], reader: &mut Reader<'_>) -> Result<String, DecodeError> {
    assert_eq!(reader.u8("format")?, 0x02, "the format");
    assert!(reader.rest().starts_with(name), "the key names the transaction");
    let name = id_entry(reader)?;
    let by = at(reader)?;
    let anchor = format!("t{}/{}", reader.varint("table")?, text(reader.bytes("anchor")?));
    let prepared = at(reader)?;
    let valid_until = if reader.bool("end")? { Some(Expiry(reader.varint("end")?)) } else { None };
    let mut line = format!("txn {name} {prepared} by {by}{}, anchor {anchor}", until(valid_until));
    if reader.bool("key")? {
        line += &format!(", key c{}/{}", reader.varint("client")?, reader.varint("sequence")?);
        line += &format!("/{}/{}", reader.varint("acknowledged")?, at(reader)?);
    }
    for _ in 0..reader.varint("participants")? {
        line += &format!(", with t{}/{}", reader.varint("table")?, key_range(reader)?);
    }
    for _ in 0..reader.varint("ranges")? {
        line += &format!(", read {}", key_range(reader)?);
    }
    line += &format!(", {}", decision_entry(reader)?);
    if reader.bool("resolved")? {
        line += ", resolved";
    }
    if reader.bool("take")? {
        line += &format!(", take {} owner={}", key_range(reader)?, text(reader.bytes("owner")?));
        line += if reader.bool("force")? { " by force" } else { "" };
        for _ in 0..reader.varint("ranges that go back")? {
            line += &format!(" back={}", key_range(reader)?);
            line += &at(reader)?;
        }
    }
    Ok(line)
}

/// Prints an entry of family lock.
pub(crate) fn lock_entry(key: &[u8], bytes: &[u8]) -> Result<String, DecodeError> {
    let (_, user_key, txn) = lock::decode(key)?;
    let mut reader = Reader::new(bytes);
    let mode = match reader.u8("mode")? {
        0x00 => "read".to_owned(),
        0x01 => "put".to_owned(),
        0x02 => mode(Mode::Merge(MergeOperator::from_tag(reader.u8("operator")?).expect("an operator"))),
        0x03 => "write".to_owned(),
        tag => return Err(DecodeError::UnknownTag { field: "mode", tag }),
    };
    let prepared = at(&mut reader)?;
    Ok(format!("{} {} {prepared}: {mode}, {} operations", text(&user_key), id(txn), reader.varint("operations")?))
}
