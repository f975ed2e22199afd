//! Issue clients: a block of ids that nobody else was or will be given.

use lentic_types::ClientId;
use lentic_types::limits::CLIENTS_PER_BLOCK_MAX;

use super::outcome::{MetaOutcome, MetaRefusal};
use super::state::{Change, Counters, Meta};

/// Issues `count` ids.
pub(super) fn apply(meta: &mut Meta, count: u32, change: &mut Change) -> Result<MetaOutcome, MetaRefusal> {
    if !(1..=CLIENTS_PER_BLOCK_MAX).contains(&count) {
        return Err(MetaRefusal::Invalid("a block has 1 to 65536 client ids; ask for so many".into()));
    }
    let first = ClientId(meta.counters.client);
    meta.put_counters(Counters { client: first.0 + u64::from(count), ..meta.counters }, change);
    Ok(MetaOutcome::Clients { first, count })
}
