use bytes::Bytes;
use lentic_types::KeyRange;
use proptest::prelude::*;

use super::*;
use crate::meta::pins::{PinKind, PinSpan};

fn key(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

fn snapshot() -> Pin {
    Pin {
        pin: PinId(0),
        kind: PinKind::Snapshot,
        name: "s".to_owned(),
        owner: "o".to_owned(),
        nonce: *b"0123456789abcdef",
        spans: vec![PinSpan { table: TableId(7), range: KeyRange::all() }],
        version: Version(300),
        created: Version(5),
        expires: None,
    }
}

fn checkpoint() -> Pin {
    let range = KeyRange::new("a", Some("c")).unwrap();
    Pin {
        kind: PinKind::Checkpoint,
        owner: String::new(),
        nonce: *b"fedcba9876543210",
        spans: vec![PinSpan { table: TableId(7), range }],
        version: Version(5),
        created: Version(6),
        expires: Some(Version(7)),
        ..snapshot()
    }
}

#[test]
fn golden_bytes_of_commands() {
    let register = |node| MetaCommand::RegisterNode {
        node,
        address: "a:1".to_owned(),
        http_address: String::new(),
        incarnation: *b"0123456789abcdef",
    };
    let create = |options, avoid| MetaCommand::CreateTable { name: "t".to_owned(), options, avoid };
    let split_points = vec![key("g"), key("pq")];
    let options = TableOptions { shards: 3, split_points, retention_ms: 300, replicas: 5, ttl_ms: 301 };
    let rows: Vec<(MetaCommand, &[u8])> = vec![
        (register(None), b"\x01\x01\x00\x03a:1\x000123456789abcdef"),
        (register(Some(NodeId(300))), b"\x01\x01\x01\xac\x02\x03a:1\x000123456789abcdef"),
        (create(TableOptions::default(), vec![]), b"\x01\x02\x01t\x00\x00\x00\x00\x00\x00"),
        (
            create(options, vec![NodeId(2), NodeId(128)]),
            b"\x01\x02\x01t\x03\x02\x01g\x02pq\xac\x02\x05\xad\x02\x02\x02\x80\x01",
        ),
        (MetaCommand::DropTable { name: "a.t".to_owned() }, b"\x01\x03\x03a.t"),
        (MetaCommand::ExtendWindow { until: Version(300) }, b"\x01\x04\xac\x02"),
        (MetaCommand::IssueClients { count: 128 }, b"\x01\x05\x80\x01"),
        (
            MetaCommand::SetReplicas { shard: ShardId(2), epoch: Epoch(1), replicas: vec![NodeId(3), NodeId(1)] },
            b"\x01\x06\x02\x01\x02\x03\x01",
        ),
        (MetaCommand::BeginSplit { shard: ShardId(300), epoch: Epoch(2), at: key("m") }, b"\x01\x30\xac\x02\x02\x01m"),
        (
            MetaCommand::EndSplit { parent: ShardId(3), child: ShardId(300), epoch: Epoch(2), born: Index(128) },
            b"\x01\x31\x03\xac\x02\x02\x80\x01",
        ),
        (MetaCommand::SetCluster { replicas: 5 }, b"\x01\x07\x05"),
        (MetaCommand::SetBalance { on: true }, b"\x01\x3a\x01"),
        (
            MetaCommand::CreatePin { pin: snapshot(), lease_ms: 300 },
            b"\x01\x08\x01\x01s\x01o0123456789abcdef\x01\x07\x00\x00\xac\x02\x05\x00\xac\x02",
        ),
        (
            MetaCommand::CreatePin { pin: checkpoint(), lease_ms: 0 },
            b"\x01\x08\x02\x01s\x00fedcba9876543210\x01\x07\x01\x01a\x01c\x05\x06\x01\x07\x00",
        ),
        (MetaCommand::RenewPin { pin: PinId(1), now: Version(5), lease_ms: 300 }, b"\x01\x09\x01\x05\xac\x02"),
        (MetaCommand::ReleasePin { pin: PinId(300) }, b"\x01\x0a\xac\x02"),
        (MetaCommand::SweepPins { now: Version(300), floor: Version(5) }, b"\x01\x0b\xac\x02\x05"),
        (
            MetaCommand::CreateBranch {
                name: "b".to_owned(),
                of: "a.t".to_owned(),
                version: Version(300),
                now: Version(301),
                nonce: *b"0123456789abcdef",
            },
            b"\x01\x10\x01b\x03a.t\xac\x02\xad\x020123456789abcdef",
        ),
        (
            MetaCommand::MoveReplica { shard: ShardId(2), epoch: Epoch(1), from: Some(NodeId(300)), to: NodeId(4) },
            b"\x01\x34\x02\x01\xac\x02\x04",
        ),
        (
            MetaCommand::MoveReplica { shard: ShardId(2), epoch: Epoch(1), from: None, to: NodeId(4) },
            b"\x01\x34\x02\x01\x00\x04",
        ),
        (
            MetaCommand::SettleReplicas { shard: ShardId(2), epoch: Epoch(1), revision: 300 },
            b"\x01\x35\x02\x01\xac\x02",
        ),
        (MetaCommand::SetNodeState { node: NodeId(2), state: NodeState::Active }, b"\x01\x38\x02\x00"),
        (MetaCommand::SetNodeState { node: NodeId(300), state: NodeState::Removed }, b"\x01\x38\xac\x02\x02"),
    ];
    for (command, bytes) in rows {
        assert_eq!(command.encode(), bytes, "{command:?}");
        assert_eq!(MetaCommand::decode(bytes), Ok(command));
    }
}

#[test]
fn golden_bytes_of_outcomes() {
    let name = || "a.t".to_owned();
    let rows: Vec<(MetaOutcome, &[u8])> = vec![
        (MetaOutcome::Node(NodeId(300)), b"\x01\xac\x02"),
        (MetaOutcome::Table { table: TableId(7), created: true }, b"\x02\x07\x01"),
        (MetaOutcome::Dropped { table: TableId(7), shards: vec![ShardId(2), ShardId(3)] }, b"\x03\x07\x02\x02\x03"),
        (MetaOutcome::Window(Version(300)), b"\x04\xac\x02"),
        (MetaOutcome::Clients { first: ClientId(1), count: 128 }, b"\x05\x01\x80\x01"),
        (MetaOutcome::Done, b"\x06"),
        (MetaOutcome::Pinned { pin: PinId(300), version: Version(5) }, b"\x07\xac\x02\x05"),
        (MetaOutcome::Swept { floor: Version(300), gone: 2 }, b"\x08\xac\x02\x02"),
        (MetaOutcome::Splitting { child: ShardId(300) }, b"\x09\xac\x02"),
        (MetaRefusal::Invalid("why".into()).into(), b"\x10\x03why"),
        (MetaRefusal::InvalidName("why".into()).into(), b"\x11\x03why"),
        (MetaRefusal::NoSuchTable { name: name() }.into(), b"\x12\x03a.t"),
        (MetaRefusal::TableExists { name: name(), table: TableId(7) }.into(), b"\x13\x03a.t\x07"),
        (MetaRefusal::NoSuchNode { node: NodeId(7) }.into(), b"\x14\x07"),
        (MetaRefusal::OtherIncarnation { node: NodeId(7) }.into(), b"\x15\x07"),
        (MetaRefusal::NoSuchShard { shard: ShardId(7) }.into(), b"\x16\x07"),
        (MetaRefusal::WrongEpoch { epoch: Epoch(7) }.into(), b"\x17\x07"),
        (MetaRefusal::NoNodes.into(), b"\x18"),
        (MetaRefusal::TooMany { of: "nodes".into(), most: 128 }.into(), b"\x19\x05nodes\x80\x01"),
        (MetaRefusal::WindowTooFar { most: Version(300) }.into(), b"\x1a\xac\x02"),
        (MetaRefusal::PinExists { name: name(), pin: PinId(7) }.into(), b"\x1b\x03a.t\x07"),
        (MetaRefusal::NoSuchPin { pin: PinId(300) }.into(), b"\x1c\xac\x02"),
        (MetaRefusal::PinTooOld { floor: Version(300) }.into(), b"\x1d\xac\x02"),
        (MetaRefusal::VersionAhead { newest: Version(300) }.into(), b"\x1e\xac\x02"),
        (MetaRefusal::HasBranch { name: name(), branch: "b".to_owned() }.into(), b"\x22\x03a.t\x01b"),
        (MetaRefusal::PinOfBranch { name: name() }.into(), b"\x23\x03a.t"),
        (MetaRefusal::UnderWay { shard: ShardId(300) }.into(), b"\x34\xac\x02"),
        (MetaRefusal::NotActive { node: NodeId(7), state: NodeState::Draining }.into(), b"\x35\x07\x01"),
        (MetaRefusal::NodeHolds { node: NodeId(7), replicas: 300 }.into(), b"\x36\x07\xac\x02"),
        (MetaRefusal::TooFewNodes { left: 2, needed: 3 }.into(), b"\x37\x02\x03"),
        (MetaRefusal::Superseded { revision: 300 }.into(), b"\x38\xac\x02"),
    ];
    for (outcome, bytes) in rows {
        assert_eq!(outcome.encode(), bytes, "{outcome:?}");
        assert_eq!(MetaOutcome::decode(bytes), Ok(outcome));
    }
}

#[test]
fn what_no_encoder_writes_is_refused() {
    let commands: [(&[u8], &str); 14] = [
        (b"", "nothing"),
        (b"\x02\x07\x05", "another format"),
        (b"\x01\x00", "no command"),
        (b"\x01\x0c\x05", "an unknown command"),
        (b"\x01\x08\x04\x01s\x00fedcba9876543210\x01\x07\x00\x00\x05\x06\x00\x00", "an unknown kind of pin"),
        (b"\x01\x08\x01\x01s\x00fedcba9876543210\xff\xff\x03\x07\x00\x00", "more spans than bytes"),
        (b"\x01\x07\x05\x00", "something left over"),
        (b"\x01\x07\x85\x00", "a number in a longer form"),
        (b"\x01\x07\x80\x80\x80\x80\x10", "a number of more than 32 bits"),
        (b"\x01\x01\x02\x05\x00\x000123456789abcdef", "a flag that is neither"),
        (b"\x01\x01\x00\x01\xff\x000123456789abcdef", "an address that is no text"),
        (b"\x01\x01\x00\x01a\x000123456789abcde", "a short incarnation"),
        (b"\x01\x02\x01t\x00\xff\xff\xff\xff\x0f", "more split points than bytes"),
        (b"\x01\x06\x02\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "more nodes than bytes"),
    ];
    for (bytes, name) in commands {
        assert!(MetaCommand::decode(bytes).is_err(), "{name}");
    }
    let outcomes: [&[u8]; 7] = [b"", b"\x00", b"\x07", b"\x0f", b"\x1f\x01", b"\x02\x07\x02", b"\x10\x01\xff"];
    for bytes in outcomes {
        assert!(MetaOutcome::decode(bytes).is_err(), "{bytes:?}");
    }
}

fn string() -> impl Strategy<Value = String> {
    prop_oneof![4 => "[a-z.]{0,5}", 1 => "\\PC{0,200}"]
}

fn number() -> impl Strategy<Value = u64> {
    prop_oneof![0u64..300, any::<u64>()]
}

fn nodes() -> impl Strategy<Value = Vec<NodeId>> {
    proptest::collection::vec(number().prop_map(NodeId), 0..5)
}

fn options() -> impl Strategy<Value = TableOptions> {
    let point = proptest::collection::vec(any::<u8>(), 0..4).prop_map(Bytes::from);
    (any::<u32>(), proptest::collection::vec(point, 0..4), number(), any::<u32>(), number()).prop_map(
        |(shards, split_points, retention_ms, replicas, ttl_ms)| TableOptions {
            shards,
            split_points,
            retention_ms,
            replicas,
            ttl_ms,
        },
    )
}

fn pin() -> impl Strategy<Value = Pin> {
    let kind = prop_oneof![Just(PinKind::Snapshot), Just(PinKind::Checkpoint), Just(PinKind::Branch)];
    let range = prop_oneof![
        Just(KeyRange::all()),
        (0u8..5, 5u8..9).prop_map(|(start, end)| KeyRange::new(vec![start], Some(vec![end])).unwrap())
    ];
    let span = (any::<u32>(), range).prop_map(|(table, range)| PinSpan { table: TableId(table), range });
    let spans = proptest::collection::vec(span, 0..4);
    let expires = proptest::option::of(number().prop_map(Version));
    (kind, string(), string(), any::<[u8; 16]>(), spans, (number(), number(), expires)).prop_map(
        |(kind, name, owner, nonce, spans, (version, created, expires))| Pin {
            pin: PinId(0),
            kind,
            name,
            owner,
            nonce,
            spans,
            version: Version(version),
            created: Version(created),
            expires,
        },
    )
}

fn state() -> impl Strategy<Value = NodeState> {
    prop_oneof![Just(NodeState::Active), Just(NodeState::Draining), Just(NodeState::Removed)]
}

fn command() -> impl Strategy<Value = MetaCommand> {
    let node = proptest::option::of(number().prop_map(NodeId));
    prop_oneof![
        (node, string(), string(), any::<[u8; 16]>()).prop_map(|(node, address, http_address, incarnation)| {
            MetaCommand::RegisterNode { node, address, http_address, incarnation }
        }),
        (string(), options(), nodes()).prop_map(|(name, options, avoid)| MetaCommand::CreateTable {
            name,
            options,
            avoid
        }),
        string().prop_map(|name| MetaCommand::DropTable { name }),
        number().prop_map(|until| MetaCommand::ExtendWindow { until: Version(until) }),
        any::<u32>().prop_map(|count| MetaCommand::IssueClients { count }),
        (number(), number(), nodes()).prop_map(|(shard, epoch, replicas)| MetaCommand::SetReplicas {
            shard: ShardId(shard),
            epoch: Epoch(epoch),
            replicas
        }),
        (number(), number(), proptest::collection::vec(any::<u8>(), 0..4)).prop_map(|(shard, epoch, at)| {
            MetaCommand::BeginSplit { shard: ShardId(shard), epoch: Epoch(epoch), at: at.into() }
        }),
        (number(), number(), number(), number()).prop_map(|(parent, child, epoch, born)| MetaCommand::EndSplit {
            parent: ShardId(parent),
            child: ShardId(child),
            epoch: Epoch(epoch),
            born: Index(born)
        }),
        any::<u32>().prop_map(|replicas| MetaCommand::SetCluster { replicas }),
        (number(), number(), number(), number()).prop_map(|(shard, epoch, from, to)| MetaCommand::MoveReplica {
            shard: ShardId(shard),
            epoch: Epoch(epoch),
            from: Some(NodeId(from)).filter(|from| from.0 > 0),
            to: NodeId(to),
        }),
        (number(), number(), number()).prop_map(|(shard, epoch, revision)| MetaCommand::SettleReplicas {
            shard: ShardId(shard),
            epoch: Epoch(epoch),
            revision,
        }),
        (number(), state()).prop_map(|(node, state)| MetaCommand::SetNodeState { node: NodeId(node), state }),
        any::<bool>().prop_map(|on| MetaCommand::SetBalance { on }),
        (pin(), number()).prop_map(|(pin, lease_ms)| MetaCommand::CreatePin { pin, lease_ms }),
        (number(), number(), number()).prop_map(|(pin, now, lease_ms)| MetaCommand::RenewPin {
            pin: PinId(pin),
            now: Version(now),
            lease_ms
        }),
        number().prop_map(|pin| MetaCommand::ReleasePin { pin: PinId(pin) }),
        (number(), number())
            .prop_map(|(now, floor)| MetaCommand::SweepPins { now: Version(now), floor: Version(floor) }),
        (string(), string(), number(), number(), any::<[u8; 16]>()).prop_map(|(name, of, version, now, nonce)| {
            MetaCommand::CreateBranch { name, of, version: Version(version), now: Version(now), nonce }
        }),
    ]
}

fn refusal() -> impl Strategy<Value = MetaRefusal> {
    prop_oneof![
        string().prop_map(|reason| MetaRefusal::Invalid(reason.into())),
        string().prop_map(|reason| MetaRefusal::InvalidName(reason.into())),
        string().prop_map(|name| MetaRefusal::NoSuchTable { name }),
        (string(), any::<u32>()).prop_map(|(name, table)| MetaRefusal::TableExists { name, table: TableId(table) }),
        number().prop_map(|node| MetaRefusal::NoSuchNode { node: NodeId(node) }),
        number().prop_map(|node| MetaRefusal::OtherIncarnation { node: NodeId(node) }),
        number().prop_map(|shard| MetaRefusal::NoSuchShard { shard: ShardId(shard) }),
        number().prop_map(|epoch| MetaRefusal::WrongEpoch { epoch: Epoch(epoch) }),
        Just(MetaRefusal::NoNodes),
        (string(), number()).prop_map(|(of, most)| MetaRefusal::TooMany { of: of.into(), most }),
        number().prop_map(|most| MetaRefusal::WindowTooFar { most: Version(most) }),
        (string(), number()).prop_map(|(name, pin)| MetaRefusal::PinExists { name, pin: PinId(pin) }),
        number().prop_map(|pin| MetaRefusal::NoSuchPin { pin: PinId(pin) }),
        number().prop_map(|floor| MetaRefusal::PinTooOld { floor: Version(floor) }),
        number().prop_map(|newest| MetaRefusal::VersionAhead { newest: Version(newest) }),
        (string(), string()).prop_map(|(name, branch)| MetaRefusal::HasBranch { name, branch }),
        string().prop_map(|name| MetaRefusal::PinOfBranch { name }),
        number().prop_map(|shard| MetaRefusal::UnderWay { shard: ShardId(shard) }),
        (number(), state()).prop_map(|(node, state)| MetaRefusal::NotActive { node: NodeId(node), state }),
        (number(), number()).prop_map(|(node, replicas)| MetaRefusal::NodeHolds { node: NodeId(node), replicas }),
        (number(), number()).prop_map(|(left, needed)| MetaRefusal::TooFewNodes { left, needed }),
        number().prop_map(|revision| MetaRefusal::Superseded { revision }),
    ]
}

fn outcome() -> impl Strategy<Value = MetaOutcome> {
    let shards = proptest::collection::vec(number().prop_map(ShardId), 0..5);
    prop_oneof![
        number().prop_map(|node| MetaOutcome::Node(NodeId(node))),
        (any::<u32>(), any::<bool>())
            .prop_map(|(table, created)| MetaOutcome::Table { table: TableId(table), created }),
        (any::<u32>(), shards).prop_map(|(table, shards)| MetaOutcome::Dropped { table: TableId(table), shards }),
        number().prop_map(|end| MetaOutcome::Window(Version(end))),
        (number(), any::<u32>()).prop_map(|(first, count)| MetaOutcome::Clients { first: ClientId(first), count }),
        Just(MetaOutcome::Done),
        (number(), number())
            .prop_map(|(pin, version)| MetaOutcome::Pinned { pin: PinId(pin), version: Version(version) }),
        (number(), number()).prop_map(|(floor, gone)| MetaOutcome::Swept { floor: Version(floor), gone }),
        refusal().prop_map(MetaOutcome::Refused),
    ]
}

/// Whatever is read has exactly these bytes: nothing in it is larger than the input, and no two inputs are one thing.
fn decoded_or_refused(input: &[u8]) -> Result<(), TestCaseError> {
    if let Ok(command) = MetaCommand::decode(input) {
        prop_assert_eq!(command.encode(), input);
    }
    if let Ok(outcome) = MetaOutcome::decode(input) {
        prop_assert_eq!(outcome.encode(), input);
    }
    Ok(())
}

proptest! {
    #[test]
    fn commands_and_outcomes_come_back(command in command(), outcome in outcome()) {
        prop_assert_eq!(MetaCommand::decode(&command.encode()), Ok(command));
        prop_assert_eq!(MetaOutcome::decode(&outcome.encode()), Ok(outcome));
    }

    #[test]
    fn any_bytes_are_decoded_or_refused(mut input: Vec<u8>, tag in 0u8..0x28) {
        decoded_or_refused(&input)?;
        // Past the first bytes, which most inputs have wrong.
        input.insert(0, tag);
        decoded_or_refused(&input)?;
        input.insert(0, FORMAT);
        decoded_or_refused(&input)?;
    }

    #[test]
    fn every_cut_is_refused(command in command(), outcome in outcome()) {
        let bytes = command.encode();
        for length in 0..bytes.len() {
            prop_assert!(MetaCommand::decode(&bytes[..length]).is_err(), "the first {} bytes", length);
        }
        let bytes = outcome.encode();
        for length in 0..bytes.len() {
            prop_assert!(MetaOutcome::decode(&bytes[..length]).is_err(), "the first {} bytes", length);
        }
    }

    #[test]
    fn every_flip_and_splice_is_decoded_or_refused(
        bytes in prop_oneof![command().prop_map(|command| command.encode()), outcome().prop_map(|outcome| outcome.encode())],
        place: prop::sample::Index, bit in 0u8..8, other in proptest::collection::vec(any::<u8>(), 1..12),
    ) {
        let place = place.index(bytes.len());
        let mut flipped = bytes.clone();
        flipped[place] ^= 1 << bit;
        decoded_or_refused(&flipped)?;
        let mut spliced = bytes;
        spliced.splice(place..place, other);
        decoded_or_refused(&spliced)?;
    }
}
