//! Histories of transactions: what was asked and what was answered, in the order of real time.
//!
//! A transaction appends to lists and reads them. Every process has at most one open operation, so a history is a set
//! of intervals on one line, and a transaction took effect, if it did, at one point within its own:
//!
//! ```text
//! line        1    2    3    4    5    6
//! process 0   invoke ─────── ok   invoke ─ …      append 7 to list 1
//! process 1        invoke ── info                 nobody knows: it may take effect at any time after line 2, or never
//! ```
//!
//! What a history must keep to, whoever wrote it, so that a verdict on it means something:
//!
//! - its order is that of real time, and so its times do not go back;
//! - every invoke has one answer: who writes a history ends with `info` what is open at the end;
//! - a process has one open operation at most, and after `info` its number is not used again;
//! - an answer repeats the micro-operations of its invoke; the lists it read are known if it is `ok`, and only then;
//! - a value is appended to a list once at most.
//!
//! [`Builder`] takes events one by one and refuses the first that breaks this. `lines.rs` has the form on disk.

mod lines;

use std::collections::BTreeMap;

use thiserror::Error;

/// One step of a transaction. Steps take effect in their order, and see those before them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Micro {
    /// Appended a value to a list.
    Append {
        /// Which list.
        key: i64,
        /// What it has at its end then.
        value: i64,
    },
    /// Read a list.
    Read {
        /// Which list.
        key: i64,
        /// All values, oldest first; `None` where that is not known: before the answer, or without one.
        list: Option<Vec<i64>>,
    },
}

/// How a transaction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It took effect.
    Ok,
    /// It had no effect and never will.
    Fail,
    /// Nobody knows: it may take effect later, has done so, or never will.
    Info,
}

/// What happened to an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It began.
    Invoke,
    /// It ended.
    Answer(Outcome),
}

/// A line of a history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// What happened.
    pub kind: Kind,
    /// To whose operation.
    pub process: u32,
    /// When, from the history's beginning.
    pub time_ns: u64,
    /// The transaction, as far as it is known.
    pub micros: Vec<Micro>,
}

/// A place in a history.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment {
    /// The line, from 1: the order of real time.
    pub line: u64,
    /// From the history's beginning; it orders nothing.
    pub time_ns: u64,
}

/// A transaction with its interval.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Who asked.
    pub process: u32,
    /// Before this it had no effect.
    pub called: Moment,
    /// If it is [`Outcome::Ok`], it had its effect before this. No two operations share this line: it is their name.
    pub answered: Moment,
    /// How it ended.
    pub outcome: Outcome,
    /// Its steps; the lists are known if it is [`Outcome::Ok`], and only then.
    pub micros: Vec<Micro>,
}

/// Transactions that keep the contract of this file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    operations: Vec<Operation>,
}

impl History {
    /// The operations, in the order of their calls.
    #[must_use]
    pub fn operations(&self) -> &[Operation] {
        &self.operations
    }

    /// How many operations ended so.
    #[must_use]
    pub fn count(&self, outcome: Outcome) -> usize {
        self.operations.iter().filter(|operation| operation.outcome == outcome).count()
    }

    /// What happened, in order; the line of each is beside it.
    pub(crate) fn events(&self) -> Vec<(u64, Event)> {
        let events = self.operations.iter().flat_map(|operation| {
            let micros = operation.micros.iter().map(Micro::unread).collect();
            let event = |kind, at: Moment, micros| {
                (at.line, Event { kind, process: operation.process, time_ns: at.time_ns, micros })
            };
            [
                event(Kind::Invoke, operation.called, micros),
                event(Kind::Answer(operation.outcome), operation.answered, operation.micros.clone()),
            ]
        });
        let mut events: Vec<_> = events.collect();
        events.sort_by_key(|(line, _)| *line);
        events
    }
}

impl Micro {
    /// The step as it was asked for.
    #[must_use]
    pub fn unread(&self) -> Self {
        match self {
            Self::Append { .. } => self.clone(),
            Self::Read { key, .. } => Self::Read { key: *key, list: None },
        }
    }
}

/// A history that breaks the contract. It says nothing about who answered: correct who wrote it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("line {line}: {what}")]
pub struct Malformed {
    /// The line, from 1.
    pub line: u64,
    /// What was expected there, and what was found.
    pub what: String,
}

/// Makes a history of events in the order in which they happened. After an error it is of no more use.
#[derive(Clone, Debug, Default)]
pub struct Builder {
    /// The last line.
    last: Moment,
    ended: Vec<Operation>,
    /// The open operation of each process.
    open: BTreeMap<u32, (Moment, Vec<Micro>)>,
    /// The processes that nobody may use again, with the line of their `info`.
    retired: BTreeMap<u32, u64>,
    /// The line that appends a value to a list.
    appended: BTreeMap<(i64, i64), u64>,
}

impl Builder {
    /// A history without events.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A process asks for a transaction; what its steps will read is not known.
    ///
    /// # Errors
    /// The event breaks the contract.
    pub fn invoke(&mut self, process: u32, time_ns: u64, micros: Vec<Micro>) -> Result<(), Malformed> {
        self.push(Event { kind: Kind::Invoke, process, time_ns, micros })
    }

    /// A process learns that its transaction took effect, and what its steps read.
    ///
    /// # Errors
    /// The event breaks the contract.
    pub fn ok(&mut self, process: u32, time_ns: u64, micros: Vec<Micro>) -> Result<(), Malformed> {
        self.push(Event { kind: Kind::Answer(Outcome::Ok), process, time_ns, micros })
    }

    /// A process learns that its transaction had no effect and never will.
    ///
    /// # Errors
    /// The event breaks the contract.
    pub fn fail(&mut self, process: u32, time_ns: u64) -> Result<(), Malformed> {
        self.end_unread(process, time_ns, Outcome::Fail)
    }

    /// A process does not learn what became of its transaction.
    ///
    /// # Errors
    /// The event breaks the contract.
    pub fn info(&mut self, process: u32, time_ns: u64) -> Result<(), Malformed> {
        self.end_unread(process, time_ns, Outcome::Info)
    }

    fn end_unread(&mut self, process: u32, time_ns: u64, outcome: Outcome) -> Result<(), Malformed> {
        let micros = self.open.get(&process).map(|(_, micros)| micros.clone()).unwrap_or_default();
        self.push(Event { kind: Kind::Answer(outcome), process, time_ns, micros })
    }

    /// Takes the event of the next line.
    ///
    /// # Errors
    /// The event breaks the contract.
    pub fn push(&mut self, event: Event) -> Result<(), Malformed> {
        self.skip();
        self.take(event).map_err(|what| Malformed { line: self.last.line, what })
    }

    /// Leaves a line to something else than an operation.
    pub fn skip(&mut self) {
        self.last.line += 1;
    }

    /// The history, if nothing is open.
    ///
    /// # Errors
    /// An operation has no answer.
    pub fn finish(mut self) -> Result<History, Malformed> {
        if let Some((process, (called, _))) = self.open.first_key_value() {
            let what = format!("process {process} has no answer to this; end with `info` what is open at the end");
            return Err(Malformed { line: called.line, what });
        }
        self.ended.sort_by_key(|operation| operation.called.line);
        Ok(History { operations: self.ended })
    }

    fn take(&mut self, event: Event) -> Result<(), String> {
        let Event { kind, process, time_ns, micros } = event;
        if time_ns < self.last.time_ns {
            return Err(format!(
                "time goes back from {} to {time_ns}; lines are written in the order of real time, by one clock",
                self.last.time_ns
            ));
        }
        self.last.time_ns = time_ns;
        match kind {
            Kind::Invoke => self.call(process, micros),
            Kind::Answer(outcome) => self.answer(process, outcome, micros),
        }
    }

    fn call(&mut self, process: u32, micros: Vec<Micro>) -> Result<(), String> {
        if let Some((called, _)) = self.open.get(&process) {
            return Err(format!(
                "process {process} has an open operation since line {}; give this one to another process",
                called.line
            ));
        }
        if let Some(line) = self.retired.get(&process) {
            return Err(format!(
                "process {process} is retired since its `info` in line {line}; give this operation to a new process"
            ));
        }
        for micro in &micros {
            match micro {
                Micro::Append { key, value } => {
                    if let Some(line) = self.appended.insert((*key, *value), self.last.line) {
                        return Err(format!(
                            "{value} is appended to list {key} in line {line} too; append each value once, also when \
                             an operation is tried again"
                        ));
                    }
                }
                Micro::Read { key, list: Some(_) } => {
                    return Err(format!(
                        "an invoke knows what it will read of list {key}; write null until it is answered"
                    ));
                }
                Micro::Read { list: None, .. } => {}
            }
        }
        self.open.insert(process, (self.last, micros));
        Ok(())
    }

    fn answer(&mut self, process: u32, outcome: Outcome, micros: Vec<Micro>) -> Result<(), String> {
        let Some((called, asked)) = self.open.remove(&process) else {
            return Err(format!("process {process} has no open operation; an answer follows its invoke"));
        };
        if !micros.iter().map(Micro::unread).eq(asked) {
            return Err(format!(
                "the answer is to another transaction than process {process} asked for in line {}; \
                                repeat its micro-operations",
                called.line
            ));
        }
        for micro in &micros {
            match (micro, outcome) {
                (Micro::Read { key, list: None }, Outcome::Ok) => {
                    return Err(format!("what was read of list {key} is not said; an empty list is []"));
                }
                (Micro::Read { key, list: Some(_) }, Outcome::Fail | Outcome::Info) => {
                    return Err(format!(
                        "list {key} was read by a transaction that is not known to have taken effect, which binds \
                         nobody; write null"
                    ));
                }
                _ => {}
            }
        }
        if outcome == Outcome::Info {
            self.retired.insert(process, self.last.line);
        }
        self.ended.push(Operation { process, called, answered: self.last, outcome, micros });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn append(key: i64, value: i64) -> Micro {
        Micro::Append { key, value }
    }

    fn read(key: i64, list: Option<&[i64]>) -> Micro {
        Micro::Read { key, list: list.map(<[i64]>::to_vec) }
    }

    /// What is said of the last of the events.
    fn refused(events: impl FnOnce(&mut Builder) -> Result<(), Malformed>) -> String {
        let mut builder = Builder::new();
        builder.invoke(0, 10, vec![append(1, 7), read(2, None)]).unwrap();
        events(&mut builder).unwrap_err().to_string()
    }

    fn assert_refused(start: &str, events: impl FnOnce(&mut Builder) -> Result<(), Malformed>) {
        let found = refused(events);
        assert!(found.starts_with(start), "expected {start:?}, found {found:?}");
    }

    #[test]
    fn operations_stand_in_the_order_of_their_calls() {
        let mut builder = Builder::new();
        builder.invoke(3, 10, vec![append(1, 7)]).unwrap();
        builder.skip();
        builder.invoke(4, 10, vec![read(1, None)]).unwrap();
        builder.ok(4, 20, vec![read(1, Some(&[7]))]).unwrap();
        builder.info(3, 30).unwrap();
        builder.invoke(4, 30, vec![append(1, 8)]).unwrap();
        builder.fail(4, 30).unwrap();
        let history = builder.finish().unwrap();
        let lines: Vec<_> = history.operations().iter().map(|one| (one.called.line, one.answered.line)).collect();
        assert_eq!(lines, [(1, 5), (3, 4), (6, 7)]);
        assert_eq!([Outcome::Ok, Outcome::Fail, Outcome::Info].map(|outcome| history.count(outcome)), [1, 1, 1]);
        assert_eq!(history.operations()[2].micros, [append(1, 8)], "what failed is known");
    }

    #[test]
    fn a_process_has_one_open_operation() {
        assert_refused("line 2: process 0 has an open operation since line 1", |builder| builder.invoke(0, 20, vec![]));
        assert_refused("line 2: process 1 has no open operation", |builder| builder.fail(1, 20));
        assert_refused("line 3: process 0 has no open operation", |builder| {
            builder.fail(0, 20)?;
            builder.info(0, 20)
        });
    }

    #[test]
    fn a_process_is_retired_after_info() {
        assert_refused("line 4: process 0 is retired since its `info` in line 3", |builder| {
            builder.skip();
            builder.info(0, 20)?;
            builder.invoke(0, 30, vec![])
        });
    }

    #[test]
    fn every_invoke_is_answered() {
        assert_refused("line 2: process 1 has no answer to this", |builder| {
            builder.invoke(1, 20, vec![])?;
            builder.fail(0, 30)?;
            std::mem::take(builder).finish().map(|_| ())
        });
    }

    #[test]
    fn values_are_appended_once_to_a_list() {
        assert_refused("line 2: 7 is appended to list 1 in line 1 too", |builder| {
            builder.invoke(1, 20, vec![append(2, 7), append(1, 7)])
        });
        assert_refused("line 2: 8 is appended to list 1 in line 2 too", |builder| {
            builder.invoke(1, 20, vec![append(1, 8), append(1, 8)])
        });
        assert_refused("line 3: 7 is appended to list 1 in line 1 too", |builder| {
            builder.fail(0, 20)?;
            builder.invoke(0, 20, vec![append(1, 7)])
        });
    }

    #[test]
    fn an_answer_is_to_what_was_asked() {
        for other in
            [vec![append(1, 7)], vec![append(1, 8), read(2, Some(&[]))], vec![read(2, Some(&[])), append(1, 7)]]
        {
            assert_refused("line 2: the answer is to another transaction", |builder| builder.ok(0, 20, other));
        }
    }

    #[test]
    fn lists_are_known_where_a_transaction_took_effect() {
        let micros = |list| vec![append(1, 7), read(2, list)];
        assert_refused("line 2: what was read of list 2 is not said", |builder| builder.ok(0, 20, micros(None)));
        assert_refused("line 2: an invoke knows what it will read of list 2", |builder| {
            builder.invoke(1, 20, vec![read(2, Some(&[]))])
        });
        for outcome in [Outcome::Fail, Outcome::Info] {
            let event = Event { kind: Kind::Answer(outcome), process: 0, time_ns: 20, micros: micros(Some(&[])) };
            assert_refused("line 2: list 2 was read by a transaction that is not known", |builder| builder.push(event));
        }
    }

    #[test]
    fn time_does_not_go_back() {
        assert_refused("line 2: time goes back from 10 to 9", |builder| builder.fail(0, 9));
    }
}
