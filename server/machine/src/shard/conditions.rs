//! Conditions: what must hold just before a write, and what must not have changed since it was read.

use lentic_engine::read::earlier;
use lentic_engine::{Change, Head, View};
use lentic_types::{Expiry, Version};

use super::apply::{Context, Fatal};
use super::command::{Condition, Expected, RangeRead, Write, position_of};
use super::merge::head_of;
use super::outcome::Refusal;
use super::state::Shard;

/// Checks the conditions and ranges of a write in order; the first that does not hold is the refusal. Positions are
/// counted from `before`. Returns when the first value ends of which one of them depends on its being there.
pub(super) fn check<V: View>(
    shard: &mut Shard,
    version: Version,
    write: &Write,
    before: usize,
    context: &mut Context<'_, '_, V>,
) -> Result<Result<Option<Expiry>, Refusal>, Fatal> {
    let mut until = None;
    for (position, condition) in write.conditions.iter().enumerate() {
        match holds(shard, version, condition, position_of(before + position), context)? {
            Ok(ends) => until = earlier(until, ends),
            Err(refusal) => return Ok(Err(refusal)),
        }
    }
    let before = before + write.conditions.len();
    for (position, RangeRead { range, since }) in write.ranges.iter().enumerate() {
        let position = position_of(before + position);
        if let Err(refusal) = check_since(shard, version, *since) {
            return Ok(Err(refusal));
        }
        let at = shard.read_at(version);
        match at.change_in(&*context.overlay, range, *since, &mut context.stats.reads)? {
            Change::None { until: ends } => until = earlier(until, ends),
            Change::Some => return Ok(Err(Refusal::Conflict { position })),
        }
    }
    Ok(Ok(until))
}

fn holds<V: View>(
    shard: &mut Shard,
    version: Version,
    Condition { key, expected }: &Condition,
    position: u32,
    context: &mut Context<'_, '_, V>,
) -> Result<Result<Option<Expiry>, Refusal>, Fatal> {
    if let Expected::UnchangedSince(since) = expected {
        if lentic_types::mutant!("reads-not-validated") {
            return Ok(Ok(None));
        }
        if let Err(refusal) = check_since(shard, version, *since) {
            return Ok(Err(refusal));
        }
        let at = shard.read_at(version);
        return Ok(match at.change_of(&*context.overlay, key, *since, &mut context.stats.reads)? {
            Change::None { until } => Ok(until),
            Change::Some => Err(Refusal::Conflict { position }),
        });
    }
    let head = head_of(shard, version, key, context)?;
    let holds = match expected {
        Expected::Exists => head != Head::Absent,
        Expected::Absent => head == Head::Absent,
        Expected::VersionIs(wanted) => head.version() == Some(*wanted),
        Expected::ValueIs(wanted) => match &head {
            Head::Absent => false,
            Head::Put { value, .. } => value == wanted,
            Head::Operand { .. } => {
                let found = shard.read_at(version).get(&*context.overlay, key, &mut context.stats.reads)?;
                found.is_some_and(|found| found.value == *wanted)
            }
        },
        Expected::UnchangedSince(_) => unreachable!("it is judged above"),
    };
    Ok(if holds { Ok(head.expiry()) } else { Err(Refusal::ConditionFailed { position, found: head.version() }) })
}

/// Whether it can be said what has changed since then: below the watermark, records may be gone.
fn check_since(shard: &Shard, version: Version, since: Version) -> Result<(), Refusal> {
    let watermark = shard.descriptor.watermark;
    match since {
        since if since < watermark => Err(Refusal::VersionTooOld { watermark }),
        since if since >= version => Err(Refusal::VersionTooNew { newest: version }),
        _ => Ok(()),
    }
}
