//! What goes wrong.

use std::collections::BTreeSet;

use lentic_runtime::Random;

/// What goes wrong, as a test says or a seed decides.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    /// Nodes that cannot be reached; their links are cut.
    pub(crate) down: BTreeSet<u64>,
    /// Nodes that clients cannot reach; other nodes can.
    pub(crate) unreachable: BTreeSet<u64>,
    /// Nodes that hold requests back, all but hello and status, until they are let go.
    pub(crate) held: BTreeSet<u64>,
    /// Nodes that read requests, and answer nothing but status.
    pub(crate) mute: BTreeSet<u64>,
    /// Nodes that answer nothing at all, and read nothing.
    pub(crate) stuck: BTreeSet<u64>,
    /// Nodes that answer with bytes that are no answer.
    pub(crate) garbage: BTreeSet<u64>,
    /// Shards whose leader, which is known, does not serve yet.
    pub(crate) electing: BTreeSet<u64>,
    /// Answers to earlier requests are forgotten.
    pub(crate) forgetful: bool,
    /// A stale route is refused without the right one.
    pub(crate) no_hints: bool,
    /// How many more requests for keys are refused as throttled.
    pub(crate) throttled: u32,
    /// Cut the link at this point of all that links pass, counted from 0: a request read, done, or answered.
    pub(crate) cut_at: Option<u64>,
    /// Points passed.
    pub(crate) points: u64,
    /// Longest time that a request takes, in milliseconds; each takes a random part of it.
    pub(crate) delay_ms_max: u64,
    /// Of a thousand points, at how many the link is cut.
    pub(crate) cut_permille: u64,
    /// Of a thousand requests for keys, how many move a leader or raise an epoch first.
    pub(crate) move_permille: u64,
    /// Where chance comes from.
    pub(crate) random: Option<Random>,
}

impl Faults {
    /// A link passes a point; whether it is cut there.
    pub(crate) fn passes(&mut self) -> bool {
        let point = self.points;
        self.points += 1;
        self.cut_at == Some(point) || self.happens(self.cut_permille)
    }

    /// Whether something with this chance happens now.
    pub(crate) fn happens(&mut self, permille: u64) -> bool {
        permille > 0 && self.draw(1_000) < permille
    }

    /// A random number below `bound`; 0 without a source.
    pub(crate) fn draw(&mut self, bound: u64) -> u64 {
        self.random.as_ref().map_or(0, |random| random.next_seed() % bound.max(1))
    }
}
