//! What was done by all workloads, and how long it took.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::scene::Step;
use crate::ledger::Ack;
use crate::outage::Distribution;

/// In which way a transaction is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// All of it is known beforehand and sent at once. It has no reads that could have changed.
    OneShot,
    /// It reads, thinks and writes.
    Reading,
    /// It reads only.
    ReadOnly,
}

/// What came of a workload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Transactions that wrote something.
    pub(super) commits: u64,
    /// Those that were refused, for others had changed what they had read.
    pub(super) conflicts: u64,
    /// Those whose callers were gone.
    pub(super) unknown: u64,
    /// Reads, of transactions that only read among them.
    pub(super) reads: u64,
    /// How often a body was run again, for its transaction had met another.
    pub(super) again: u64,
    /// When the newest that committed had begun.
    newest: Duration,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { commits, conflicts, unknown, reads, again, .. } = self;
        write!(
            f,
            "{commits} commits, {conflicts} conflicts, {unknown} unknown, {reads} reads, {again} bodies run again"
        )
    }
}

/// What was done so far.
pub(super) struct Tally {
    workloads: BTreeMap<&'static str, Counts>,
    /// What was committed, by the place of each shard that it wrote to.
    acks: Vec<Vec<Ack>>,
    /// When anything was committed.
    all: Vec<Duration>,
    one_shot: Vec<Duration>,
    reading: Vec<Duration>,
    reads: Vec<Duration>,
    /// What took the longest to commit.
    longest: (Duration, String),
}

impl Tally {
    pub(super) fn new(shards: usize) -> Self {
        let (workloads, acks) = (BTreeMap::new(), vec![Vec::new(); shards]);
        let (all, one_shot, reading, reads) = Default::default();
        Self { workloads, acks, all, one_shot, reading, reads, longest: (Duration::ZERO, "nothing".to_owned()) }
    }

    pub(super) fn committed(&mut self, step: &Step, began: Duration, at: Duration) {
        let took = at.saturating_sub(began);
        let counts = self.called(step);
        if step.style == Style::ReadOnly {
            counts.reads += 1;
            return;
        }
        counts.commits += 1;
        counts.newest = counts.newest.max(began);
        match step.style {
            Style::OneShot => self.one_shot.push(took),
            Style::Reading | Style::ReadOnly => self.reading.push(took),
        }
        if took > self.longest.0 {
            let (Step { workload, does: (f, key), runs, .. }, ms) = (step, took.as_millis());
            self.longest =
                (took, format!("{workload}: {f} {key}, {ms} ms until {at:.3?}, {} runs", runs.count().max(1)));
        }
        self.all.push(at);
        for shard in &step.shards {
            let shard = shard % self.acks.len();
            self.acks[shard].push(Ack { meant: began, at });
        }
    }

    pub(super) fn conflicted(&mut self, step: &Step) {
        self.called(step).conflicts += 1;
    }

    pub(super) fn unknown(&mut self, step: &Step) {
        self.called(step).unknown += 1;
    }

    fn called(&mut self, step: &Step) -> &mut Counts {
        let counts = self.workloads.entry(step.workload).or_default();
        counts.again += step.runs.count().saturating_sub(1);
        counts
    }

    pub(super) fn read(&mut self, workload: &'static str, took: Duration) {
        self.workloads.entry(workload).or_default().reads += 1;
        self.reads.push(took);
    }

    /// What came of a workload.
    pub(super) fn of(&self, workload: &'static str) -> Counts {
        self.workloads.get(workload).copied().unwrap_or_default()
    }

    /// What came of all of them.
    pub(super) fn sum(&self) -> Counts {
        self.workloads.values().fold(Counts::default(), |sum, counts| Counts {
            commits: sum.commits + counts.commits,
            conflicts: sum.conflicts + counts.conflicts,
            unknown: sum.unknown + counts.unknown,
            reads: sum.reads + counts.reads,
            again: sum.again + counts.again,
            newest: sum.newest.max(counts.newest),
        })
    }

    /// The shards and workloads of which nothing is committed that began after `since`.
    pub(super) fn silent(&self, workloads: &[&'static str], since: Duration) -> Vec<String> {
        let has_one = |acks: &[Ack]| acks.iter().rev().any(|ack| ack.meant > since);
        let shards = self.acks.iter().enumerate().filter(|(_, acks)| !has_one(acks));
        let shards = shards.map(|(place, _)| format!("shard {}", place + 1));
        let workloads = workloads.iter().filter(|workload| self.of(workload).newest <= since);
        shards.chain(workloads.map(ToString::to_string)).collect()
    }

    /// When commits that wrote to a shard were acknowledged, in order.
    pub(super) fn ack_times(&self, shard: usize) -> Vec<Duration> {
        sorted(self.acks[shard].iter().map(|ack| ack.at).collect())
    }

    /// When anything was acknowledged, in order.
    pub(super) fn all_ack_times(&self) -> Vec<Duration> {
        sorted(self.all.clone())
    }

    /// How long transactions took that were sent at once.
    pub(super) fn one_shot(&self) -> Distribution {
        self.one_shot.iter().copied().collect()
    }

    /// How long transactions took that read and wrote, with all their runs.
    pub(super) fn reading(&self) -> Distribution {
        self.reading.iter().copied().collect()
    }

    /// What took the longest to commit.
    pub(super) fn longest(&self) -> &str {
        &self.longest.1
    }

    /// How long reads took.
    pub(super) fn reads(&self) -> Distribution {
        self.reads.iter().copied().collect()
    }
}

fn sorted(mut times: Vec<Duration>) -> Vec<Duration> {
    times.sort_unstable();
    times
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cases::transactions::scene::Runs;

    fn step(style: Style, shards: &[usize]) -> Step {
        Step {
            workload: "bank",
            style,
            does: ("transfer", "a".to_owned()),
            shards: shards.to_vec(),
            gives_up: None,
            runs: Runs::default(),
        }
    }

    #[test]
    fn what_is_silent_has_committed_nothing_that_began_since() {
        let (mut tally, second) = (Tally::new(2), Duration::from_secs(1));
        tally.committed(&step(Style::OneShot, &[0]), second, 5 * second);
        assert_eq!(tally.silent(&["bank", "skew"], 2 * second), ["shard 1", "shard 2", "bank", "skew"]);
        assert_eq!(tally.silent(&["bank"], second / 2), ["shard 2"]);
        tally.committed(&step(Style::Reading, &[1, 2]), 3 * second, 4 * second);
        tally.committed(&step(Style::ReadOnly, &[]), 8 * second, 9 * second);
        assert_eq!(tally.silent(&["bank"], 2 * second), Vec::<String>::new(), "the third shard is the first");
        assert_eq!(tally.silent(&["bank"], 3 * second).len(), 3, "a read is no commit");
        assert_eq!((tally.ack_times(0), tally.of("bank").commits), (vec![4 * second, 5 * second], 2));
    }
}
