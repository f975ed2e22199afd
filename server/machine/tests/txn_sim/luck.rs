//! What a seed decides: every choice, which faults there are and how often, and which rule is broken on purpose.

use lentic_types::limits::{PREPARE_MS_MAX, TXN_MS_MAX};
use proptest::prelude::Rng;
use proptest::test_runner::{RngAlgorithm, TestRng};

/// A stream of choices.
pub(crate) struct Luck(TestRng);

impl Luck {
    pub(crate) fn new(seed: u64) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_be_bytes());
        Self(TestRng::from_seed(RngAlgorithm::ChaCha, &bytes))
    }

    /// A number below `end`, which is not 0.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0.next_u64() % end
    }

    pub(crate) fn between(&mut self, first: u64, last: u64) -> u64 {
        first + self.below(last - first + 1)
    }

    /// A place in a list of so many.
    pub(crate) fn index(&mut self, count: usize) -> usize {
        usize::try_from(self.below(count as u64)).expect("below a usize")
    }

    /// True so many times in a thousand.
    pub(crate) fn chance(&mut self, per_mille: u64) -> bool {
        self.below(1000) < per_mille
    }

    pub(crate) fn pick<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.index(all.len())]
    }
}

/// The shape of a run and what befalls it.
#[derive(Clone, Debug)]
pub(crate) struct Faults {
    pub(crate) groups: usize,
    pub(crate) clients: usize,
    pub(crate) works_per_client: usize,
    /// Of a thousand values that are put: they end.
    pub(crate) ends: u64,
    /// Entries of a shard that are stamped and not applied.
    pub(crate) in_flight_max: usize,
    /// How long an entry takes to a quorum.
    pub(crate) commit_ms: u64,
    /// Of a thousand messages: lost, doubled, much delayed.
    pub(crate) loss: u64,
    pub(crate) copies: u64,
    pub(crate) slow: u64,
    /// How much a copy, and a slow message, is delayed.
    pub(crate) copy_ms: u64,
    pub(crate) slow_ms: u64,
    /// Of a thousand steps of a coordinator or a recovery: it is gone.
    pub(crate) crash: u64,
    /// How long a shard has no trouble: then its leader changes, or a replica crashes.
    pub(crate) trouble_ms: u64,
    /// Of a thousand draws of a tick: version time leaps, by up to two lives of a transaction.
    pub(crate) leap: u64,
    /// From which age of a prepare on its transaction is recovered.
    pub(crate) sweep_ms: u64,
    /// For how long a transaction may be prepared.
    pub(crate) txn_ms: u64,
    /// How long a client, and a coordinator, waits.
    pub(crate) patience_ms: u64,
}

impl Faults {
    pub(crate) fn new(luck: &mut Luck) -> Self {
        Self {
            groups: luck.pick(&[1, 2, 2, 3, 3, 4, 5]),
            clients: luck.index(4) + 1,
            works_per_client: luck.index(8) + 2,
            ends: luck.pick(&[50, 250, 900]),
            in_flight_max: luck.index(4) + 1,
            commit_ms: luck.pick(&[8, 30, 150]),
            loss: luck.pick(&[0, 20, 100, 250]),
            copies: luck.pick(&[0, 50, 300]),
            copy_ms: luck.pick(&[12, 100, 1000, 6000]),
            slow: luck.pick(&[0, 20, 150]),
            slow_ms: luck.pick(&[60, 600, 3000, 9000]),
            crash: luck.pick(&[0, 10, 60, 200]),
            trouble_ms: luck.pick(&[60, 200, 1000, 100_000]),
            leap: luck.pick(&[0, 0, 5, 30]),
            sweep_ms: luck.pick(&[5, 60, 400, PREPARE_MS_MAX, PREPARE_MS_MAX]),
            txn_ms: luck.pick(&[60, 500, TXN_MS_MAX, TXN_MS_MAX]),
            patience_ms: luck.pick(&[120, 500, 2500]),
        }
    }
}

/// A rule that the surroundings of the machines are to keep, broken to see that it is missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    /// Rule W: a stamp's tick is fetched before its request has come.
    EarlyTicks,
    /// Rule R: a read does not raise what is stamped next.
    UnraisedFloor,
    /// Rule F: a new leader begins with a tick that was fetched before it led.
    StaleLeader,
    /// A reader does not wait for what was stamped before it.
    ImpatientReads,
    /// A reader does not wait for locks.
    ReadsPastLocks,
    /// A coordinator refuses a request with a key by itself: an earlier attempt may be what it is refused for.
    HastyRefusals,
    /// A retry carries a new key.
    ForgetfulRetries,
    /// Who meets an old lock has its transaction aborted without asking the participants, and does not ask the anchor.
    RashSweeper,
}

impl Broken {
    pub(crate) const ALL: [Self; 8] = [
        Self::EarlyTicks,
        Self::UnraisedFloor,
        Self::StaleLeader,
        Self::ImpatientReads,
        Self::ReadsPastLocks,
        Self::HastyRefusals,
        Self::ForgetfulRetries,
        Self::RashSweeper,
    ];
}
