//! What is done to system calls: syncs that are slow or fail, torn writes, clocks that jump.

use std::time::Duration;

use lentic_faults::process::{Failure, Kill, Preload, Torn};

use super::Fault;
use super::struck::{Arena, Memory};
use crate::node::Node;
use crate::wait::until;

/// How much longer a sync takes.
const SLOWER_BY: Duration = Duration::from_millis(500);
/// How long a node may take to stop whose disk has failed: its log is synced several times a second.
const STOPS_WITHIN: Duration = Duration::from_secs(20);
const SECOND_NS: i64 = 1_000_000_000;

pub(super) async fn strike(arena: &mut Arena<'_>, fault: Fault, nodes: &[usize]) -> Memory {
    let before = nodes.iter().map(|place| counted(&arena.cluster.nodes[*place], fault)).sum();
    for place in nodes {
        let calls = calls(&arena.cluster.nodes[*place]);
        let kill = if arena.dice.one_in(2) { Kill::AtSync } else { Kill::AtOnce };
        let torn = Torn { kill, choice: u32::try_from(arena.dice.between(0..=1_000)).expect("it is small") };
        match fault {
            Fault::SlowSync => calls.set_slow_sync(Some(SLOWER_BY)),
            Fault::SyncError => calls.set_sync_error(Some(Failure::Always)),
            Fault::TornWrite => calls.set_torn_write(Some(torn)),
            _ => {
                let by = [10, 60, 3_600][arena.dice.place(3)] * SECOND_NS;
                calls.set_clock_offset(if arena.dice.one_in(2) { by } else { -by });
            }
        }
    }
    if matches!(fault, Fault::SyncError | Fault::TornWrite) {
        for place in nodes {
            let node = &mut arena.cluster.nodes[*place];
            let what = format!("the end of {} whose disk has failed", node.name());
            let ended =
                until(&what, STOPS_WITHIN, || std::future::ready(node.ended().ok_or_else(|| "it runs on".to_owned())))
                    .await;
            assert!(!ended.success(), "{} says that all is well, and its disk has failed: {ended}", node.name());
        }
    }
    Memory::Counted(before)
}

pub(super) fn mend(arena: &mut Arena<'_>, fault: Fault, nodes: &[usize], before: u64) -> String {
    let after: u64 = nodes.iter().map(|place| counted(&arena.cluster.nodes[*place], fault)).sum();
    for place in nodes {
        let node = &mut arena.cluster.nodes[*place];
        calls(node).reset();
        if !node.is_up() {
            node.start();
        }
    }
    assert!(after > before, "{fault} met no call");
    let met = after - before;
    match fault {
        Fault::SlowSync => format!("{met} syncs took {} ms more", SLOWER_BY.as_millis()),
        Fault::SyncError => format!("{met} syncs failed, and the node stopped"),
        Fault::TornWrite => format!("{met} writes were torn, and the node stopped"),
        _ => format!("{met} looks at the clock were wrong"),
    }
}

fn calls(node: &Node) -> &Preload {
    node.calls().expect("who hurts system calls has asked for that")
}

/// How many calls of a node the fault has met so far.
fn counted(node: &Node, fault: Fault) -> u64 {
    let counts = calls(node).counts();
    match fault {
        Fault::SlowSync => counts.syncs_slowed,
        Fault::SyncError => counts.syncs_failed,
        Fault::TornWrite => counts.writes_torn,
        _ => counts.clock_reads_shifted,
    }
}
