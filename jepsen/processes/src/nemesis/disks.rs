//! What is done to disks: loss of power, and no room.

use std::time::Duration;

use super::Fault;
use super::struck::{Arena, Memory};
use crate::node::Node;
use crate::wait::until;

/// What is left on a full disk.
const LEFT_BYTES: u64 = 64 << 10;
/// How long a node may take to find that its disk is full.
const FINDS_WITHIN: Duration = Duration::from_secs(60);

pub(super) fn strike(arena: &mut Arena<'_>, fault: Fault, nodes: &[usize]) -> Memory {
    if fault == Fault::DiskFull {
        for place in nodes {
            let node = &mut arena.cluster.nodes[*place];
            disk(node).fill(LEFT_BYTES).unwrap_or_else(|error| panic!("a disk cannot be filled: {error}"));
        }
        return Memory::Nothing;
    }
    // A process that lives on without its disk is told of syncs that are none: what was on its way when the power was cut
    // is not converted, and ext4 does not say so. So none runs by then, as without power none does.
    nodes.iter().for_each(|place| arena.cluster.nodes[*place].pause());
    for place in nodes {
        disk(&mut arena.cluster.nodes[*place]).cut_power().unwrap_or_else(|error| panic!("power stays on: {error}"));
    }
    nodes.iter().for_each(|place| arena.cluster.nodes[*place].kill());
    Memory::Nothing
}

pub(super) async fn mend(arena: &mut Arena<'_>, fault: Fault, nodes: &[usize]) -> String {
    if fault != Fault::DiskFull {
        for place in nodes {
            let node = &mut arena.cluster.nodes[*place];
            disk(node).restore().unwrap_or_else(|error| panic!("power does not come back: {error}"));
            node.start();
        }
        return format!("{} nodes lost their power, and what they had not synced", nodes.len());
    }
    let mut words = Vec::new();
    for place in nodes {
        let node = &mut arena.cluster.nodes[*place];
        let what = format!("{} with a full disk", node.name());
        let found = until(&what, FINDS_WITHIN, || {
            std::future::ready(match node.ended() {
                Some(status) => Ok(format!("stopped ({status})")),
                None if says_full(node) => Ok("said so and went on".to_owned()),
                None => Err("it has not noticed".to_owned()),
            })
        })
        .await;
        disk(node).free().unwrap_or_else(|error| panic!("a disk cannot be emptied: {error}"));
        words.push(format!("{} {found}", node.name()));
        node.kill();
        node.start();
    }
    format!("a full disk: {}", words.join(", "))
}

/// Whether the log of a node tells of a full disk.
fn says_full(node: &Node) -> bool {
    let tail = node.log_tail();
    tail.contains("No space left") || tail.contains("os error 28")
}

fn disk(node: &mut Node) -> &mut lentic_faults::disk::Disk {
    node.disk().expect("who hurts disks has asked for them")
}
