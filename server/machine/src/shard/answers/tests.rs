//! The safety argument of [`super`], tested: nothing is judged twice, nothing grows, and who behaves is answered.

use std::collections::BTreeMap;

use proptest::prelude::*;

use lentic_types::limits::ANSWERS_LISTED_MAX;

use super::*;

const MINUTE_MS: u64 = 60 * 1000;

fn tick(ms: u64) -> Version {
    Version::tick(ms, 0).unwrap()
}

fn key(client: u64, sequence: u64, acked_below: u64, issued: Version) -> RequestKey {
    RequestKey { client: ClientId(client), sequence, acked_below, issued }
}

/// The answers of a shard, beside everything that was ever judged and the bytes that the store would hold.
struct World {
    answers: Answers,
    /// Pages by entry.
    stored: BTreeMap<Index, Vec<u8>>,
    /// The entry that is being applied, and how many new requests it has so far.
    entry: (Index, usize),
    /// How many an entry has.
    per_entry: usize,
    judged: BTreeMap<AnswerId, Outcome>,
    now: Version,
    /// How much time has really gone by.
    real_ms: u64,
}

impl World {
    fn new(per_entry: usize) -> Self {
        let (answers, stored, judged) = (Answers::default(), BTreeMap::new(), BTreeMap::new());
        let entry = (Index(1), 0);
        Self { answers, stored, entry, per_entry, judged, now: tick(1), real_ms: 0 }
    }

    /// Ends the entry, as the shard does.
    fn end_entry(&mut self) {
        let (index, _) = self.entry;
        for gone in self.answers.end_entry(index) {
            assert!(self.stored.remove(&gone).is_some(), "page {gone} was there");
        }
        if self.answers.has_page(index) {
            let mut bytes = Vec::new();
            self.answers.encode_page(index, &mut bytes);
            self.stored.insert(index, bytes);
        }
        self.entry = (Index(index.0 + 1), 0);
    }

    /// The answers as a shard loads them.
    fn loaded(&self) -> Answers {
        let mut answers = Answers::empty(self.answers.horizon(), self.answers.age_ms());
        for (index, bytes) in &self.stored {
            answers.add_page(*index, decode_page(bytes).unwrap()).unwrap();
        }
        answers.loaded()
    }

    /// A tick of now, as clients get with an answer.
    fn tick(&self) -> Version {
        tick(self.now.ms())
    }

    /// Time goes by, in which the shard is in use.
    fn wait(&mut self, ms: u64) {
        let mut left = ms;
        while left > 0 {
            let step = left.min(ANSWER_STEP_MS_MAX);
            self.leap(step);
            left -= step;
        }
        self.real_ms += ms;
    }

    /// Version time goes on, and no other.
    fn leap(&mut self, ms: u64) {
        let before = self.now;
        self.now = self.now.max(tick(self.now.ms() + ms));
        self.answers.pass(before, self.now);
    }

    /// Judges one copy of a request, as the shard does.
    fn deliver(&mut self, key: &RequestKey) -> Outcome {
        let before = self.now;
        self.now = self.now.next_local().unwrap_or_else(|| tick(self.now.ms() + 1));
        self.real_ms += self.now.ms() - before.ms();
        self.answers.pass(before, self.now);
        let id = (key.client, key.sequence);
        if let Some(answer) = self.answers.find(key) {
            if answer != Outcome::Refused(Refusal::AnswerForgotten) {
                assert_eq!(Some(&answer), self.judged.get(&id), "{key:?} is answered as its first copy was");
            }
            return answer;
        }
        let outcome = Outcome::Committed { version: self.now };
        assert_eq!(self.judged.insert(id, outcome.clone()), None, "{key:?} is judged once");
        self.answers.keep(key, self.entry.0, self.now, outcome.clone());
        assert!(self.answers.get(id).is_some(), "a new answer is kept");
        self.entry.1 += 1;
        if self.entry.1 >= self.per_entry {
            self.end_entry();
        }
        outcome
    }

    fn check(&mut self) {
        self.end_entry();
        assert!(self.answers.len() <= ANSWERS_PER_SHARD_MAX);
        let counts = self.answers.by_client.values().map(|kept| kept.by_sequence.len());
        assert!({ counts }.all(|count| (1..=ANSWERS_PER_CLIENT_MAX).contains(&count)));
        assert!(self.stored.len() <= self.answers.len(), "a page has an answer that is kept");
        assert!(self.answers.horizon() <= self.now);
        // Not `assert_eq`, which would print thousands of answers.
        assert!(self.loaded() == self.answers, "the store holds the same");
    }
}

#[test]
fn a_full_window_lets_go_of_the_lowest_and_harms_no_other_client() {
    let mut world = World::new(1);
    let issued = world.tick();
    let window = 1..=ANSWERS_PER_CLIENT_MAX as u64;
    window.clone().for_each(|sequence| drop(world.deliver(&key(1, sequence + 10, 0, issued))));
    assert_eq!(world.answers.len(), ANSWERS_PER_CLIENT_MAX);
    let forgotten = Outcome::from(Refusal::AnswerForgotten);
    assert_eq!(world.deliver(&key(1, 5, 0, issued)), forgotten, "a new request below a full window has no room");
    assert_ne!(world.deliver(&key(1, 9000, 0, issued)), forgotten);
    assert_eq!(world.answers.len(), ANSWERS_PER_CLIENT_MAX);
    assert_eq!(world.deliver(&key(1, 11, 0, issued)), forgotten, "the lowest made room");
    assert_ne!(world.deliver(&key(1, 12, 0, issued)), forgotten);
    assert_eq!(world.answers.horizon(), Version::ZERO);
    assert_ne!(world.deliver(&key(2, 1, 0, issued)), forgotten, "another client, issued before all of this");
    world.check();
}

#[test]
fn what_made_room_in_a_window_is_not_judged_again_when_there_is_room() {
    let mut world = World::new(1);
    let early = world.tick();
    (1001..1001 + ANSWERS_PER_CLIENT_MAX as u64 - 1)
        .for_each(|sequence| drop(world.deliver(&key(1, sequence, 0, early))));
    world.wait(10 * MINUTE_MS);
    let last = key(1, 500, 0, world.tick());
    world.deliver(&last);
    world.deliver(&key(1, 3000, 0, early));
    assert_eq!(world.answers.get((ClientId(1), 500)), None, "the lowest number made room, though it came last");
    world.wait(6 * MINUTE_MS);
    world.deliver(&key(2, 1, 0, world.tick()));
    assert!(world.answers.by_client[&ClientId(1)].by_sequence.len() < ANSWERS_PER_CLIENT_MAX, "the first ones are old");
    assert!(world.answers.horizon() < last.issued);
    assert_eq!(world.deliver(&last), Refusal::AnswerForgotten.into());
    world.check();
}

#[test]
fn a_full_shard_lets_go_of_the_oldest() {
    let mut world = World::new(1);
    let issued = world.tick();
    for client in 0..ANSWERS_PER_SHARD_MAX as u64 {
        world.deliver(&key(client, 1, 0, issued));
    }
    assert_eq!((world.answers.len(), world.answers.horizon()), (ANSWERS_PER_SHARD_MAX, Version::ZERO));
    let Some(Outcome::Committed { version: oldest }) = world.judged.get(&(ClientId(0), 1)).cloned() else {
        panic!("the first request was judged")
    };
    world.deliver(&key(u64::MAX, 1, 0, world.tick()));
    assert_eq!((world.answers.len(), world.answers.horizon()), (ANSWERS_PER_SHARD_MAX, oldest));
    let forgotten = Outcome::from(Refusal::AnswerForgotten);
    assert_eq!(world.deliver(&key(0, 1, 0, issued)), forgotten);
    assert_eq!(world.deliver(&key(u64::MAX - 1, 1, 0, oldest)), forgotten, "nobody knows whether it was there");
    assert_ne!(world.deliver(&key(1, 1, 0, issued)), forgotten);
    world.check();
}

#[test]
fn an_answer_lives_for_its_time_and_goes_with_a_later_request() {
    let mut world = World::new(1);
    let first = key(1, 1, 0, world.tick());
    let answer = world.deliver(&first);
    world.wait(ANSWER_MS_MIN);
    world.deliver(&key(2, 1, 0, world.tick()));
    assert_eq!(world.deliver(&first), answer);
    world.wait(1);
    assert_eq!(world.deliver(&first), answer, "nothing goes but for a new answer");
    world.deliver(&key(2, 2, 0, world.tick()));
    assert_eq!(world.deliver(&first), Refusal::AnswerForgotten.into());
    world.check();
}

#[test]
fn a_leap_of_version_time_makes_no_answer_old() {
    let mut world = World::new(1);
    let first = key(1, 1, 0, world.tick());
    let (answer, late) = (world.deliver(&first), key(1, 2, 0, world.tick()));
    for sequence in 1..=100 {
        world.leap(60 * MINUTE_MS);
        world.deliver(&key(2, sequence, 0, world.tick()));
    }
    assert_eq!(world.deliver(&first), answer);
    assert_ne!(
        world.deliver(&late),
        Refusal::AnswerForgotten.into(),
        "a request that was issued before and comes late"
    );
    world.check();
}

/// Each entry has an answer of a client that never comes back, and many that are soon acknowledged.
#[test]
fn answers_that_stay_hold_few_that_have_gone() {
    const PER_ENTRY: u64 = 100;
    let mut world = World::new(100);
    let entries = 2 * ANSWERS_LISTED_MAX as u64 / PER_ENTRY;
    let mut pages_moved = 0;
    for entry in 1..=entries {
        world.deliver(&key(10 + entry, 1, 0, world.tick()));
        for number in 1..PER_ENTRY {
            let sequence = entry * PER_ENTRY + number;
            world.deliver(&key(1, sequence, entry * PER_ENTRY, world.tick()));
        }
        let listed = world.answers.pages.listed();
        assert!(listed <= ANSWERS_LISTED_MAX + 100, "{listed} answers on pages");
        pages_moved += u64::from((world.stored.len() as u64) < entry);
    }
    assert_eq!(world.answers.len() as u64, entries + PER_ENTRY - 1);
    assert!(pages_moved > 0, "that is what the limit is for");
    world.check();
    assert!(matches!(world.deliver(&key(11, 1, 0, tick(1))), Outcome::Committed { .. }), "the first is still answered");
}

#[test]
fn pages_that_contradict_each_other_are_refused() {
    let answer = |version| Answer { version, acked_below: 0, age_ms: 0, outcome: Outcome::Committed { version } };
    let (id, other) = ((ClientId(1), 1), (ClientId(1), 2));
    for twice in [(id, answer(tick(3))), (other, answer(tick(2)))] {
        let mut answers = Answers::empty(Version::ZERO, 0);
        assert_eq!(answers.add_page(Index(1), vec![(id, answer(tick(2)))]), Ok(()));
        assert!(answers.add_page(Index(2), vec![twice]).is_err());
    }
}

/// What happens to clients that may do anything but reuse a number.
#[derive(Clone, Debug)]
enum Chaos {
    /// A client sends its next request, leaving out some numbers, acknowledging up to so many below it, or above.
    Send { client: u64, gap: u64, acked: i64 },
    /// A client sends many at once; they arrive, from the first or from the last.
    Burst { client: u64, count: u64, is_reversed: bool },
    /// Any request ever sent arrives, for the first time or not.
    Arrive(prop::sample::Index),
    /// Time goes by.
    Wait(u64),
    /// Version time leaps.
    Leap(u64),
    /// The shard is loaded from its store.
    Reload,
}

fn chaos() -> impl Strategy<Value = Chaos> {
    let wait = prop_oneof![4 => 0u64..1000, 2 => 0..10 * MINUTE_MS, 1 => 10 * MINUTE_MS..40 * MINUTE_MS];
    prop_oneof![
        12 => (0u64..4, 1u64..4, -3i64..20).prop_map(|(client, gap, acked)| Chaos::Send { client, gap, acked }),
        1 => (0u64..4, 1u64..1400, any::<bool>()).prop_map(|(client, count, is_reversed)| Chaos::Burst { client, count, is_reversed }),
        16 => any::<prop::sample::Index>().prop_map(Chaos::Arrive),
        3 => wait.prop_map(Chaos::Wait),
        1 => (0..600 * MINUTE_MS).prop_map(Chaos::Leap),
        1 => Just(Chaos::Reload),
    ]
}

/// What happens to clients that behave, with some beside them that do not.
#[derive(Clone, Debug)]
enum Fair {
    /// A client sends so many new requests, as far as its window allows.
    Send { client: u64, count: u64 },
    /// One of its requests, new or a retry, arrives; the answer arrives too, or is lost.
    Arrive { client: u64, which: prop::sample::Index, is_answered: bool },
    /// All of its requests arrive and are answered, last one first.
    Drain { client: u64 },
    /// A copy of any request ever sent arrives late; nobody waits for the answer.
    Duplicate(prop::sample::Index),
    /// A client without manners sends many requests and acknowledges none.
    Flood { client: u64, count: u64 },
    /// Time goes by; requests that would get too old arrive and are answered first.
    Wait(u64),
    /// Version time leaps.
    Leap(u64),
}

fn fair() -> impl Strategy<Value = Fair> {
    let count = prop_oneof![8 => 1u64..4, 1 => 900u64..1200];
    let index = any::<prop::sample::Index>;
    prop_oneof![
        8 => (0u64..3, count).prop_map(|(client, count)| Fair::Send { client, count }),
        12 => (0u64..3, index(), any::<bool>()).prop_map(|(client, which, is_answered)| Fair::Arrive { client, which, is_answered }),
        1 => (0u64..3).prop_map(|client| Fair::Drain { client }),
        4 => index().prop_map(Fair::Duplicate),
        1 => (10u64..12, 1u64..1500).prop_map(|(client, count)| Fair::Flood { client, count }),
        3 => prop_oneof![0u64..1000, 0..14 * MINUTE_MS].prop_map(Fair::Wait),
        2 => (0..600 * MINUTE_MS).prop_map(Fair::Leap),
    ]
}

/// A client that behaves: fewer than the limit between its oldest unanswered request and its newest.
#[derive(Default)]
struct Client {
    last: u64,
    /// Each with the time at which it was made.
    unanswered: BTreeMap<u64, (RequestKey, u64)>,
}

impl Client {
    fn oldest(&self) -> u64 {
        self.unanswered.first_key_value().map_or(self.last + 1, |(sequence, _)| *sequence)
    }

    fn send(&mut self, client: u64, issued: Version, real_ms: u64) -> Option<RequestKey> {
        if self.last + 1 - self.oldest() >= ANSWERS_PER_CLIENT_MAX as u64 {
            return None;
        }
        self.last += 1;
        let acked_below = self.oldest().min(self.last);
        let key = key(client, self.last, acked_below, issued);
        self.unanswered.insert(self.last, (key, real_ms));
        Some(key)
    }
}

/// Delivers the requests that would be too old when so much more time has gone by, leaps of version time among it: each
/// may cost a second of the fifteen minutes. Deliveries take a little time themselves.
fn arrive_in_time(world: &mut World, clients: &mut BTreeMap<u64, Client>, ms: u64) {
    let age_ms = world.real_ms + ms + 1_000;
    for state in clients.values_mut() {
        let is_late = |made_ms: u64| age_ms - made_ms >= ANSWER_MS_MIN;
        let late: Vec<u64> = state
            .unanswered
            .iter()
            .filter(|(_, (_, made_ms))| is_late(*made_ms))
            .map(|(sequence, _)| *sequence)
            .collect();
        for sequence in late {
            let (key, _) = state.unanswered.remove(&sequence).expect("it waits");
            assert_answered(world, &key);
        }
    }
}

fn assert_answered(world: &mut World, key: &RequestKey) {
    assert!(matches!(world.deliver(key), Outcome::Committed { .. }), "{key:?} is answered");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn nothing_is_judged_twice(steps in proptest::collection::vec(chaos(), 1..120), per_entry in 1usize..200) {
        let mut world = World::new(per_entry);
        let (mut sent, mut last): (Vec<RequestKey>, BTreeMap<u64, u64>) = (Vec::new(), BTreeMap::new());
        for step in steps {
            match step {
                Chaos::Send { client, gap, acked } => {
                    let sequence = last.entry(client).or_default();
                    *sequence += gap;
                    let acked_below = sequence.saturating_add_signed(-acked);
                    sent.push(key(client, *sequence, acked_below, world.tick()));
                }
                Chaos::Burst { client, count, is_reversed } => {
                    let first = *last.entry(client).or_default() + 1;
                    last.insert(client, first + count - 1);
                    let mut burst: Vec<_> =
                        (first..first + count).map(|sequence| key(client, sequence, first, world.tick())).collect();
                    if is_reversed {
                        burst.reverse();
                    }
                    burst.iter().for_each(|key| drop(world.deliver(key)));
                    sent.extend(burst);
                }
                Chaos::Arrive(_) if sent.is_empty() => {}
                Chaos::Arrive(which) => drop(world.deliver(which.get(&sent))),
                Chaos::Wait(ms) => world.wait(ms),
                Chaos::Leap(ms) => world.leap(ms),
                Chaos::Reload => {
                    world.check();
                    world.answers = world.loaded();
                }
            }
        }
        world.check();
    }

    #[test]
    fn who_behaves_is_always_answered(steps in proptest::collection::vec(fair(), 1..120), per_entry in 1usize..200) {
        let mut world = World::new(per_entry);
        let (mut clients, mut floods): (BTreeMap<u64, Client>, BTreeMap<u64, u64>) = (BTreeMap::new(), BTreeMap::new());
        let (mut sent, mut leaps): (Vec<RequestKey>, u64) = (Vec::new(), 0);
        for step in steps {
            match step {
                Fair::Send { client, count } => {
                    let (issued, now_ms) = (world.tick(), world.real_ms);
                    let state = clients.entry(client).or_default();
                    sent.extend((0..count).map_while(|_| state.send(client, issued, now_ms)));
                }
                Fair::Arrive { client, which, is_answered } => {
                    let state = clients.entry(client).or_default();
                    let waiting: Vec<_> = state.unanswered.values().map(|(key, _)| *key).collect();
                    if !waiting.is_empty() {
                        let key = which.get(&waiting);
                        assert_answered(&mut world, key);
                        if is_answered {
                            state.unanswered.remove(&key.sequence);
                        }
                    }
                }
                Fair::Drain { client } => {
                    let waiting = std::mem::take(&mut clients.entry(client).or_default().unanswered);
                    waiting.values().rev().for_each(|(key, _)| assert_answered(&mut world, key));
                }
                Fair::Duplicate(_) if sent.is_empty() => {}
                Fair::Duplicate(which) => drop(world.deliver(which.get(&sent))),
                Fair::Flood { client, count } => {
                    let last = floods.entry(client).or_default();
                    for _ in 0..count {
                        *last += 1;
                        world.deliver(&key(client, *last, 0, world.tick()));
                    }
                }
                Fair::Wait(ms) => {
                    arrive_in_time(&mut world, &mut clients, ms + leaps * ANSWER_STEP_MS_MAX);
                    world.wait(ms);
                }
                Fair::Leap(ms) => {
                    leaps += 1;
                    arrive_in_time(&mut world, &mut clients, leaps * ANSWER_STEP_MS_MAX);
                    world.leap(ms);
                }
            }
        }
        world.check();
    }
}
