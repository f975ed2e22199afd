//! Strict serializability of transactions on lists: is there one order of all that took effect, each between its call
//! and its answer, in which every transaction read what those before it had appended?
//!
//! Values are appended once, and a read shows all of a list. So the longest read of a list gives the order of its
//! appends; what was appended and never read came after. From that follow the edges "must be before" between
//! transactions: who appended next (ww), who read what another appended (wr), who read before another appended (rw),
//! who was answered before another was called (realtime). The history holds if no edges form a circle and every read is
//! of what was appended. For lists that is exact: `tests/it/exhaustive.rs` compares it with a search of all orders, and
//! 600,000 small histories, of which three in ten do not hold, showed no difference.
//!
//! The circles are found by the crate `adya`, which names them as Adya and Elle do: `G0`, `G1c`, `G-single-item`,
//! `G-nonadjacent-item`, `G2-item`, with `-realtime` if only the order of real time closes them. It also finds, on
//! single reads, `G1a`, `G1b`, `internal`, `future-read`, `duplicate-elements`, `incompatible-order`, `lost-update`.
//!
//! **What `adya` 0.1.0 does not tell**, and who does:
//!
//! - it believes a read of a value that nobody appended: `reads.rs` finds `garbage-read`;
//! - it believes a read that has the appends of one transaction in another order than that transaction: `reads.rs` finds
//!   `reversed-appends`;
//! - it does not name the reads of an `incompatible-order`: `reads.rs` does, and looks for `G1a` and
//!   `duplicate-elements` again, for they are a few lines and `adya` is young;
//! - it tells a read that is late by a thousand transactions as a circle through all of them: `stale.rs` finds
//!   `stale-read`, and tells it with two;
//! - it passes, unlooked at, a history in which a value is appended twice: no [`History`] is such a one;
//! - it believes what an `info` read, which may never have taken effect: no [`History`] says that;
//! - without any edge it says "unknown": here that shows nothing, if something is to be shown.
//!
//! 10,000 transactions of 10 clients, on 8 lists at a time that get 32 appends each, take 0.13 s in a release build on
//! the machine of 2 cores where Lentic is built, and 100,000 take 1.6 s; to read them from text takes a quarter of that.

mod reads;
mod stale;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use adya::history::{Interner, Mop, Op, OpType, ReadValue, Scalar};
use adya::{Opts, Report, Valid, Workload};
use thiserror::Error;

use crate::history::{Event, History, Kind, Micro, Outcome};

/// The promise, in the words of `adya`.
const MODEL: &str = "strict-serializable";

/// What `adya` calls a history of which it knows no order at all.
const NO_EDGES: &str = "empty-transaction-graph";

/// Bound on the search for the name of a circle among transactions that are all before each other. If it ends, the
/// history is refused all the same, with some circle of them.
const NAME_SEARCH_MAX: Duration = Duration::from_secs(10);

/// Anomalies of one name that are written out; and of each, operations and lines of explanation. A circle of four
/// transactions has ten lines, and nobody reads one of a thousand.
const WRITTEN_OF_A_NAME_MAX: usize = 3;
const WRITTEN_OPERATIONS_MAX: usize = 8;
const WRITTEN_LINES_MAX: usize = 16;

/// A history that holds, and how much it shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checked {
    /// Transactions that took effect.
    pub ok: usize,
    /// Those that had none.
    pub fail: usize,
    /// Those of which nobody knows.
    pub info: usize,
}

/// Who found an anomaly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Finder {
    /// The check beside `adya`: `reads.rs` and `stale.rs`. It is told first, for it says more in fewer words.
    Reads,
    /// The crate `adya`.
    Adya,
}

/// Something that no order explains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anomaly {
    /// Its name, as in Elle; `garbage-read`, `reversed-appends` and `stale-read` are ours.
    pub name: String,
    /// Who found it.
    pub finder: Finder,
    /// The operations involved, by the lines of their answers; empty for an `incompatible-order` of `adya`, which
    /// [`Finder::Reads`] tells too.
    pub operations: Vec<u64>,
    /// What contradicts what. `T9` is the operation answered in line 9.
    pub explanation: String,
}

/// Why a history does not pass.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Violation {
    /// The promise is broken.
    #[error("the history is not strictly serializable:\n{}", written(.0))]
    Anomalies(Vec<Anomaly>),
    /// It holds, for too little happened.
    #[error("the history shows nothing: expected {ok_min} ok transactions at least, found {ok}; let it run for longer")]
    TooFew {
        /// What was demanded.
        ok_min: usize,
        /// What there was.
        ok: usize,
    },
    /// It holds, for any order would do.
    #[error("the history shows nothing: its {ok} ok transactions were all concurrent and saw nothing of each other")]
    Unrelated {
        /// What there was.
        ok: usize,
    },
}

/// Checks a history, of which at least `ok_min` transactions must have taken effect. With 0, nothing need be shown.
///
/// # Errors
/// What breaks the promise, or else that the history shows nothing.
///
/// # Panics
/// If `adya` has no verdict for another reason than that it knows of no edge.
pub fn check(history: &History, ok_min: usize) -> Result<Checked, Violation> {
    let report = ask_adya(history);
    let is_unrelated = report.anomaly_types == [NO_EDGES];
    assert!(
        report.valid != Valid::Unknown || is_unrelated,
        "expected a verdict on a well-formed history, found unknown for {:?}; see what adya means by it",
        report.anomaly_types
    );
    let reads: Vec<_> = history.operations().iter().flat_map(reads::of).collect();
    let mut anomalies = reads::check(history, &reads);
    anomalies.extend(stale::check(history, &reads));
    let found = report.anomalies.into_values().flatten().filter(|anomaly| anomaly.kind != NO_EDGES);
    anomalies.extend(found.map(|anomaly| Anomaly {
        name: anomaly.kind,
        finder: Finder::Adya,
        operations: anomaly.ops,
        explanation: anomaly.explanation,
    }));
    let ok = history.count(Outcome::Ok);
    match () {
        () if !anomalies.is_empty() => Err(Violation::Anomalies(anomalies)),
        () if ok < ok_min => Err(Violation::TooFew { ok_min, ok }),
        () if is_unrelated && ok_min > 0 => Err(Violation::Unrelated { ok }),
        () => Ok(Checked { ok, fail: history.count(Outcome::Fail), info: history.count(Outcome::Info) }),
    }
}

/// The verdict of `adya`, in which operations are called by their lines.
fn ask_adya(history: &History) -> Report {
    let mut interner = Interner::default();
    let events = history.events();
    let operations = events.iter().map(|(line, event)| operation(*line, event, &mut interner)).collect();
    let history = adya::History::from_ops(operations, interner);
    let options = Opts { models: vec![MODEL.to_owned()], timeout: NAME_SEARCH_MAX, ..Opts::default() };
    adya::check(&history, Workload::ListAppend, &options)
}

fn operation(line: u64, event: &Event, interner: &mut Interner) -> Op {
    let kind = match event.kind {
        Kind::Invoke => OpType::Invoke,
        Kind::Answer(Outcome::Ok) => OpType::Ok,
        Kind::Answer(Outcome::Fail) => OpType::Fail,
        Kind::Answer(Outcome::Info) => OpType::Info,
    };
    let mut id = |number| interner.intern(Scalar::Int(number));
    let steps = event.micros.iter().map(|micro| match micro {
        Micro::Append { key, value } => Mop::Append { key: id(*key), value: id(*value) },
        Micro::Read { key, list: None } => Mop::Read { key: id(*key), value: ReadValue::Nil },
        Micro::Read { key, list: Some(list) } => {
            Mop::Read { key: id(*key), value: ReadValue::List(list.iter().map(|value| id(*value)).collect()) }
        }
    });
    let value = steps.collect();
    Op { index: line, kind, process: Some(event.process.into()), value, time: i64::try_from(event.time_ns).ok() }
}

impl fmt::Display for Anomaly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<_> = self.explanation.trim_end().lines().collect();
        let (answers, text) = (cut(&self.operations, WRITTEN_OPERATIONS_MAX), cut(&lines, WRITTEN_LINES_MAX));
        write!(f, "{} (answers in lines {}): {}", self.name, answers.join(", "), text.join("\n"))
    }
}

/// The first anomalies of each name, and how many more there are of it.
fn written(anomalies: &[Anomaly]) -> String {
    let mut names: BTreeMap<(Finder, &str), Vec<&Anomaly>> = BTreeMap::new();
    for anomaly in anomalies {
        names.entry((anomaly.finder, &anomaly.name)).or_default().push(anomaly);
    }
    let texts = names.into_values().flat_map(|anomalies| cut(&anomalies, WRITTEN_OF_A_NAME_MAX));
    texts.collect::<Vec<_>>().join("\n")
}

/// The first `max`, and a last one that says how many more there are.
fn cut<T: ToString>(all: &[T], max: usize) -> Vec<String> {
    let more = all.len().saturating_sub(max);
    let first = all.iter().take(max).map(ToString::to_string);
    first.chain((more > 0).then(|| format!("and {more} more"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const APPEND_TWICE: &str = concat!(
        r#"{"type":"invoke","process":0,"f":"txn","time":1,"value":[["append",1,7]]}"#,
        "\n",
        r#"{"type":"ok","process":0,"f":"txn","time":2,"value":[["append",1,7]]}"#,
        "\n",
        r#"{"type":"invoke","process":0,"f":"txn","time":3,"value":[["append",1,7],["r",1,null]]}"#,
        "\n",
        r#"{"type":"ok","process":0,"f":"txn","time":4,"value":[["append",1,7],["r",1,[]]]}"#,
        "\n",
    );

    fn history(text: &str) -> History {
        History::read(text).unwrap()
    }

    /// A history of reads of an empty list: `count` of them, one after the other.
    fn reads(count: usize) -> String {
        let lines = (0..count).map(|at| {
            let (called, answered) = (at * 2, at * 2 + 1);
            format!(
                "{{\"type\":\"invoke\",\"process\":0,\"f\":\"txn\",\"time\":{called},\"value\":[[\"r\",1,null]]}}\n\
                 {{\"type\":\"ok\",\"process\":0,\"f\":\"txn\",\"time\":{answered},\"value\":[[\"r\",1,[]]]}}\n"
            )
        });
        lines.collect()
    }

    #[test]
    fn too_little_shows_nothing() {
        assert_eq!(check(&history(&reads(3)), 3), Ok(Checked { ok: 3, fail: 0, info: 0 }));
        assert_eq!(check(&history(&reads(3)), 4), Err(Violation::TooFew { ok_min: 4, ok: 3 }));
        assert_eq!(check(&history(""), 1), Err(Violation::TooFew { ok_min: 1, ok: 0 }));
        assert_eq!(check(&history(""), 0), Ok(Checked { ok: 0, fail: 0, info: 0 }));
    }

    #[test]
    fn transactions_without_any_order_show_nothing() {
        assert_eq!(check(&history(&reads(1)), 1), Err(Violation::Unrelated { ok: 1 }));
        assert_eq!(check(&history(&reads(1)), 0), Ok(Checked { ok: 1, fail: 0, info: 0 }));
    }

    #[test]
    fn adya_passes_a_value_that_is_appended_twice() {
        let told = adya::History::from_json(APPEND_TWICE).unwrap();
        assert_eq!(adya::check(&told, Workload::ListAppend, &Opts::default()).valid, Valid::True);
        assert!(History::read(APPEND_TWICE).is_err());
    }

    #[test]
    fn a_verdict_names_what_it_found_and_counts_the_rest() {
        let garbage = reads(5).replace("[]", "[4]");
        let told = check(&history(&garbage), 1).unwrap_err().to_string();
        let expected = "the history is not strictly serializable:\n\
            garbage-read (answers in lines 2): T2 read list 1 as [4], but nobody appended 4 to it\n\
            garbage-read (answers in lines 4): T4 read list 1 as [4], but nobody appended 4 to it\n\
            garbage-read (answers in lines 6): T6 read list 1 as [4], but nobody appended 4 to it\n\
            and 2 more";
        assert_eq!(told, expected);
    }
}
