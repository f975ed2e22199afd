//! The leader of a shard: what it stamps, and what of it goes with it.
//!
//! ```text
//!   on the way ──arrive──► waits, with a tick ──stamp──► in flight ──apply──► the shard
//! ```
//!
//! Stamps are made as `server/node/src/shard/stamps.rs` makes them. Here a new leader may
//! inherit what waits, with the tick that the old one has fetched for it. The product refuses what waits when a leader
//! goes, and it is sent again: then rule F follows from rule W, which is checked too.

use std::collections::BTreeSet;

use lentic_types::Version;

use super::setup::Off;
use super::shard::{Message, Shard};

/// A shard and its leader.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Led {
    pub(crate) shard: Shard,
    /// The newest stamp that is applied.
    pub(crate) newest: Version,
    /// Above every stamp given, and at or above every version read at.
    pub(crate) floor: Version,
    /// Without rule W: a tick that was fetched before what it will stamp has come.
    pub(crate) early: Option<Version>,
    pub(crate) waiting: BTreeSet<(Message, Version)>,
    pub(crate) in_flight: Vec<(Version, Message)>,
}

impl Led {
    /// Stamps what waits with a tick.
    pub(crate) fn stamp(&mut self, message: Message, tick: Version) {
        assert!(self.waiting.remove(&(message, tick)), "it waits");
        let next = self.floor.next_local().filter(|next| *next > tick);
        let stamp = next.unwrap_or(tick);
        assert!(stamp > self.floor, "stamps rise");
        self.floor = stamp;
        self.in_flight.push((stamp, message));
    }

    /// A reader comes: from now on nothing is stamped at or below `at`.
    pub(crate) fn raise(&mut self, at: Version, off: Off) {
        if off != Off::RuleR {
            self.floor = self.floor.max(at);
        }
    }

    /// Whether nothing can be written at or below `at` any more.
    pub(crate) fn is_settled(&self, at: Version, off: Off) -> bool {
        let in_flight = off != Off::InFlight && self.in_flight.iter().any(|(stamp, _)| *stamp <= at);
        let locked = off != Off::Locks && self.shard.may_write_at(at);
        !in_flight && !locked
    }

    /// A new leader comes; `tick` was fetched by it. What was in flight is lost, after what the caller has applied of it.
    pub(crate) fn change(&mut self, tick: Version, off: Off) -> Vec<Message> {
        self.floor = if off == Off::RuleF { self.newest } else { self.newest.max(tick) };
        std::mem::take(&mut self.in_flight).into_iter().map(|(_, message)| message).collect()
    }
}
