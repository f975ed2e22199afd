//! What reads show by themselves, and in pairs, without any order of transactions: the check beside `adya`.

use std::collections::{HashMap, HashSet};

use serde_json::json;

use super::{Anomaly, Finder};
use crate::history::{History, Micro, Operation, Outcome};

/// A list as a transaction that took effect read it.
#[derive(Clone, Copy)]
pub(super) struct Read<'a> {
    pub(super) by: &'a Operation,
    pub(super) key: i64,
    pub(super) list: &'a [i64],
}

/// Where a value comes from.
#[derive(Clone, Copy)]
struct Append<'a> {
    by: &'a Operation,
    /// Which of its steps.
    step: usize,
}

/// Reads of what nobody appended, or none that took effect; of a value twice; of lists that cannot both have been.
pub(super) fn check(history: &History, reads: &[Read<'_>]) -> Vec<Anomaly> {
    let mut anomalies = origins(history, reads);
    anomalies.extend(reads.iter().filter_map(|read| duplicates(*read)));
    anomalies.extend(orders(reads));
    anomalies
}

/// What a transaction read: nothing that is known, unless it took effect.
pub(super) fn of(by: &Operation) -> impl Iterator<Item = Read<'_>> {
    by.micros.iter().filter_map(move |micro| match micro {
        Micro::Read { key, list: Some(list) } => Some(Read { by, key: *key, list }),
        Micro::Read { list: None, .. } | Micro::Append { .. } => None,
    })
}

/// Every value that is read was appended to that list, by a transaction that did not fail, and those of one transaction
/// stand in its order.
fn origins(history: &History, reads: &[Read<'_>]) -> Vec<Anomaly> {
    let mut appends = HashMap::new();
    for writer in history.operations() {
        for (step, micro) in writer.micros.iter().enumerate() {
            if let Micro::Append { key, value } = micro {
                appends.insert((*key, *value), Append { by: writer, step });
            }
        }
    }
    reads.iter().flat_map(|read| origin(*read, &appends)).collect()
}

fn origin(read: Read<'_>, appends: &HashMap<(i64, i64), Append<'_>>) -> Vec<Anomaly> {
    let mut anomalies = Vec::new();
    // The last step of each transaction of which the list has a value so far.
    let mut last = HashMap::new();
    for value in read.list {
        let Some(Append { by, step }) = appends.get(&(read.key, *value)) else {
            anomalies.push(read.anomaly("garbage-read", &[], &format!("but nobody appended {value} to it")));
            continue;
        };
        if by.outcome == Outcome::Fail {
            let why = format!("but {}, which appended {value}, failed", name(by));
            anomalies.push(read.anomaly("G1a", &[by], &why));
        }
        if last.insert(by.answered.line, *step).is_some_and(|last| last > *step) {
            let why = format!("but {} appended {value} before what stands before it", name(by));
            anomalies.push(read.anomaly("reversed-appends", &[by], &why));
        }
    }
    anomalies
}

fn duplicates(read: Read<'_>) -> Option<Anomaly> {
    let mut seen = HashSet::new();
    let twice = read.list.iter().find(|value| !seen.insert(**value))?;
    Some(read.anomaly("duplicate-elements", &[], &format!("in which {twice} stands twice, but was appended once")))
}

/// All reads of a list are beginnings of the longest one. Of a list for which that is not so, the first read is told
/// that is none.
fn orders(reads: &[Read<'_>]) -> Vec<Anomaly> {
    let mut longest: HashMap<i64, Read<'_>> = HashMap::new();
    for read in reads {
        let known = longest.entry(read.key).or_insert(*read);
        if known.list.len() < read.list.len() {
            *known = *read;
        }
    }
    let mut told = HashSet::new();
    let anomalies = reads.iter().filter_map(|read| {
        let longest = longest[&read.key];
        if longest.list.starts_with(read.list) || !told.insert(read.key) {
            return None;
        }
        let why = format!("but {} read {}: neither begins with the other", name(longest.by), json!(longest.list));
        Some(read.anomaly("incompatible-order", &[longest.by], &why))
    });
    anomalies.collect()
}

impl Read<'_> {
    /// The anomaly that this read shows, with `others`; `why` goes on after what was read.
    pub(super) fn anomaly(self, what: &str, others: &[&Operation], why: &str) -> Anomaly {
        let operations = [self.by].into_iter().chain(others.iter().copied());
        Anomaly {
            name: what.to_owned(),
            finder: Finder::Reads,
            operations: operations.map(|operation| operation.answered.line).collect(),
            explanation: format!("{} read list {} as {}, {why}", name(self.by), self.key, json!(self.list)),
        }
    }
}

/// An operation is called by the line of its answer, as in what `adya` tells.
pub(super) fn name(operation: &Operation) -> String {
    format!("T{}", operation.answered.line)
}
