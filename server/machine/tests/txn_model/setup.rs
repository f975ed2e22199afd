//! What is checked: who takes part, what may go wrong, and which rule is switched off.

use lentic_types::Version;

/// A tick of the model: its oracle counts.
pub(crate) fn tick(count: u16) -> Version {
    Version::tick(0, count).expect("few ticks")
}

/// The count of the first tick that is too late for prepares: far above what a run takes before time leaps.
pub(crate) const LATE: u16 = 1_000;
/// From this version on prepares are refused for their age.
pub(crate) const UNTIL: Version = Version((LATE as u64) << 8);

/// A rule of the protocol that is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Off {
    /// All are kept.
    Nothing,
    /// Rule W: a stamp is made of a tick that was fetched before the request came.
    RuleW,
    /// Rule R: a reader does not raise the floor.
    RuleR,
    /// Rule F: a new leader begins above what it has applied, and no higher.
    RuleF,
    /// A reader does not wait for what was stamped at or below its version.
    InFlight,
    /// A reader does not wait for prepared transactions.
    Locks,
    /// What is shared is written as it is resolved.
    KeyOrder,
    /// Asking how a transaction stands keeps no prepare out.
    AbortFence,
    /// Participants resolve before the anchor knows the decision.
    DecideFirst,
    /// The anchor resolves before the others have.
    AnchorLast,
    /// A prepare is taken although the transaction has ended here.
    EndedSet,
    /// A prepare is taken however late it comes.
    Age,
    /// The commit's version is that of its smallest prepare.
    MaxVersion,
    /// The client is told when the first participant is prepared.
    AllPrepared,
    /// The last decision stands.
    FirstWins,
    /// An anchor that has forgotten a transaction takes it for aborted when it is asked to decide.
    Forgotten,
    /// A shard takes an abort by somebody who could only ask an anchor that has forgotten for a contradiction.
    Hearsay,
}

/// One configuration.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) shards: usize,
    /// The shards of each transaction, the anchor first.
    pub(crate) txns: &'static [&'static [usize]],
    /// The shard of each write by itself. Each begins when the one before was answered.
    pub(crate) writes: &'static [usize],
    /// Whether the first write begins when the client of the first transaction was told of its commit.
    pub(crate) follows: bool,
    /// How many shards a reader reads at a tick that it has taken.
    pub(crate) reads: usize,
    /// Whether coordinators may crash, and answers take their time.
    pub(crate) fails: bool,
    /// Whether coordinators may give up, too.
    pub(crate) gives_up: bool,
    pub(crate) recoveries: u8,
    pub(crate) leader_changes: u8,
    /// Whether a new leader stamps what has waited at the old one, with the tick that was fetched there.
    pub(crate) inherits: bool,
    /// How many messages may come twice.
    pub(crate) doubles: u8,
    /// Whether time may leap beyond that up to which prepares are taken, and shards may forget what has ended.
    pub(crate) ages: bool,
    /// Whether transactions exclude each other from a key.
    pub(crate) exclusive: bool,
    /// Whether what arrives is stamped and applied at once: without a reader nobody can tell, and a leader loses nothing.
    pub(crate) at_once: bool,
    pub(crate) off: Off,
}

/// One transaction, and nothing goes wrong.
pub(crate) const QUIET: Setup = Setup {
    shards: 2,
    txns: &[&[0, 1]],
    writes: &[],
    follows: false,
    reads: 0,
    fails: false,
    gives_up: false,
    recoveries: 0,
    leader_changes: 0,
    inherits: true,
    doubles: 0,
    ages: false,
    exclusive: false,
    at_once: false,
    off: Off::Nothing,
};
