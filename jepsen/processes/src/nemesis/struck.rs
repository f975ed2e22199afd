//! A fault from strike to mend.

use std::time::Duration;

use lentic_client::Client;
use lentic_workloads::{Dice, Recorder};

use super::{Fault, admin, calls, damage, disks, network, processes, shape};
use crate::cluster::Cluster;

/// What faults are done to, and with.
pub(crate) struct Arena<'a> {
    /// The cluster.
    pub(crate) cluster: &'a mut Cluster,
    /// The table whose shards are led by someone.
    pub(crate) table: &'a str,
    /// A client for what operators ask for.
    pub(crate) admin: &'a Client,
    /// Where what is done is told.
    pub(crate) recorder: &'a Recorder,
    /// Chance.
    pub(crate) dice: &'a Dice,
}

/// A fault that holds.
pub(crate) struct Struck {
    pub(crate) fault: Fault,
    /// Whom it hurts, by place.
    pub(crate) nodes: Vec<usize>,
    /// Since when.
    pub(crate) from: Duration,
    /// What is needed to mend it and to say what it did.
    pub(crate) memory: Memory,
}

/// What a fault keeps in mind.
pub(crate) enum Memory {
    /// Nothing.
    Nothing,
    /// What had been counted before it, over all that it hurts.
    Counted(u64),
    /// The links that it hurts, and what had been counted on them.
    Links(Vec<network::Link>),
    /// What was done to a file.
    Damaged(damage::Wound),
    /// A change of shape that is under way.
    Shape(shape::Change),
    /// What came of it: it holds no longer.
    Over(String),
}

impl Arena<'_> {
    /// Strikes a fault; `round` chooses among the nodes whom it may hurt. `None`: nothing can be hurt now, for too many
    /// are down already.
    pub(crate) async fn strike(&mut self, fault: Fault, round: usize) -> Option<Struck> {
        let nodes = self.victims(fault, round).await?;
        Some(self.strike_at(fault, nodes).await)
    }

    /// Strikes a fault at the nodes in these places.
    pub(crate) async fn strike_at(&mut self, fault: Fault, nodes: Vec<usize>) -> Struck {
        let names: Vec<&str> = nodes.iter().map(|place| self.cluster.nodes[*place].name()).collect();
        let from = self.recorder.nemesis(fault.name(), &names.join(" "));
        let memory = match fault {
            Fault::Kill | Fault::Pause | Fault::Rolling => processes::strike(self, fault, &nodes).await,
            Fault::Cut | Fault::OneWay | Fault::Bridge | Fault::Loss | Fault::Delay => {
                network::strike(self, fault, &nodes)
            }
            Fault::SlowSync | Fault::SyncError | Fault::TornWrite | Fault::Clock => {
                calls::strike(self, fault, &nodes).await
            }
            Fault::DiskFull | Fault::PowerOne | Fault::PowerMajority | Fault::PowerAll => {
                disks::strike(self, fault, &nodes)
            }
            Fault::Damage => damage::strike(self, nodes[0]),
            Fault::Transfer => admin::strike(self).await,
            Fault::Split => shape::split(self).await,
            Fault::Move => shape::move_replica(self).await,
            Fault::Drain => shape::drain(self, nodes[0]).await,
        };
        Struck { fault, nodes, from, memory }
    }

    /// Ends a fault, and says what it did.
    ///
    /// # Panics
    /// If that was nothing.
    pub(crate) async fn mend(&mut self, struck: Struck) -> String {
        let Struck { fault, nodes, memory, .. } = struck;
        let effect = match (fault, memory) {
            (_, Memory::Over(effect)) => effect,
            (_, Memory::Links(links)) => network::mend(self, &links),
            (_, Memory::Shape(change)) => shape::mend(self, change).await,
            (_, Memory::Damaged(wound)) => damage::mend(self, nodes[0], wound).await,
            (Fault::Kill | Fault::Pause | Fault::Rolling, _) => processes::mend(self, fault, &nodes),
            (Fault::DiskFull | Fault::PowerOne | Fault::PowerMajority | Fault::PowerAll, _) => {
                disks::mend(self, fault, &nodes).await
            }
            (_, Memory::Counted(before)) => calls::mend(self, fault, &nodes, before),
            (_, Memory::Nothing) => unreachable!("{fault} keeps something in mind"),
        };
        self.recorder.nemesis(&format!("{fault}-end"), &effect);
        effect
    }

    /// Whom a fault hurts.
    async fn victims(&mut self, fault: Fault, round: usize) -> Option<Vec<usize>> {
        let all: Vec<usize> = (0..self.cluster.nodes.len()).collect();
        let up: Vec<usize> = all.iter().copied().filter(|place| self.cluster.nodes[*place].is_up()).collect();
        match fault {
            Fault::Rolling | Fault::Transfer | Fault::PowerAll | Fault::Split | Fault::Move => {
                (up == all).then_some(all)
            }
            Fault::Drain => (up == all).then(|| vec![self.dice.place(all.len())]),
            Fault::PowerMajority => {
                let spared = self.dice.place(all.len());
                (up == all).then(|| all.into_iter().filter(|place| *place != spared).collect())
            }
            Fault::Loss if self.dice.one_in(2) => Some(all),
            Fault::Delay if self.dice.one_in(2) => Some(all),
            Fault::Clock if self.dice.one_in(4) => Some(all),
            _ if up.len() < all.len() => None,
            // Who leads most, every second time the meta group's leader; and now and then someone who leads little.
            _ if fault != Fault::Bridge && self.dice.one_in(4) => Some(vec![all[self.dice.place(all.len())]]),
            _ => match self.cluster.leaders_now().await {
                // Those who do not meet have nothing to say to each other if the bridge leads everything.
                Ok(leaders) if fault == Fault::Bridge => Some(vec![(leaders.victim(1) + 1) % all.len()]),
                Ok(leaders) => Some(vec![leaders.victim(round)]),
                Err(_) => Some(vec![all[self.dice.place(all.len())]]),
            },
        }
    }
}
