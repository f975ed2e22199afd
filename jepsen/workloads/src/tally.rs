//! What was done by all workloads, and how long it took.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::outage::{Ack, Distribution};
use crate::world::Step;

/// In which way an operation is made: what may refuse it, and how it is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// All of it is known beforehand and sent at once. Nothing may refuse it.
    OneShot,
    /// As a one-shot, with a condition, which may not hold.
    Conditional,
    /// As a one-shot, under a fence, which a newer owner may have made void.
    Fenced,
    /// It reads, thinks and writes: others may change meanwhile what it has read.
    Reading,
    /// It reads only.
    ReadOnly,
}

/// What came of a workload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Operations that wrote something.
    pub commits: u64,
    /// Reads, of transactions that only read among them.
    pub reads: u64,
    /// Operations that were refused, as a caller must expect: a condition did not hold, or what was read had changed.
    pub conflicts: u64,
    /// Operations that had no effect for another reason.
    pub fail: u64,
    /// Operations of which nobody knows: no answer said it, or their callers were gone.
    pub info: u64,
    /// How often a body was run again, for its transaction had met another.
    pub again: u64,
    /// When the newest that committed had begun.
    newest: Duration,
}

impl Counts {
    /// Operations that succeeded.
    #[must_use]
    pub const fn ok(&self) -> u64 {
        self.commits + self.reads
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { commits, reads, conflicts, fail, info, again, .. } = self;
        write!(
            f,
            "{commits} commits, {reads} reads, {conflicts} conflicts, {fail} failed, {info} unknown, {again} bodies run \
             again"
        )
    }
}

/// What was done so far.
#[derive(Debug)]
pub struct Tally {
    workloads: BTreeMap<&'static str, Counts>,
    shown: BTreeMap<&'static str, String>,
    /// What was committed, by the place of each shard that it wrote to.
    acks: Vec<Vec<Ack>>,
    /// When anything was committed.
    all: Vec<Duration>,
    one_shot: Vec<Duration>,
    reading: Vec<Duration>,
    reads: Vec<Duration>,
    /// When operations failed, or ended so that nobody knows.
    errors: Vec<Duration>,
    /// What took the longest to commit.
    longest: (Duration, String),
    /// The longest part of an operation after all was healed.
    longest_healed: Duration,
}

impl Tally {
    /// Nothing was done yet to so many shards.
    pub(crate) fn new(shards: usize) -> Self {
        Self {
            workloads: BTreeMap::new(),
            shown: BTreeMap::new(),
            acks: vec![Vec::new(); shards],
            all: Vec::new(),
            one_shot: Vec::new(),
            reading: Vec::new(),
            reads: Vec::new(),
            errors: Vec::new(),
            longest: (Duration::ZERO, "nothing".to_owned()),
            longest_healed: Duration::ZERO,
        }
    }

    /// An operation was called at `called`, meant to begin at `meant`, and succeeded.
    pub(crate) fn succeeded(&mut self, step: &Step, called: Duration, at: Duration) {
        let (meant, took) = (step.meant.unwrap_or(called), at.saturating_sub(called));
        let counts = self.counts(step);
        if step.style == Style::ReadOnly {
            counts.reads += 1;
            self.reads.push(took);
            return;
        }
        counts.commits += 1;
        counts.newest = counts.newest.max(meant);
        match step.style {
            Style::OneShot | Style::Conditional | Style::Fenced => self.one_shot.push(took),
            Style::Reading | Style::ReadOnly => self.reading.push(took),
        }
        if took > self.longest.0 {
            let (ms, runs) = (took.as_millis(), step.runs.count().max(1));
            self.longest = (took, format!("{step}, {ms} ms until {at:.3?}, {runs} runs"));
        }
        self.all.push(at);
        for shard in &step.shards {
            let shard = shard % self.acks.len();
            self.acks[shard].push(Ack { meant, at });
        }
    }

    /// An operation had no effect, and that was told then.
    pub(crate) fn failed(&mut self, step: &Step, at: Duration) {
        self.counts(step).fail += 1;
        self.errors.push(at);
    }

    /// An operation ended then, and nobody knows whether it had an effect.
    pub(crate) fn unknown(&mut self, step: &Step, at: Duration) {
        self.counts(step).info += 1;
        self.errors.push(at);
    }

    /// The counts of a step's workload, with the runs of its body.
    pub(crate) fn counts(&mut self, step: &Step) -> &mut Counts {
        let counts = self.workloads.entry(step.workload).or_default();
        counts.again += step.runs.count().saturating_sub(1);
        counts
    }

    /// A part of an operation took so long with no fault left.
    pub(crate) fn healed(&mut self, part: Duration) {
        self.longest_healed = self.longest_healed.max(part);
    }

    /// What a workload has shown, in words.
    pub(crate) fn show(&mut self, workload: &'static str, words: String) {
        self.shown.insert(workload, words);
    }

    /// What came of a workload.
    #[must_use]
    pub fn of(&self, workload: &'static str) -> Counts {
        self.workloads.get(workload).copied().unwrap_or_default()
    }

    /// What a workload has checked at its end, in words; `None` before.
    #[must_use]
    pub fn shown(&self, workload: &'static str) -> Option<&str> {
        self.shown.get(workload).map(String::as_str)
    }

    /// What came of all of them.
    #[must_use]
    pub fn sum(&self) -> Counts {
        self.workloads.values().fold(Counts::default(), |sum, counts| Counts {
            commits: sum.commits + counts.commits,
            reads: sum.reads + counts.reads,
            conflicts: sum.conflicts + counts.conflicts,
            fail: sum.fail + counts.fail,
            info: sum.info + counts.info,
            again: sum.again + counts.again,
            newest: sum.newest.max(counts.newest),
        })
    }

    /// The shards and workloads of which nothing is committed that was meant to begin after `since`.
    #[must_use]
    pub fn silent(&self, workloads: &[&'static str], since: Duration) -> Vec<String> {
        let has_one = |acks: &[Ack]| acks.iter().rev().any(|ack| ack.meant > since);
        let shards = self.acks.iter().enumerate().filter(|(_, acks)| !has_one(acks));
        let shards = shards.map(|(place, _)| format!("shard {}", place + 1));
        let workloads = workloads.iter().filter(|workload| self.of(workload).newest <= since);
        shards.chain(workloads.map(ToString::to_string)).collect()
    }

    /// When commits that wrote to a shard were acknowledged, in order.
    #[must_use]
    pub fn ack_times(&self, shard: usize) -> Vec<Duration> {
        sorted(self.acks[shard].iter().map(|ack| ack.at).collect())
    }

    /// When anything was committed, in order.
    #[must_use]
    pub fn all_ack_times(&self) -> Vec<Duration> {
        sorted(self.all.clone())
    }

    /// When operations failed, or ended so that nobody knows, in order.
    #[must_use]
    pub fn error_times(&self) -> Vec<Duration> {
        sorted(self.errors.clone())
    }

    /// The commits that wrote to a shard, in the order of their acknowledgements.
    #[must_use]
    pub fn acks(&self, shard: usize) -> &[Ack] {
        &self.acks[shard]
    }

    /// How long commits took that were sent at once.
    #[must_use]
    pub fn one_shot(&self) -> Distribution {
        self.one_shot.iter().copied().collect()
    }

    /// How long commits took that read and wrote, with all their runs.
    #[must_use]
    pub fn reading(&self) -> Distribution {
        self.reading.iter().copied().collect()
    }

    /// How long reads took.
    #[must_use]
    pub fn reads(&self) -> Distribution {
        self.reads.iter().copied().collect()
    }

    /// What took the longest to commit.
    #[must_use]
    pub fn longest(&self) -> &str {
        &self.longest.1
    }

    /// The longest part of an operation after all was healed.
    #[must_use]
    pub const fn longest_healed(&self) -> Duration {
        self.longest_healed
    }
}

fn sorted(mut times: Vec<Duration>) -> Vec<Duration> {
    times.sort_unstable();
    times
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(style: Style, shards: &[usize]) -> Step {
        Step::new("bank", style, "transfer", "a").in_shards(shards.to_vec())
    }

    #[test]
    fn what_is_silent_has_committed_nothing_that_began_since() {
        let (mut tally, second) = (Tally::new(2), Duration::from_secs(1));
        tally.succeeded(&step(Style::OneShot, &[0]), second, 5 * second);
        assert_eq!(tally.silent(&["bank", "skew"], 2 * second), ["shard 1", "shard 2", "bank", "skew"]);
        assert_eq!(tally.silent(&["bank"], second / 2), ["shard 2"]);
        tally.succeeded(&step(Style::Reading, &[1, 2]), 3 * second, 4 * second);
        tally.succeeded(&step(Style::ReadOnly, &[]), 8 * second, 9 * second);
        assert_eq!(tally.silent(&["bank"], 2 * second), Vec::<String>::new(), "the third shard is the first");
        assert_eq!(tally.silent(&["bank"], 3 * second).len(), 3, "a read is no commit");
        assert_eq!((tally.ack_times(0), tally.of("bank").ok()), (vec![4 * second, 5 * second], 3));
        tally.succeeded(&step(Style::OneShot, &[1]).meant_at(second), 9 * second, 9 * second);
        assert_eq!(tally.silent(&[], 3 * second).len(), 2, "what was meant to begin before tells nothing");
    }
}
