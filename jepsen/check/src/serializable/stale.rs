//! Reads that miss what was known before they were called: the fault that is looked for most, told with two operations.
//!
//! `adya` finds it too, as a circle through every transaction between the two, which may be thousands.

use std::collections::{HashMap, HashSet};

use serde_json::json;

use super::Anomaly;
use super::reads::{self, Read, name};
use crate::history::{History, Micro, Operation, Outcome};

/// What was answered about a list, in the order of the answers.
#[derive(Default)]
struct Known<'a> {
    appends: Vec<(&'a Operation, i64)>,
    /// The reads that were longer than all before them.
    reads: Vec<Read<'a>>,
}

/// Every read has what was read of its list, and appended to it, by transactions that were answered before it was
/// called. The first thing that a read lacks is told.
pub(super) fn check(history: &History, reads: &[Read<'_>]) -> Vec<Anomaly> {
    let known = known(history);
    reads.iter().filter_map(|read| stale(*read, known.get(&read.key)?)).collect()
}

fn known(history: &History) -> HashMap<i64, Known<'_>> {
    let ok = history.operations().iter().filter(|operation| operation.outcome == Outcome::Ok);
    let mut answers: Vec<_> = ok.collect();
    answers.sort_by_key(|operation| operation.answered.line);
    let mut lists: HashMap<i64, Known<'_>> = HashMap::new();
    for by in answers {
        for micro in &by.micros {
            if let Micro::Append { key, value } = micro {
                lists.entry(*key).or_default().appends.push((by, *value));
            }
        }
        for read in reads::of(by) {
            let known = &mut lists.entry(read.key).or_default().reads;
            if known.last().is_none_or(|longest| longest.list.len() < read.list.len()) {
                known.push(read);
            }
        }
    }
    lists
}

fn stale(read: Read<'_>, known: &Known<'_>) -> Option<Anomaly> {
    let called = read.by.called.line;
    let is_before = |other: &Operation| other.answered.line < called;
    let longest = known.reads[..known.reads.partition_point(|other| is_before(other.by))].last();
    if let Some(longer) = longest.filter(|longest| longest.list.len() > read.list.len()) {
        let (other, list) = (name(longer.by), json!(longer.list));
        let why = format!("but {other} had read {list} and was answered before line {called}, where this was called");
        return Some(read.anomaly("stale-read", &[longer.by], &why));
    }
    let appends = &known.appends[..known.appends.partition_point(|(other, _)| is_before(other))];
    let seen: HashSet<_> = read.list.iter().collect();
    let (writer, value) = appends.iter().find(|(_, value)| !seen.contains(value))?;
    let other = name(writer);
    let why = format!("but {other} appended {value} and was answered before line {called}, where this was called");
    Some(read.anomaly("stale-read", &[writer], &why))
}
