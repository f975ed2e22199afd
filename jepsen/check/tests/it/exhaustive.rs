//! The checker against a search of all orders, on histories that are small enough for it.

use std::collections::BTreeMap;

use lentic_check::history::{Event, Micro, Operation, Outcome};
use lentic_check::serializable::check;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::generate::{build, plans, reads, replace, run};

/// Histories that are compared, and how many of them must hold at least, and must not.
const HISTORIES: usize = 4000;
const OF_A_KIND_MIN: usize = 1000;

type Lists = BTreeMap<i64, Vec<i64>>;

/// Whether there is an order of all that are ok, and of some of which nobody knows, in which every read is right.
fn has_order(left: &[&Operation], lists: &Lists) -> bool {
    let oks = || left.iter().filter(|operation| operation.outcome == Outcome::Ok);
    let first_answer = oks().map(|operation| operation.answered.line).min();
    // Only what was called before anything left was answered can be next.
    oks().next().is_none()
        || left.iter().enumerate().any(|(place, operation)| {
            let mut rest = left.to_vec();
            rest.remove(place);
            first_answer.is_none_or(|line| operation.called.line < line)
                && after(operation, lists).is_some_and(|lists| has_order(&rest, &lists))
        })
}

/// The lists after an operation; `None` if it read something else than they were.
fn after(operation: &Operation, lists: &Lists) -> Option<Lists> {
    let mut lists = lists.clone();
    for micro in &operation.micros {
        match micro {
            Micro::Append { key, value } => lists.entry(*key).or_default().push(*value),
            Micro::Read { key, list: Some(list) } if lists.entry(*key).or_default() != list => return None,
            Micro::Read { .. } => {}
        }
    }
    Some(lists)
}

/// A lie about what was read. Places are taken modulo what there is.
#[derive(Clone, Debug)]
enum Lie {
    /// A read saw another beginning of the longest list that is read.
    Length(Index, Index),
    /// All reads saw two values of a list in each other's place.
    Swap(Index, Index, Index),
    /// No read saw a value of a list.
    Drop(Index, Index),
    /// A read saw one more value at its end.
    More(Index, i64),
    /// A read saw its list backwards.
    Backwards(Index),
}

fn lie() -> impl Strategy<Value = Lie> {
    let at = any::<Index>;
    prop_oneof![
        4 => (at(), at()).prop_map(|(read, length)| Lie::Length(read, length)),
        4 => (at(), at(), at()).prop_map(|(read, one, other)| Lie::Swap(read, one, other)),
        2 => (at(), at()).prop_map(|(read, value)| Lie::Drop(read, value)),
        1 => (at(), 1..12_i64).prop_map(|(read, value)| Lie::More(read, value)),
        1 => at().prop_map(Lie::Backwards),
    ]
}

impl Lie {
    fn tell(&self, events: &mut [Event]) {
        let reads: Vec<_> = reads(events).into_iter().filter(|(.., list)| !list.is_empty()).collect();
        let (Self::Length(which, _)
        | Self::Swap(which, ..)
        | Self::Drop(which, _)
        | Self::More(which, _)
        | Self::Backwards(which)) = self;
        if reads.is_empty() {
            return;
        }
        let (at, step, key, list) = which.get(&reads);
        let others = reads.iter().filter(|(.., other, _)| other == key);
        match self {
            Self::Length(_, length) => {
                let longest = others.map(|(.., list)| list).max_by_key(|list| list.len()).expect("there is this read");
                replace(events, *at, *step, &longest[..length.index(longest.len() + 1)]);
            }
            Self::Swap(_, one, other) => {
                let (one, other) = (*one.get(list), *other.get(list));
                for (at, step, _, list) in others {
                    let swapped = |value| [(one, other), (other, one)].into_iter().find(|(from, _)| *from == value);
                    let list = list.iter().map(|value| swapped(*value).map_or(*value, |(_, to)| to));
                    replace(events, *at, *step, &list.collect::<Vec<_>>());
                }
            }
            Self::Drop(_, value) => {
                let dropped = value.get(list);
                for (at, step, _, list) in others {
                    let list = list.iter().filter(|value| *value != dropped).copied();
                    replace(events, *at, *step, &list.collect::<Vec<_>>());
                }
            }
            Self::More(_, value) => replace(events, *at, *step, &[&list[..], &[*value]].concat()),
            Self::Backwards(_) => replace(events, *at, *step, &list.iter().rev().copied().collect::<Vec<_>>()),
        }
    }
}

#[test]
fn the_verdict_is_that_of_a_search_of_all_orders() {
    let strategy = (plans(7, 2), vec(lie(), 0..5));
    let mut runner = TestRunner::deterministic();
    let (mut good, mut bad) = (0, 0);
    for _ in 0..HISTORIES {
        let (plans, lies) = strategy.new_tree(&mut runner).expect("no plan is rejected").current();
        let mut events = run(&plans);
        lies.iter().for_each(|lie| lie.tell(&mut events));
        let history = build(&events);
        let could: Vec<_> =
            history.operations().iter().filter(|operation| operation.outcome != Outcome::Fail).collect();
        let has_order = has_order(&could, &Lists::new());
        let verdict = check(&history, 0);
        assert_eq!(verdict.is_ok(), has_order, "{verdict:?} on\n{}", history.write());
        if has_order { good += 1 } else { bad += 1 }
    }
    assert!(good >= OF_A_KIND_MIN && bad >= OF_A_KIND_MIN, "{good} hold, {bad} do not: a kind is hardly tried");
}
