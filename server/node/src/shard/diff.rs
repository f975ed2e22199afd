//! What is read differently at two versions of a shard: a read at the later one, which has the earlier one settled too.

use lentic_engine::{Diff, DiffPage, Portable, ReadStats, ScanLimits};
use lentic_machine::Refusal;
use lentic_proto::v1::Failure;
use lentic_runtime::blocking;
use lentic_types::{Epoch, KeyRange, Version};

use super::reader::{ReadFrom, Reader};
use crate::failure;

/// What is compared.
#[derive(Clone, Debug)]
pub(crate) struct Compare {
    pub(crate) range: KeyRange,
    pub(crate) from: Version,
    pub(crate) to: Version,
    pub(crate) limits: ScanLimits,
}

impl<S: Portable> Reader<S> {
    /// A page of what is read differently, from any replica that has both versions or only from the leader.
    pub(crate) async fn diff(&self, epoch: Epoch, compare: Compare, read_from: ReadFrom) -> Result<DiffPage, Failure> {
        let place = &self.at;
        let Compare { range, from, to, limits } = compare;
        let later = from.max(to);
        let seen = place.stand(later, read_from, |locked| locked.holds_in(&range, later)).await?;
        let rules = place.rules(epoch, from)?;
        place.rules(epoch, to)?;
        if !rules.descriptor.range.covers(&range) {
            return Err(failure::of_refusal(&Refusal::OutOfRange));
        }
        let diff = Diff { table: rules.descriptor.table, from, to, masks: &rules.masks, layers: &rules.layers };
        let page = blocking(|| diff.page(&*place.store, &range, &limits, &mut ReadStats::default()));
        let page = page.map_err(|error| place.failure.of_read(&error))?;
        place.rules(epoch, from)?;
        place.rules(epoch, to)?;
        place.stands(seen)?;
        Ok(page)
    }
}
