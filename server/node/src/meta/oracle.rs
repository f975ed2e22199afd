//! The oracle's leader: hands out ticks while this node leads the meta group.
//!
//! Each question is answered from a confirmation of leadership that began after it: a round, shared by all who ask
//! meanwhile, or the word of the asker who is a voter. The end of the window is replicated ahead, so the answer waits for
//! the disk only after a change of leader.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lentic_engine::Portable;
use lentic_machine::meta::{MetaCommand, MetaOutcome};
use lentic_machine::oracle::{NoTicks, Oracle, Ticks};
use lentic_raft::{Group, ReadError, ReadIndex, Status};
use lentic_runtime::{Clock, hesitate, spawn};
use lentic_types::{NodeId, Version};
use tokio::sync::{OwnedMutexGuard, watch};
use tokio::time::sleep;
use tracing::error;

use super::machine::{MetaMachine, Shown};

/// How often the oracle looks at the clock while nobody asks.
const LOOK_EVERY: Duration = Duration::from_millis(300);

/// The oracle on this node. Clones are the same one.
pub(crate) struct LocalOracle<S: Portable>(Arc<Server<S>>);

impl<S: Portable> Clone for LocalOracle<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// This node does not lead the meta group; who does, if it knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotHere(pub(crate) Option<NodeId>);

struct Server<S: Portable> {
    group: Group<MetaMachine<S>>,
    shown: watch::Receiver<Shown>,
    clock: Arc<dyn Clock>,
    /// Its oracle in the last term in which this node was confirmed to lead.
    leading: Mutex<Option<(u64, Oracle)>>,
    /// Whoever extends the window holds it: one extension is on its way at a time.
    extending: Arc<tokio::sync::Mutex<()>>,
}

impl<S: Portable> LocalOracle<S> {
    pub(crate) fn start(group: Group<MetaMachine<S>>, shown: watch::Receiver<Shown>, clock: Arc<dyn Clock>) -> Self {
        let oracle =
            Self(Arc::new(Server { group, shown, clock, leading: Mutex::default(), extending: Arc::default() }));
        let looking = Arc::downgrade(&oracle.0);
        spawn(async move {
            while let Some(server) = looking.upgrade() {
                server.look_ahead();
                drop(server);
                sleep(LOOK_EVERY).await;
            }
        });
        oracle
    }

    /// Ticks, confirmed after the question began: by a voter's word for this node in a term, or by a round.
    pub(crate) async fn ticks(&self, count: u32, vouched: Option<(NodeId, u64)>) -> Result<Ticks, NotHere> {
        let server = &self.0;
        let mut vouched = vouched;
        loop {
            let term = match vouched.take() {
                // In its first round it finds out what leaders before it may have handed out.
                Some((voter, term))
                    if server.is_leading_in(term) && server.group.is_confirmed_by(voter, term).await =>
                {
                    term
                }
                _ => server.confirm().await?.term,
            };
            // Another may lead by now, and have handed out later ticks.
            hesitate().await;
            let taken = match server.take(term, count) {
                Err(Delay::No(NoTicks::NeedsWindow { .. })) => server.extend_and_take(term, count).await?,
                taken => taken,
            };
            match taken {
                Ok(ticks) => {
                    server.look_ahead();
                    return Ok(ticks);
                }
                // It led again in a later term meanwhile.
                Err(Delay::Late) => tokio::task::yield_now().await,
                Err(Delay::No(reason)) => {
                    error!(%reason, "no ticks");
                    return Err(NotHere(None));
                }
            }
        }
    }
}

/// Why ticks are not taken at once.
enum Delay {
    /// The confirmation is of an earlier term than the oracle is of.
    Late,
    No(NoTicks),
}

impl<S: Portable> Server<S> {
    /// This node leads the meta group.
    async fn confirm(&self) -> Result<ReadIndex, NotHere> {
        if lentic_types::mutant!("oracle-no-confirm")
            && let Status { is_leader: true, term, applied: index, .. } = self.group.status()
        {
            return Ok(ReadIndex { term, index });
        }
        let confirmed: Result<_, ReadError> = self.group.read_index().await;
        confirmed.map_err(|_| NotHere(self.group.watch().borrow().leader))
    }

    fn is_leading_in(&self, term: u64) -> bool {
        self.leading().as_ref().is_some_and(|leading| leading.0 == term)
    }

    /// Takes ticks as the leader of `term`.
    fn take(&self, term: u64, count: u32) -> Result<Ticks, Delay> {
        let now = self.clock.unix_ms();
        let mut leading = self.leading();
        let oracle = match &mut *leading {
            Some((known, _)) if *known > term => return Err(Delay::Late),
            Some((known, oracle)) if *known == term => oracle,
            // A new leader begins above everything that an earlier one may have handed out.
            leading => {
                let window_end = self.shown.borrow().window_end;
                &mut leading.insert((term, Oracle::lead(window_end, now))).1
            }
        };
        oracle.take(count, now).map_err(Delay::No)
    }

    /// Takes ticks once there is a window for them, which whoever was here before may have made.
    async fn extend_and_take(&self, term: u64, count: u32) -> Result<Result<Ticks, Delay>, NotHere> {
        let _extending = self.extending.lock().await;
        loop {
            match self.take(term, count) {
                Err(Delay::No(NoTicks::NeedsWindow { until })) => self.extend_to(term, until).await?,
                taken => return Ok(taken),
            }
        }
    }

    /// Replicates a new end of the window, and tells the oracle of the term in which that was asked for. What others
    /// extended says nothing of what this leader may hand out: one that was paused may find a successor's window.
    async fn extend_to(&self, term: u64, until: Version) -> Result<(), NotHere> {
        let command = MetaCommand::ExtendWindow { until }.encode();
        let end = match self.group.submit(term, command.into()).await {
            Ok(pending) => pending.await,
            Err(error) => Err(error),
        };
        let Ok((_, MetaOutcome::Window(end))) = end else {
            return Err(NotHere(self.group.watch().borrow().leader));
        };
        if let Some((_, oracle)) = self.leading().as_mut().filter(|leading| leading.0 == term) {
            oracle.extended(end);
        }
        Ok(())
    }

    /// Extends the window before it is needed.
    fn look_ahead(self: &Arc<Self>) {
        let Ok(extending) = Arc::clone(&self.extending).try_lock_owned() else { return };
        let wanted = match self.leading().as_mut() {
            Some((term, oracle)) => oracle.wants_extension(self.clock.unix_ms()).map(|until| (*term, until)),
            None => None,
        };
        if let Some((term, until)) = wanted {
            let server = Arc::clone(self);
            spawn(async move {
                let _extending: OwnedMutexGuard<()> = extending;
                // It is tried again at the next look.
                let _ = server.extend_to(term, until).await;
            });
        }
    }

    fn leading(&self) -> MutexGuard<'_, Option<(u64, Oracle)>> {
        self.leading.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
