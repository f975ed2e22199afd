//! Which records nobody can see any more.
//!
//! Below a shard's *watermark* only *pins* (snapshots, checkpoints) may still be read. So there are few **points** from
//! which a record at or below the watermark W can be seen:
//!
//! ```text
//!     pin      pin       W        e          reads below W: at pins only
//! ─────●────────●────────●────────●───────▶  reads from W on: any version; those at e or later are under
//!                                            the mask that ends at e, so they may see an older record
//! ```
//!
//! the watermark itself, each pin below it, and each end of a mask above it. A record at or below W is kept if it is
//! the newest visible one from some point, or the base of an operand that is kept; every record above W is kept. If
//! all points that see it find it ended, it is *buried*: a delete takes its place, which hides what is older at no
//! cost of space. A delete itself can go once it is the oldest record of its key, unless the table is a branch: there it
//! hides what another table has.
//!
//! **Rules are used only when the command that made them is durable** ([`GcHandle`]): a node that crashes goes back to
//! its last flush and applies the log again, and what those entries read must still be there.

mod handle;
mod held;
mod key;
mod sweep;

pub use handle::{GcFilter, GcHandle};
pub use held::Held;
pub use key::Verdict;
use lentic_types::{KeyRange, TableId, Version};
pub use sweep::sweep;

use crate::masks::MaskSet;

/// What GC must know of one shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GcRules {
    /// The shard's table.
    pub table: TableId,
    /// The shard's keys.
    pub range: KeyRange,
    /// No read is below this version, but for those at pins.
    pub watermark: Version,
    /// Versions that must stay readable although they are below the watermark.
    pub pins: Vec<Version>,
    /// The shard's masks.
    pub masks: MaskSet,
    /// Whether the table reads through to others: then its deletes hide what is older there, and stay.
    pub is_branch: bool,
}
