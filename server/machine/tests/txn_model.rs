//! Every state that the commit protocol can reach, in small.
//!
//! The coordinator and the recovery are the real step functions; the shards are small ones that answer as the real one
//! does (`conform.rs` compares them). Messages come late, in any order, twice or never; leaders change, coordinators crash
//! or give up, recoveries begin at any time, and from every state a recovery that nobody disturbs must end what it finds.
//!
//! Each rule of the protocol has a test that switches it off, and expects what goes wrong then. So the model can fail.
//! What the rules are for, with the shortest runs that were found without them, is told in
//! [docs/transactions.md](../../../docs/transactions.md).

mod txn_model {
    pub(crate) mod conform;
    pub(crate) mod judge;
    pub(crate) mod leader;
    pub(crate) mod party;
    pub(crate) mod setup;
    pub(crate) mod shard;
    pub(crate) mod world;
}

use stateright::{Checker, HasDiscoveries, Model};
use txn_model::conform;
use txn_model::judge::Wrong;
use txn_model::setup::{Off, QUIET, Setup};

/// Two writes, the second begun when the first was answered, and a reader of both.
const WRITES: Setup = Setup { txns: &[], writes: &[0, 1], reads: 2, leader_changes: 2, ..QUIET };
/// A transaction and a reader.
const READS: Setup = Setup { reads: 2, leader_changes: 2, ..QUIET };
/// A transaction, a write that begins when its client was told, on a third shard, and a reader of the anchor and of it.
const FOLLOWED: Setup = Setup { shards: 3, txns: &[&[0, 2]], writes: &[1], follows: true, reads: 2, ..QUIET };
/// A transaction whose coordinator may fail, and a recovery.
const ENDS: Setup = Setup { fails: true, gives_up: true, recoveries: 1, at_once: true, ..QUIET };
/// Two transactions on the same two keys, with different anchors.
const TWO: Setup = Setup { txns: &[&[0, 1], &[1, 0]], ..QUIET };
/// A transaction over three shards.
const THREE: Setup = Setup { shards: 3, txns: &[&[0, 1, 2]], gives_up: false, ..ENDS };

/// Explores all states, and expects nothing wrong. There are at least so many: fewer mean that the model does less.
fn holds(setup: Setup, states_min: usize) {
    let checker = setup.checker().threads(1).spawn_bfs().join();
    if let Some(path) = checker.discovery("right") {
        let (wrong, steps) = (path.last_state().wrong, path.into_actions());
        panic!("{wrong:?} after {steps:#?}");
    }
    let states = checker.unique_state_count();
    assert!(states >= states_min, "{states} states, expected {states_min} or more");
}

/// Explores states until something is wrong, and expects it to be this.
fn breaks(setup: Setup, expected: Wrong) {
    let checker = setup.checker().threads(1).finish_when(HasDiscoveries::Any).spawn_bfs().join();
    let path = checker.discovery("right").expect("without the rule something goes wrong");
    let (wrong, steps) = (path.last_state().wrong, path.into_actions());
    assert_eq!(wrong, Some(expected), "after {steps:#?}");
}

#[test]
fn the_small_shard_answers_as_the_real_one() {
    let logs = conform::compare(4);
    assert!(logs > 88_000, "{logs} logs");
}

#[test]
fn writes_and_their_reader() {
    holds(WRITES, 18_000);
    holds(Setup { reads: 0, ..WRITES }, 250);
}

#[test]
fn a_transaction_and_its_reader() {
    holds(READS, 110_000);
}

#[test]
fn a_transaction_a_write_and_their_reader() {
    holds(Setup { writes: &[0], leader_changes: 0, ..READS }, 27_000);
    holds(Setup { writes: &[1], reads: 1, leader_changes: 1, ..READS }, 150_000);
    holds(FOLLOWED, 2_300);
    holds(Setup { reads: 0, ..FOLLOWED }, 50);
}

#[test]
fn a_transaction_whose_coordinator_fails() {
    holds(Setup { at_once: false, leader_changes: 1, ..ENDS }, 160_000);
}

#[test]
fn messages_that_come_twice() {
    holds(Setup { doubles: 1, ..ENDS }, 110_000);
}

#[test]
fn prepares_that_come_too_late() {
    holds(Setup { ages: true, ..ENDS }, 62_000);
}

#[test]
fn three_shards() {
    holds(THREE, 100_000);
}

#[test]
fn two_transactions_that_share_their_keys() {
    holds(Setup { reads: 1, ..TWO }, 290_000);
    holds(Setup { fails: true, at_once: true, ..TWO }, 8_000);
}

#[test]
fn two_transactions_that_exclude_each_other() {
    holds(Setup { exclusive: true, ..TWO }, 27_000);
    holds(Setup { exclusive: true, fails: true, at_once: true, ..TWO }, 24_000);
}

/// What a new leader does not inherit needs no rule of its own: the tick of whatever it stamps was fetched as leader.
#[test]
fn rule_w_alone_holds_for_leaders_that_inherit_nothing() {
    holds(Setup { off: Off::RuleF, inherits: false, ..READS }, 48_000);
    holds(Setup { off: Off::RuleF, inherits: false, ..WRITES }, 8_500);
}

#[test]
fn without_rule_w_an_effect_is_seen_without_its_cause() {
    breaks(Setup { off: Off::RuleW, ..WRITES }, Wrong::Torn);
    breaks(Setup { off: Off::RuleW, reads: 0, ..WRITES }, Wrong::RealTime);
    breaks(Setup { off: Off::RuleW, ..FOLLOWED }, Wrong::Torn);
    breaks(Setup { off: Off::RuleW, reads: 0, ..FOLLOWED }, Wrong::RealTime);
}

#[test]
fn without_rule_r_a_read_changes() {
    breaks(Setup { off: Off::RuleR, leader_changes: 0, ..WRITES }, Wrong::ReadChanged);
    breaks(Setup { off: Off::RuleR, leader_changes: 0, ..READS }, Wrong::ReadChanged);
}

#[test]
fn without_rule_f_a_read_changes_when_what_waits_is_inherited() {
    breaks(Setup { off: Off::RuleF, ..WRITES }, Wrong::ReadChanged);
    breaks(Setup { off: Off::RuleF, ..READS }, Wrong::ReadChanged);
}

#[test]
fn a_reader_that_does_not_wait_for_what_is_in_flight_reads_what_changes() {
    breaks(Setup { off: Off::InFlight, ..WRITES }, Wrong::ReadChanged);
}

#[test]
fn a_reader_that_does_not_wait_for_locks_misses_what_was_answered() {
    breaks(Setup { off: Off::Locks, ..READS }, Wrong::Missed);
}

#[test]
fn shared_keys_that_are_not_written_in_order_go_back_in_time() {
    breaks(Setup { off: Off::KeyOrder, at_once: true, ..TWO }, Wrong::KeyOrder);
}

#[test]
fn a_commit_below_a_prepare_changes_a_read() {
    breaks(Setup { off: Off::MaxVersion, ..READS }, Wrong::ReadChanged);
    // And a recovery would choose another version than the coordinator.
    breaks(Setup { off: Off::MaxVersion, ..ENDS }, Wrong::Told);
}

#[test]
fn a_client_that_is_told_too_early_is_told_wrong() {
    breaks(Setup { off: Off::AllPrepared, ..ENDS }, Wrong::Half);
}

#[test]
fn without_abort_fences_recovery_aborts_what_commits() {
    breaks(Setup { off: Off::AbortFence, ..ENDS }, Wrong::Told);
}

#[test]
fn a_late_prepare_that_is_not_refused_commits_what_was_aborted() {
    breaks(Setup { off: Off::EndedSet, ..ENDS }, Wrong::Told);
    breaks(Setup { off: Off::Age, ages: true, ..ENDS }, Wrong::Told);
}

#[test]
fn a_participant_that_resolves_before_the_anchor_knows_is_left_alone() {
    breaks(Setup { off: Off::DecideFirst, ages: true, ..ENDS }, Wrong::Half);
}

#[test]
fn an_anchor_that_resolves_first_leaves_participants_without_an_answer() {
    breaks(Setup { off: Off::AnchorLast, ages: true, ..ENDS }, Wrong::Half);
}

#[test]
fn two_decisions_of_which_the_last_stands_contradict_each_other() {
    breaks(Setup { off: Off::FirstWins, ..ENDS }, Wrong::Half);
}

/// Found by this model, when the shards were so.
#[test]
fn what_an_anchor_has_forgotten_is_not_taken_for_aborted() {
    breaks(Setup { off: Off::Forgotten, ages: true, ..ENDS }, Wrong::Told);
    breaks(Setup { off: Off::Hearsay, ages: true, ..ENDS }, Wrong::Stopped);
}
