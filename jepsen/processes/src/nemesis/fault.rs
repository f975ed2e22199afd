//! The faults, by name.

use std::fmt;

/// What can be done to a cluster of processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// kill -9 of a node, every second time the leader of the meta group.
    Kill,
    /// SIGSTOP of a node, then SIGCONT.
    Pause,
    /// SIGTERM and a new start of every node in turn.
    Rolling,
    /// A node is cut off from the others, half of the times from its clients too.
    Cut,
    /// A node hears nothing, or nobody hears it.
    OneWay,
    /// Two parts that meet in one node only.
    Bridge,
    /// A part of all packets is lost.
    Loss,
    /// Packets take their time, and overtake each other.
    Delay,
    /// Syncs of a node's disk take half a second more.
    SlowSync,
    /// Syncs of a node's disk fail.
    SyncError,
    /// A node's disk is full.
    DiskFull,
    /// The disk writes a part of what it was given, and the node ends: a torn write at a loss of power.
    TornWrite,
    /// A node loses its power: what its disk had not synced is gone.
    PowerOne,
    /// All nodes but one lose it at once.
    PowerMajority,
    /// All nodes lose it at once.
    PowerAll,
    /// The wall clock of a node jumps.
    Clock,
    /// Bytes of a node's files are changed while it is down.
    Damage,
    /// Leaders are asked to hand over.
    Transfer,
    /// A shard is cut in two.
    Split,
    /// A replica goes to a node that holds none of its shard.
    Move,
    /// A node is emptied, and used again.
    Drain,
}

/// What a fault needs of the ground that nodes stand on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// A network whose links can be hurt.
    pub network: bool,
    /// Disks of the nodes' own.
    pub disks: bool,
    /// System calls that can be hurt.
    pub calls: bool,
}

impl Needs {
    /// What either needs.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self {
            network: self.network || other.network,
            disks: self.disks || other.disks,
            calls: self.calls || other.calls,
        }
    }
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 21] = [
        Self::Kill,
        Self::Pause,
        Self::Rolling,
        Self::Cut,
        Self::OneWay,
        Self::Bridge,
        Self::Loss,
        Self::Delay,
        Self::SlowSync,
        Self::SyncError,
        Self::DiskFull,
        Self::TornWrite,
        Self::PowerOne,
        Self::PowerMajority,
        Self::PowerAll,
        Self::Clock,
        Self::Damage,
        Self::Transfer,
        Self::Split,
        Self::Move,
        Self::Drain,
    ];

    /// Its name, in commands, histories and reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Pause => "pause",
            Self::Rolling => "rolling",
            Self::Cut => "cut",
            Self::OneWay => "one-way",
            Self::Bridge => "bridge",
            Self::Loss => "loss",
            Self::Delay => "delay",
            Self::SlowSync => "slow-sync",
            Self::SyncError => "sync-error",
            Self::DiskFull => "disk-full",
            Self::TornWrite => "torn-write",
            Self::PowerOne => "power-one",
            Self::PowerMajority => "power-majority",
            Self::PowerAll => "power-all",
            Self::Clock => "clock",
            Self::Damage => "damage",
            Self::Transfer => "transfer",
            Self::Split => "split",
            Self::Move => "move",
            Self::Drain => "drain",
        }
    }

    /// What it needs.
    #[must_use]
    pub const fn needs(self) -> Needs {
        let nothing = Needs { network: false, disks: false, calls: false };
        match self {
            Self::Kill | Self::Pause | Self::Rolling | Self::Transfer => nothing,
            Self::Split | Self::Move | Self::Drain => nothing,
            Self::Cut | Self::OneWay | Self::Bridge | Self::Loss | Self::Delay => Needs { network: true, ..nothing },
            Self::SlowSync | Self::SyncError | Self::TornWrite | Self::Clock => Needs { calls: true, ..nothing },
            Self::DiskFull | Self::PowerOne | Self::PowerMajority | Self::PowerAll | Self::Damage => {
                Needs { disks: true, ..nothing }
            }
        }
    }

    /// How many nodes it needs: a replica that moves needs one that holds none.
    #[must_use]
    pub const fn nodes_min(self) -> usize {
        match self {
            Self::Move | Self::Drain => 4,
            _ => 3,
        }
    }

    /// Whether it changes which shards there are, or where they are. Such a change goes on beside other faults, and by
    /// whoever leads then.
    #[must_use]
    pub const fn is_shape(self) -> bool {
        matches!(self, Self::Split | Self::Move | Self::Drain)
    }

    /// The faults that `word` names: one of them, or a group: `processes`, `partitions`, `network`, `disks`, `power`,
    /// `shape`, `all`.
    #[must_use]
    pub fn named(word: &str) -> Option<Vec<Self>> {
        let all = Self::ALL.to_vec();
        Some(match word {
            "none" => Vec::new(),
            "all" => all,
            "processes" => vec![Self::Kill, Self::Pause, Self::Rolling, Self::Transfer],
            "partitions" => vec![Self::Cut, Self::OneWay, Self::Bridge],
            "network" => vec![Self::Cut, Self::OneWay, Self::Bridge, Self::Loss, Self::Delay],
            "disks" => vec![Self::SlowSync, Self::SyncError, Self::DiskFull, Self::TornWrite, Self::Damage],
            "shape" => all.into_iter().filter(|fault| fault.is_shape()).collect(),
            "power" => vec![Self::PowerOne, Self::PowerMajority, Self::PowerAll],
            _ => vec![all.into_iter().find(|fault| fault.name() == word)?],
        })
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_is_found_by_its_name_and_some_by_that_of_their_group() {
        for fault in Fault::ALL {
            assert_eq!(Fault::named(fault.name()), Some(vec![fault]));
        }
        let grouped =
            ["processes", "network", "disks", "power", "shape"].map(|group| Fault::named(group).unwrap()).concat();
        assert_eq!(grouped.len(), Fault::ALL.len() - 1, "all but the clock are in one group");
        assert_eq!((Fault::named("none"), Fault::named("nothing")), (Some(Vec::new()), None));
    }
}
