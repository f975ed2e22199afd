//! What signals do.

use std::time::Duration;

use super::Fault;
use super::struck::{Arena, Memory};

/// How long a node may take to stop in order.
const STOPS_WITHIN: Duration = Duration::from_secs(20);

pub(super) async fn strike(arena: &mut Arena<'_>, fault: Fault, nodes: &[usize]) -> Memory {
    match fault {
        Fault::Kill => {
            nodes.iter().for_each(|place| arena.cluster.nodes[*place].kill());
            Memory::Nothing
        }
        Fault::Pause => {
            nodes.iter().for_each(|place| arena.cluster.nodes[*place].pause());
            Memory::Nothing
        }
        _ => {
            for place in nodes {
                let node = &mut arena.cluster.nodes[*place];
                let status = node.terminate(STOPS_WITHIN).await;
                assert!(status.success(), "{} did not stop in order: {status}", node.name());
                node.start();
                arena.cluster.well("a restart").await;
            }
            Memory::Over(format!("{} nodes stopped in order and started, one after the other", nodes.len()))
        }
    }
}

pub(super) fn mend(arena: &mut Arena<'_>, fault: Fault, nodes: &[usize]) -> String {
    for place in nodes {
        let node = &mut arena.cluster.nodes[*place];
        match fault {
            Fault::Kill => node.start(),
            // It returns when the kernel says so, as pausing did.
            _ => node.resume(),
        }
    }
    let done = if fault == Fault::Kill { "killed and started" } else { "paused and resumed" };
    format!("{} of the nodes {done}", nodes.len())
}
