//! Every link's rule, and what becomes of a packet.

use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::random::Random;
use super::rule::{Counts, End, Rule};

/// How long a packet is held back that others are to overtake. [`Rule::reorder_percent`] tells it.
const REORDER_HOLD: Duration = Duration::from_millis(3);

/// From one place to another.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Way {
    pub(crate) from: End,
    pub(crate) to: End,
}

impl Way {
    pub(crate) const fn back(self) -> Self {
        Self { from: self.to, to: self.from }
    }
}

/// The links between all places, for those who set rules and those who carry.
#[derive(Debug)]
pub(crate) struct Links {
    table: Mutex<Table>,
    changed: watch::Sender<()>,
}

impl Links {
    /// Healthy links between `nodes` nodes and the clients.
    pub(crate) fn new(nodes: usize, seed: u64) -> Self {
        let places = nodes + 1;
        let links = vec![Link::default(); places * places];
        let table = Table { nodes, links, random: Random::new(seed) };
        Self { table: Mutex::new(table), changed: watch::Sender::new(()) }
    }

    /// The table. Who holds it while a packet is handed over can be sure that no rule changes meanwhile.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().expect("nobody who carries packets panicked")
    }

    pub(crate) fn set(&self, way: Way, rule: Rule) {
        rule.check();
        self.lock().link(way).set(rule);
        self.changed.send_replace(());
    }

    pub(crate) fn heal(&self) {
        for link in &mut self.lock().links {
            link.set(Rule::default());
        }
        self.changed.send_replace(());
    }

    /// Waits until none of `ways` is cut. What had to wait is counted where it had to.
    pub(crate) async fn open(&self, ways: &[Way]) {
        let mut changed = self.changed.subscribe();
        let mut waited = false;
        loop {
            let open = {
                let mut table = self.lock();
                let mut open = true;
                for way in ways {
                    let link = table.link(*way);
                    open &= !link.rule.cut;
                    link.counts.cut += u64::from(link.rule.cut && !waited);
                }
                open
            };
            if open {
                return;
            }
            waited = true;
            changed.changed().await.expect("the sender is borrowed here");
        }
    }
}

/// The links, by where they come from and go to.
#[derive(Debug)]
pub(crate) struct Table {
    nodes: usize,
    links: Vec<Link>,
    random: Random,
}

#[derive(Clone, Debug, Default)]
struct Link {
    rule: Rule,
    counts: Counts,
    /// When the last packet of this rule is due that was not held back: the next ones are not due before it.
    last_due: Option<Instant>,
    sent: u64,
    newest_passed: u64,
}

/// What becomes of a packet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fate {
    /// How many there are of it: none if it is dropped.
    pub(crate) copies: usize,
    /// When it is handed over.
    pub(crate) due: Instant,
    /// Where it stands among those of its link, from 1.
    pub(crate) number: u64,
}

impl Table {
    /// What becomes of a packet that was sent `now`.
    pub(crate) fn judge(&mut self, way: Way, now: Instant) -> Fate {
        let (link, random) = self.link_and_random(way);
        link.sent += 1;
        let mut fate = Fate { copies: 0, due: now, number: link.sent };
        if link.rule.cut {
            link.counts.cut += 1;
        } else if random.percent(link.rule.loss_percent) {
            link.counts.lost += 1;
        } else {
            fate.due = link.due(random, now);
            if random.percent(link.rule.reorder_percent) {
                fate.due += REORDER_HOLD;
            }
            fate.copies = if random.percent(link.rule.duplicate_percent) { 2 } else { 1 };
            link.counts.duplicated += u64::from(fate.copies == 2);
        }
        fate
    }

    /// When a piece of a stream that was read `now` is due.
    pub(crate) fn due(&mut self, way: Way, now: Instant) -> Instant {
        let (link, random) = self.link_and_random(way);
        let due = link.due(random, now);
        link.counts.delayed += u64::from(due > now);
        due
    }

    /// A packet waits until it is due.
    pub(crate) fn delayed(&mut self, way: Way) {
        self.link(way).counts.delayed += 1;
    }

    /// Whether a packet that is due is handed over: a cut stops also what is under way.
    pub(crate) fn may_pass(&mut self, way: Way) -> bool {
        let link = self.link(way);
        link.counts.cut += u64::from(link.rule.cut);
        !link.rule.cut
    }

    /// The packet `number` was handed over.
    pub(crate) fn passed(&mut self, way: Way, number: u64) {
        let link = self.link(way);
        link.counts.passed += 1;
        link.counts.reordered += u64::from(number < link.newest_passed);
        link.newest_passed = link.newest_passed.max(number);
    }

    /// A piece of a stream was handed over.
    pub(crate) fn piece_passed(&mut self, way: Way) {
        self.link(way).counts.passed += 1;
    }

    /// A packet found no room.
    pub(crate) fn overflowed(&mut self, way: Way) {
        self.link(way).counts.overflowed += 1;
    }

    pub(crate) fn counts(&mut self, way: Way) -> Counts {
        self.link(way).counts
    }

    fn link(&mut self, way: Way) -> &mut Link {
        self.link_and_random(way).0
    }

    fn link_and_random(&mut self, way: Way) -> (&mut Link, &mut Random) {
        let index = self.index(way.from) * (self.nodes + 1) + self.index(way.to);
        (&mut self.links[index], &mut self.random)
    }

    fn index(&self, end: End) -> usize {
        match end {
            End::Node(node) => {
                assert!(node < self.nodes, "node {node} of {}, counted from 0", self.nodes);
                node
            }
            End::Clients => self.nodes,
        }
    }
}

impl Link {
    /// Packets that come now do not wait for those that the old rule made late.
    fn set(&mut self, rule: Rule) {
        self.rule = rule;
        self.last_due = None;
    }

    fn due(&mut self, random: &mut Random, now: Instant) -> Instant {
        let due = now + self.rule.delay + random.up_to(self.rule.jitter);
        let due = self.last_due.map_or(due, |last| due.max(last));
        self.last_due = Some(due);
        due
    }
}
