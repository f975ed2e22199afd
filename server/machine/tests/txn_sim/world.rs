//! The world of a run: time, the oracle, a network that loses, doubles, delays and reorders, and who lives in it.
//!
//! Everything happens in events, one after the other; the seed decides when. A failure ends the run.

use std::collections::{BTreeMap, BTreeSet};

use lentic_machine::oracle::Ticks;
use lentic_machine::shard::{Action, RequestKey};
use lentic_machine::{Outcome, Refusal};
use lentic_types::{KeyRange, TxnId, Version};

use super::attempt::Attempt;
use super::client::Client;
use super::group::Group;
use super::history::{History, Stats};
use super::luck::{Broken, Faults, Luck};
use super::recover::Recovering;
use super::replica::Row;
use super::work::{Place, places};

/// When version time begins, in milliseconds.
const BEGIN_MS: u64 = 1_000_000;
/// When faults end at the latest.
const FAULTS_MS: u64 = 30_000;
/// How long a world without faults has to come to rest.
const REST_MS: u64 = 200_000;
/// A run with more events than these does not end.
const EVENTS_MAX: u64 = 400_000;

/// What happens next somewhere.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// A call reaches its shard.
    Ask(usize),
    /// An answer reaches the caller.
    Answer(usize, Reply),
    /// Perhaps a call is to be sent again.
    Resend(usize),
    /// A coordinator's word reaches its client: the attempt, and the version if it is committed.
    Verdict(usize, Verdict),
    /// The oracle hands out a tick to a leader, in its term.
    Draw(usize, u64),
    /// The tick is there.
    Drawn(usize, u64, Version),
    /// The oldest entry in flight is committed and applied.
    Commit(usize, u64),
    /// A new leader fetches its first tick, and has it.
    Elected(usize, u64),
    Lead(usize, u64, Version),
    /// A leader stops waiting for locks on behalf of a call.
    ParkOver(usize, u64, usize),
    /// A leader knows that it led when a read was ready.
    Confirmed(usize, u64, usize),
    /// A shard looks for old locks.
    Sweep(usize),
    /// Something befalls a shard.
    Trouble(usize),
    /// A replica behind applies some entries.
    Follow(usize),
    /// A coordinator's patience ends.
    GiveUp(usize),
    /// A client begins something, tries again, or stops waiting for an attempt.
    Begin(usize),
    Retry(usize),
    Impatient(usize, usize),
}

/// What a client is told of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Committed(Version),
    Refused,
    /// No copy of the request will ever take effect.
    Declined,
    Again,
    /// Nobody knows any more whether the request took effect.
    Unknown,
}

/// An answer to a call.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    Outcome(Outcome),
    Rows(Vec<Row>),
}

/// Who calls, and for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    Attempt(usize, Step),
    Recovery(usize, Step),
    /// A single write of a work.
    Single(usize),
    /// The read at this place of a work.
    Read(usize, usize),
}

/// Which step of a transaction; the number is a participant's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Prepare(usize),
    /// To keep a refusal as the answer to the client.
    Decline,
    Anchor,
    Status(usize),
    Decide,
    Resolve(usize),
    ResolveHere,
}

/// What is asked of a shard.
#[derive(Clone, Debug)]
pub(crate) enum Ask {
    Propose(Option<RequestKey>, Action),
    Read(KeyRange, Version),
}

/// A question that is sent until it is answered.
pub(crate) struct Call {
    pub(crate) caller: Caller,
    pub(crate) group: usize,
    pub(crate) ask: Ask,
    pub(crate) is_answered: bool,
    sent: u64,
}

/// Ticks, in the order in which they are fetched.
pub(crate) struct Oracle {
    newest: Version,
    leapt_ms: u64,
}

pub(crate) struct World {
    pub(crate) luck: Luck,
    pub(crate) faults: Faults,
    pub(crate) broken: Option<Broken>,
    pub(crate) now_ms: u64,
    /// How many events have happened.
    pub(crate) steps: u64,
    /// Whether there are no more faults.
    pub(crate) is_calm: bool,
    calm_ms: u64,
    pub(crate) is_traced: bool,
    queue: BTreeMap<(u64, u64), Event>,
    scheduled: u64,
    oracle: Oracle,
    pub(crate) places: Vec<Place>,
    pub(crate) groups: Vec<Group>,
    pub(crate) calls: Vec<Call>,
    pub(crate) attempts: Vec<Attempt>,
    pub(crate) recoveries: Vec<Recovering>,
    pub(crate) clients: Vec<Client>,
    /// Which transactions were fenced off in which shards.
    pub(crate) fences: BTreeSet<(usize, TxnId)>,
    pub(crate) history: History,
    pub(crate) stats: Stats,
}

/// Nothing, or why the run has failed.
pub(crate) type Done = Result<(), String>;

/// Runs a seed to its end.
pub(crate) fn run(seed: u64, broken: Option<Broken>, is_traced: bool) -> Result<Stats, String> {
    let mut luck = Luck::new(seed);
    let faults = Faults::new(&mut luck);
    let places = places(faults.groups);
    let groups = places.iter().enumerate().map(|(number, place)| Group::new(number, place, &mut luck)).collect();
    let clients = (0..faults.clients).map(|_| Client::new(faults.works_per_client)).collect();
    let mut world = World {
        luck,
        faults,
        broken,
        now_ms: 0,
        steps: 0,
        is_calm: false,
        calm_ms: 0,
        is_traced,
        queue: BTreeMap::new(),
        scheduled: 0,
        oracle: Oracle { newest: Version::ZERO, leapt_ms: 0 },
        places,
        groups,
        calls: Vec::new(),
        attempts: Vec::new(),
        recoveries: Vec::new(),
        fences: BTreeSet::new(),
        clients,
        history: History::default(),
        stats: Stats::default(),
    };
    world.run().map_err(|error| format!("after {} events, at {} ms: {error}", world.steps, world.now_ms))?;
    Ok(world.stats)
}

impl World {
    fn run(&mut self) -> Done {
        self.say(|world| format!("{:?}", world.faults));
        for group in 0..self.groups.len() {
            self.after(0, Event::Elected(group, 0));
            self.after(10, Event::Sweep(group));
            self.after(20, Event::Trouble(group));
            self.after(30, Event::Follow(group));
        }
        for client in 0..self.clients.len() {
            self.soon(Event::Begin(client));
        }
        while !self.is_at_rest() {
            let ((now_ms, _), event) = self.queue.pop_first().expect("sweeps go on for ever");
            self.now_ms = now_ms;
            self.steps += 1;
            if self.steps > EVENTS_MAX || self.is_calm && self.now_ms > self.calm_ms + REST_MS {
                return Err("the world does not come to rest".to_owned());
            }
            if !self.is_calm && (self.now_ms > FAULTS_MS || self.clients.iter().all(Client::is_done)) {
                self.say(|_| "no more faults".to_owned());
                (self.is_calm, self.calm_ms) = (true, self.now_ms);
            }
            self.happen(event)?;
        }
        self.end()
    }

    fn happen(&mut self, event: Event) -> Done {
        let is_routine = matches!(event, Event::Sweep(_) | Event::Follow(_) | Event::Resend(_));
        if !is_routine {
            self.say(|_| format!("{event:?}"));
        }
        match event {
            Event::Ask(call) => self.ask(call),
            Event::Answer(call, reply) => return self.answered(call, &reply),
            Event::Resend(call) => self.resend(call),
            Event::Verdict(attempt, verdict) => self.told(attempt, verdict),
            Event::Draw(group, term) => self.draw_for(group, term),
            Event::Drawn(group, term, tick) => self.stamp(group, term, tick),
            Event::Commit(group, term) => return self.commit(group, term),
            Event::Elected(group, term) => self.elected(group, term),
            Event::Lead(group, term, tick) => self.lead(group, term, tick),
            Event::ParkOver(group, term, call) => self.park_over(group, term, call),
            Event::Confirmed(group, term, call) => self.confirmed(group, term, call),
            Event::Sweep(group) => self.sweep(group),
            Event::Trouble(group) => return self.trouble(group),
            Event::Follow(group) => return self.follow(group),
            Event::GiveUp(attempt) => self.give_up(attempt),
            Event::Begin(client) => self.begin(client),
            Event::Retry(work) => self.retry(work),
            Event::Impatient(work, attempts) => self.impatient(work, attempts),
        }
        Ok(())
    }

    fn is_at_rest(&self) -> bool {
        self.is_calm
            && self.clients.iter().all(Client::is_done)
            && self.groups.iter().all(Group::is_at_rest)
            && self.attempts.iter().all(|attempt| !attempt.is_alive)
            && self.recoveries.iter().all(|recovery| !recovery.is_alive)
    }

    /// Every replica catches up, and the observer judges.
    fn end(&mut self) -> Done {
        for group in &mut self.groups {
            group.end()?;
        }
        for (number, work) in self.history.works.iter().enumerate() {
            let (unknown, committed) =
                (work.end == super::work::End::Unknown, self.history.commits.contains_key(&number));
            self.stats.unknown += u64::from(unknown);
            self.stats.unknown_commits += u64::from(unknown && committed);
        }
        let groups = &self.groups;
        self.history.check(groups.len(), &|group, at| groups[group].leader().rows(&KeyRange::all(), at))
    }

    /// Tells the trace.
    pub(crate) fn say(&self, what: impl FnOnce(&Self) -> String) {
        if self.is_traced {
            eprintln!("{:>6} ms {:>5}  {}", self.now_ms, self.steps, what(self));
        }
    }

    pub(crate) fn after(&mut self, delay_ms: u64, event: Event) {
        self.scheduled += 1;
        self.queue.insert((self.now_ms + delay_ms, self.scheduled), event);
    }

    /// After a little while, or seldom a long one.
    pub(crate) fn soon(&mut self, event: Event) {
        let is_slow = !self.is_calm && self.luck.chance(self.faults.slow);
        let delay_ms = if is_slow { self.luck.below(self.faults.slow_ms) } else { self.luck.below(12) };
        self.after(delay_ms, event);
    }

    /// The same through the network: it may be lost, or arrive twice.
    pub(crate) fn send(&mut self, event: Event) {
        if !self.is_calm && self.luck.chance(self.faults.loss) {
            return self.say(|_| format!("lost: {event:?}"));
        }
        if !self.is_calm && self.luck.chance(self.faults.copies) {
            let delay_ms = self.luck.below(self.faults.copy_ms);
            self.after(delay_ms, event.clone());
        }
        self.soon(event);
    }

    /// A tick above all before.
    pub(crate) fn tick(&mut self) -> Version {
        if !self.is_calm && self.luck.chance(self.faults.leap) {
            self.oracle.leapt_ms += self.luck.below(2 * self.faults.txn_ms);
        }
        let now = Version::tick(self.version_ms(), 0).expect("runs are short");
        let next = Ticks { first: self.oracle.newest, count: 2 }.iter().last().expect("two ticks");
        self.oracle.newest = now.max(next);
        self.oracle.newest
    }

    /// What the oracle's clock shows.
    pub(crate) fn version_ms(&self) -> u64 {
        BEGIN_MS + self.now_ms + self.oracle.leapt_ms
    }

    /// Asks a shard, until it has answered.
    pub(crate) fn call(&mut self, caller: Caller, group: usize, ask: Ask) {
        self.calls.push(Call { caller, group, ask, is_answered: false, sent: 0 });
        let call = self.calls.len() - 1;
        self.say(|world| format!("call {call}: {caller:?} asks shard {group} to {}", in_short(&world.calls[call].ask)));
        self.send(Event::Ask(call));
        self.resend_later(call);
    }

    /// Less and less often: an overloaded shard must catch up.
    fn resend_later(&mut self, call: usize) {
        self.calls[call].sent += 1;
        let delay_ms = self.luck.between(30, 300) * self.calls[call].sent.min(8);
        self.after(delay_ms, Event::Resend(call));
    }

    fn resend(&mut self, call: usize) {
        let is_wanted = match self.calls[call].caller {
            Caller::Attempt(attempt, step) => self.attempts[attempt].wants(step),
            Caller::Recovery(recovery, _) => self.recoveries[recovery].is_alive,
            Caller::Single(work) | Caller::Read(work, _) => self.is_open(work),
        };
        if is_wanted && !self.calls[call].is_answered {
            self.send(Event::Ask(call));
            self.resend_later(call);
        }
    }

    /// The first answer to a call counts.
    fn answered(&mut self, call: usize, reply: &Reply) -> Done {
        if std::mem::replace(&mut self.calls[call].is_answered, true) {
            return Ok(());
        }
        // The network may have kept a copy of what was refused, until it would not be any more.
        let is_refused = matches!(reply, Reply::Outcome(Outcome::Refused(refusal)) if refusal.is_final());
        if is_refused && !self.is_calm && self.luck.chance(2 * self.faults.copies) {
            let delay_ms = self.luck.below(self.faults.copy_ms);
            self.after(delay_ms, Event::Ask(call));
        }
        match (self.calls[call].caller, reply) {
            (Caller::Attempt(attempt, step), Reply::Outcome(outcome)) => self.attempt_answered(attempt, step, outcome),
            (Caller::Recovery(recovery, step), Reply::Outcome(outcome)) => {
                self.recovery_answered(recovery, step, outcome)
            }
            (Caller::Single(work), Reply::Outcome(outcome)) => {
                self.single_answered(work, outcome);
                Ok(())
            }
            (Caller::Read(work, place), Reply::Rows(rows)) => {
                self.read_answered(work, place, rows);
                Ok(())
            }
            (caller, reply) => Err(format!("{caller:?} was answered {reply:?}")),
        }
    }
}

/// What is asked, without the names of types.
fn in_short(ask: &Ask) -> String {
    match ask {
        Ask::Propose(key, Action::Prepare(prepare)) => {
            let key = key.map_or_else(String::new, |key| format!(" as {}/{}", key.client.0, key.sequence));
            format!("prepare {}{key} until {}: {:?}", prepare.txn.id, prepare.txn.until, prepare.parts)
        }
        Ask::Propose(Some(key), Action::Decline(refusal)) => {
            format!("answer {}/{} by {refusal:?}", key.client.0, key.sequence)
        }
        Ask::Propose(_, Action::Decide(decide)) => format!("decide {} {:?}", decide.txn.id, decide.decision),
        Ask::Propose(_, Action::Resolve(resolve)) => format!("resolve {} {:?}", resolve.txn.id, resolve.decision),
        Ask::Propose(_, Action::Status(txn)) => format!("say how {} stands", txn.id),
        Ask::Propose(_, action) => format!("{action:?}"),
        Ask::Read(range, at) => format!("read {range:?} at {at}"),
    }
}

/// Says that an answer makes no sense.
pub(crate) fn nonsense(step: Step, outcome: &Outcome) -> Done {
    Err(match outcome {
        Outcome::Refused(Refusal::Invalid(why)) => format!("{step:?} was refused: {why}"),
        _ => format!("{step:?} was answered {outcome:?}"),
    })
}
