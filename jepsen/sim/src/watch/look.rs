//! Looks at a cluster, and ends the run by what does not hold.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use lentic_engine::{Batch, Portable, Store, StoreError};
use lentic_log::Log;
use lentic_node::Node;
use lentic_runtime::spawn;
use lentic_types::limits::PREPARE_MS_MAX;
use lentic_types::{GroupId, NodeId};
use tokio::time::{Instant, sleep};

use super::said::{Said, Verdict};
use super::standing::Standing;
use super::states::States;

/// How often nodes are looked at.
const LOOKS_EVERY: Duration = Duration::from_millis(5);
/// Entries compared at one look, in bytes.
const COMPARED_BYTES_MAX: usize = 1 << 20;
/// How long a transaction may be open when nothing is broken: until its prepare is old, and then until its shard and the
/// others have leaders, one of them looks, asks the others, and has ended it.
const OPEN_MAX: Duration = Duration::from_millis(PREPARE_MS_MAX + 5_000);

/// Looks at a cluster. Clones are the same.
pub(crate) struct Watch(Arc<Mutex<Inner>>);

impl Clone for Watch {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

#[derive(Default)]
struct Inner {
    said: Said,
    standing: Standing,
    states: States,
    nodes: Vec<Option<Seen>>,
    healed: Option<Instant>,
}

/// A node that runs, as it is looked at.
struct Seen {
    node: NodeId,
    log: Log,
    look: Box<dyn Fn(&mut Standing) -> Verdict + Send>,
}

impl Watch {
    /// Looks at `hosts` hosts from now on, until the run is over.
    pub(crate) fn start(hosts: usize) -> Self {
        let inner = Inner { nodes: (0..hosts).map(|_| None).collect(), ..Inner::default() };
        let watch = Self(Arc::new(Mutex::new(inner)));
        let looks = watch.clone();
        spawn(async move {
            loop {
                sleep(LOOKS_EVERY).await;
                looks.look();
            }
        });
        watch
    }

    /// The node of a host runs.
    pub(crate) fn node_started<S: Portable>(&self, host: usize, node: &Node<S>, log: &Log) {
        let mut inner = self.lock();
        let (id, seen) = (node.id(), node.clone());
        inner.standing.start(id);
        let look = Box::new(move |standing: &mut Standing| {
            let (mut verdict, mut here) = (Ok(()), BTreeSet::new());
            seen.each_group(|group, status| {
                here.insert(group);
                if verdict.is_ok() {
                    verdict = standing.look(id, group, status);
                }
            });
            standing.has_only(id, &here);
            verdict
        });
        inner.nodes[host] = Some(Seen { node: id, log: log.clone(), look });
    }

    /// The node of a host does not run any more.
    pub(crate) fn node_ended(&self, host: usize) {
        self.lock().nodes[host] = None;
    }

    /// Nothing is broken from now on.
    pub(crate) fn healed(&self) {
        self.lock().healed = Some(Instant::now());
    }

    /// A frame from the node of a host has arrived.
    pub(crate) fn hear(&self, host: usize, frame: &Bytes) {
        // Hosts join one after the other.
        let node = u64::try_from(host + 1).unwrap_or(u64::MAX);
        let verdict = self.lock().said.hear(node, frame);
        assert_holds(verdict);
    }

    /// A host starts with this store.
    pub(super) fn store_found<S: Portable>(&self, host: usize, store: &S) {
        let verdict = self.lock().states.started(host, store);
        assert_holds(verdict);
    }

    /// The state of a group in the store of a host was replaced, or is gone.
    pub(super) fn installed<S: Portable>(&self, host: usize, group: GroupId, store: &S) {
        let Inner { states, standing, nodes, .. } = &mut *self.lock();
        let mut verdict = states.found(host, group, store);
        // It may be back, with nothing, before the next look.
        if let (Ok(()), false, Some(Some(seen))) = (&verdict, states.has(host, group), nodes.get(host)) {
            verdict = (seen.look)(standing);
        }
        assert_holds(verdict);
    }

    /// Writes a batch to the store of a host.
    pub(super) fn write<S: Store>(&self, host: usize, store: &S, batch: &Batch) -> Result<(), StoreError> {
        let effects = States::effects(store, batch);
        store.write(batch)?;
        let wrote = effects.and_then(|effects| {
            effects.into_iter().try_for_each(|effect| self.lock().states.wrote(host, effect, store))
        });
        assert_holds(wrote);
        Ok(())
    }

    fn look(&self) {
        let verdict = self.lock().look();
        assert_holds(verdict);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn look(&mut self) -> Verdict {
        let Self { standing, nodes, .. } = self;
        for Seen { node, log, look } in nodes.iter().flatten() {
            look(standing)?;
            // A log that has failed is its node's end.
            for group in log.groups().unwrap_or_default() {
                let Some((first, end)) = standing.to_compare(*node, group) else { continue };
                // What is purged meanwhile was compared elsewhere, or is compared as state.
                let Ok(entries) = log.read(group, first..end, COMPARED_BYTES_MAX) else { continue };
                standing.compare(*node, group, first, &entries)?;
            }
        }
        self.no_transaction_is_left()
    }

    /// No lock is older than its time when nothing is broken: who comes after a dead coordinator ends it.
    fn no_transaction_is_left(&self) -> Verdict {
        let (Some(healed), Some((host, group, since))) = (self.healed, self.states.oldest_open()) else {
            return Ok(());
        };
        let age = since.max(healed).elapsed();
        match age > OPEN_MAX {
            true => {
                let stands = self.standing.describe(group);
                Err(format!(
                    "a transaction of {group} is open on host {} for {} ms; {stands}",
                    host + 1,
                    age.as_millis()
                ))
            }
            false => Ok(()),
        }
    }
}

fn assert_holds(verdict: Verdict) {
    if let Err(words) = verdict {
        panic!("an invariant is broken: {words}");
    }
}
