//! What was done to a cluster, and what came of it.

use std::ops::AddAssign;

macro_rules! counts {
    ($($(#[doc = $doc:literal])+ $field:ident: $name:literal,)+) => {
        /// What was done to a cluster, and what came of it: a run that shows nothing has shown nothing.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct FaultCounts {
            $($(#[doc = $doc])+ pub $field: u64,)+
        }

        impl FaultCounts {
            /// Each count with its name.
            #[must_use]
            pub const fn rows(&self) -> [(&'static str, u64); [$($name),+].len()] {
                [$(($name, self.$field)),+]
            }
        }

        impl AddAssign for FaultCounts {
            fn add_assign(&mut self, other: Self) {
                $(self.$field += other.$field;)+
            }
        }
    };
}

counts! {
    /// Nodes that ended where they stood.
    crashes: "crashes",
    /// Batches that stores lost by it.
    batches_lost: "batches lost",
    /// Nodes that were stopped as they should be, and had handed over and closed in time.
    stops: "orderly stops",
    /// Nodes that stood still for a while, and went on.
    pauses: "pauses",
    /// Times a pair of hosts was cut off from each other, and times one direction was cut.
    cuts: "cuts",
    /// Frames that a cut held back, and dials that it made fail.
    cut_effects: "frames held and dials lost by cuts",
    /// Links that broke under way.
    links_broken: "links broken",
    /// Frames that took unusually long.
    frames_late: "late frames",
    /// Jumps of clocks.
    clock_jumps: "clock jumps",
    /// Stores flushed, so that logs were shortened.
    flushes: "flushes",
    /// Syncs of more than 10 ms.
    slow_syncs: "slow syncs",
    /// Nodes that ended because their disk failed or was full.
    disk_ends: "ends by failed disks",
    /// Starts that a failed disk prevented.
    starts_failed: "starts that failed disks prevented",
    /// Starts that were refused, for the log was damaged.
    damage_refused: "starts refused for damage",
    /// Leaders asked to hand over.
    transfers: "transfers",
    /// Moves of replicas that began, and nodes whose use changed so that replicas may move.
    moves: "moves and drains",
    /// Shards that were told to split.
    splits: "shards split",
}
