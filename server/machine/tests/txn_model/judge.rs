//! What must hold in every state.

use std::collections::BTreeSet;

use lentic_machine::shard::Decision;
use lentic_machine::txn::Verdict;

use super::party::Rescue;
use super::setup::{Setup, tick};
use super::shard::{Message, Shard, Txn, Writer};
use super::world::{Reader, World};

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Wrong {
    /// Something has appeared at or below a version that was read.
    ReadChanged,
    /// A reader saw a part of a transaction, or its effect without its cause.
    Torn,
    /// A reader missed what was answered before it began.
    Missed,
    /// What began after an answer has a smaller version.
    RealTime,
    /// The versions of a key do not rise.
    KeyOrder,
    /// A transaction has two fates.
    TwoFates,
    /// A client was told something else than what was decided.
    Told,
    /// A shard refuses what was asked in good order.
    Refused,
    /// A group has stopped, for its log contradicts itself.
    Stopped,
    /// A recovery does not end what it finds.
    LeftOpen,
    /// After recovery a part of a transaction is there, or not all of what its client was told of.
    Half,
}

/// What is wrong with a state, if anything is.
pub(crate) fn judge(setup: &Setup, world: &World) -> Option<Wrong> {
    world
        .reader
        .as_ref()
        .and_then(|reader| judge_reader(setup, world, reader))
        .or_else(|| judge_versions(setup, world))
        .or_else(|| (0..setup.txns.len()).find_map(|txn| judge_fate(setup, world, txn)))
        .or_else(|| judge_healed(setup, world))
}

fn judge_reader(setup: &Setup, world: &World, reader: &Reader) -> Option<Wrong> {
    if reader.saw.iter().any(|(shard, saw)| world.places[*shard].shard.seen_at(reader.at) != *saw) {
        return Some(Wrong::ReadChanged);
    }
    let has_read = |shard: &usize| reader.saw.contains_key(shard);
    let seen = |shard: &usize, writer: Writer| reader.saw[shard].iter().any(|(_, other)| *other == writer);
    for (txn, shards) in setup.txns.iter().enumerate() {
        let views: BTreeSet<bool> =
            shards.iter().filter(|shard| has_read(shard)).map(|shard| seen(shard, Writer::Txn(txn))).collect();
        if views.len() > 1 {
            return Some(Wrong::Torn);
        }
        if views.contains(&false) && reader.before.contains(&Writer::Txn(txn)) {
            return Some(Wrong::Missed);
        }
    }
    let views: Vec<Option<bool>> = setup
        .writes
        .iter()
        .enumerate()
        .map(|(write, shard)| has_read(shard).then(|| seen(shard, Writer::Alone(write))))
        .collect();
    let missed =
        |(write, view): (usize, &Option<bool>)| *view == Some(false) && reader.before.contains(&Writer::Alone(write));
    if views.iter().enumerate().any(missed) {
        return Some(Wrong::Missed);
    }
    // A write that follows the transaction on one of the shards that were read is not seen without it.
    let cause = setup.follows.then(|| has_read(&0).then(|| seen(&0, Writer::Txn(0)))).flatten();
    let known: Vec<bool> = cause.into_iter().chain(views.into_iter().flatten()).collect();
    known.windows(2).any(|pair| pair == [false, true]).then_some(Wrong::Torn)
}

fn judge_versions(setup: &Setup, world: &World) -> Option<Wrong> {
    let told = world.attempts.first().and_then(|attempt| match attempt.told {
        Some(Verdict::Committed(version)) if setup.follows => Some(version),
        _ => None,
    });
    let in_order: Vec<_> = told.into_iter().chain(world.answered.iter().copied()).collect();
    // If there is a reader, it is for the reader to find out.
    if setup.reads == 0 && !in_order.is_sorted_by(|one, next| one < next) {
        return Some(Wrong::RealTime);
    }
    let rises = |shard: &Shard| shard.written.is_sorted_by(|one, next| one < next);
    (!world.places.iter().all(|place| rises(&place.shard))).then_some(Wrong::KeyOrder)
}

/// One decision, the same wherever it is known, and what the client was told.
fn judge_fate(setup: &Setup, world: &World, txn: Txn) -> Option<Wrong> {
    let mut fates = BTreeSet::new();
    for shard in setup.txns[txn].iter().map(|shard| &world.places[*shard].shard) {
        fates.extend(shard.open.get(&txn).and_then(|open| open.decision));
        fates.extend(shard.ended.get(&txn).copied());
        let written = shard.written.iter().filter(|(_, writer)| *writer == Writer::Txn(txn));
        fates.extend(written.map(|(version, _)| Decision::Commit(*version)));
    }
    if fates.len() > 1 {
        return Some(Wrong::TwoFates);
    }
    let fate = fates.first()?;
    match (&world.attempts[txn].told, fate) {
        (Some(Verdict::Committed(told)), Decision::Commit(version)) if told == version => None,
        (Some(Verdict::Again | Verdict::Refused { .. }), Decision::Abort) | (None, _) => None,
        _ => Some(Wrong::Told),
    }
}

/// From every state recovery alone, with all coordinators gone, leaves nothing open and nothing by halves.
fn judge_healed(setup: &Setup, world: &World) -> Option<Wrong> {
    let mut healed = world.clone();
    for (txn, shards) in setup.txns.iter().enumerate() {
        for met in shards.iter().copied() {
            if healed.places[met].shard.open.contains_key(&txn)
                && let Some(wrong) = recover(setup, &mut healed, txn, met)
            {
                return Some(wrong);
            }
        }
    }
    if healed.places.iter().any(|place| !place.shard.open.is_empty()) {
        return Some(Wrong::LeftOpen);
    }
    for (txn, shards) in setup.txns.iter().enumerate() {
        let is_in =
            |shard: &&usize| healed.places[**shard].shard.written.iter().any(|(_, writer)| *writer == Writer::Txn(txn));
        let count = shards.iter().filter(is_in).count();
        let is_told = matches!(world.attempts[txn].told, Some(Verdict::Committed(_)));
        if (count != 0 && count != shards.len()) || (is_told && count == 0) {
            return Some(Wrong::Half);
        }
    }
    None
}

/// A recovery that nobody disturbs.
fn recover(setup: &Setup, world: &mut World, txn: Txn, met: usize) -> Option<Wrong> {
    let anchor = setup.txns[txn][0];
    let mut rescue = Rescue::new(txn, met, anchor);
    // It asks each participant at most for its status and to resolve.
    for _ in 0..=2 * setup.shards + 2 {
        let (shard, message) = rescue.talk.sent.pop_first()?;
        let stamp = tick(world.ticks + 1);
        let Some(outcome) = world.apply(setup, shard, stamp, message) else { return Some(Wrong::Stopped) };
        let is_last = matches!(message, Message::Resolve(..)) && rescue.recovery.is_over();
        if !is_last && rescue.hear(anchor, shard, message, outcome).is_err() {
            return Some(Wrong::Refused);
        }
    }
    Some(Wrong::LeftOpen)
}
