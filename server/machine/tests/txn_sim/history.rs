//! What happened, as an observer above the world sees it, and what must be true of it in the end.

use std::collections::BTreeMap;
use std::ops::AddAssign;

use lentic_machine::Refusal;
use lentic_machine::shard::{Decision, Operation};
use lentic_types::{KeyRange, TxnId, Version};

use super::replica::Row;
use super::serial::Serial;
use super::work::{End, Work};

/// How often things happened that a run is for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Stats {
    pub(crate) commits: u64,
    pub(crate) single_commits: u64,
    pub(crate) aborts: u64,
    pub(crate) conflicts: u64,
    pub(crate) condition_failures: u64,
    pub(crate) recovered_commits: u64,
    pub(crate) recovered_aborts: u64,
    /// Prepares that came too late, to an abort fence.
    pub(crate) fenced: u64,
    /// Prepares that came too late by their age alone.
    pub(crate) aged: u64,
    /// Committed operations that waited for an undecided transaction.
    pub(crate) deferred: u64,
    /// Attempts given up by a younger transaction.
    pub(crate) deaths: u64,
    /// Prepares of an older transaction that came again after a release.
    pub(crate) waits: u64,
    /// All were prepared, but something that was read had ended.
    pub(crate) ended_reads: u64,
    pub(crate) lost_entries: u64,
    pub(crate) saved_entries: u64,
    pub(crate) replica_crashes: u64,
    pub(crate) coordinator_crashes: u64,
    /// Refusals that an anchor keeps as the answer to a request; those of them that are of a retry.
    pub(crate) declined: u64,
    pub(crate) declined_retries: u64,
    /// Refused retries of what had committed.
    pub(crate) undeserved: u64,
    /// Refusals that an anchor does not keep, for an attempt may yet commit.
    pub(crate) not_kept: u64,
    /// Prepares that came too late, to a kept refusal; those of them that are of the attempt that was refused.
    pub(crate) kept_out: u64,
    pub(crate) kept_out_own: u64,
    /// Retries that were answered as an earlier attempt was.
    pub(crate) repeated: u64,
    pub(crate) reads: u64,
    pub(crate) reads_that_waited: u64,
    pub(crate) unknown: u64,
    pub(crate) unknown_commits: u64,
}

impl Stats {
    /// Whether so many runs were about what they are for.
    pub(crate) fn check(&self, runs: u64) {
        let tenths = [
            ("commits", self.commits, 20),
            ("single writes", self.single_commits, 10),
            ("aborts", self.aborts, 10),
            ("conflicts", self.conflicts, 2),
            ("failed conditions", self.condition_failures, 2),
            ("recoveries that committed", self.recovered_commits, 2),
            ("recoveries that aborted", self.recovered_aborts, 2),
            ("late prepares stopped by a fence", self.fenced, 2),
            ("late prepares stopped by their age", self.aged, 2),
            ("deferred commits", self.deferred, 1),
            ("deaths", self.deaths, 5),
            ("waits of older ones", self.waits, 5),
            ("lost entries", self.lost_entries, 5),
            ("entries saved by a new leader", self.saved_entries, 5),
            ("crashes of replicas", self.replica_crashes, 5),
            ("crashes of coordinators", self.coordinator_crashes, 5),
            ("kept refusals", self.declined, 5),
            ("kept refusals of retries", self.declined_retries, 1),
            ("answers to copies", self.repeated, 5),
            ("reads", self.reads, 20),
            ("reads that waited for locks", self.reads_that_waited, 5),
            ("commits that the client does not know of", self.unknown_commits, 1),
        ];
        for (what, count, least) in tenths {
            assert!(
                count * 10 >= runs * least,
                "{runs} runs had {count} {what}; change the faults until they have more"
            );
        }
        let thousandths = [
            ("commits that came too late", self.ended_reads, 1),
            ("refused retries of what had committed", self.undeserved, 15),
            ("refusals that were not kept", self.not_kept, 100),
            ("late prepares stopped by a refusal", self.kept_out, 200),
            ("the same, of the refused attempt itself", self.kept_out_own, 20),
        ];
        for (what, count, least) in thousandths {
            assert!(count * 1000 >= runs * least, "{runs} runs had {count} {what}");
        }
    }
}

impl AddAssign for Stats {
    fn add_assign(&mut self, other: Self) {
        self.commits += other.commits;
        self.single_commits += other.single_commits;
        self.aborts += other.aborts;
        self.conflicts += other.conflicts;
        self.condition_failures += other.condition_failures;
        self.recovered_commits += other.recovered_commits;
        self.recovered_aborts += other.recovered_aborts;
        self.fenced += other.fenced;
        self.aged += other.aged;
        self.deferred += other.deferred;
        self.deaths += other.deaths;
        self.waits += other.waits;
        self.ended_reads += other.ended_reads;
        self.lost_entries += other.lost_entries;
        self.saved_entries += other.saved_entries;
        self.replica_crashes += other.replica_crashes;
        self.coordinator_crashes += other.coordinator_crashes;
        self.declined += other.declined;
        self.declined_retries += other.declined_retries;
        self.undeserved += other.undeserved;
        self.not_kept += other.not_kept;
        self.kept_out += other.kept_out;
        self.kept_out_own += other.kept_out_own;
        self.repeated += other.repeated;
        self.reads += other.reads;
        self.reads_that_waited += other.reads_that_waited;
        self.unknown += other.unknown;
        self.unknown_commits += other.unknown_commits;
    }
}

/// What a shard shows at a version.
pub(crate) type RowsAt<'a> = &'a dyn Fn(usize, Version) -> Vec<Row>;

/// What clients wanted and what became of it.
#[derive(Default)]
pub(crate) struct History {
    pub(crate) works: Vec<Work>,
    /// By work: its version, and the attempt that it was.
    pub(crate) commits: BTreeMap<usize, (Version, TxnId)>,
    /// By attempt: what its anchor recorded.
    decisions: BTreeMap<TxnId, Decision>,
    /// By work: the attempt that was refused first, and the refusal that its anchor keeps.
    pub(crate) declined: BTreeMap<usize, (TxnId, Refusal)>,
    /// What coordinators said: of which work, which attempt, and what.
    pub(crate) told: Vec<(usize, TxnId, Said)>,
}

/// What a coordinator says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    Committed(Version),
    /// This attempt has no effect.
    NotThis,
    /// No attempt has any.
    Never,
}

impl History {
    /// A work took effect.
    pub(crate) fn committed(&mut self, work: usize, version: Version, txn: TxnId) -> Result<(), String> {
        if let Some(refused) = self.declined.get(&work) {
            return Err(format!("work {work} took effect as {txn} at {version}, and was refused: {refused:?}"));
        }
        match self.commits.insert(work, (version, txn)) {
            Some(before) if before != (version, txn) => {
                Err(format!("work {work} took effect twice: {before:?}, {:?}", (version, txn)))
            }
            _ => Ok(()),
        }
    }

    /// An anchor says what was decided of an attempt at a work. Whether it is new.
    pub(crate) fn decided(&mut self, work: usize, txn: TxnId, decision: Decision) -> Result<bool, String> {
        if let Some(before) = self.decisions.get(&txn) {
            let is_same = *before == decision;
            let differ = || format!("of {txn}, work {work}, {before:?} was decided, and then {decision:?}");
            return if is_same { Ok(false) } else { Err(differ()) };
        }
        self.decisions.insert(txn, decision);
        if let Decision::Commit(version) = decision {
            self.committed(work, version, txn)?;
        }
        Ok(true)
    }

    /// All works, when nothing more can happen to them. `rows` is what a shard shows at a version.
    pub(crate) fn check(&self, groups: usize, rows: RowsAt<'_>) -> Result<(), String> {
        self.check_ends()?;
        self.check_real_time()?;
        self.check_serial(groups, rows)
    }

    fn check_ends(&self) -> Result<(), String> {
        for (work, txn, told) in &self.told {
            let found = self.commits.get(work).copied();
            let is_right = match told {
                Said::Committed(version) => found.is_some_and(|(found, _)| found == *version),
                Said::NotThis => found.is_none_or(|(_, committed)| committed != *txn),
                Said::Never => found.is_none(),
            };
            if !is_right {
                return Err(format!("of {txn}, work {work}, was told {told:?}, but found {found:?}"));
            }
        }
        for (number, work) in self.works.iter().enumerate() {
            let found = self.commits.get(&number).map(|(version, _)| *version);
            let is_right = match work.end {
                End::Committed(version) => found == Some(version),
                End::Nothing | End::Read => found.is_none(),
                End::Unknown | End::Open => true,
            };
            if !is_right {
                return Err(format!("work {number} was told {:?}, but its effect is {found:?}", work.end));
            }
        }
        Ok(())
    }

    /// What was known before something else began comes before it.
    fn check_real_time(&self) -> Result<(), String> {
        let place = |number: usize, work: &Work| match self.commits.get(&number) {
            Some((version, _)) => Some(*version),
            None => work.reads.first().filter(|_| work.end == End::Read).map(|read| read.at),
        };
        let placed: Vec<_> =
            self.works.iter().enumerate().filter_map(|(n, work)| Some((n, work, place(n, work)?))).collect();
        for (first, before, at) in
            placed.iter().filter(|(_, work, _)| matches!(work.end, End::Committed(_) | End::Read))
        {
            for (next, after, then) in placed.iter().filter(|(_, after, _)| after.began > before.answered) {
                // A reader may ask for the past.
                let may_be_before = after.end == End::Read && !after.is_fresh;
                if at >= then && !may_be_before {
                    return Err(format!("work {first} at {at} was answered before work {next} at {then} began"));
                }
            }
        }
        Ok(())
    }

    /// In the order of versions and ids, what every work found and every version shows is what the model has.
    fn check_serial(&self, groups: usize, rows: RowsAt<'_>) -> Result<(), String> {
        let mut order: Vec<_> = self.commits.iter().map(|(work, (version, txn))| (*version, *txn, *work)).collect();
        order.sort_unstable();
        let reads = || self.works.iter().enumerate().flat_map(|(n, work)| work.reads.iter().map(move |read| (n, read)));
        let ends = self.works.iter().flat_map(ends_of);
        let mut versions: Vec<Version> = order.iter().map(|(version, ..)| *version).collect();
        versions.extend(reads().map(|(_, read)| read.at));
        versions.extend(ends);
        versions.extend(versions.last().and_then(|last| Version::tick(last.ms() + 10_000_000, 0)));
        versions.sort_unstable();
        versions.dedup();
        let (mut serial, mut rest) = (Serial::default(), order.into_iter().peekable());
        for at in versions {
            while let Some((version, txn, work)) = rest.next_if(|(version, ..)| *version <= at) {
                let done = serial.commit(&self.works[work], version);
                done.map_err(|error| format!("work {work} as {txn} at {version}: {error}"))?;
            }
            for (number, read) in reads().filter(|(_, read)| read.at == at) {
                let (found, expected) = (&read.rows, serial.rows(read.group, &read.range, at));
                if found.as_ref().is_some_and(|found| *found != expected) {
                    return Err(format!("work {number} read {read:?}, expected {expected:?}"));
                }
            }
            for group in 0..groups {
                let (found, expected) = (rows(group, at), serial.rows(group, &KeyRange::all(), at));
                if found != expected {
                    return Err(format!("shard {group} shows {found:?} at {at}, expected {expected:?}"));
                }
            }
        }
        Ok(())
    }
}

/// When values that a work writes end.
fn ends_of(work: &Work) -> Vec<Version> {
    let operations = work.shares.iter().flat_map(|(_, share)| &share.operations);
    let expiries = operations.filter_map(|operation| match operation {
        Operation::Put { expiry, .. } | Operation::Merge { expiry, .. } => *expiry,
        Operation::Delete { .. } | Operation::DeleteRange { .. } => None,
    });
    expiries.filter_map(|expiry| Version::tick(expiry.0, 0)).collect()
}
