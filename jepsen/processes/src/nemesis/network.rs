//! What is done to links.

use std::time::Duration;

use lentic_faults::net::{End, Rule};

use super::Fault;
use super::struck::{Arena, Memory};

/// One direction of a link that is hurt.
pub(crate) struct Link {
    from: End,
    to: End,
    /// What had been done on it before.
    before: u64,
}

pub(super) fn strike(arena: &mut Arena<'_>, fault: Fault, nodes: &[usize]) -> Memory {
    let count = arena.cluster.nodes.len();
    let dice = arena.dice;
    let (mut pairs, cut) = (Vec::new(), Rule { cut: true, ..Rule::default() });
    let others = |victim: usize| (0..count).filter(move |other| *other != victim).map(End::Node);
    let victim = nodes[0];
    let rule = match fault {
        Fault::Cut => {
            // Its clients may still reach it, and it may not know yet that another leads.
            let with_clients = dice.one_in(2);
            for other in others(victim).chain(with_clients.then_some(End::Clients)) {
                pairs.extend([(End::Node(victim), other), (other, End::Node(victim))]);
            }
            cut
        }
        Fault::OneWay => {
            let is_deaf = dice.one_in(2);
            for other in others(victim) {
                pairs.push(if is_deaf { (other, End::Node(victim)) } else { (End::Node(victim), other) });
            }
            cut
        }
        Fault::Bridge => {
            // The victim is the bridge: of the others, the first half does not reach the second.
            let others: Vec<End> = others(victim).collect();
            let (left, right) = others.split_at(others.len() / 2);
            for (one, other) in left.iter().flat_map(|one| right.iter().map(move |other| (*one, *other))) {
                pairs.extend([(one, other), (other, one)]);
            }
            cut
        }
        Fault::Loss => Rule { loss_percent: percent(dice.between(5..=30)), ..Rule::default() },
        _ => Rule {
            delay: Duration::from_millis(dice.between(20..=150)),
            jitter: Duration::from_millis(dice.between(0..=150)),
            reorder_percent: percent(dice.between(0..=20)),
            duplicate_percent: percent(dice.between(0..=10)),
            ..Rule::default()
        },
    };
    if pairs.is_empty() {
        for node in nodes {
            for other in others(*node).chain([End::Clients]) {
                pairs.extend([(End::Node(*node), other), (other, End::Node(*node))]);
            }
        }
    }
    let network = arena.cluster.network();
    let links = pairs.into_iter().map(|(from, to)| {
        // What the ground cannot do is said by its kind, and was said at the start.
        let _ = network.set(from, to, rule);
        Link { from, to, before: done(arena, from, to) }
    });
    Memory::Links(links.collect())
}

pub(super) fn mend(arena: &mut Arena<'_>, links: &[Link]) -> String {
    let sum: u64 = links.iter().map(|link| done(arena, link.from, link.to) - link.before).sum();
    for Link { from, to, .. } in links {
        arena.cluster.network().set(*from, *to, Rule::default()).expect("every ground can be healthy");
    }
    assert!(sum > 0, "a fault of {} links met no packet", links.len());
    format!("{sum} packets met it on {} links", links.len())
}

/// What was done on a link so far.
fn done(arena: &Arena<'_>, from: End, to: End) -> u64 {
    let counts = arena.cluster.network().counts(from, to);
    counts.cut + counts.lost + counts.delayed + counts.reordered + counts.duplicated
}

fn percent(number: u64) -> u8 {
    u8::try_from(number).expect("below a hundred")
}
