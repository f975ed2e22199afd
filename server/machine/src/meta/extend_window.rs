//! Extend window: ticks below a version may be handed out.
//!
//! What a leader's broken clock asks for would be the time of every version from then on, so one extension goes only so
//! far beyond the last: [`oracle::furthest_end`].

use lentic_types::Version;

use super::outcome::{MetaOutcome, MetaRefusal};
use super::state::{Change, Meta};
use crate::oracle;

/// Raises the end of the window to `until`; it never goes down.
pub(super) fn apply(meta: &mut Meta, until: Version, change: &mut Change) -> Result<MetaOutcome, MetaRefusal> {
    let most = oracle::furthest_end(meta.window_end);
    if until > most {
        return Err(MetaRefusal::WindowTooFar { most });
    }
    if until > meta.window_end {
        meta.put_window(until, change);
    }
    Ok(MetaOutcome::Window(meta.window_end))
}
