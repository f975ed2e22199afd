//! Clients: each wants one thing after another, waits for it for a while, and tries again where that is safe.

use lentic_machine::shard::{Action as ShardAction, RequestKey};
use lentic_machine::{Outcome, Refusal};
use lentic_types::{ClientId, Version};

use super::luck::Broken;
use super::replica::Row;
use super::work::{End, Sight, Work};
use super::world::{Ask, Caller, Event, Verdict, World};

/// Most attempts at a work.
const ATTEMPTS_MAX: usize = 6;

pub(crate) struct Client {
    left: usize,
    sequence: u64,
    /// The work at hand.
    current: Option<Current>,
}

struct Current {
    work: usize,
    begun: Version,
    attempts: usize,
    /// The attempt at hand, if any is.
    attempt: Option<usize>,
    /// Whether an attempt was left without having been answered.
    is_unknown: bool,
}

impl Client {
    pub(crate) const fn new(left: usize) -> Self {
        Self { left, sequence: 0, current: None }
    }

    pub(crate) const fn is_done(&self) -> bool {
        self.left == 0 && self.current.is_none()
    }
}

impl World {
    /// Whether a client still waits for a work.
    pub(crate) fn is_open(&self, work: usize) -> bool {
        self.history.works[work].end == End::Open
    }

    /// A client begins something.
    pub(crate) fn begin(&mut self, client: usize) {
        let state = &mut self.clients[client];
        if state.left == 0 {
            return;
        }
        state.left -= 1;
        let tick = self.tick();
        let groups = &self.groups;
        let newest = |group: usize, key: &bytes::Bytes| groups[group].leader().row(key, tick);
        let sight = Sight { places: &self.places, tick, ends: self.faults.ends, newest: &newest };
        let mut work = Work::draw(&mut self.luck, client, self.steps, &sight);
        if work.is_single || self.luck.chance(700) {
            work.key = Some(self.next_key(client, tick));
        }
        let number = self.history.works.len();
        self.say(|_| format!("client {client} begins work {number}: {work:?}"));
        let reads: Vec<_> =
            work.reads.iter().map(|read| (read.group, Ask::Read(read.range.clone(), read.at))).collect();
        self.clients[client].current =
            Some(Current { work: number, begun: tick, attempts: 0, attempt: None, is_unknown: false });
        self.history.works.push(work);
        for (place, (group, ask)) in reads.into_iter().enumerate() {
            self.call(Caller::Read(number, place), group, ask);
        }
        self.patience(number, 0);
        self.go_on(number);
    }

    fn next_key(&mut self, client: usize, issued: Version) -> RequestKey {
        let state = &mut self.clients[client];
        state.sequence += 1;
        let sequence = state.sequence;
        let acked_below = if self.luck.chance(500) { sequence } else { 0 };
        RequestKey { client: ClientId(client as u64 + 1), sequence, acked_below, issued }
    }

    fn patience(&mut self, work: usize, attempts: usize) {
        let patience_ms = self.luck.between(40, 3 * self.faults.patience_ms);
        self.after(patience_ms, Event::Impatient(work, attempts));
    }

    pub(crate) fn read_answered(&mut self, work: usize, place: usize, rows: &[Row]) {
        if self.is_open(work) {
            self.history.works[work].reads[place].rows = Some(rows.to_vec());
            self.go_on(work);
        }
    }

    /// What was to be read may be there: it is done, or what follows is asked for.
    fn go_on(&mut self, number: usize) {
        let work = &self.history.works[number];
        if work.reads.iter().any(|read| read.rows.is_none()) {
            return;
        }
        match work.shares.is_empty() {
            true => self.finish(number, End::Read),
            false => self.try_work(number),
        }
    }

    /// Sends a single write, or begins an attempt at a transaction.
    fn try_work(&mut self, number: usize) {
        let work = &self.history.works[number];
        let client = work.client;
        let current = self.clients[client].current.as_mut().expect("the work is at hand");
        current.attempts += 1;
        let (begun, attempts) = (current.begun, current.attempts);
        if work.is_single {
            let (group, write) = work.shares[0].clone();
            let ask = Ask::Propose(work.key, ShardAction::Write(write));
            self.call(Caller::Single(number), group, ask);
        } else {
            self.clients[client].current.as_mut().expect("the work is at hand").attempt = Some(self.attempts.len());
            if attempts > 1 && self.broken == Some(Broken::ForgetfulRetries) && self.history.works[number].key.is_some()
            {
                let key = self.next_key(client, begun);
                self.history.works[number].key = Some(key);
            }
            self.attempt(number, begun);
        }
        self.patience(number, attempts);
    }

    /// The client has waited for the answer to this many attempts long enough.
    pub(crate) fn impatient(&mut self, number: usize, attempts: usize) {
        let Work { client, ref shares, key, is_single, .. } = self.history.works[number];
        let Some(current) = self.clients[client].current.as_mut().filter(|current| current.work == number) else {
            return;
        };
        if current.attempts != attempts {
            return;
        }
        if attempts == 0 || shares.is_empty() {
            // It reads still; nothing was changed.
            return self.finish(number, End::Nothing);
        }
        current.is_unknown = true;
        match !is_single && key.is_some() && current.attempts < ATTEMPTS_MAX {
            true => self.try_work(number),
            false => self.finish(number, End::Unknown),
        }
    }

    /// The client hears of an attempt.
    pub(crate) fn told(&mut self, attempt: usize, verdict: Verdict) {
        let number = self.attempts[attempt].work;
        let client = self.history.works[number].client;
        let Some(current) = self.clients[client].current.as_mut().filter(|current| current.work == number) else {
            return;
        };
        let is_at_hand = current.attempt == Some(attempt);
        let nothing = if current.is_unknown { End::Unknown } else { End::Nothing };
        match verdict {
            Verdict::Committed(version) => self.finish(number, End::Committed(version)),
            // Whatever became of earlier attempts: the anchor has settled it.
            Verdict::Declined => self.finish(number, End::Nothing),
            // Only a request without a key: it is sent again when no attempt at it is left.
            Verdict::Refused if is_at_hand => self.finish(number, End::Nothing),
            Verdict::Again if is_at_hand && current.attempts < ATTEMPTS_MAX => {
                current.attempt = None;
                let delay_ms = self.luck.below(60);
                self.after(delay_ms, Event::Retry(number));
            }
            Verdict::Again if is_at_hand => self.finish(number, nothing),
            Verdict::Unknown if is_at_hand => self.finish(number, End::Unknown),
            Verdict::Refused | Verdict::Again | Verdict::Unknown => {}
        }
    }

    pub(crate) fn retry(&mut self, number: usize) {
        let client = self.history.works[number].client;
        let is_at_hand = |current: &Current| current.work == number && current.attempt.is_none();
        if self.clients[client].current.as_ref().is_some_and(is_at_hand) {
            self.try_work(number);
        }
    }

    pub(crate) fn single_answered(&mut self, number: usize, outcome: &Outcome) {
        if !self.is_open(number) {
            return;
        }
        match outcome {
            Outcome::Committed { version } => self.finish(number, End::Committed(*version)),
            Outcome::Refused(refusal) => {
                self.stats.conflicts += u64::from(matches!(refusal, Refusal::Conflict { .. }));
                // Another copy may be on its way still.
                self.finish(number, if refusal.is_final() { End::Nothing } else { End::Unknown });
            }
            other => unreachable!("a write is not answered {other:?}"),
        }
    }

    fn finish(&mut self, number: usize, end: End) {
        self.say(|_| format!("work {number} ends: {end:?}"));
        let work = &mut self.history.works[number];
        (work.end, work.answered) = (end, self.steps);
        self.clients[work.client].current = None;
        let client = work.client;
        let delay_ms = self.luck.below(80);
        self.after(delay_ms, Event::Begin(client));
    }
}
