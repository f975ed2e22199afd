//! Random entries.

use bytes::Bytes;
use lentic_engine::{MergeOperator, merge::set};
use lentic_machine::Refusal;
use lentic_machine::shard::{
    Action, Back, Condition, Expected, Operation, RaiseWatermark, RangeRead, Release, Take, Token, Write,
};
use lentic_types::{Expiry, KeyRange, Version};
use proptest::prelude::*;

/// Requests that share an entry, and what befalls the replicas after it.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) requests: Vec<Draft>,
    /// Whether the gathering replica writes what it has gathered.
    pub(crate) is_written: bool,
    pub(crate) luck: Luck,
}

/// What befalls the unlucky replica.
#[derive(Clone, Debug)]
pub(crate) enum Luck {
    Nothing,
    Flush,
    Collect,
    Crash(usize),
}

/// A request before it is stamped.
#[derive(Clone, Debug)]
pub(crate) enum Draft {
    /// A new request; relative versions and tokens are filled in by the stamp. The flag: with an idempotency key.
    New(Action, bool),
    /// A copy of the request so many keyed requests ago.
    Copy(usize),
    /// A refusal to keep as the answer to the request so many keyed requests ago, or to none.
    Decline(Option<usize>, Refusal),
    /// The first word of a new transaction.
    Prepare(Begin),
    /// A later word of the transaction begun so many before the newest one.
    Step(usize, Step),
}

/// How a transaction begins.
#[derive(Clone, Debug)]
pub(crate) struct Begin {
    /// How long before its prepare it began, in milliseconds: ids are no older or younger than prepares.
    pub(crate) age: u64,
    /// For how long it may be prepared.
    pub(crate) open_ms: u64,
    pub(crate) is_anchor_here: bool,
    /// With the key of the request so many keyed requests ago, 0 for a new key.
    pub(crate) key: Option<usize>,
    /// Whether it is not prepared now: others hear of it before this shard does.
    pub(crate) is_late: bool,
    pub(crate) parts: Vec<Write>,
    /// What it takes instead.
    pub(crate) take: Option<Take>,
}

/// A word about a transaction.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Prepare,
    /// Commit so many milliseconds before the stamp, but not below the prepare; `None` aborts. What is known already is
    /// said again instead, where something else would break the protocol.
    Decide(Option<u64>),
    Resolve(Option<u64>),
    Status,
}

/// Requests of all kinds.
pub(crate) fn history(length: usize) -> impl Strategy<Value = Vec<Entry>> {
    proptest::collection::vec(entry(draft()), 1..=length)
}

/// Mostly transactions, on so few keys that they share them.
pub(crate) fn crowd(length: usize) -> impl Strategy<Value = Vec<Entry>> {
    proptest::collection::vec(entry(crowded_draft()), 1..=length)
}

/// A job that is lost and restored again and again, with pins in between: rollbacks that undo others.
pub(crate) fn restores(length: usize) -> impl Strategy<Value = Vec<Entry>> {
    proptest::collection::vec(entry(restored_draft()), 1..=length)
}

fn restored_draft() -> impl Strategy<Value = Draft> {
    let steps = |most: u64| (0..most).prop_map(Version);
    let all = || KeyRange::new("a", Some("f")).expect("in order");
    let put = (key(), value()).prop_map(|(key, value)| Operation::Put { key, value, expiry: None });
    let write = proptest::collection::vec(put, 1..4).prop_map(|operations| {
        let fence = Some(Token(Version(0)));
        Draft::New(Action::Write(Write { fence, operations, ..Write::default() }), false)
    });
    let ranges = prop_oneof![3 => Just(all()), 1 => range()];
    let take = (ranges, steps(14)).prop_map(move |(range, to)| {
        let back = vec![Back { range, to }];
        Draft::New(Action::Take(Take { range: all(), owner: "job".into(), force: true, back }), false)
    });
    let raise = (steps(6), proptest::collection::vec(steps(20), 0..4))
        .prop_map(|(to, pins)| Draft::New(Action::RaiseWatermark(RaiseWatermark { to, revision: 0, pins }), false));
    prop_oneof![4 => write, 3 => take, 1 => raise]
}

fn entry(draft: impl Strategy<Value = Draft>) -> impl Strategy<Value = Entry> {
    let luck = prop_oneof![
        5 => Just(Luck::Nothing),
        1 => Just(Luck::Flush),
        1 => Just(Luck::Collect),
        1 => (0usize..6).prop_map(Luck::Crash)
    ];
    (proptest::collection::vec(draft, 0..4), any::<bool>(), luck).prop_map(|(requests, is_written, luck)| Entry {
        requests,
        is_written,
        luck,
    })
}

fn draft() -> impl Strategy<Value = Draft> {
    let action = prop_oneof![
        14 => write().prop_map(Action::Write),
        4 => take().prop_map(Action::Take),
        1 => (range(), token()).prop_map(|(range, token)| Action::Release(Release { range, token })),
        2 => raise(),
    ];
    prop_oneof![
        1 => (proptest::option::of(0usize..6), refusal()).prop_map(|(back, refusal)| Draft::Decline(back, refusal)),
        8 => (action, any::<bool>()).prop_map(|(action, keyed)| Draft::New(action, keyed)),
        1 => (0usize..4).prop_map(Draft::Copy),
        5 => begin(proptest::collection::vec(part(), 0..3)).prop_map(Draft::Prepare),
        1 => begin_take().prop_map(Draft::Prepare),
        9 => (0usize..6, step()).prop_map(|(back, step)| Draft::Step(back, step)),
    ]
}

fn refusal() -> impl Strategy<Value = Refusal> {
    prop_oneof![
        (0u32..3).prop_map(|position| Refusal::TooLarge { position }),
        (0u32..3).prop_map(|position| Refusal::Conflict { position }),
        (0u32..3).prop_map(|position| Refusal::ConditionFailed { position, found: None }),
    ]
}

fn crowded_draft() -> impl Strategy<Value = Draft> {
    let write = |part: Write| Draft::New(Action::Write(part), false);
    let by_force = take().prop_map(|take| Draft::New(Action::Take(Take { force: true, ..take }), false));
    let release = range().prop_map(|range| {
        let release = Release { range, token: Token(Version(0)) };
        Draft::New(Action::Release(release), false)
    });
    prop_oneof![
        8 => crowded_part().prop_map(write),
        16 => begin(proptest::collection::vec(crowded_part(), 1..2)).prop_map(Draft::Prepare),
        30 => (0usize..6, step()).prop_map(|(back, step)| Draft::Step(back, step)),
        1 => by_force,
        2 => begin_take().prop_map(Draft::Prepare),
        2 => release,
        1 => raise().prop_map(|raise| Draft::New(raise, false)),
        1 => (0usize..4).prop_map(Draft::Copy),
        2 => (0usize..4, refusal()).prop_map(|(back, refusal)| Draft::Decline(Some(back), refusal)),
    ]
}

/// A part whose operations most often share their keys with others.
fn crowded_part() -> impl Strategy<Value = Write> {
    let key = || (b'a'..b'd').prop_map(|byte| Bytes::copy_from_slice(&[byte]));
    let expiry = || proptest::option::weighted(0.3, (3u64..20).prop_map(Expiry));
    let operation = prop_oneof![
        3 => (key(), number(), expiry()).prop_map(|(key, value, expiry)| Operation::Put { key, value, expiry }),
        1 => key().prop_map(|key| Operation::Delete { key }),
        5 => (key(), number()).prop_map(|(key, operand)| {
            Operation::Merge { key, operator: MergeOperator::AddI64, operand, expiry: None }
        }),
        1 => range().prop_map(|range| Operation::DeleteRange { range }),
    ];
    let expected = prop_oneof![Just(Expected::Exists), (1u64..12).prop_map(|ms| Expected::UnchangedSince(Version(ms)))];
    let condition = (key(), expected).prop_map(|(key, expected)| Condition { key, expected });
    let conditions = prop_oneof![4 => Just(vec![]), 1 => proptest::collection::vec(condition, 1..2)];
    let read = (range(), 1u64..12).prop_map(|(range, since)| RangeRead { range, since: Version(since) });
    let ranges = prop_oneof![9 => Just(vec![]), 1 => proptest::collection::vec(read, 1..2)];
    (conditions, ranges, proptest::collection::vec(operation, 1..3))
        .prop_map(|(conditions, ranges, operations)| Write { fence: None, conditions, ranges, operations })
}

fn begin(parts: impl Strategy<Value = Vec<Write>>) -> impl Strategy<Value = Begin> {
    let open_ms = prop_oneof![4 => 8u64..60, 1 => 0u64..8];
    let key = proptest::option::weighted(0.4, prop_oneof![3 => Just(0usize), 1 => 1usize..4]);
    let is_late = proptest::bool::weighted(0.1);
    (0u64..6, open_ms, any::<bool>(), key, is_late, parts).prop_map(
        |(age, open_ms, is_anchor_here, key, is_late, parts)| Begin {
            age,
            open_ms,
            is_anchor_here,
            key,
            is_late,
            parts,
            take: None,
        },
    )
}

fn begin_take() -> impl Strategy<Value = Begin> {
    (begin(Just(Vec::new())), take()).prop_map(|(begin, take)| Begin { take: Some(take), ..begin })
}

/// Half of them go back, in the whole range or in one or two parts of it.
fn take() -> impl Strategy<Value = Take> {
    let kind = prop_oneof![3 => Just(0), 2 => Just(1), 2 => Just(2)];
    (range(), owner(), any::<bool>(), kind, back(), back()).prop_map(|(range, owner, force, kind, one, other)| {
        let part = |range, to| Back { range, to };
        let (start, end) = (range.start()[0], range.end().expect("it has an end")[0]);
        let middle = start + (end - start) / 2;
        let cut = |start: u8, end: u8| KeyRange::new(vec![start], Some(vec![end])).expect("in order");
        let back = match kind {
            0 => Vec::new(),
            2 if middle > start => vec![part(cut(start, middle), one), part(cut(middle, end), other)],
            _ => vec![part(range.clone(), one)],
        };
        Take { range, owner, force, back }
    })
}

fn step() -> impl Strategy<Value = Step> {
    let decision = || proptest::option::weighted(0.7, 0u64..7);
    prop_oneof![
        1 => Just(Step::Prepare),
        4 => decision().prop_map(Step::Decide),
        5 => decision().prop_map(Step::Resolve),
        1 => Just(Step::Status),
    ]
}

/// A part of a transaction: most write without looking.
fn part() -> impl Strategy<Value = Write> {
    let simple = prop_oneof![
        3 => (key(), value()).prop_map(|(key, value)| Operation::Put { key, value, expiry: None }),
        1 => key().prop_map(|key| Operation::Delete { key }),
        3 => (key(), number()).prop_map(|(key, operand)| {
            Operation::Merge { key, operator: MergeOperator::AddI64, operand, expiry: None }
        }),
        2 => operation(),
    ];
    let conditions = prop_oneof![3 => Just(vec![]), 1 => proptest::collection::vec(condition(), 1..3)];
    let fence = proptest::option::weighted(0.15, token());
    (fence, conditions, ranges(), proptest::collection::vec(simple, 0..3))
        .prop_map(|(fence, conditions, ranges, operations)| Write { fence, conditions, ranges, operations })
}

fn ranges() -> impl Strategy<Value = Vec<RangeRead>> {
    let read = (range(), back()).prop_map(|(range, since)| RangeRead { range, since });
    prop_oneof![6 => Just(vec![]), 1 => proptest::collection::vec(read, 1..3)]
}

/// A version so many steps ago, to be resolved by the stamp; 0 is the request's own version.
fn back() -> impl Strategy<Value = Version> {
    prop_oneof![1 => Just(0u64), 6 => 1u64..6, 2 => 6u64..40].prop_map(Version)
}

/// A raise of the watermark. The revision of its pins is the next one, or so many before it.
fn raise() -> impl Strategy<Value = Action> {
    let late = prop_oneof![4 => Just(0u64), 1 => Just(1), 1 => 2u64..5];
    let pins = proptest::collection::vec(back(), 0..5);
    (back(), late, pins).prop_map(|(to, revision, pins)| Action::RaiseWatermark(RaiseWatermark { to, revision, pins }))
}

/// A token by its place in the order they were given, newest first; beyond them, one never given.
fn token() -> impl Strategy<Value = Token> {
    (0u64..3).prop_map(|place| Token(Version(place)))
}

fn write() -> impl Strategy<Value = Write> {
    let conditions = prop_oneof![3 => Just(vec![]), 1 => proptest::collection::vec(condition(), 1..3)];
    let fence = proptest::option::weighted(0.4, token());
    (fence, conditions, ranges(), proptest::collection::vec(operation(), 0..5))
        .prop_map(|(fence, conditions, ranges, operations)| Write { fence, conditions, ranges, operations })
}

fn condition() -> impl Strategy<Value = Condition> {
    let expected = prop_oneof![
        Just(Expected::Exists),
        Just(Expected::Absent),
        back().prop_map(Expected::VersionIs),
        value().prop_map(Expected::ValueIs),
        back().prop_map(Expected::UnchangedSince),
    ];
    (key(), expected).prop_map(|(key, expected)| Condition { key, expected })
}

fn operation() -> impl Strategy<Value = Operation> {
    // Relative to the stamp, in milliseconds.
    let expiry = || proptest::option::weighted(0.2, (1u64..8).prop_map(Expiry));
    prop_oneof![
        5 => (key(), value(), expiry()).prop_map(|(key, value, expiry)| Operation::Put { key, value, expiry }),
        2 => key().prop_map(|key| Operation::Delete { key }),
        1 => range().prop_map(|range| Operation::DeleteRange { range }),
        8 => (key(), merge(), expiry()).prop_map(|(key, (operator, operand), expiry)| Operation::Merge { key, operator, operand, expiry }),
    ]
}

/// Keys of one byte: ranges begin and end at them. The last lies outside the shard.
fn key() -> impl Strategy<Value = Bytes> {
    prop_oneof![30 => b'a'..b'f', 1 => Just(b'z')].prop_map(|byte| Bytes::copy_from_slice(&[byte]))
}

fn range() -> impl Strategy<Value = KeyRange> {
    (b'a'..b'f', b'b'..b'g')
        .prop_filter_map("inside out", |(start, end)| KeyRange::new(vec![start], Some(vec![end])).ok())
}

fn owner() -> impl Strategy<Value = Bytes> {
    prop_oneof![3 => Just("job"), 1 => Just("other")].prop_map(Bytes::from)
}

fn value() -> impl Strategy<Value = Bytes> {
    let number = (-2i64..3).prop_map(|number| number.to_be_bytes().to_vec());
    prop_oneof![3 => number, 1 => Just(vec![b'x'; 150]), 1 => Just(vec![b'y'; 300])].prop_map(Bytes::from)
}

fn number() -> impl Strategy<Value = Bytes> {
    (-2i64..3).prop_map(|number| Bytes::from(number.to_be_bytes().to_vec()))
}

fn merge() -> impl Strategy<Value = (MergeOperator, Bytes)> {
    let one_set = value().prop_map(|member| Bytes::from(set::encode([&member[..]])));
    prop_oneof![
        3 => number().prop_map(|operand| (MergeOperator::AddI64, operand)),
        4 => value().prop_map(|operand| (MergeOperator::Append, operand)),
        2 => one_set.prop_map(|operand| (MergeOperator::SetUnion, operand)),
        1 => value().prop_map(|operand| (MergeOperator::MaxI64, operand)),
    ]
}
