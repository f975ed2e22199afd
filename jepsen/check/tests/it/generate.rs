//! Histories that hold by construction: transactions run one after the other on lists in memory, and each is called
//! before and answered after it ran, so that the intervals overlap.

use std::collections::{BTreeMap, BTreeSet};

use lentic_check::history::{Builder, Event, History, Kind, Micro, Outcome};
use proptest::collection::vec;
use proptest::prelude::*;

/// Time between the points at which two transactions run. Intervals reach over several.
const STEP: u64 = 10;

/// Longest time from a call to the point, and from there to the answer.
const REACH_MAX: u64 = 5 * STEP;

/// A transaction to be run.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Whether a step appends, and to which list, or reads.
    steps: Vec<(bool, i64)>,
    before: u64,
    after: u64,
    outcome: Outcome,
    /// Whether it takes effect, if nobody knows.
    takes_effect: bool,
}

/// Between one transaction and `count_max`, on lists 0 to `lists - 1`.
pub(crate) fn plans(count_max: usize, lists: i64) -> impl Strategy<Value = Vec<Plan>> {
    let outcome = prop_oneof![8 => Just(Outcome::Ok), 1 => Just(Outcome::Fail), 1 => Just(Outcome::Info)];
    let steps = vec((any::<bool>(), 0..lists), 1..4);
    let plan = (steps, 0..REACH_MAX, 0..REACH_MAX, outcome, any::<bool>())
        .prop_map(|(steps, before, after, outcome, takes_effect)| Plan { steps, before, after, outcome, takes_effect });
    vec(plan, 1..=count_max)
}

/// Runs transactions in their order and tells what happened in the order of real time.
pub(crate) fn run(plans: &[Plan]) -> Vec<Event> {
    let (mut lists, mut value) = (BTreeMap::<i64, Vec<i64>>::new(), 0);
    let mut moments = Vec::new();
    for (plan, place) in plans.iter().zip(1..) {
        let mut micros = Vec::new();
        let took_effect = plan.outcome == Outcome::Ok || (plan.outcome == Outcome::Info && plan.takes_effect);
        for (appends, key) in &plan.steps {
            let list = lists.entry(*key).or_default();
            if *appends {
                value += 1;
                micros.push(Micro::Append { key: *key, value });
                list.extend(took_effect.then_some(value));
            } else {
                let list = (plan.outcome == Outcome::Ok).then(|| list.clone());
                micros.push(Micro::Read { key: *key, list });
            }
        }
        let point = place * STEP;
        let called = point.saturating_sub(plan.before);
        // What nobody knows of may run long after it was given up.
        let answered = if plan.outcome == Outcome::Info { called } else { point } + plan.after;
        // At the same time, calls come first.
        moments.push(((called, false, place), Kind::Invoke, micros.iter().map(Micro::unread).collect()));
        moments.push(((answered, true, place), Kind::Answer(plan.outcome), micros));
    }
    moments.sort_by_key(|(at, ..)| *at);
    give_processes(moments)
}

type Moment = ((u64, bool, u64), Kind, Vec<Micro>);

/// Gives each operation the lowest process that is free.
fn give_processes(moments: Vec<Moment>) -> Vec<Event> {
    let (mut free, mut fresh, mut of) = (BTreeSet::new(), 0, BTreeMap::new());
    let events = moments.into_iter().map(|((time_ns, _, place), kind, micros)| {
        let process = *of.entry(place).or_insert_with(|| {
            free.pop_first().unwrap_or_else(|| {
                fresh += 1;
                fresh - 1
            })
        });
        if matches!(kind, Kind::Answer(Outcome::Ok | Outcome::Fail)) {
            free.insert(process);
        }
        Event { kind, process, time_ns, micros }
    });
    events.collect()
}

/// The events as a history.
pub(crate) fn build(events: &[Event]) -> History {
    let mut builder = Builder::new();
    for event in events {
        builder.push(event.clone()).expect("the generator keeps the contract");
    }
    builder.finish().expect("the generator answers everything")
}

/// The reads of the answers that are ok: the event's place, the step's, the list and what was read.
pub(crate) fn reads(events: &[Event]) -> Vec<(usize, usize, i64, Vec<i64>)> {
    let steps = events.iter().enumerate().flat_map(|(at, event)| {
        event.micros.iter().enumerate().filter_map(move |(step, micro)| match micro {
            Micro::Read { key, list: Some(list) } => Some((at, step, *key, list.clone())),
            Micro::Read { list: None, .. } | Micro::Append { .. } => None,
        })
    });
    steps.collect()
}

/// Lets a step of an event have read something else.
pub(crate) fn replace(events: &mut [Event], at: usize, step: usize, read: &[i64]) {
    let Micro::Read { list, .. } = &mut events[at].micros[step] else { panic!("the step reads") };
    *list = Some(read.to_vec());
}
