//! One fault after the other, now and then two at once.

use std::time::Duration;

use lentic_workloads::World;
use tokio::time::sleep;

use super::Fault;
use super::struck::{Arena, Struck};
use crate::mix::Mix;

/// How long a cluster may take to go on once a fault is mended: nodes start, elect, and end what others left behind.
const RESUMES_WITHIN: Duration = Duration::from_secs(90);
/// How long it is left alone between two faults.
const CALM_MS: std::ops::RangeInclusive<u64> = 500..=2_500;
/// How long a fault holds, in most cases.
const HOLD_MS: std::ops::RangeInclusive<u64> = 500..=6_000;
/// One in so many faults has company.
const COMPANY_ONE_IN: u64 = 3;

/// Which faults, and how long.
pub(crate) struct Schedule {
    /// The faults: each comes once before any comes again.
    pub(crate) faults: Vec<Fault>,
    /// No fault begins after so long.
    pub(crate) time: Duration,
}

/// A fault that has been.
#[derive(Clone, Debug)]
pub(crate) struct Done {
    pub(crate) fault: Fault,
    /// Whom it hurt, by place.
    pub(crate) nodes: Vec<usize>,
    /// Since when.
    pub(crate) from: Duration,
    /// Until when.
    pub(crate) to: Duration,
    /// When every shard and every workload had gone on after it.
    pub(crate) resumed: Duration,
    /// What it did.
    pub(crate) effect: String,
}

impl Schedule {
    /// Strikes and mends until the time is over, and until each fault has been at least once. `workloads` are those
    /// that must go on after each fault.
    ///
    /// # Panics
    /// If a fault had no effect, or something does not go on.
    pub(crate) async fn run(&self, arena: &mut Arena<'_>, world: &World, workloads: &[&'static str]) -> Vec<Done> {
        let began = arena.recorder.now();
        let (mut done, mut order, mut round) = (Vec::new(), Vec::new(), 0);
        let is_over = |arena: &Arena<'_>| arena.recorder.now().saturating_sub(began) >= self.time;
        if self.faults.is_empty() {
            sleep(self.time).await;
            return done;
        }
        while round < self.faults.len() || !is_over(arena) {
            sleep(Duration::from_millis(arena.dice.between(CALM_MS))).await;
            if order.is_empty() {
                order = self.faults.clone();
            }
            let fault = order.swap_remove(arena.dice.place(order.len()));
            let mut struck: Vec<Struck> = arena.strike(fault, round).await.into_iter().collect();
            sleep(Duration::from_millis(arena.dice.between(hold_ms(fault)))).await;
            if arena.dice.one_in(COMPANY_ONE_IN)
                && let Some(company) = self.company_of(fault, arena)
            {
                struck.extend(arena.strike(company, round + 1).await);
                sleep(Duration::from_millis(arena.dice.between(hold_ms(company)))).await;
            }
            let mut ended = Vec::new();
            while let Some(last) = struck.pop() {
                let (fault, nodes, from) = (last.fault, last.nodes.clone(), last.from);
                let effect = arena.mend(last).await;
                ended.push(Done { fault, nodes, from, to: arena.recorder.now(), resumed: Duration::ZERO, effect });
            }
            Mix::until_all_go_on(world, workloads, RESUMES_WITHIN).await;
            let resumed = arena.recorder.now();
            done.extend(ended.into_iter().map(|ended| Done { resumed, ..ended }));
            arena.cluster.well("a fault").await;
            round += 1;
        }
        done
    }

    /// A fault of another kind, which does not need that all nodes are well. A change of shape has company and is none: it
    /// is begun while all are well, and may have to wait for them.
    fn company_of(&self, fault: Fault, arena: &Arena<'_>) -> Option<Fault> {
        let holds = |fault: Fault| !matches!(fault, Fault::Rolling | Fault::Transfer | Fault::Damage | Fault::DiskFull);
        let is_other = |other: Fault| fault.is_shape() || other.needs() != fault.needs();
        let joins = |other: Fault| {
            holds(other) && !other.is_shape() && !matches!(other, Fault::PowerAll | Fault::PowerMajority)
        };
        let others: Vec<Fault> =
            self.faults.iter().copied().filter(|other| joins(*other) && is_other(*other)).collect();
        (holds(fault) && !others.is_empty()).then(|| others[arena.dice.place(others.len())])
    }
}

/// How long a fault holds before it is mended.
const fn hold_ms(fault: Fault) -> std::ops::RangeInclusive<u64> {
    match fault {
        // What ended the node has shown itself.
        Fault::SyncError | Fault::TornWrite | Fault::PowerAll => 0..=1_500,
        Fault::Rolling | Fault::Transfer => 0..=0,
        Fault::SlowSync => 2_000..=6_000,
        // Its company should come while it is under way.
        Fault::Split => 0..=100,
        Fault::Move => 0..=800,
        Fault::Drain => 0..=2_500,
        // Its leader has to be found out, and another elected.
        Fault::Cut | Fault::OneWay | Fault::Bridge => 1_500..=7_000,
        _ => HOLD_MS,
    }
}
