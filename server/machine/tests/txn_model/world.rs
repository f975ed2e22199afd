//! All that there is, and every step that it may take.

use std::collections::{BTreeMap, BTreeSet};

use lentic_machine::Outcome;
use lentic_machine::shard::Decision;
use lentic_machine::txn::{Verdict, coordinator};
use lentic_types::Version;
use stateright::{Model, Property};

use super::judge::{self, Wrong};
use super::leader::Led;
use super::party::{Attempt, Misunderstood, Rescue, Talk};
use super::setup::{LATE, Off, Setup, tick};
use super::shard::{Fatal, Message, Terms, Txn, Writer};

/// A state.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct World {
    /// How many ticks the oracle has handed out.
    pub(crate) ticks: u16,
    pub(crate) places: Vec<Led>,
    /// Writes and prepares on their way, and how many copies of each.
    pub(crate) coming: BTreeMap<(usize, Message), u8>,
    pub(crate) attempts: Vec<Attempt>,
    pub(crate) rescue: Option<Rescue>,
    /// The versions of the writes that were answered.
    pub(crate) answered: Vec<Version>,
    pub(crate) reader: Option<Reader>,
    left: Left,
    /// What is wrong; nothing happens afterwards.
    pub(crate) wrong: Option<Wrong>,
}

/// A reader of the first two shards, from its tick on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Reader {
    pub(crate) at: Version,
    /// Who was answered before the reader began.
    pub(crate) before: Vec<Writer>,
    /// Where the floor was raised for it.
    raised: BTreeSet<usize>,
    pub(crate) saw: BTreeMap<usize, Vec<(Version, Writer)>>,
}

/// What may still go wrong.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Left {
    recoveries: u8,
    leader_changes: u8,
    doubles: u8,
}

/// Who talks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Party {
    Coordinator(Txn),
    Recovery,
}

/// A step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Without rule W: a leader fetches a tick for what will come.
    Fetch(usize),
    /// A write or a prepare reaches its leader, which fetches a tick.
    Arrive { shard: usize, message: Message, again: bool },
    /// A leader stamps what waits, and submits it.
    Stamp { shard: usize, message: Message, tick: Version },
    /// What is in flight first is applied.
    Apply(usize),
    /// Another leader: so much of what is in flight is applied, the rest is lost.
    ChangeLeader { shard: usize, kept: usize },
    /// What a party has sent reaches its shard and is applied.
    Perform { party: Party, shard: usize, message: Message, again: bool },
    /// The answer reaches the party.
    Hear { party: Party, shard: usize, message: Message },
    /// A coordinator has waited for long enough.
    GiveUp(Txn),
    /// A coordinator is gone.
    Crash(Txn),
    /// Somebody meets a lock.
    Recover { txn: Txn, met: usize },
    /// The reader takes a tick.
    Begin,
    /// The reader reaches a leader.
    Raise(usize),
    /// The reader reads.
    Read(usize),
    /// So much time passes that prepares are too late.
    Age,
    /// A shard forgets what has ended: it has seen so late a stamp, or has too much to keep.
    Forget(usize),
}

impl Model for Setup {
    type State = World;
    type Action = Step;

    fn init_states(&self) -> Vec<World> {
        let first = self.writes.iter().take(usize::from(!self.follows));
        let mut coming: BTreeMap<_, _> = first.map(|shard| ((*shard, Message::Write(0)), 1)).collect();
        for (txn, shards) in self.txns.iter().enumerate() {
            coming.extend(shards.iter().map(|shard| ((*shard, Message::Prepare(txn)), 1)));
        }
        vec![World {
            ticks: 0,
            places: vec![Led::default(); self.shards],
            coming,
            attempts: self.txns.iter().map(|shards| Attempt::new(shards)).collect(),
            rescue: None,
            answered: Vec::new(),
            reader: None,
            left: Left { recoveries: self.recoveries, leader_changes: self.leader_changes, doubles: self.doubles },
            wrong: None,
        }]
    }

    fn actions(&self, world: &World, steps: &mut Vec<Step>) {
        if world.wrong.is_some() {
            return;
        }
        world.steps_of_leaders(self, steps);
        world.steps_of_parties(self, steps);
        world.steps_of_reader(self, steps);
        if self.ages && world.ticks < LATE {
            steps.push(Step::Age);
        }
    }

    fn next_state(&self, world: &World, step: Step) -> Option<World> {
        let mut next = world.clone();
        // What the anchor refuses for its order is lost, when it is the order that is not kept.
        if next.take(self, step).is_err() && self.off != Off::DecideFirst {
            next.wrong = Some(Wrong::Refused);
        } else if next.wrong.is_none() {
            next.wrong = judge::judge(self, &next);
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![Property::always("right", |_, world: &World| world.wrong.is_none())]
    }
}

impl World {
    fn steps_of_leaders(&self, setup: &Setup, steps: &mut Vec<Step>) {
        for (shard, message) in self.coming.keys().copied() {
            let is_early = setup.off == Off::RuleW;
            // A write that was blocked comes again when the key is free.
            if matches!(message, Message::Write(_)) && self.places[shard].shard.is_held() {
                continue;
            }
            if !is_early || self.places[shard].early.is_some() {
                steps.push(Step::Arrive { shard, message, again: false });
                if self.left.doubles > 0 && !is_early {
                    steps.push(Step::Arrive { shard, message, again: true });
                }
            }
        }
        for (shard, place) in self.places.iter().enumerate() {
            if setup.off == Off::RuleW && place.early.is_none() {
                steps.push(Step::Fetch(shard));
            }
            steps.extend(place.waiting.iter().map(|(message, tick)| Step::Stamp {
                shard,
                message: *message,
                tick: *tick,
            }));
            if !place.in_flight.is_empty() {
                steps.push(Step::Apply(shard));
            }
            if self.left.leader_changes > 0 {
                steps.extend((0..=place.in_flight.len()).map(|kept| Step::ChangeLeader { shard, kept }));
            }
            if setup.ages && !place.shard.ended.is_empty() {
                steps.push(Step::Forget(shard));
            }
        }
    }

    fn steps_of_parties(&self, setup: &Setup, steps: &mut Vec<Step>) {
        for (txn, attempt) in self.attempts.iter().enumerate() {
            self.steps_of_talk(&attempt.talk, Party::Coordinator(txn), steps);
            let Some(coordinator) = attempt.coordinator.as_ref().filter(|_| setup.fails) else { continue };
            if !coordinator.is_over() {
                steps.push(Step::Crash(txn));
            }
            if setup.gives_up && !coordinator.is_ending() {
                steps.push(Step::GiveUp(txn));
            }
        }
        if let Some(rescue) = &self.rescue {
            self.steps_of_talk(&rescue.talk, Party::Recovery, steps);
        } else if self.left.recoveries > 0 {
            for (met, place) in self.places.iter().enumerate() {
                steps.extend(place.shard.open.keys().map(|txn| Step::Recover { txn: *txn, met }));
            }
        }
    }

    fn steps_of_talk(&self, talk: &Talk, party: Party, steps: &mut Vec<Step>) {
        for (shard, message) in talk.sent.iter().copied() {
            // It is applied behind what is in flight: nothing is lost if it comes then.
            if self.places[shard].in_flight.is_empty() {
                steps.push(Step::Perform { party, shard, message, again: false });
                if self.left.doubles > 0 {
                    steps.push(Step::Perform { party, shard, message, again: true });
                }
            }
        }
        steps.extend(talk.back.keys().map(|(shard, message)| Step::Hear { party, shard: *shard, message: *message }));
    }

    fn steps_of_reader(&self, setup: &Setup, steps: &mut Vec<Step>) {
        if setup.reads == 0 {
            return;
        }
        let Some(reader) = &self.reader else {
            steps.push(Step::Begin);
            return;
        };
        for shard in (0..setup.reads).filter(|shard| !reader.saw.contains_key(shard)) {
            if !reader.raised.contains(&shard) {
                steps.push(Step::Raise(shard));
            } else if self.places[shard].is_settled(reader.at, setup.off) {
                steps.push(Step::Read(shard));
            }
        }
    }

    fn take(&mut self, setup: &Setup, step: Step) -> Result<(), Misunderstood> {
        match step {
            Step::Fetch(shard) => self.places[shard].early = Some(self.fetch()),
            Step::Arrive { shard, message, again } => self.arrive(setup, shard, message, again)?,
            Step::Stamp { shard, message, tick } => self.places[shard].stamp(message, tick),
            Step::Apply(shard) => self.apply_first(setup, shard)?,
            Step::ChangeLeader { shard, kept } => self.change_leader(setup, shard, kept)?,
            Step::Perform { party, shard, message, again } => {
                self.left.doubles -= u8::from(again);
                if !again {
                    self.talk(party).sent.remove(&(shard, message));
                }
                let stamp = self.stamp_now(shard);
                let outcome = self.apply(setup, shard, stamp, message);
                self.answer(setup, party, shard, message, outcome)?;
            }
            Step::Hear { party, shard, message } => {
                let outcome = self.talk(party).back.remove(&(shard, message)).expect("it is on its way");
                self.hear(setup, party, shard, message, outcome)?;
            }
            Step::GiveUp(txn) => {
                self.attempts[txn].step(txn, setup.txns[txn], coordinator::Event::GaveUp, setup.off);
            }
            Step::Crash(txn) => self.attempts[txn].crash(),
            Step::Recover { txn, met } => {
                self.left.recoveries -= 1;
                self.rescue = Some(Rescue::new(txn, met, setup.txns[txn][0]));
            }
            Step::Begin => self.begin(),
            Step::Raise(shard) => {
                let reader = self.reader.as_mut().expect("it reads");
                reader.raised.insert(shard);
                self.places[shard].raise(reader.at, setup.off);
            }
            Step::Read(shard) => {
                let reader = self.reader.as_mut().expect("it reads");
                reader.saw.insert(shard, self.places[shard].shard.seen_at(reader.at));
            }
            Step::Age => self.ticks = LATE,
            Step::Forget(shard) => {
                self.stamp_now(shard);
                self.places[shard].shard.forget(self.ticks < LATE);
            }
        }
        Ok(())
    }

    fn fetch(&mut self) -> Version {
        self.ticks += 1;
        tick(self.ticks)
    }

    /// A stamp of a tick that was fetched just now. It is counted only if somebody waits with an older one: else nothing
    /// can tell it from one that the next who comes is given.
    fn stamp_now(&mut self, shard: usize) -> Version {
        let place = &self.places[shard];
        if place.waiting.is_empty() && place.early.is_none() {
            return tick(self.ticks + 1);
        }
        let stamp = self.fetch();
        let place = &mut self.places[shard];
        (place.floor, place.newest) = (stamp, stamp);
        stamp
    }

    fn arrive(&mut self, setup: &Setup, shard: usize, message: Message, again: bool) -> Result<(), Misunderstood> {
        self.left.doubles -= u8::from(again);
        if !again {
            let copies = self.coming.get_mut(&(shard, message)).expect("it is on its way");
            *copies -= 1;
            if *copies == 0 {
                self.coming.remove(&(shard, message));
            }
        }
        let tick = self.places[shard].early.take().unwrap_or_else(|| self.fetch());
        self.places[shard].waiting.insert((message, tick));
        if setup.at_once {
            self.places[shard].stamp(message, tick);
            self.apply_first(setup, shard)?;
        }
        Ok(())
    }

    fn apply_first(&mut self, setup: &Setup, shard: usize) -> Result<(), Misunderstood> {
        let (stamp, message) = self.places[shard].in_flight.remove(0);
        self.places[shard].newest = stamp;
        let outcome = self.apply(setup, shard, stamp, message);
        match message {
            Message::Prepare(txn) => self.answer(setup, Party::Coordinator(txn), shard, message, outcome),
            Message::Write(write) => {
                self.written(setup, write, outcome.as_ref());
                Ok(())
            }
            _ => unreachable!("the rest does not wait"),
        }
    }

    /// A write was answered: the next one begins.
    fn written(&mut self, setup: &Setup, write: usize, outcome: Option<&Outcome>) {
        match outcome {
            Some(Outcome::Committed { version }) if write == self.answered.len() => {
                self.answered.push(*version);
                if let Some(shard) = setup.writes.get(write + 1) {
                    self.coming.insert((*shard, Message::Write(write + 1)), 1);
                }
            }
            Some(Outcome::Committed { .. }) => {}
            // It was blocked, and is sent again.
            _ => *self.coming.entry((setup.writes[write], Message::Write(write))).or_default() += 1,
        }
    }

    fn change_leader(&mut self, setup: &Setup, shard: usize, kept: usize) -> Result<(), Misunderstood> {
        self.left.leader_changes -= 1;
        for _ in 0..kept {
            self.apply_first(setup, shard)?;
        }
        let tick = self.fetch();
        let place = &mut self.places[shard];
        let mut lost = place.change(tick, setup.off);
        if !setup.inherits {
            lost.extend(std::mem::take(&mut place.waiting).into_iter().map(|(message, _)| message));
        }
        for message in lost {
            *self.coming.entry((shard, message)).or_default() += 1;
        }
        if let Some(reader) = &mut self.reader {
            reader.raised.remove(&shard);
        }
        Ok(())
    }

    /// A shard applies what was stamped. A message to a group that has stopped is lost.
    pub(crate) fn apply(&mut self, setup: &Setup, shard: usize, stamp: Version, message: Message) -> Option<Outcome> {
        let participants = match message {
            Message::Write(_) => None,
            Message::Prepare(txn) | Message::Decide(txn, _) | Message::Resolve(txn, _) | Message::Status(txn) => {
                Some(setup.txns[txn]).filter(|shards| shards[0] == shard)
            }
        };
        let terms = Terms { participants, exclusive: setup.exclusive, off: setup.off };
        match self.places[shard].shard.apply(stamp, message, &terms) {
            Ok(outcome) => Some(outcome),
            Err(Fatal) => {
                self.wrong = Some(Wrong::Stopped);
                None
            }
        }
    }

    /// An answer goes back to who has asked.
    fn answer(
        &mut self,
        setup: &Setup,
        party: Party,
        shard: usize,
        message: Message,
        outcome: Option<Outcome>,
    ) -> Result<(), Misunderstood> {
        let Some(outcome) = outcome else { return Ok(()) };
        if matches!(party, Party::Coordinator(txn) if self.attempts[txn].coordinator.is_none()) {
            return Ok(());
        }
        if !setup.fails {
            // Nobody else acts meanwhile: when it hears makes no difference.
            return self.hear(setup, party, shard, message, outcome);
        }
        self.talk(party).back.insert((shard, message), outcome);
        Ok(())
    }

    fn hear(
        &mut self,
        setup: &Setup,
        party: Party,
        shard: usize,
        message: Message,
        outcome: Outcome,
    ) -> Result<(), Misunderstood> {
        match party {
            Party::Coordinator(txn) => {
                let attempt = &mut self.attempts[txn];
                let aborted = outcome == Outcome::Decided(Decision::Abort);
                if aborted && matches!(attempt.told, Some(Verdict::Committed(_))) {
                    self.wrong = Some(Wrong::Told);
                    return Ok(());
                }
                let was_told = attempt.told.is_some();
                attempt.hear(txn, setup.txns[txn], (shard, message), outcome, setup.off)?;
                if setup.follows && !was_told && matches!(attempt.told, Some(Verdict::Committed(_))) {
                    self.coming.insert((setup.writes[0], Message::Write(0)), 1);
                }
                Ok(())
            }
            Party::Recovery => {
                let rescue = self.rescue.as_mut().expect("it talks");
                let anchor = setup.txns[rescue.txn][0];
                rescue.hear(anchor, shard, message, outcome)
            }
        }
    }

    fn talk(&mut self, party: Party) -> &mut Talk {
        match party {
            Party::Coordinator(txn) => &mut self.attempts[txn].talk,
            Party::Recovery => &mut self.rescue.as_mut().expect("it talks").talk,
        }
    }

    fn begin(&mut self) {
        let at = self.fetch();
        let told = |attempt: &Attempt| matches!(attempt.told, Some(Verdict::Committed(_)));
        let txns = self.attempts.iter().enumerate().filter(|(_, attempt)| told(attempt));
        let before = (0..self.answered.len()).map(Writer::Alone).chain(txns.map(|(txn, _)| Writer::Txn(txn))).collect();
        self.reader = Some(Reader { at, before, raised: BTreeSet::new(), saw: BTreeMap::new() });
    }
}
