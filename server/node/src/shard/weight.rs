//! What a delete-range would look at, before it is taken.
//!
//! In apply, a delete-range looks at every record of its range: keys that were deleted long ago and old versions, too,
//! until they are collected. How many there are differs between replicas, so apply cannot refuse for their sake. The
//! leader looks first, and what is too much does not come into the log.

use lentic_engine::{Direction, Portable, ReadAt, ReadStats, ScanLimits};
use lentic_machine::Refusal;
use lentic_machine::shard::{Operation, RangeRead};
use lentic_proto::v1::Failure;
use lentic_runtime::blocking;
use lentic_types::{Epoch, KeyRange, limits};

use super::machine::Rules;
use super::replica::Replica;
use crate::failure;

/// Why a write with delete-ranges is not taken.
#[derive(Debug)]
pub(crate) enum Heavy {
    /// The operation at this place would look at too many records.
    At(u32),
    /// Something else is wrong.
    Failed(Failure),
}

impl<S: Portable> Replica<S> {
    /// How many records the delete-ranges among `operations` look at together, as far as this node can tell now.
    pub(crate) fn weigh(&self, epoch: Epoch, operations: &[Operation]) -> Result<usize, Heavy> {
        if !self.serves() {
            return Err(Heavy::Failed(failure::not_leader()));
        }
        let rules = self.shown.rules();
        let found = rules.descriptor.epoch;
        if found != epoch {
            return Err(Heavy::Failed(failure::of_refusal(&Refusal::WrongEpoch { epoch: found })));
        }
        let mut stats = ReadStats::default();
        for (position, operation) in operations.iter().enumerate() {
            let Operation::DeleteRange { range } = operation else { continue };
            if !rules.descriptor.range.covers(range) {
                return Err(Heavy::Failed(failure::of_refusal(&Refusal::OutOfRange)));
            }
            let within = blocking(|| self.look(&rules, range, &mut stats)).map_err(Heavy::Failed)?;
            if !within {
                return Err(Heavy::At(u32::try_from(position).unwrap_or(u32::MAX)));
            }
        }
        Ok(usize::try_from(stats.records).unwrap_or(usize::MAX))
    }

    /// How many records the validation of ranges that were read looks at together, as far as this node can tell now.
    ///
    /// # Errors
    /// There are too many.
    pub(crate) fn weigh_reads(&self, reads: &[RangeRead]) -> Result<usize, Heavy> {
        let rules = self.shown.rules();
        let at = ReadAt {
            table: rules.descriptor.table,
            version: self.shown.newest(),
            masks: &rules.masks,
            layers: &rules.layers,
        };
        let mut stats = ReadStats::default();
        for read in reads {
            let mut rest = Some(read.range.clone());
            while let Some(range) = rest {
                let left = limits::VALIDATED_RECORDS_MAX.saturating_sub(stats.records);
                let page = ScanLimits { steps_max: left + 1, ..ScanLimits::default() };
                let page = blocking(|| at.scan(&*self.store, &range, Direction::Forward, &page, &mut stats));
                let page = page.map_err(|error| Heavy::Failed(self.failure.of_read(&error)))?;
                if stats.records > limits::VALIDATED_RECORDS_MAX {
                    return Err(Heavy::Failed(failure::too_large_to_validate()));
                }
                rest = page.rest;
            }
        }
        Ok(usize::try_from(stats.records).unwrap_or(usize::MAX))
    }

    /// Whether all records of the range can be looked at. That it has too many live keys is for apply to say, which sees
    /// the same of them everywhere.
    fn look(&self, rules: &Rules, range: &KeyRange, stats: &mut ReadStats) -> Result<bool, Failure> {
        let at = ReadAt {
            table: rules.descriptor.table,
            version: self.shown.newest(),
            masks: &rules.masks,
            layers: &rules.layers,
        };
        let (mut rest, mut keys) = (Some(range.clone()), 0);
        while let Some(range) = rest {
            let left = limits::DELETE_RANGE_RECORDS_MAX.saturating_sub(stats.records);
            let page = ScanLimits { steps_max: left + 1, ..ScanLimits::default() };
            let page = at.scan(&*self.store, &range, Direction::Forward, &page, stats);
            let page = page.map_err(|error| self.failure.of_read(&error))?;
            if stats.records > limits::DELETE_RANGE_RECORDS_MAX {
                return Ok(false);
            }
            keys += page.rows.len();
            if keys > limits::DELETE_RANGE_KEYS_MAX as usize {
                return Ok(true);
            }
            rest = page.rest;
        }
        Ok(true)
    }
}
