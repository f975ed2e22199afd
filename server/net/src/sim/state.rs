//! What hosts, links and faults there are, and what became of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use lentic_runtime::{Random, Scope};
use tokio::sync::watch;
use tokio::time::Instant;

use super::event::{Happening, NetCounts, NetEvent};
use super::knobs::SimKnobs;
use super::path::Path;
use super::wire::{Destiny, Way};
use crate::link::{Accept, Address};

/// Called with each event, in order.
pub(super) type Hook = Arc<dyn Fn(&NetEvent) + Send + Sync>;

/// The network.
pub(super) struct Shared {
    pub(super) state: Mutex<State>,
    pub(super) random: Random,
    /// The tasks of the wires: no host's.
    pub(super) scope: Scope,
    pub(super) started: Instant,
}

pub(super) struct State {
    pub(super) knobs: SimKnobs,
    pub(super) hosts: BTreeMap<Address, Host>,
    pub(super) crashed: BTreeSet<Address>,
    pub(super) paths: BTreeMap<(Address, Address), watch::Sender<Path>>,
    pub(super) links: BTreeMap<u64, OpenLink>,
    pub(super) links_opened: u64,
    pub(super) counts: NetCounts,
    pub(super) hook: Option<Hook>,
}

/// A process that takes links.
#[derive(Clone)]
pub(super) struct Host {
    pub(super) scope: Scope,
    pub(super) accept: Arc<dyn Accept>,
}

/// A link that is open in at least one direction.
pub(super) struct OpenLink {
    pub(super) from: Address,
    pub(super) to: Address,
    pub(super) destiny: Destiny,
    pub(super) wires: u8,
}

impl State {
    /// What lies between two hosts, in one direction.
    pub(super) fn path(&mut self, from: &Address, to: &Address) -> &watch::Sender<Path> {
        self.paths.entry((from.clone(), to.clone())).or_insert_with(|| watch::channel(Path::default()).0)
    }
}

impl Shared {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn knobs(&self) -> SimKnobs {
        self.lock().knobs
    }

    /// Breaks a link, and counts it if it was whole.
    pub(super) fn break_link(&self, destiny: &Destiny, reason: &str, count: fn(&mut NetCounts) -> &mut u64) {
        if destiny.break_link(reason) {
            *count(&mut self.lock().counts) += 1;
        }
    }

    /// A frame has arrived.
    pub(super) fn delivered(&self, way: &Way, frame: Bytes, late: bool) {
        let mut state = self.lock();
        state.counts.frames += 1;
        state.counts.frames_late += u64::from(late);
        drop(state);
        self.happened(way, Happening::Delivered(frame));
    }

    /// A frame does not arrive in time, for a cut.
    pub(super) fn held(&self, way: &Way) {
        self.lock().counts.frames_held += 1;
        self.happened(way, Happening::Held);
    }

    /// A wire has ended because its link broke.
    pub(super) fn lost(&self, way: &Way, reason: Arc<str>, lost: usize) {
        self.lock().counts.frames_lost += u64::try_from(lost).unwrap_or(u64::MAX);
        self.happened(way, Happening::Broken { reason, lost });
        self.wire_gone(way);
    }

    /// A wire has ended in peace.
    pub(super) fn ended(&self, way: &Way) {
        self.happened(way, Happening::Ended);
        self.wire_gone(way);
    }

    /// Tells the hook. Not under the lock, for a hook may ask the network.
    pub(super) fn happened(&self, way: &Way, what: Happening) {
        let Some(hook) = self.lock().hook.clone() else { return };
        let Way { link, from, to, class, .. } = way.clone();
        hook(&NetEvent { at: self.started.elapsed(), from, to, class, link, what });
    }

    fn wire_gone(&self, way: &Way) {
        let mut state = self.lock();
        let Some(link) = state.links.get_mut(&way.link) else { return };
        link.wires -= 1;
        if link.wires == 0 {
            state.links.remove(&way.link);
        }
    }
}
