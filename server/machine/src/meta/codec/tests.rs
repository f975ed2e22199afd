use bytes::Bytes;
use proptest::prelude::*;

use super::*;

fn key(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
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
    let options = TableOptions { shards: 3, split_points: vec![key("g"), key("pq")], retention_ms: 300, replicas: 5 };
    let rows: Vec<(MetaCommand, &[u8])> = vec![
        (register(None), b"\x01\x01\x00\x03a:1\x000123456789abcdef"),
        (register(Some(NodeId(300))), b"\x01\x01\x01\xac\x02\x03a:1\x000123456789abcdef"),
        (create(TableOptions::default(), vec![]), b"\x01\x02\x01t\x00\x00\x00\x00\x00"),
        (
            create(options, vec![NodeId(2), NodeId(128)]),
            b"\x01\x02\x01t\x03\x02\x01g\x02pq\xac\x02\x05\x02\x02\x80\x01",
        ),
        (MetaCommand::DropTable { name: "a.t".to_owned() }, b"\x01\x03\x03a.t"),
        (MetaCommand::ExtendWindow { until: Version(300) }, b"\x01\x04\xac\x02"),
        (MetaCommand::IssueClients { count: 128 }, b"\x01\x05\x80\x01"),
        (
            MetaCommand::SetReplicas { shard: ShardId(2), epoch: Epoch(1), replicas: vec![NodeId(3), NodeId(1)] },
            b"\x01\x06\x02\x01\x02\x03\x01",
        ),
        (MetaCommand::SetCluster { replicas: 5 }, b"\x01\x07\x05"),
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
    ];
    for (outcome, bytes) in rows {
        assert_eq!(outcome.encode(), bytes, "{outcome:?}");
        assert_eq!(MetaOutcome::decode(bytes), Ok(outcome));
    }
}

#[test]
fn what_no_encoder_writes_is_refused() {
    let commands: [(&[u8], &str); 12] = [
        (b"", "nothing"),
        (b"\x02\x07\x05", "another format"),
        (b"\x01\x00", "no command"),
        (b"\x01\x08\x05", "an unknown command"),
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
    let outcomes: [&[u8]; 7] = [b"", b"\x00", b"\x07", b"\x0f", b"\x1b\x01", b"\x02\x07\x02", b"\x10\x01\xff"];
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
    (any::<u32>(), proptest::collection::vec(point, 0..4), number(), any::<u32>()).prop_map(
        |(shards, split_points, retention_ms, replicas)| TableOptions { shards, split_points, retention_ms, replicas },
    )
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
        any::<u32>().prop_map(|replicas| MetaCommand::SetCluster { replicas }),
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
    fn any_bytes_are_decoded_or_refused(mut input: Vec<u8>, tag in 0u8..0x20) {
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
