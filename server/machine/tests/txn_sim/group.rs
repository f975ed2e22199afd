//! A shard's group: its log, its leader, and its replicas.
//!
//! The leader gathers, fetches a tick, stamps and submits; entries are applied in order, some later. A change of leader
//! keeps a part of what was in flight and loses the rest; those who asked hear nothing. The lost leader is forgotten at
//! once: what it would still do, it could not commit, and its reads could not be confirmed.

use std::collections::{BTreeMap, VecDeque};

use lentic_machine::oracle::Ticks;
use lentic_machine::shard::{Action, Descriptor, LockChanges};
use lentic_machine::{Command, Outcome, Refusal, Request};
use lentic_types::{Epoch, GroupId, KeyRange, TxnId, Version};

use super::luck::{Broken, Luck};
use super::replica::{Logged, Replica};
use super::stamps::Stamps;
use super::work::Place;
use super::world::{Ask, Done, Event, Reply, World};

/// Most requests of an entry.
const GATHERED_MAX: u64 = 6;
/// How long an older transaction waits for a younger one at a shard, a single write for any, and a younger one.
const OLDER_WAITS_MS: u64 = 4_000;
const SINGLE_WAITS_MS: u64 = 400;
const YOUNGER_WAITS_MS: u64 = 40;

/// An entry that is stamped and not applied.
struct InFlight {
    batch: u64,
    requests: Vec<Request>,
    calls: Vec<usize>,
}

/// A read at a version.
struct PendingRead {
    call: usize,
    range: KeyRange,
    at: Version,
    /// Batches before this one may lie at or below the read.
    settles: u64,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Settling,
    Confirming,
    Locked,
}

pub(crate) struct Group {
    pub(crate) replicas: Vec<Replica>,
    leader: usize,
    pub(crate) log: Vec<Logged>,
    term: u64,
    /// Whether the leader has its first tick.
    is_open: bool,
    stamps: Stamps,
    queue: VecDeque<usize>,
    gathered: Option<Vec<usize>>,
    in_flight: VecDeque<InFlight>,
    /// Calls that wait for locks, and until when.
    parked: BTreeMap<usize, u64>,
    /// Calls that were parked and are proposed again, and until when they may wait.
    again: BTreeMap<usize, u64>,
    reads: Vec<PendingRead>,
    /// A tick that was fetched before it was wanted; used where a rule is broken.
    spare: Option<Version>,
    /// A tick for a leader to come.
    pub(crate) stale: Option<Version>,
}

impl Group {
    pub(crate) fn new(number: usize, place: &Place, luck: &mut Luck) -> Self {
        let group = GroupId(2 + number as u64);
        let Place { table, range, .. } = place.clone();
        let descriptor = Descriptor { table, range, epoch: Epoch(1), watermark: Version::ZERO, ttl_ms: 0 };
        let memos = [4096, 0, 256];
        let count = luck.index(2) + 2;
        Self {
            replicas: memos.iter().take(count).map(|memo| Replica::new(group, &descriptor, *memo)).collect(),
            leader: 0,
            log: Vec::new(),
            term: 0,
            is_open: false,
            stamps: Stamps::default(),
            queue: VecDeque::new(),
            gathered: None,
            in_flight: VecDeque::new(),
            parked: BTreeMap::new(),
            again: BTreeMap::new(),
            reads: Vec::new(),
            spare: None,
            stale: None,
        }
    }

    pub(crate) fn leader(&self) -> &Replica {
        &self.replicas[self.leader]
    }

    pub(crate) const fn is_open(&self) -> bool {
        self.is_open
    }

    pub(crate) fn is_at_rest(&self) -> bool {
        self.is_open
            && self.queue.is_empty()
            && self.gathered.is_none()
            && self.in_flight.is_empty()
            && self.leader().shard.locks().is_empty()
    }

    /// All replicas come to the same.
    pub(crate) fn end(&mut self) -> Done {
        for replica in &mut self.replicas {
            replica.catch_up(&self.log)?;
        }
        let leader = self.leader();
        if !leader.shard.locks().is_empty() {
            return Err("locks are left".to_owned());
        }
        match self.replicas.iter().all(|replica| replica.is_like(leader)) {
            true => Ok(()),
            false => Err("replicas of a shard differ".to_owned()),
        }
    }
}

impl World {
    /// A call reaches a shard's leader.
    pub(crate) fn ask(&mut self, call: usize) {
        let number = self.calls[call].group;
        let group = &mut self.groups[number];
        if !group.is_open {
            return;
        }
        match self.calls[call].ask.clone() {
            Ask::Propose(..) => {
                group.queue.push_back(call);
                self.gather(number);
            }
            Ask::Read(range, at) => {
                let settles = if self.broken == Some(Broken::UnraisedFloor) {
                    group.stamps.next()
                } else {
                    group.stamps.raise(at)
                };
                let settles = if self.broken == Some(Broken::ImpatientReads) { 0 } else { settles };
                group.reads.push(PendingRead { call, range, at, settles, phase: Phase::Settling });
                self.look_at_reads(number);
            }
        }
    }

    /// Gathers what waits, and fetches a tick for it.
    fn gather(&mut self, number: usize) {
        let group = &mut self.groups[number];
        let is_full = group.in_flight.len() >= self.faults.in_flight_max;
        if !group.is_open || is_full || group.gathered.is_some() || group.queue.is_empty() {
            return;
        }
        let count = usize::try_from(self.luck.between(1, GATHERED_MAX)).expect("small").min(group.queue.len());
        group.gathered = Some(group.queue.drain(..count).collect());
        let term = group.term;
        let early = group.spare.take();
        match early {
            Some(tick) => self.soon(Event::Drawn(number, term, tick)),
            None => self.soon(Event::Draw(number, term)),
        }
    }

    /// The oracle hands out a tick.
    pub(crate) fn draw_for(&mut self, number: usize, term: u64) {
        let tick = self.tick();
        self.soon(Event::Drawn(number, term, tick));
    }

    /// Stamps what was gathered, and submits it.
    pub(crate) fn stamp(&mut self, number: usize, term: u64, tick: Version) {
        let early = if self.broken == Some(Broken::EarlyTicks) { Some(self.tick()) } else { None };
        let group = &mut self.groups[number];
        if group.term != term {
            return;
        }
        group.spare = early;
        let calls = group.gathered.take().expect("a tick is fetched for what was gathered");
        let Some((versions, batch)) = group.stamps.take(calls.len(), &Ticks { first: tick, count: 1 }) else {
            group.gathered = Some(calls);
            return self.soon(Event::Draw(number, term));
        };
        let stamped = calls.iter().zip(versions);
        let requests = stamped.map(|(call, version)| match self.calls[*call].ask.clone() {
            Ask::Propose(key, action) => Request { version, key, action },
            Ask::Read(..) => unreachable!("reads are not proposed"),
        });
        let in_flight = InFlight { batch, requests: requests.collect(), calls };
        group.in_flight.push_back(in_flight);
        let delay_ms = self.luck.below(self.faults.commit_ms);
        self.after(delay_ms, Event::Commit(number, term));
        self.gather(number);
    }

    /// The oldest entry in flight is on a quorum.
    pub(crate) fn commit(&mut self, number: usize, term: u64) -> Done {
        let group = &mut self.groups[number];
        if group.term != term {
            return Ok(());
        }
        let entry = group.in_flight.pop_front().expect("an entry for each commit");
        let changes = self.apply(number, &entry, true)?;
        let group = &mut self.groups[number];
        group.stamps.done(entry.batch);
        if !changes.decided.is_empty() {
            let parked = std::mem::take(&mut group.parked);
            group.queue.extend(parked.keys());
            group.again.extend(parked);
        }
        self.gather(number);
        self.look_at_reads(number);
        Ok(())
    }

    /// Applies an entry first of all replicas, and answers if somebody listens.
    fn apply(&mut self, number: usize, entry: &InFlight, is_led: bool) -> Result<LockChanges, String> {
        let InFlight { requests, calls, .. } = entry;
        let group = &mut self.groups[number];
        let command = Command { epoch: Epoch(1), requests: requests.clone() };
        let bytes = command.encode().into();
        let known: Vec<bool> = requests.iter().map(|request| is_closed(group.leader(), &request.action)).collect();
        let (replies, changes) = group.replicas[group.leader].apply(&bytes, true)?;
        group.log.push(Logged { entry: bytes, replies: replies.clone() });
        for (((request, call), outcome), was_closed) in requests.iter().zip(calls).zip(replies).zip(known) {
            self.say(|_| format!("shard {number} {}: call {call} ⇒ {outcome:?}", request.version));
            self.observe(*call, request, &outcome, was_closed)?;
            if is_led {
                self.reply(number, *call, outcome);
            }
        }
        Ok(changes)
    }

    /// Answers a call, or has it wait for the locks that are in its way: WAIT-DIE.
    fn reply(&mut self, number: usize, call: usize, outcome: Outcome) {
        let Outcome::Refused(Refusal::Blocked { holder }) = outcome else {
            self.groups[number].again.remove(&call);
            return self.send(Event::Answer(call, Reply::Outcome(outcome)));
        };
        let own = own_txn(&self.calls[call].ask);
        let wait_ms = match own {
            Some(own) if own < holder => OLDER_WAITS_MS,
            Some(_) => self.luck.below(YOUNGER_WAITS_MS),
            None => SINGLE_WAITS_MS,
        };
        let group = &mut self.groups[number];
        let until = group.again.remove(&call).unwrap_or(self.now_ms + wait_ms);
        if group.parked.contains_key(&call) {
            return;
        }
        if until <= self.now_ms {
            self.stats.deaths += u64::from(own.is_some_and(|own| own > holder));
            return self.send(Event::Answer(call, Reply::Outcome(outcome)));
        }
        self.stats.waits += u64::from(own.is_some_and(|own| own < holder));
        group.parked.insert(call, until);
        let term = group.term;
        self.after(until - self.now_ms, Event::ParkOver(number, term, call));
    }

    /// A call has waited long enough: it is proposed for the last time, for the lock may just have gone.
    pub(crate) fn park_over(&mut self, number: usize, term: u64, call: usize) {
        let group = &mut self.groups[number];
        if group.term == term && group.parked.get(&call).is_some_and(|until| *until <= self.now_ms) {
            group.parked.remove(&call);
            group.again.insert(call, self.now_ms);
            group.queue.push_back(call);
            self.gather(number);
        }
    }

    fn look_at_reads(&mut self, number: usize) {
        for place in (0..self.groups[number].reads.len()).rev() {
            let group = &mut self.groups[number];
            let read = &mut group.reads[place];
            match read.phase {
                Phase::Settling if group.stamps.is_done_before(read.settles) => {
                    read.phase = Phase::Confirming;
                    let (term, call) = (group.term, read.call);
                    self.soon(Event::Confirmed(number, term, call));
                }
                Phase::Locked if !group.replicas[group.leader].is_locked(&read.range, read.at) => {
                    self.read(number, place);
                }
                _ => {}
            }
        }
    }

    /// This leader led when everything at or below a read was applied: it may be read, but for what is locked.
    pub(crate) fn confirmed(&mut self, number: usize, term: u64, call: usize) {
        let group = &mut self.groups[number];
        let is_it = |read: &PendingRead| read.call == call && read.phase == Phase::Confirming;
        let Some(place) = group.reads.iter().position(is_it).filter(|_| group.term == term) else { return };
        let read = &mut group.reads[place];
        read.phase = Phase::Locked;
        let (range, at) = (read.range.clone(), read.at);
        if group.leader().is_locked(&range, at) && self.broken != Some(Broken::ReadsPastLocks) {
            self.stats.reads_that_waited += 1;
        } else {
            self.read(number, place);
        }
    }

    fn read(&mut self, number: usize, place: usize) {
        let group = &mut self.groups[number];
        let read = group.reads.swap_remove(place);
        let leader = group.leader();
        let rows = match super::work::point_of(&read.range) {
            Some(key) => leader.row(key, read.at).into_iter().collect(),
            None => leader.rows(&read.range, read.at),
        };
        self.stats.reads += 1;
        self.send(Event::Answer(read.call, Reply::Rows(rows)));
    }

    /// The leader changes, or a replica crashes.
    pub(crate) fn trouble(&mut self, number: usize) -> Done {
        if self.is_calm {
            return Ok(());
        }
        let delay_ms = self.luck.between(1, 2 * self.faults.trouble_ms);
        self.after(delay_ms, Event::Trouble(number));
        if self.luck.chance(600) {
            self.change_leader(number)?;
        }
        let group = &mut self.groups[number];
        let victim = self.luck.index(group.replicas.len());
        if victim != group.leader && self.luck.chance(500) {
            let replica = &mut group.replicas[victim];
            if self.luck.chance(300) {
                lentic_engine::Store::flush(&replica.store).expect("the store works");
            }
            let batches = self.luck.index(replica.store.unflushed() + 1);
            replica.crash(batches);
            self.stats.replica_crashes += 1;
        }
        Ok(())
    }

    fn change_leader(&mut self, number: usize) -> Done {
        let group = &mut self.groups[number];
        let mut in_flight = std::mem::take(&mut group.in_flight);
        let kept = self.luck.index(in_flight.len() + 1);
        self.stats.lost_entries += (in_flight.len() - kept) as u64;
        self.stats.saved_entries += kept as u64;
        group.leader = self.luck.index(group.replicas.len());
        group.term += 1;
        group.is_open = false;
        group.stamps = Stamps::default();
        group.queue.clear();
        group.gathered = None;
        group.parked.clear();
        group.again.clear();
        group.reads.clear();
        group.spare = group.stale.take();
        group.replicas[group.leader].catch_up(&group.log)?;
        let (leader, term) = (group.leader, group.term);
        self.say(|_| format!("shard {number}: replica {leader} leads term {term}, {kept} entries in flight are kept"));
        for entry in in_flight.drain(..kept) {
            self.apply(number, &entry, false)?;
        }
        self.soon(Event::Elected(number, term));
        Ok(())
    }

    /// A new leader fetches its first tick, after all that was before it is applied.
    pub(crate) fn elected(&mut self, number: usize, term: u64) {
        let tick = self.tick();
        self.soon(Event::Lead(number, term, tick));
    }

    pub(crate) fn lead(&mut self, number: usize, term: u64, tick: Version) {
        let group = &mut self.groups[number];
        if group.term == term {
            let newest = group.leader().shard.newest();
            let is_stale = self.broken == Some(Broken::StaleLeader);
            group.stamps.lead(if is_stale { Version::ZERO } else { tick }, newest);
            group.is_open = true;
        }
    }

    /// A replica applies some entries, and writes them together or apart.
    pub(crate) fn follow(&mut self, number: usize) -> Done {
        let delay_ms = self.luck.between(5, 80);
        self.after(delay_ms, Event::Follow(number));
        let group = &mut self.groups[number];
        let victim = self.luck.index(group.replicas.len());
        if victim == group.leader {
            return Ok(());
        }
        for _ in 0..self.luck.below(8) {
            let is_written = self.luck.chance(300);
            group.replicas[victim].apply_logged(&group.log, is_written)?;
        }
        Ok(())
    }
}

/// Whether a transaction had ended in the shard before a prepare came.
fn is_closed(replica: &Replica, action: &Action) -> bool {
    match action {
        Action::Prepare(prepare) => replica.shard.locks().ended(prepare.txn.id).is_some(),
        _ => false,
    }
}

fn own_txn(ask: &Ask) -> Option<TxnId> {
    match ask {
        Ask::Propose(_, Action::Prepare(prepare)) => Some(prepare.txn.id),
        _ => None,
    }
}
