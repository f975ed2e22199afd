//! The oracle's leader: hands out ticks while this node leads the meta group.
//!
//! A batch of questions is answered from one confirmation of leadership, begun after the last of them arrived. The end
//! of the window is replicated ahead, so the answer waits for the disk only after a change of leader.

use std::sync::Arc;
use std::time::Duration;

use lentic_engine::Portable;
use lentic_machine::meta::{MetaCommand, MetaOutcome};
use lentic_machine::oracle::{NoTicks, Oracle, Ticks};
use lentic_raft::{Group, ReadError, ReadIndex, Status};
use lentic_runtime::{Clock, spawn};
use lentic_types::{NodeId, Version};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tracing::error;

use super::machine::{MetaMachine, Shown};

/// Most questions that wait for a confirmation.
const WAITING_MAX: usize = 4_096;

/// How often the oracle looks at the clock while nobody asks.
const LOOK_EVERY: Duration = Duration::from_millis(300);

/// Extensions that were applied and not looked at yet: one is on its way at a time.
const EXTENSIONS_MAX: usize = 4;

/// Asks the oracle on this node. Clones ask the same one.
#[derive(Clone)]
pub(crate) struct LocalOracle(mpsc::Sender<Waiter>);

struct Waiter {
    count: u32,
    reply: oneshot::Sender<Result<Ticks, NotHere>>,
}

/// This node does not lead the meta group; who does, if it knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotHere(pub(crate) Option<NodeId>);

/// The term in which an extension was asked for, and where the window ends.
type Extended = (u64, Version);

struct Server<S: Portable> {
    group: Group<MetaMachine<S>>,
    shown: watch::Receiver<Shown>,
    clock: Arc<dyn Clock>,
    leading: Option<(u64, Oracle)>,
    /// The extension of the window that is on its way.
    extending: Option<JoinHandle<()>>,
    /// Extensions of this leader that were applied: the term in which it asked, and where the window ends. What others
    /// extended says nothing of what this one may hand out: a leader that was paused may find a successor's window.
    extended: (mpsc::Sender<Extended>, mpsc::Receiver<Extended>),
}

impl LocalOracle {
    pub(crate) fn start<S: Portable>(
        group: Group<MetaMachine<S>>,
        shown: watch::Receiver<Shown>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let (waiting, waiters) = mpsc::channel(WAITING_MAX);
        spawn(
            Server { group, shown, clock, leading: None, extending: None, extended: mpsc::channel(EXTENSIONS_MAX) }
                .run(waiters),
        );
        Self(waiting)
    }

    /// Ticks, confirmed after this call.
    pub(crate) async fn ticks(&self, count: u32) -> Result<Ticks, NotHere> {
        let (reply, ticks) = oneshot::channel();
        self.0.send(Waiter { count, reply }).await.map_err(|_| NotHere(None))?;
        ticks.await.map_err(|_| NotHere(None))?
    }
}

impl<S: Portable> Server<S> {
    async fn run(mut self, mut waiters: mpsc::Receiver<Waiter>) {
        let mut together = Vec::new();
        loop {
            match timeout(LOOK_EVERY, waiters.recv_many(&mut together, WAITING_MAX)).await {
                Ok(0) => return,
                Ok(_) => {}
                Err(_) => {
                    self.look_ahead(self.clock.unix_ms());
                    continue;
                }
            }
            let count = together.iter().map(|waiter| waiter.count).max().unwrap_or(1).max(1);
            let result = self.take(count).await;
            for waiter in together.drain(..) {
                // Who no longer waits needs no ticks.
                let _ = waiter.reply.send(result);
            }
        }
    }

    async fn take(&mut self, count: u32) -> Result<Ticks, NotHere> {
        loop {
            let confirmed = self.confirm().await.map_err(|_| self.not_here())?;
            let now = self.clock.unix_ms();
            let oracle = match &mut self.leading {
                Some((term, oracle)) if *term == confirmed.term => oracle,
                // A new leader begins above everything that an earlier one may have handed out.
                leading => {
                    let window_end = self.shown.borrow().window_end;
                    &mut leading.insert((confirmed.term, Oracle::lead(window_end, now))).1
                }
            };
            while let Ok((term, end)) = self.extended.1.try_recv() {
                if term == confirmed.term {
                    oracle.extended(end);
                }
            }
            match oracle.take(count, now) {
                Ok(ticks) => {
                    self.look_ahead(now);
                    return Ok(ticks);
                }
                Err(NoTicks::NeedsWindow { until }) => match extend(&self.group, confirmed.term, until).await {
                    Some(end) => oracle.extended(end),
                    None => return Err(self.not_here()),
                },
                Err(reason @ (NoTicks::TooMany { .. } | NoTicks::Exhausted)) => {
                    error!(%reason, "no ticks");
                    return Err(NotHere(None));
                }
            }
        }
    }

    /// This node leads the meta group.
    async fn confirm(&self) -> Result<ReadIndex, ReadError> {
        if lentic_types::mutant!("oracle-no-confirm")
            && let Status { is_leader: true, term, applied: index, .. } = self.group.status()
        {
            return Ok(ReadIndex { term, index });
        }
        self.group.read_index().await
    }

    /// Extends the window before it is needed.
    fn look_ahead(&mut self, now: u64) {
        let is_idle = self.extending.as_ref().is_none_or(JoinHandle::is_finished);
        let Some((term, oracle)) = self.leading.as_mut().filter(|_| is_idle) else { return };
        if let Some(until) = oracle.wants_extension(now) {
            let (group, term, told) = (self.group.clone(), *term, self.extended.0.clone());
            self.extending = Some(spawn(async move {
                if let Some(end) = extend(&group, term, until).await {
                    // An oracle that is gone needs no window.
                    let _ = told.send((term, end)).await;
                }
            }));
        }
    }

    fn not_here(&self) -> NotHere {
        NotHere(self.group.watch().borrow().leader)
    }
}

/// Replicates a new end of the window, and says where it ends then; `None` if that is not known.
async fn extend<S: Portable>(group: &Group<MetaMachine<S>>, term: u64, until: Version) -> Option<Version> {
    let command = MetaCommand::ExtendWindow { until }.encode();
    match group.submit(term, command.into()).await.ok()?.await {
        Ok((_, MetaOutcome::Window(end))) => Some(end),
        _ => None,
    }
}
