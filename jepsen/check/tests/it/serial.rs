//! Transactions that ran one after the other pass; made stale in one read, they do not, whoever looks.

use lentic_check::history::{Event, History, Kind};
use lentic_check::serializable::{Finder, Violation, check};
use proptest::prelude::*;

use super::generate::{build, plans, reads, replace, run};

/// The line of the call that event `at` answers.
fn called(events: &[Event], at: usize) -> usize {
    let process = events[at].process;
    let call = events[..at].iter().rposition(|event| event.process == process && event.kind == Kind::Invoke);
    call.expect("an answer has a call")
}

/// Reads that could have been stale: the event's place, the step's, and the longest list that a transaction had read
/// and been answered before this one was called.
fn could_be_stale(events: &[Event]) -> Vec<(usize, usize, Vec<i64>)> {
    let reads = reads(events);
    let candidates = reads.iter().filter_map(|(at, step, key, _)| {
        let call = called(events, *at);
        let earlier = reads.iter().filter(|(other, _, list, _)| *other < call && list == key);
        let longest = earlier.map(|(.., list)| list).max_by_key(|list| list.len())?;
        (!longest.is_empty()).then(|| (*at, *step, longest.clone()))
    });
    candidates.collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn what_ran_one_after_the_other_passes(plans in plans(60, 4)) {
        let history = build(&run(&plans));
        if let Err(violation) = check(&history, 0) {
            prop_assert!(false, "{violation}\nin\n{}", history.write());
        }
        prop_assert_eq!(History::read(&history.write()), Ok(history));
    }

    #[test]
    fn one_stale_read_is_caught(plans in plans(60, 4), which: prop::sample::Index, length: prop::sample::Index) {
        let mut events = run(&plans);
        let candidates = could_be_stale(&events);
        prop_assume!(!candidates.is_empty());
        let (at, step, longest) = which.get(&candidates);
        replace(&mut events, *at, *step, &longest[..length.index(longest.len())]);
        let history = build(&events);
        let Err(Violation::Anomalies(anomalies)) = check(&history, 0) else {
            return Err(TestCaseError::fail(format!("T{} is stale in\n{}", at + 1, history.write())));
        };
        for finder in [Finder::Adya, Finder::Reads] {
            prop_assert!(anomalies.iter().any(|anomaly| anomaly.finder == finder), "not found by {:?}", finder);
        }
    }
}
