//! Conditions: what must hold just before a write.

use lentic_engine::{Head, View};
use lentic_types::Version;

use super::apply::{Context, Fatal};
use super::command::{Condition, Expected, position_of};
use super::merge::head_of;
use super::outcome::Refusal;
use super::state::Shard;

/// Checks `conditions` in order; the first that does not hold is the refusal.
pub(super) fn check<V: View>(
    shard: &mut Shard,
    version: Version,
    conditions: &[Condition],
    context: &mut Context<'_, '_, V>,
) -> Result<Result<(), Refusal>, Fatal> {
    for (position, Condition { key, expected }) in conditions.iter().enumerate() {
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
        };
        if !holds {
            return Ok(Err(Refusal::ConditionFailed { position: position_of(position), found: head.version() }));
        }
    }
    Ok(Ok(()))
}
