//! Set balance: whether leaders are balanced over the nodes.

use super::outcome::{MetaOutcome, MetaRefusal};
use super::state::{Change, Meta};

/// Switches it on or off. What is under way goes on.
#[expect(clippy::unnecessary_wraps, reason = "as all commands")]
pub(super) fn apply(meta: &mut Meta, on: bool, change: &mut Change) -> Result<MetaOutcome, MetaRefusal> {
    if on != meta.is_balanced {
        meta.set_balanced(on, change);
    }
    Ok(MetaOutcome::Done)
}
