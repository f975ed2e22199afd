//! The process to be killed: it counts events, and says what it was promised.

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use bytes::Bytes;
use lentic_engine::MergeOperator;
use lentic_machine::shard::{Action, Operation, Write};
use lentic_machine::{Outcome, Request};
use lentic_types::Version;

use crate::node::Node;

/// Counters that the events fall on.
pub(crate) const CARRIERS: u64 = 16;
/// Events of one entry.
pub(crate) const EVENTS_PER_ENTRY: u64 = 100;

/// Counts events until it is killed; after each entry that is acknowledged it prints how many events that makes.
pub(crate) fn run(directory: &Path) -> ExitCode {
    let (mut node, _) = Node::open(directory);
    let mut out = std::io::stdout().lock();
    for entry in 1.. {
        let version = Version::tick(node.newest().ms() + 1, 0).expect("a short demo");
        let outcomes = node.act_together(vec![Request { version, key: None, action: count_events(entry) }]);
        assert!(matches!(outcomes[..], [Outcome::Committed { .. }]), "{outcomes:?}");
        if writeln!(out, "{}", entry * EVENTS_PER_ENTRY).and_then(|()| out.flush()).is_err() {
            break;
        }
    }
    ExitCode::SUCCESS
}

/// One entry: a hundred events, each counted on its carrier by a merge.
fn count_events(entry: u64) -> Action {
    let one = Bytes::copy_from_slice(&1i64.to_be_bytes());
    let event = |number: u64| Operation::Merge {
        key: carrier((entry * 7 + number * number) % CARRIERS).into(),
        operator: MergeOperator::AddI64,
        operand: one.clone(),
        expiry: None,
    };
    Action::Write(Write { operations: (0..EVENTS_PER_ENTRY).map(event).collect(), ..Write::default() })
}

/// The key of a carrier's counter.
pub(crate) fn carrier(number: u64) -> String {
    format!("carrier-{number:02}")
}
