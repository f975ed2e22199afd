//! Set cluster: what holds where a table does not say.

use lentic_types::limits::REPLICAS_MAX;

use super::outcome::{MetaOutcome, MetaRefusal};
use super::state::{Change, Meta};

/// Sets how many replicas a shard has by default. Shards that are there follow later: whoever moves replicas sees it.
pub(super) fn apply(meta: &mut Meta, replicas: u32, change: &mut Change) -> Result<MetaOutcome, MetaRefusal> {
    if replicas == 0 || replicas as usize > REPLICAS_MAX {
        return Err(MetaRefusal::Invalid("a shard has 1 to 9 replicas; choose so many".into()));
    }
    if replicas != meta.catalog.replicas {
        meta.set_replicas_default(replicas, change);
    }
    Ok(MetaOutcome::Done)
}
