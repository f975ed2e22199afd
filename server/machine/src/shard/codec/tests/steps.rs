//! The bytes of steps and of what is told of them.

use super::*;
use crate::shard::outcome::{Prepared, TxnStatus};

fn prepared() -> impl Strategy<Value = Prepared> {
    (version(), expiry()).prop_map(|(version, valid_until)| Prepared { version, valid_until })
}

/// All that a node can be told of a step.
fn told() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        4 => outcome(),
        1 => prepared().prop_map(Outcome::Prepared),
        1 => decision().prop_map(Outcome::Decided),
        1 => Just(Outcome::Resolved),
        1 => (prepared(), participants())
            .prop_map(|(prepared, participants)| Outcome::Status(TxnStatus::Prepared { prepared, participants })),
        1 => (decision(), participants())
            .prop_map(|(decision, participants)| Outcome::Status(TxnStatus::Decided { decision, participants })),
        1 => decision().prop_map(|decision| Outcome::Status(TxnStatus::Ended(decision))),
        1 => txn_id().prop_map(|holder| Refusal::Blocked { holder }.into()),
        1 => Just(Refusal::TxnEnded.into()),
        1 => Just(Refusal::LocksFull.into()),
    ]
}

#[test]
fn golden_bytes_of_what_is_told() {
    let (version, (txn, name)) = (Version(300), golden_txn());
    let participants = || vec![Participant { table: TableId(7), range: range("a", None) }];
    let prepared = |valid_until| Prepared { version, valid_until };
    let rows: Vec<(Outcome, &[u8])> = vec![
        (Outcome::Committed { version }, b"\x01\xac\x02"),
        (Refusal::Conflict { position: 2 }.into(), b"\x17\x02"),
        (Outcome::Prepared(prepared(None)), b"\x20\xac\x02\x00"),
        (Outcome::Prepared(prepared(Some(Expiry(5)))), b"\x20\xac\x02\x01\x05"),
        (Outcome::Decided(Decision::Commit(version)), b"\x21\x01\xac\x02"),
        (Outcome::Decided(Decision::Abort), b"\x21\x02"),
        (Outcome::Resolved, b"\x22"),
        (
            Outcome::Status(TxnStatus::Prepared { prepared: prepared(None), participants: participants() }),
            b"\x23\xac\x02\x00\x01\x07\x00\x01a",
        ),
        (
            Outcome::Status(TxnStatus::Decided { decision: Decision::Abort, participants: participants() }),
            b"\x24\x02\x01\x07\x00\x01a",
        ),
        (Outcome::Status(TxnStatus::Ended(Decision::Commit(version))), b"\x25\x01\xac\x02"),
        (Refusal::TxnEnded.into(), b"\x27"),
        (Refusal::LocksFull.into(), b"\x28"),
    ];
    for (outcome, bytes) in rows {
        assert_eq!(outcome.to_told().as_deref(), Some(bytes), "{outcome:?}");
        assert_eq!(Outcome::from_told(bytes), Ok(outcome));
    }
    let blocked = Outcome::from(Refusal::Blocked { holder: txn.id });
    assert_eq!(blocked.to_told().as_deref(), Some(&[b"\x26", &name[..24]].concat()[..]));
}

#[test]
fn golden_bytes_of_a_step() {
    let (txn, name) = golden_txn();
    let key = RequestKey { client: ClientId(7), sequence: 300, acked_below: 299, issued: Version(1) };
    for (key, bytes) in [(None, &b"\x01\x00\x0b"[..]), (Some(key), b"\x01\x01\x07\xac\x02\xab\x02\x01\x0b")] {
        let (action, expected) = (Action::Status(txn.clone()), Bytes::from([bytes, name].concat()));
        assert_eq!(action.to_step(key.as_ref()), expected);
        assert_eq!(Action::from_step(&expected), Ok((key, action)));
    }
}

#[test]
fn what_speaks_of_the_route_only_is_not_told() {
    for refusal in [
        Refusal::Invalid("for its own reason"),
        Refusal::AnswerForgotten,
        Refusal::WrongEpoch { epoch: Epoch(2) },
        Refusal::OutOfRange,
    ] {
        assert_eq!(Outcome::from(refusal).to_told(), None);
    }
}

#[test]
fn what_nobody_tells_is_refused() {
    let told: [&[u8]; 8] = [b"", b"\x00", b"\x18\x01", b"\x21\x00", b"\x22\x00", b"\x25\x03", b"\x26\x00", b"\x29"];
    for bytes in told {
        assert!(Outcome::from_told(bytes).is_err(), "{bytes:?}");
    }
    let steps: [&'static [u8]; 5] =
        [b"", b"\x02\x00\x03\x01", b"\x01\x02\x03\x01", b"\x01\x00\x00", b"\x01\x00\x03\x01\x00"];
    for bytes in steps {
        assert!(Action::from_step(&Bytes::from_static(bytes)).is_err(), "{bytes:?}");
    }
}

fn told_or_refused(input: &[u8]) -> Result<(), TestCaseError> {
    if let Ok(outcome) = Outcome::from_told(input) {
        let told = outcome.to_told();
        prop_assert_eq!(told.as_deref(), Some(input));
    }
    Ok(())
}

fn step_or_refused(input: Vec<u8>) -> Result<(), TestCaseError> {
    let input = Bytes::from(input);
    if let Ok((key, action)) = Action::from_step(&input) {
        prop_assert_eq!(action.to_step(key.as_ref()), input);
    }
    Ok(())
}

proptest! {
    #[test]
    fn what_is_told_comes_back(outcome in told()) {
        let bytes = outcome.to_told().expect("it is no word about the route");
        prop_assert_eq!(Outcome::from_told(&bytes), Ok(outcome));
        for length in 0..bytes.len() {
            prop_assert!(Outcome::from_told(&bytes[..length]).is_err(), "the first {} bytes", length);
        }
    }

    #[test]
    fn steps_come_back(key in request_key(), action in action()) {
        let bytes = action.to_step(key.as_ref());
        prop_assert_eq!(Action::from_step(&bytes), Ok((key, action)));
        for length in 0..bytes.len() {
            prop_assert!(Action::from_step(&bytes.slice(..length)).is_err(), "the first {} bytes", length);
        }
    }

    #[test]
    fn anything_is_told_or_refused(mut input: Vec<u8>, tag in 0x20u8..0x29) {
        told_or_refused(&input)?;
        input.insert(0, tag);
        told_or_refused(&input)?;
    }

    #[test]
    fn anything_is_a_step_or_refused(mut input: Vec<u8>, tag in 0x07u8..0x0c) {
        step_or_refused(input.clone())?;
        input.splice(0..0, [FORMAT, 0x00, tag]);
        step_or_refused(input)?;
    }

    #[test]
    fn every_flip_of_a_step_is_a_step_or_refused(key in request_key(), action in action(), place: prop::sample::Index, bit in 0u8..8) {
        let mut bytes = action.to_step(key.as_ref()).to_vec();
        let place = place.index(bytes.len());
        bytes[place] ^= 1 << bit;
        step_or_refused(bytes)?;
    }

    #[test]
    fn every_flip_of_what_is_told_is_told_or_refused(outcome in told(), place: prop::sample::Index, bit in 0u8..8) {
        let mut bytes = outcome.to_told().expect("it is no word about the route").to_vec();
        let place = place.index(bytes.len());
        bytes[place] ^= 1 << bit;
        told_or_refused(&bytes)?;
    }
}
