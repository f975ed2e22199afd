//! Whether the log's disk is slow, and who leads in its place: functions of what was seen.
//!
//! A sync counts before it ends. The writer has one write with its sync under way at a time, so what is looked at is only
//! whether something waits for it and how many have ended:
//!
//! ```text
//!   looks       w  w  w  w  .  .  w  w  w  w  w  w      w: something waits, or is on its way
//!   ended                   1              1            2 in the window, 10 looks of 12 found one waiting
//!   sync        10 looks × 100 ms / 2 = 500 ms
//! ```
//!
//! A healthy disk under full load is found busy at each look, too; but then hundreds have ended.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use lentic_raft::Status;
use lentic_types::{GroupId, NodeId};

/// What is looked back at: some syncs of a slow disk.
const WINDOW: Duration = Duration::from_secs(2);
/// How long a disk that was slow has to be quick before it is trusted again. While it is not used does not count.
const WELL_FOR: Duration = Duration::from_secs(10);
/// How many times quicker another disk has to be: else leadership would go round among disks that are all slow.
const QUICKER: u32 = 4;

/// One look at the log's writer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look {
    /// Time since the look before.
    pub(crate) after: Duration,
    /// Syncs that have ended since then.
    pub(crate) ended: u64,
    /// Something waits for the disk, or is on its way to it.
    pub(crate) waits: bool,
}

/// How quick a disk is, as its node judges it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pace {
    /// How long a write with its sync took lately, on average; `None` if there was none.
    pub(crate) sync: Option<Duration>,
    /// It was slow for long enough, and has not been quick for long enough since.
    pub(crate) is_slow: bool,
}

/// What a look has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The disk is slow from now on.
    Slow,
    /// It is no longer.
    Well,
}

/// Judges one disk.
#[derive(Debug)]
pub(crate) struct Judge {
    /// A sync that takes so long is slow; zero: none is.
    slow_sync: Duration,
    /// For how long it has to be so.
    slow_for: Duration,
    looks: VecDeque<Look>,
    /// For how long what was seen has spoken against the verdict.
    against: Duration,
    pace: Pace,
}

impl Judge {
    pub(crate) fn new(slow_sync: Duration, slow_for: Duration) -> Self {
        Self { slow_sync, slow_for, looks: VecDeque::new(), against: Duration::ZERO, pace: Pace::default() }
    }

    pub(crate) const fn pace(&self) -> Pace {
        self.pace
    }

    /// Takes a look into account.
    pub(crate) fn step(&mut self, look: Look) -> Option<Verdict> {
        self.looks.push_back(look);
        let mut seen: Duration = self.looks.iter().map(|look| look.after).sum();
        while seen > WINDOW {
            let Some(oldest) = self.looks.pop_front() else { break };
            seen -= oldest.after;
        }
        self.pace.sync = self.sync();
        let is_slow = self.pace.is_slow;
        let speaks_against = self.pace.sync.map(|sync| match is_slow {
            false => !self.slow_sync.is_zero() && sync >= self.slow_sync,
            true => sync < self.slow_sync / 2,
        });
        match speaks_against {
            Some(true) => self.against += look.after,
            // Nothing was seen: a suspicion is dropped, but trust is neither won nor lost.
            None if is_slow => return None,
            Some(false) | None => {
                self.against = Duration::ZERO;
                return None;
            }
        }
        if self.against < if is_slow { WELL_FOR } else { self.slow_for } {
            return None;
        }
        self.against = Duration::ZERO;
        self.pace.is_slow = !is_slow;
        Some(if is_slow { Verdict::Well } else { Verdict::Slow })
    }

    fn sync(&self) -> Option<Duration> {
        let busy: Duration = self.looks.iter().filter(|look| look.waits).map(|look| look.after).sum();
        let ended: u64 = self.looks.iter().map(|look| look.ended).sum();
        (ended > 0 || !busy.is_zero()).then(|| busy / u32::try_from(ended.max(1)).unwrap_or(u32::MAX))
    }
}

/// Who is to lead a group in place of this node, whose disk is slow: a voter that has what is committed, and whose disk
/// is known to be quicker by far. `paces` are those of the nodes that answered. Groups with the same choice spread over
/// those who can.
pub(crate) fn heir(group: GroupId, status: &Status, own: Pace, paces: &BTreeMap<NodeId, Pace>) -> Option<NodeId> {
    if !status.is_leader || !own.is_slow {
        return None;
    }
    let is_quicker = |pace: &Pace| {
        let sync = pace.sync.unwrap_or_default();
        !pace.is_slow && own.sync.is_none_or(|own| sync * QUICKER <= own)
    };
    let has_committed = |node: &NodeId| status.matched.get(node).is_some_and(|matched| *matched >= status.committed);
    let heirs = status.voters.iter().filter(|node| paces.get(node).is_some_and(is_quicker) && has_committed(node));
    let heirs: Vec<_> = heirs.copied().collect();
    let place = usize::try_from(group.0).unwrap_or(0).checked_rem(heirs.len())?;
    heirs.get(place).copied()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use lentic_types::Index;

    use super::*;

    const EVERY: Duration = Duration::from_millis(100);
    const WELL: Look = Look { after: EVERY, ended: 80, waits: true };
    const IDLE: Look = Look { after: EVERY, ended: 0, waits: false };
    const STALLED: Look = Look { after: EVERY, ended: 0, waits: true };

    fn judge() -> Judge {
        Judge::new(Duration::from_millis(250), Duration::from_secs(3))
    }

    /// Looks at a disk for so long; what was found, and after how long.
    fn look_at(judge: &mut Judge, for_: Duration, mut look: impl FnMut(u32) -> Look) -> Option<(Verdict, Duration)> {
        (0..u32::try_from(for_.as_millis() / EVERY.as_millis()).unwrap())
            .find_map(|number| judge.step(look(number)).map(|verdict| (verdict, EVERY * (number + 1))))
    }

    /// Syncs that take 500 ms, one after the other.
    fn slow(number: u32) -> Look {
        Look { after: EVERY, ended: u64::from(number % 5 == 4), waits: true }
    }

    const fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn a_disk_that_turns_slow_under_load_is_found_within_six_seconds() {
        let mut judge = judge();
        assert_eq!(look_at(&mut judge, secs(60), |_| WELL), None);
        assert_eq!(judge.pace().sync, Some(Duration::from_micros(1_250)));
        let (verdict, after) = look_at(&mut judge, secs(60), slow).unwrap();
        assert_eq!(verdict, Verdict::Slow);
        assert!(after > secs(3) && after < secs(6), "{after:?}");
        let sync = judge.pace().sync.unwrap();
        assert!(sync > Duration::from_millis(400) && sync < Duration::from_millis(600), "{sync:?}");
    }

    #[test]
    fn a_sync_counts_before_it_ends() {
        let mut judge = judge();
        assert_eq!(look_at(&mut judge, secs(5), |_| WELL), None);
        assert_eq!(look_at(&mut judge, secs(6), |_| STALLED).map(|found| found.0), Some(Verdict::Slow));
    }

    #[test]
    fn what_passes_is_no_reason() {
        let mut judge = judge();
        let hiccups = |number| if number % 50 < 25 { STALLED } else { WELL };
        assert_eq!(look_at(&mut judge, secs(60), hiccups), None);
        assert_eq!(look_at(&mut judge, secs(60), |number| if number % 50 == 0 { slow(4) } else { IDLE }), None);
        let mut off = Judge::new(Duration::ZERO, secs(3));
        assert_eq!(look_at(&mut off, secs(60), |_| STALLED), None);
    }

    #[test]
    fn trust_is_won_by_use_alone() {
        let mut judge = judge();
        look_at(&mut judge, secs(10), slow).unwrap();
        assert_eq!(look_at(&mut judge, secs(600), |_| IDLE), None);
        assert!(judge.pace().is_slow && judge.pace().sync.is_none());
        assert_eq!(look_at(&mut judge, secs(7), |_| WELL), None);
        assert_eq!(look_at(&mut judge, secs(4), slow), None, "a relapse, and it begins again");
        assert_eq!(look_at(&mut judge, secs(9), |_| WELL), None);
        assert_eq!(look_at(&mut judge, secs(4), |_| WELL).map(|found| found.0), Some(Verdict::Well));
        assert!(!judge.pace().is_slow);
    }

    fn pace(sync_ms: u64, is_slow: bool) -> Pace {
        Pace { sync: Some(Duration::from_millis(sync_ms)), is_slow }
    }

    fn leads(matched: &[(u64, u64)]) -> Status {
        let voters = [1].into_iter().chain(matched.iter().map(|(node, _)| *node)).map(NodeId).collect();
        let matched = matched.iter().map(|(node, index)| (NodeId(*node), Index(*index))).collect();
        Status { is_leader: true, committed: Index(10), voters: Arc::new(voters), matched, ..Status::default() }
    }

    fn heir_of(group: u64, status: &Status, own: Pace, paces: &[(u64, Pace)]) -> Option<u64> {
        let paces = paces.iter().map(|(node, pace)| (NodeId(*node), *pace)).collect();
        heir(GroupId(group), status, own, &paces).map(|node| node.0)
    }

    #[test]
    fn an_heir_has_all_and_is_quicker() {
        let status = leads(&[(2, 9), (3, 10)]);
        let own = pace(500, true);
        assert_eq!(heir_of(0, &status, own, &[(2, pace(1, false)), (3, pace(1, false))]), Some(3), "2 lags");
        assert_eq!(heir_of(0, &status, own, &[(3, Pace::default())]), Some(3), "nothing speaks against it");
        assert_eq!(heir_of(0, &status, own, &[(2, pace(1, false))]), None, "3 did not answer");
        assert_eq!(heir_of(0, &status, own, &[(3, pace(126, false))]), None, "not by far");
        assert_eq!(heir_of(0, &status, own, &[(3, pace(1, true))]), None, "it was slow a moment ago");
        assert_eq!(heir_of(0, &status, pace(500, false), &[(3, pace(1, false))]), None, "for no reason");
        let follows = Status { is_leader: false, ..status };
        assert_eq!(heir_of(0, &follows, own, &[(3, pace(1, false))]), None);
    }

    #[test]
    fn groups_spread_over_heirs() {
        let status = leads(&[(2, 10), (3, 12)]);
        let paces = [(2, pace(1, false)), (3, pace(2, false)), (4, pace(1, false))];
        let heirs: Vec<_> = (0..4).map(|group| heir_of(group, &status, pace(500, true), &paces)).collect();
        assert_eq!(heirs, [Some(2), Some(3), Some(2), Some(3)], "4 does not vote");
    }
}
