//! Linearizability of a register: is there an order of the operations, each between its call and its answer, in which
//! every answer is right?
//!
//! The search is that of Wing and Gong with Lowe's memory: a state is the set of operations already ordered and the
//! value they leave, and is looked at once. That set is nearly always a prefix of the history with a few more, so it is
//! kept as such.

use std::collections::BTreeSet;

/// What a client did to a register. A value is written once at most; that there is none may be written often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Read this value.
    Read(Option<u64>),
    /// Wrote this value, or deleted it.
    Write(Option<u64>),
    /// Wrote `to` if the value was `from`, and was told whether it was.
    CompareAndSet {
        /// The value asked for; `None`: that there is none.
        from: Option<u64>,
        /// The value written.
        to: u64,
        /// Whether it was; `None` if that is not known.
        done: Option<bool>,
    },
}

/// An operation with its place in time. Calls and answers are numbered in one order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// The number of the call.
    pub called: u64,
    /// The number of the answer; `None` if the outcome is not known: it may take effect at any time, or never.
    pub answered: Option<u64>,
    /// What it was.
    pub operation: Operation,
}

/// Checks the history of one register, which has no value at first.
///
/// # Errors
/// The operations around which no order is right.
pub fn check(history: &[Event]) -> Result<(), String> {
    let mut events: Vec<Event> = history.iter().filter(|event| matters(event, history)).copied().collect();
    events.sort_by_key(|event| event.called);
    let mut seen = BTreeSet::new();
    let mut stack = vec![State { prefix: 0, more: Vec::new(), value: None }];
    let mut furthest = 0;
    while let Some(state) = stack.pop() {
        let rest = || (state.prefix..events.len()).filter(|place| !state.more.contains(place));
        if rest().all(|place| events[place].answered.is_none()) {
            return Ok(());
        }
        furthest = furthest.max(state.prefix);
        let (mut next, mut first_answer) = (Vec::new(), u64::MAX);
        for place in rest() {
            let event = &events[place];
            // It was called after another had been answered that is not in the order yet: so are all that follow.
            if event.called > first_answer {
                break;
            }
            first_answer = first_answer.min(event.answered.unwrap_or(u64::MAX));
            if let Some(value) = after(event.operation, state.value) {
                next.push((event.answered.unwrap_or(u64::MAX), state.with(place, value)));
            }
        }
        // What was answered first most likely took effect first: it is tried first.
        next.sort_by_key(|(answered, _)| std::cmp::Reverse(*answered));
        stack.extend(next.into_iter().map(|(_, state)| state).filter(|state| seen.insert(state.clone())));
    }
    let around = &events[furthest.saturating_sub(4)..events.len().min(furthest + 12)];
    let lines: Vec<String> = around.iter().map(|event| format!("{event:?}")).collect();
    Err(format!("no order of the operations explains the answers; it fails around\n{}", lines.join("\n")))
}

/// Whether an event can tell on others. A write of which nobody knows, whose value nobody saw, need not have been; with
/// many of them the search would not end. One that made another compare in vain was seen by that.
fn matters(event: &Event, history: &[Event]) -> bool {
    let (None, Operation::Write(Some(written))) = (event.answered, event.operation) else { return true };
    history.iter().any(|other| match other.operation {
        Operation::Read(read) => read == Some(written),
        Operation::Write(_) => false,
        Operation::CompareAndSet { from, done, .. } => from == Some(written) || done == Some(false),
    })
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct State {
    /// All before this place are in the order.
    prefix: usize,
    /// And so are these, in rising order.
    more: Vec<usize>,
    value: Option<u64>,
}

impl State {
    fn with(&self, place: usize, value: Option<u64>) -> Self {
        let (mut prefix, mut more) = (self.prefix, self.more.clone());
        more.insert(more.partition_point(|known| *known < place), place);
        let filled = more.iter().zip(prefix..).take_while(|(place, at)| *place == at).count();
        more.drain(..filled);
        prefix += filled;
        Self { prefix, more, value }
    }
}

/// The value after an operation on `value`; `None` if its answer would be wrong then.
fn after(operation: Operation, value: Option<u64>) -> Option<Option<u64>> {
    match operation {
        Operation::Read(read) => (read == value).then_some(value),
        Operation::Write(written) => Some(written),
        Operation::CompareAndSet { from, to, done } => {
            let holds = value == from;
            (done.is_none_or(|done| done == holds)).then_some(if holds { Some(to) } else { value })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Operation::{CompareAndSet, Read, Write};

    fn event(called: u64, answered: u64, operation: Operation) -> Event {
        Event { called, answered: Some(answered), operation }
    }

    #[test]
    fn a_read_between_two_writes_sees_either() {
        for read in [1, 2] {
            let history = [event(1, 2, Write(Some(1))), event(3, 6, Write(Some(2))), event(4, 5, Read(Some(read)))];
            assert_eq!(check(&history), Ok(()));
        }
    }

    #[test]
    fn a_stale_read_is_found() {
        let history = [event(1, 2, Write(Some(1))), event(3, 4, Write(Some(2))), event(5, 6, Read(Some(1)))];
        assert!(check(&history).is_err());
    }

    #[test]
    fn reads_do_not_go_back() {
        let history = [
            event(1, 2, Write(Some(1))),
            event(3, 8, Write(Some(2))),
            event(4, 5, Read(Some(2))),
            event(6, 7, Read(Some(1))),
        ];
        assert!(check(&history).is_err());
    }

    #[test]
    fn a_lost_write_is_found() {
        assert!(check(&[event(1, 2, Write(Some(1))), event(3, 4, Read(None))]).is_err());
    }

    #[test]
    fn an_unknown_write_may_show_late_or_never() {
        let unknown = Event { called: 1, answered: None, operation: Write(Some(1)) };
        assert_eq!(check(&[unknown, event(2, 3, Read(None)), event(4, 5, Read(Some(1)))]), Ok(()));
        assert_eq!(check(&[unknown, event(2, 3, Read(None)), event(4, 5, Read(None))]), Ok(()));
        assert!(check(&[unknown, event(2, 3, Read(Some(1))), event(4, 5, Read(None))]).is_err());
    }

    #[test]
    fn only_one_of_two_sets_from_the_same_value_is_done() {
        let set = |to| CompareAndSet { from: Some(1), to, done: Some(true) };
        assert!(check(&[event(1, 2, Write(Some(1))), event(3, 6, set(2)), event(4, 5, set(3))]).is_err());
        let refused = CompareAndSet { from: Some(1), to: 3, done: Some(false) };
        assert_eq!(check(&[event(1, 2, Write(Some(1))), event(3, 6, set(2)), event(4, 5, refused)]), Ok(()));
        assert!(check(&[event(1, 2, Write(Some(1))), event(3, 4, refused)]).is_err());
    }

    #[test]
    fn what_was_deleted_is_gone_and_may_be_set_anew() {
        let delete = |called| event(called, called + 1, Write(None));
        let insert = |done| CompareAndSet { from: None, to: 2, done: Some(done) };
        let begin = event(1, 2, Write(Some(1)));
        assert_eq!(
            check(&[begin, delete(3), event(5, 6, insert(true)), event(7, 8, Read(Some(2))), delete(9)]),
            Ok(())
        );
        assert!(check(&[begin, delete(3), event(5, 6, Read(Some(1)))]).is_err());
        assert!(check(&[begin, event(5, 6, insert(true))]).is_err());
        assert!(check(&[begin, delete(3), event(5, 6, insert(false))]).is_err());
        let unknown = Event { called: 3, answered: None, operation: Write(None) };
        assert_eq!(check(&[begin, unknown, event(5, 6, Read(Some(1))), event(7, 8, Read(None))]), Ok(()));
    }

    #[test]
    fn many_unknown_writes_that_nobody_saw_cost_nothing() {
        let mut history: Vec<Event> =
            (0..60).map(|value| Event { called: value, answered: None, operation: Write(Some(value)) }).collect();
        history.push(event(100, 101, Write(Some(100))));
        history.push(event(102, 103, Read(Some(7))));
        assert_eq!(check(&history), Ok(()));
        history.push(event(104, 105, Read(Some(100))));
        assert!(check(&history).is_err());
        let refused = CompareAndSet { from: Some(1), to: 3, done: Some(false) };
        let unknown = Event { called: 2, answered: None, operation: Write(Some(2)) };
        assert_eq!(check(&[event(0, 1, Write(Some(1))), unknown, event(3, 4, refused)]), Ok(()), "it was seen by that");
    }

    #[test]
    fn long_histories_are_checked_in_no_time() {
        let mut history = Vec::new();
        for round in 0..200 {
            let at = round * 20;
            for place in 0..5 {
                history.push(event(at + place, at + 10 + place, Write(Some(round * 10 + place))));
            }
            history.push(event(at + 5, at + 16, Read(Some(round * 10 + 2))));
        }
        assert_eq!(check(&history), Ok(()));
    }
}
