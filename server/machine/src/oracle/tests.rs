use proptest::prelude::*;

use super::*;

const DAY: u64 = CLOCK_LEAP_MS_MAX;
/// A time at which clocks are believed to be set.
const NOW: u64 = CLOCK_MS_MIN + 100 * DAY;

fn unix(ms: u64) -> u64 {
    Version::UNIX_MS_AT_ZERO + ms
}

fn at(ms: u64) -> Version {
    Version::tick(ms, 0).unwrap()
}

/// Takes ticks as a leader does whose extensions all succeed.
fn take(oracle: &mut Oracle, count: u32, ms: u64) -> Ticks {
    for _ in 0..5 {
        match oracle.take(count, unix(ms)) {
            Ok(ticks) => return ticks,
            Err(NoTicks::NeedsWindow { until }) => oracle.extended(until),
            Err(error) => panic!("{error}"),
        }
    }
    panic!("an extension is followed by ticks")
}

#[test]
fn ticks_in_a_row_carry_into_the_millisecond() {
    let mut oracle = Oracle::lead(Version::ZERO, unix(NOW));
    let most = TICKS_PER_TAKE_MAX;
    let ticks = take(&mut oracle, most, NOW);
    assert_eq!(ticks, Ticks { first: at(NOW), count: most });
    let all: Vec<_> = ticks.iter().collect();
    assert_eq!(all.len(), most as usize);
    assert!(all.iter().all(|tick| tick.is_tick()) && all.is_sorted_by(|one, next| one < next));
    let per_ms = u64::from(Version::SEQUENCE_MAX) + 1;
    assert_eq!(all.last().unwrap().ms(), NOW + u64::from(most) / per_ms - 1);
    assert_eq!(take(&mut oracle, 1, NOW).first, at(NOW + u64::from(most) / per_ms), "the next millisecond");
    assert_eq!(oracle.take(most + 1, unix(NOW)), Err(NoTicks::TooMany { count: most + 1 }));
    assert_eq!(oracle.take(0, unix(NOW)).map(|ticks| ticks.iter().count()), Ok(0));
}

#[test]
fn version_zero_is_no_tick() {
    for unix_ms in [0, Version::UNIX_MS_AT_ZERO - 1, Version::UNIX_MS_AT_ZERO] {
        let mut oracle = Oracle::lead(Version::ZERO, unix_ms);
        let Err(NoTicks::NeedsWindow { until }) = oracle.take(1, unix_ms) else { panic!("no window yet") };
        oracle.extended(until);
        assert_eq!(oracle.take(1, unix_ms).map(|ticks| ticks.first), Ok(Version(256)));
    }
}

#[test]
fn a_window_holds_what_is_below_its_end() {
    let mut oracle = Oracle::lead(at(NOW), unix(NOW - 5));
    let needs = |result| matches!(result, Err(NoTicks::NeedsWindow { .. }));
    assert!(needs(oracle.take(1, unix(NOW - 5))));
    oracle.extended(Version(at(NOW).0 + 1));
    assert!(needs(oracle.take(2, unix(NOW - 5))), "none is handed out if not all are");
    assert_eq!(oracle.take(1, unix(NOW - 5)), Ok(Ticks { first: at(NOW), count: 1 }), "the one below the end");
    assert!(needs(oracle.take(1, unix(NOW - 5))));
    oracle.extended(Version(at(NOW).0 + 257));
    oracle.extended(at(NOW));
    assert_eq!(
        oracle.take(1, unix(NOW - 5)).map(|ticks| ticks.first),
        Ok(Version(at(NOW).0 + 256)),
        "an earlier end says nothing"
    );
}

#[test]
fn version_time_ends() {
    let mut oracle = Oracle::lead(at(Version::MS_MAX), u64::MAX);
    assert_eq!(oracle.take(1, u64::MAX), Err(NoTicks::NeedsWindow { until: Version::MAX }));
    oracle.extended(Version::MAX);
    let mut last = Version::ZERO;
    let end = loop {
        match oracle.take(4096, u64::MAX) {
            Ok(ticks) => {
                assert!(ticks.first > last);
                last = ticks.iter().last().unwrap();
            }
            Err(end) => break end,
        }
    };
    assert_eq!(end, NoTicks::Exhausted);
    assert_eq!(last.ms(), Version::MS_MAX);
    assert_eq!(oracle.wants_extension(u64::MAX), None);
    assert_eq!(Oracle::lead(Version::MAX, 0).take(1, 0), Err(NoTicks::Exhausted));
}

#[test]
fn the_end_of_time_is_not_believed_of_a_first_clock() {
    let mut oracle = Oracle::lead(Version::ZERO, u64::MAX);
    assert_eq!(oracle.clock_ahead_ms(), Some(Version::MS_MAX));
    assert_eq!(take(&mut oracle, 1, Version::MS_MAX).first, Version(STEP));
    assert_eq!(take(&mut oracle, 1, NOW).first, at(NOW), "the first clock that can be right");
    assert_eq!(oracle.clock_ahead_ms(), None);
}

/// What happens to an extension.
#[derive(Clone, Copy, Debug)]
enum Fate {
    /// It is applied, and the leader hears of it.
    Known,
    /// It is applied, and the leader does not hear of it.
    Unknown,
    /// It is applied when the next leader begins, or never.
    Late,
    Lost,
}

#[derive(Clone, Debug)]
enum Step {
    Take {
        count: u32,
        fate: Fate,
    },
    Maintain {
        fate: Fate,
    },
    /// Another leader, with a clock that is ahead or behind of this one's.
    Lead {
        offset_ms: i64,
        late_is_applied: bool,
    },
    /// Time goes by.
    Pass {
        ms: u64,
    },
    /// The leader's clock is set.
    Set {
        offset_ms: i64,
    },
    /// Leaders from before still believe that they lead, and hand out what they may.
    Old {
        count: u32,
    },
}

fn offset() -> impl Strategy<Value = i64> {
    let [hour, day] = [60 * 60 * 1000, 24 * 60 * 60 * 1000];
    prop_oneof![
        3 => -5_000i64..5_000,
        2 => -2 * hour..2 * hour,
        1 => -1000 * day..1000 * day,
        1 => any::<i32>().prop_map(move |days| i64::from(days) * day),
    ]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let fate =
        || prop_oneof![4 => Just(Fate::Known), 1 => Just(Fate::Unknown), 1 => Just(Fate::Late), 1 => Just(Fate::Lost)];
    let count = || prop_oneof![4 => 0u32..5, 2 => 0..=TICKS_PER_TAKE_MAX];
    let step = prop_oneof![
        6 => (count(), fate()).prop_map(|(count, fate)| Step::Take { count, fate }),
        3 => fate().prop_map(|fate| Step::Maintain { fate }),
        2 => (offset(), any::<bool>()).prop_map(|(offset_ms, late_is_applied)| Step::Lead { offset_ms, late_is_applied }),
        4 => prop_oneof![3 => 0u64..3_000, 1 => 0..2 * DAY].prop_map(|ms| Step::Pass { ms }),
        1 => offset().prop_map(|offset_ms| Step::Set { offset_ms }),
        1 => count().prop_map(|count| Step::Old { count }),
    ];
    proptest::collection::vec(step, 0..80)
}

/// A meta group and its leaders.
struct World {
    /// Replicated.
    window_end: Version,
    /// Extensions on their way.
    late: Vec<Version>,
    oracle: Oracle,
    old: Vec<Oracle>,
    offset_ms: i64,
    now_ms: u64,
    /// The newest tick of any leader that led.
    newest: Version,
    /// Where the newest leader's window was when it began.
    began_at: Version,
    /// The furthest that this leader's clock has shown.
    shown_ms: u64,
}

impl World {
    fn new(now_ms: u64) -> Self {
        let oracle = Oracle::lead(Version::ZERO, unix(now_ms));
        let (window_end, newest, began_at) = (Version::ZERO, Version::ZERO, Version::ZERO);
        let (late, old) = (vec![], vec![]);
        Self { window_end, late, oracle, old, offset_ms: 0, now_ms, newest, began_at, shown_ms: now_ms }
    }

    /// What the leader's clock shows, and that it does.
    fn clock(&mut self) -> u64 {
        let unix_ms = unix(self.now_ms).saturating_add_signed(self.offset_ms);
        self.shown_ms = self.shown_ms.max(unix_ms.saturating_sub(Version::UNIX_MS_AT_ZERO));
        unix_ms
    }

    fn extend(&mut self, until: Version, fate: Fate) {
        assert!(until <= furthest_end(self.window_end), "apply grants what the oracle asks for");
        match fate {
            Fate::Known => {
                self.window_end = self.window_end.max(until);
                self.oracle.extended(self.window_end);
            }
            Fate::Unknown => self.window_end = self.window_end.max(until),
            Fate::Late => self.late.push(until),
            Fate::Lost => {}
        }
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Take { count, fate } => {
                let clock = self.clock();
                match self.oracle.take(count, clock) {
                    Ok(ticks) => self.judge(ticks),
                    Err(NoTicks::NeedsWindow { until }) => self.extend(until, fate),
                    Err(error) => panic!("{error}"),
                }
            }
            Step::Maintain { fate } => {
                let clock = self.clock();
                if let Some(until) = self.oracle.wants_extension(clock) {
                    self.extend(until, fate);
                }
            }
            Step::Lead { offset_ms, late_is_applied } => {
                let late = std::mem::take(&mut self.late);
                if let Some(end) = late.into_iter().max().filter(|_| late_is_applied) {
                    self.window_end = self.window_end.max(end);
                }
                self.offset_ms = offset_ms;
                self.shown_ms = 0;
                let next = Oracle::lead(self.window_end, self.clock());
                self.old.push(std::mem::replace(&mut self.oracle, next));
                self.began_at = self.window_end;
            }
            Step::Pass { ms } => self.now_ms += ms,
            Step::Set { offset_ms } => self.offset_ms = offset_ms,
            Step::Old { count } => {
                let clock = self.clock();
                for oracle in &mut self.old {
                    let ticks = oracle.take(count, clock).ok();
                    let last = ticks.and_then(|ticks| ticks.iter().last());
                    assert!(last.is_none_or(|last| last < self.began_at), "below all of the new leader's");
                }
            }
        }
    }

    fn judge(&mut self, ticks: Ticks) {
        let Some(last) = ticks.iter().last() else { return };
        assert!(ticks.first.is_tick() && last.is_tick());
        assert!(ticks.first > self.newest && ticks.first >= self.began_at, "above all before");
        assert!(last < self.window_end, "below the replicated end");
        let one_by_one = Version((self.newest.0 + STEP).max(self.began_at.0.next_multiple_of(STEP)).max(STEP));
        let shown = Version::tick(self.shown_ms.min(Version::MS_MAX), 0).unwrap();
        assert!(ticks.first <= one_by_one.max(shown), "not ahead of what the clock has shown");
        let clock_ms = self.clock().saturating_sub(Version::UNIX_MS_AT_ZERO).min(Version::MS_MAX);
        match self.oracle.clock_ahead_ms() {
            None => assert!(ticks.first.ms() >= clock_ms, "not behind a clock that is followed"),
            Some(_) => assert!(clock_ms > ticks.first.ms() + CLOCK_LEAP_MS_MAX / 2, "far ahead"),
        }
        self.newest = last;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn ticks_rise_over_leaders_clocks_and_lost_extensions(start in prop_oneof![Just(NOW), Just(0), 0..2 * NOW], steps in steps()) {
        let mut world = World::new(start);
        for step in &steps {
            world.step(step);
        }
    }

    #[test]
    fn a_clock_that_runs_is_followed_whatever_it_did_before(start in NOW..2 * NOW, steps in steps(), late in any::<bool>()) {
        let mut world = World::new(start);
        steps.iter().for_each(|step| world.step(step));
        world.step(&Step::Lead { offset_ms: 0, late_is_applied: late });
        if let Some(ahead_ms) = world.oracle.clock_ahead_ms() {
            prop_assert!(ahead_ms > WINDOW_LEAP_MS_MAX, "some clock was behind by more than one leap");
            return Ok(());
        }
        // However far the ticks are ahead, the clock reaches them.
        world.now_ms = world.now_ms.max(world.oracle.next.ms());
        for _ in 0..3 {
            world.now_ms += 1_000;
            let ticks = (0..5).find_map(|_| {
                let clock = world.clock();
                match world.oracle.take(7, clock) {
                    Ok(ticks) => Some(ticks),
                    Err(NoTicks::NeedsWindow { until }) => { world.extend(until, Fate::Known); None }
                    Err(error) => panic!("{error}"),
                }
            });
            let ticks = ticks.expect("an extension is followed by ticks");
            prop_assert_eq!(ticks.first, at(world.now_ms));
        }
    }

    /// Whoever asks for extensions in time never waits.
    #[test]
    fn nobody_waits_while_ticks_are_in_use(pauses in proptest::collection::vec(1u64..500, 1..200), count in 1u32..1000) {
        let mut oracle = Oracle::lead(at(NOW - 50 * DAY), unix(NOW));
        oracle.extended(oracle.clone().wants_extension(unix(NOW)).expect("a new leader asks at once"));
        let mut ms = NOW;
        for pause in pauses {
            prop_assert!(oracle.take(count, unix(ms)).is_ok());
            ms += pause;
            // The extension takes a while.
            let wanted = oracle.wants_extension(unix(ms));
            ms += 500;
            prop_assert!(oracle.take(count, unix(ms)).is_ok());
            wanted.into_iter().for_each(|until| oracle.extended(until));
        }
    }

    /// Once a right time is known, no clock takes ticks further than one leap.
    #[test]
    fn a_wrong_clock_does_not_ruin_version_time(clock_ms in NOW..Version::MS_MAX, readings in 1u64..50) {
        let mut oracle = Oracle::lead(at(NOW), unix(NOW));
        let mut newest = take(&mut oracle, 1, NOW).first;
        for reading in 0..readings {
            let ticks = take(&mut oracle, 1, clock_ms + reading * 1000).first;
            prop_assert!(ticks > newest);
            newest = ticks;
        }
        let leap = clock_ms - NOW;
        if leap <= DAY {
            prop_assert!(newest >= at(clock_ms));
        } else {
            prop_assert_eq!(newest.ms(), NOW, "one by one, for less than the time of doubt");
            prop_assert!(oracle.clock_ahead_ms().is_some());
        }
        prop_assert_eq!(take(&mut oracle, 1, NOW + 100).first, at(newest.ms().max(NOW + 100)).max(Version(newest.0 + STEP)));
    }
}
