use lentic_types::Index;
use proptest::prelude::*;

use super::*;
use crate::placement;

fn node(id: u64) -> Node {
    let mut incarnation = [0; 16];
    incarnation[15] = u8::try_from(id).unwrap();
    Node {
        node: NodeId(id),
        address: format!("n{id}:1"),
        http_address: String::new(),
        incarnation,
        state: NodeState::Active,
    }
}

fn table(id: u32, name: &str) -> Table {
    let options = TableOptions::default().normal().unwrap();
    Table { table: TableId(id), name: name.to_owned(), options }
}

fn place(shard: u64, table: u32, start: &str, end: Option<&str>, replicas: &[u64]) -> ShardPlace {
    let bytes = |key: &str| Bytes::copy_from_slice(key.as_bytes());
    let range = KeyRange::new(bytes(start), end.map(bytes)).unwrap();
    let replicas = replicas.iter().copied().map(NodeId).collect();
    ShardPlace {
        shard: ShardId(shard),
        table: TableId(table),
        range,
        epoch: Epoch(1),
        replicas,
        shape: Shape::default(),
    }
}

/// Three nodes; table 1 in two shards; table 3 in one. The shards' ids are not in the order of their keys.
fn catalog() -> Catalog {
    let mut catalog = Catalog::new(ClusterId([7; 16]));
    (1..=3).for_each(|id| catalog.put_node(node(id)));
    catalog.put_table(table(1, "default.a"));
    catalog.put_table(table(3, "x.a"));
    catalog.put_shard(place(2, 1, "m", None, &[2, 3]));
    catalog.put_shard(place(4, 1, "", Some("m"), &[1, 2]));
    catalog.put_shard(place(9, 3, "", None, &[3]));
    catalog
}

/// The shard of table 3 with something under way.
fn shaped(leaving: &[u64], split: Option<(&'static str, u64)>) -> ShardPlace {
    let leaving = leaving.iter().map(|node| NodeId(*node)).collect();
    let splitting = split.map(|(at, child)| Splitting { at: at.into(), child: ShardId(child) });
    ShardPlace { shape: Shape { leaving, splitting, ..Shape::default() }, ..place(9, 3, "", None, &[3]) }
}

#[test]
fn golden_bytes() {
    let mut catalog = Catalog::new(ClusterId(*b"0123456789abcdef"));
    assert_eq!(&catalog.encode()[..], b"\x010123456789abcdef\x01\x03\x00\x00\x00");
    catalog.revision = 300;
    catalog.put_node(Node { incarnation: *b"ABCDEFGHIJKLMNOP", http_address: "h".to_owned(), ..node(1) });
    catalog.put_table(table(1, "default.a"));
    catalog.put_shard(place(2, 1, "", Some("m"), &[1]));
    catalog.put_shard(place(3, 1, "m", None, &[1]));
    let bytes = [
        &b"\x010123456789abcdef\xac\x02\x03"[..],
        b"\x01\x01\x04n1:1\x01hABCDEFGHIJKLMNOP",
        b"\x01\x01\x09default.a\x01\x00\x00\x00\x00",
        b"\x02\x02\x01\x01\x01\x00\x01m\x01\x01\x03\x01\x01\x00\x01m\x01\x01",
    ]
    .concat();
    assert_eq!(catalog.encode(), bytes);
    assert_eq!(Catalog::decode(&bytes.clone().into()), Ok(catalog.clone()));
    catalog.put_table(table(2, "default.b"));
    catalog.put_shard(place(4, 2, "", Some("m"), &[1]));
    catalog.put_shard(place(5, 2, "m", None, &[1]));
    catalog.put_origin(TableId(2), Origin { table: TableId(1), version: Version(300), pin: PinId(7) });
    let found = catalog.encode();
    assert_eq!((found[0], &found[found.len() - 6..]), (0x02, &b"\x01\x02\x01\xac\x02\x07"[..]));
    assert_eq!(Catalog::decode(&found), Ok(catalog));
    // Each has one form: without branches it is the first.
    let none = [&b"\x02"[..], &bytes[1..], b"\x00"].concat();
    assert!(Catalog::decode(&none.into()).is_err());
    let none = [&b"\x03"[..], &bytes[1..], b"\x00\x00\x00"].concat();
    assert!(Catalog::decode(&none.into()).is_err());
}

#[test]
fn golden_bytes_of_what_is_under_way() {
    let mut catalog = catalog();
    let plain = catalog.encode();
    let splitting = Some(Splitting { at: "g".into(), child: ShardId(300) });
    let shape = Shape { born: Index(300), leaving: vec![NodeId(3)], splitting };
    catalog.put_shard(ShardPlace { shape, ..place(4, 1, "", Some("m"), &[1, 2]) });
    catalog.put_node(Node { state: NodeState::Draining, ..node(2) });
    catalog.put_node(Node { state: NodeState::Removed, ..node(3) });
    let found = catalog.encode();
    let tail = b"\x00\x01\x04\xac\x02\x01\x03\x01\x01g\xac\x02\x02\x02\x01\x03\x02";
    assert_eq!(found, [&b"\x03"[..], &plain[1..], tail].concat());
    assert_eq!(Catalog::decode(&found), Ok(catalog.clone()));
    assert!(catalog.shards_on(NodeId(3)).map(|place| place.shard.0).eq([2, 4, 9]), "those that leave it, too");
    catalog.put_shard(place(4, 1, "", Some("m"), &[1, 2]));
    (2..=3).for_each(|id| catalog.put_node(node(id)));
    assert_eq!(catalog.encode(), plain);
    assert_eq!(catalog.bytes, Catalog::decode(&plain).unwrap().bytes);
}

#[test]
fn shards_of_branches_ride_with_those_of_the_root() {
    let mut catalog = catalog();
    for (table_id, of, first) in [(21_u32, 1_u32, 100_u64), (22, 21, 200)] {
        catalog.put_table(table(table_id, &format!("default.branch{table_id}")));
        let shards: Vec<ShardPlace> = catalog.shards_of(TableId(of)).cloned().collect();
        for (number, shard) in (first..).zip(shards) {
            catalog.put_shard(ShardPlace { shard: ShardId(number), table: TableId(table_id), ..shard });
        }
        catalog.put_origin(TableId(table_id), Origin { table: TableId(of), version: Version(9), pin: PinId(1) });
    }
    assert_eq!(catalog.check(), Ok(()));
    assert_eq!((catalog.root_of(TableId(22)), catalog.origins_of(TableId(22)).len()), (TableId(1), 2));
    for (root, place) in catalog.shards_of(TableId(1)).zip(catalog.shards_of(TableId(22))) {
        assert_eq!((catalog.home_of(place), catalog.home_of(root)), (Some(root.shard), Some(root.shard)));
        assert_eq!(catalog.riders_of(root.shard).count(), 2);
        assert_eq!(catalog.parent_of(place).map(|parent| parent.table), Some(TableId(21)));
    }
    assert!(catalog.branches_of(TableId(1)).eq([TableId(21)]));
    let moved = catalog.shards_of(TableId(22)).next().cloned().expect("it has shards");
    catalog.put_shard(ShardPlace { replicas: vec![NodeId(9)], ..moved });
    assert!(catalog.check().is_err(), "a branch's shard is where its parent's is");
}

#[test]
fn lookups() {
    let catalog = catalog();
    assert_eq!(catalog.check(), Ok(()));
    let id = |table: Option<&Table>| table.map(|table| table.table.0);
    assert_eq!(id(catalog.table_named("a")), Some(1));
    assert_eq!(id(catalog.table_named("default.a")), Some(1));
    assert_eq!(id(catalog.table_named("x.a")), Some(3));
    assert_eq!(id(catalog.table_named("b")), None);
    assert_eq!(id(catalog.table_named("A")), None);
    let ids = |shards: &mut dyn Iterator<Item = &ShardPlace>| shards.map(|shard| shard.shard.0).collect::<Vec<_>>();
    assert_eq!(ids(&mut catalog.shards_of(TableId(1))), [4, 2], "in key order");
    assert_eq!(ids(&mut catalog.shards_of(TableId(2))), [0; 0]);
    assert_eq!(ids(&mut catalog.shards_on(NodeId(2))), [2, 4]);
    assert_eq!(ids(&mut catalog.shards_on(NodeId(4))), [0; 0]);
    let shard_for = |table, key: &str| catalog.shard_for(TableId(table), key.as_bytes()).map(|shard| shard.shard.0);
    assert_eq!([shard_for(1, ""), shard_for(1, "lz"), shard_for(1, "m"), shard_for(1, "z")], [4, 4, 2, 2].map(Some));
    assert_eq!([shard_for(3, "q"), shard_for(2, "q")], [Some(9), None]);
    assert_eq!(catalog.node_of_incarnation(&node(2).incarnation), Some(NodeId(2)));
}

#[test]
fn what_does_not_fit_together_is_refused() {
    type Damage = fn(&mut Catalog);
    let rows: [(&str, Damage); 15] = [
        ("a hole at the start", |catalog| catalog.put_shard(place(4, 1, "a", Some("m"), &[1]))),
        ("a hole in the middle", |catalog| catalog.put_shard(place(4, 1, "", Some("l"), &[1]))),
        ("an overlap", |catalog| catalog.put_shard(place(4, 1, "", Some("n"), &[1]))),
        ("a hole at the end", |catalog| catalog.put_shard(place(2, 1, "m", Some("n"), &[1]))),
        ("one start twice", |catalog| catalog.put_shard(place(5, 1, "m", None, &[1]))),
        ("no table", |catalog| catalog.put_shard(place(5, 2, "", None, &[1]))),
        ("a table without shards", |catalog| catalog.remove_shard(ShardId(9))),
        ("no replica", |catalog| catalog.put_shard(place(9, 3, "", None, &[]))),
        ("two replicas on one node", |catalog| catalog.put_shard(place(9, 3, "", None, &[1, 1]))),
        ("a replica on no node", |catalog| catalog.put_shard(place(9, 3, "", None, &[4]))),
        ("one leaves that stays", |catalog| catalog.put_shard(shaped(&[3], None))),
        ("one leaves that is no node", |catalog| catalog.put_shard(shaped(&[4], None))),
        ("two leave in no order", |catalog| catalog.put_shard(shaped(&[2, 1], None))),
        ("a split at the first key", |catalog| catalog.put_shard(shaped(&[], Some(("", 10))))),
        ("a split off an older shard", |catalog| catalog.put_shard(shaped(&[], Some(("a", 8))))),
    ];
    for (name, damage) in rows {
        let mut catalog = catalog();
        damage(&mut catalog);
        assert!(catalog.check().is_err(), "{name}");
        assert!(Catalog::decode(&catalog.encode()).is_err(), "{name}");
    }
    let mut one_name = catalog();
    one_name.put_table(table(2, "x.a"));
    one_name.put_shard(place(10, 2, "", None, &[1]));
    assert!(one_name.check().is_err(), "one name twice");
    let mut one_incarnation = catalog();
    one_incarnation.put_node(Node { incarnation: node(1).incarnation, ..node(2) });
    assert!(Catalog::decode(&one_incarnation.encode()).is_err(), "one incarnation twice");
    for replicas in [0, 10] {
        let changed = Catalog { replicas, ..catalog() };
        assert!(Catalog::decode(&changed.encode()).is_err(), "{replicas} replicas by default");
    }
    let mut long = catalog().encode().to_vec();
    long.resize(CATALOG_BYTES_MAX + 1, 0);
    assert!(Catalog::decode(&long.into()).is_err(), "too long");
}

#[test]
fn a_full_catalog_is_not_made_fuller() {
    let mut catalog = Catalog::new(ClusterId::default());
    catalog.put_node(node(1));
    let too_many = |result: Result<(), MetaRefusal>| matches!(result, Err(MetaRefusal::TooMany { .. }));
    // Tables whose names and split points are as long as can be.
    let point = |last: u8| Bytes::from([vec![b'k'; 16_000], vec![last]].concat());
    let split_points: Vec<_> = (0..16).map(point).collect();
    let options = TableOptions { split_points, ..TableOptions::default() }.normal().unwrap();
    let mut refused = None;
    for id in 1..100u32 {
        let row = Table { options: options.clone(), ..table(id, &format!("default.t{id}")) };
        let shards: Vec<_> = (u64::from(id) * 100..)
            .zip(options.ranges())
            .map(|(shard, range)| ShardPlace { range, ..place(shard, id, "", None, &[1]) })
            .collect();
        if too_many(catalog.check_room_for_table(&row, &shards)) {
            refused = Some(id);
            break;
        }
        catalog.put_table(row);
        shards.into_iter().for_each(|shard| catalog.put_shard(shard));
    }
    // Each split point stands in the options, and as the end and the start of a shard.
    assert_eq!(refused, Some(22));
    let bytes = catalog.encode();
    assert!(bytes.len() <= CATALOG_BYTES_MAX && bytes.len() > CATALOG_BYTES_MAX - 3 * 17 * 16_010);
    assert_eq!(Catalog::decode(&bytes), Ok(catalog.clone()));
    // What takes the place of something else is counted as the difference.
    let before = catalog.bytes;
    catalog.put_node(Node { address: "x".repeat(100), ..node(1) });
    assert_eq!(catalog.bytes, before + 96);
    catalog.put_node(node(1));
    assert_eq!(catalog.bytes, before);
}

#[test]
fn the_most_nodes() {
    let mut catalog = Catalog::new(ClusterId::default());
    for id in 1..=NODES_MAX as u64 {
        let mut incarnation = [0; 16];
        incarnation[..8].copy_from_slice(&id.to_be_bytes());
        let row = Node { node: NodeId(id), incarnation, ..node(1) };
        assert_eq!(catalog.check_room_for_node(&row), Ok(()));
        catalog.put_node(row);
    }
    assert!(catalog.check_room_for_node(&Node { node: NodeId(5000), ..node(1) }).is_err());
    assert_eq!(catalog.check_room_for_node(&node(1)), Ok(()), "one that is there");
}

#[test]
fn shards_that_lack_replicas() {
    let mut catalog = catalog();
    let lacking = |catalog: &Catalog, avoid: &[u64]| {
        let avoid: Vec<_> = avoid.iter().copied().map(NodeId).collect();
        let lacking = placement::under_replicated(catalog, &avoid);
        let to = |shard: &ShardPlace| placement::add_replica(catalog, shard.shard, &avoid).map(|node| node.0);
        lacking.map(|shard| (shard.shard.0, to(shard))).collect::<Vec<_>>()
    };
    // Three are wanted, three nodes are there. Nodes with fewer replicas of the table come first, then those with fewer
    // of all, then those with lower ids.
    assert_eq!(lacking(&catalog, &[]), [(2, Some(1)), (4, Some(3)), (9, Some(1))]);
    // A dead node's replica does not count, and there is only one node that could take its place, if any.
    assert_eq!(lacking(&catalog, &[2]), [(2, Some(1)), (4, Some(3)), (9, Some(1))]);
    assert_eq!(lacking(&catalog, &[1, 2]), [(4, Some(3))]);
    assert_eq!(lacking(&catalog, &[1, 2, 3]), []);
    catalog.replicas = 2;
    assert_eq!(lacking(&catalog, &[]), [(9, Some(1))]);
    catalog.put_table(Table { options: TableOptions { replicas: 1, ..table(3, "x.a").options }, ..table(3, "x.a") });
    assert_eq!(lacking(&catalog, &[]), []);
    assert_eq!(placement::add_replica(&catalog, ShardId(77), &[]), None);
    // The table counts first: node 1 holds less, but of this table.
    catalog.put_shard(place(2, 1, "m", None, &[3]));
    catalog.put_shard(place(4, 1, "", Some("m"), &[1]));
    catalog.put_table(table(5, "x.b"));
    catalog.put_shard(place(10, 5, "", Some("m"), &[2]));
    catalog.put_shard(place(11, 5, "m", None, &[2]));
    assert_eq!(placement::add_replica(&catalog, ShardId(2), &[]), Some(NodeId(2)));
}

/// What is done to a catalog: tables with shards that begin at some bytes, and removals.
#[derive(Clone, Debug)]
enum Step {
    Node(u8),
    Table { starts: BTreeSet<u8>, replicas: Vec<u8> },
    Drop(prop::sample::Index),
    Replicas(prop::sample::Index, Vec<u8>),
    Shape(prop::sample::Index, Vec<u8>, u64),
    State(u8, u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let replicas = || proptest::collection::vec(any::<u8>(), 1..4);
    let step = prop_oneof![
        2 => (1u8..9).prop_map(Step::Node),
        3 => (proptest::collection::btree_set(1u8.., 0..5), replicas())
            .prop_map(|(starts, replicas)| Step::Table { starts, replicas }),
        1 => any::<prop::sample::Index>().prop_map(Step::Drop),
        2 => (any::<prop::sample::Index>(), replicas()).prop_map(|(which, replicas)| Step::Replicas(which, replicas)),
        2 => (any::<prop::sample::Index>(), replicas(), 0u64..3)
            .prop_map(|(which, leaving, born)| Step::Shape(which, leaving, born)),
        1 => (1u8..9, 0u8..3).prop_map(|(node, state)| Step::State(node, state)),
    ];
    proptest::collection::vec(step, 0..20)
}

/// Some different nodes of the catalog.
fn some_nodes(catalog: &Catalog, choice: &[u8]) -> Vec<NodeId> {
    let all: Vec<_> = catalog.nodes.keys().copied().collect();
    let chosen = choice.iter().map(|one| all[usize::from(*one) % all.len()]);
    chosen.fold(Vec::new(), |nodes, node| if nodes.contains(&node) { nodes } else { [nodes, vec![node]].concat() })
}

fn build(steps: &[Step]) -> Catalog {
    let mut catalog = Catalog::new(ClusterId([1; 16]));
    catalog.put_node(node(1));
    let (mut next_table, mut next_shard) = (1, 2);
    for step in steps {
        let whole: Vec<_> = catalog.tables.keys().copied().collect();
        match step {
            Step::Node(id) => catalog.put_node(Node { address: format!("again:{next_shard}"), ..node(u64::from(*id)) }),
            Step::Table { starts, replicas } => {
                let split_points = starts.iter().map(|start| Bytes::copy_from_slice(&[*start])).collect();
                let options = TableOptions { split_points, ..TableOptions::default() }.normal().unwrap();
                for range in options.ranges() {
                    let replicas = some_nodes(&catalog, replicas);
                    let (shard, table) = (ShardId(next_shard), TableId(next_table));
                    let (epoch, shape) = (Epoch(next_shard), Shape::default());
                    catalog.put_shard(ShardPlace { shard, table, range, epoch, replicas, shape });
                    next_shard += 1;
                }
                catalog.put_table(Table { options, ..table(next_table, &format!("a.t{next_table}")) });
                next_table += 1;
            }
            Step::Drop(which) if !whole.is_empty() => {
                let table = *which.get(&whole);
                let shards: Vec<_> = catalog.shards_of(table).map(|shard| shard.shard).collect();
                shards.into_iter().for_each(|shard| catalog.remove_shard(shard));
                catalog.remove_table(table);
            }
            Step::Replicas(which, choice) if !catalog.shards.is_empty() => {
                let shards: Vec<_> = catalog.shards.values().cloned().collect();
                let replicas = some_nodes(&catalog, choice);
                catalog.put_shard(ShardPlace { replicas, shape: Shape::default(), ..which.get(&shards).clone() });
            }
            Step::Shape(which, leaving, born) if !catalog.shards.is_empty() => {
                let shards: Vec<_> = catalog.shards.values().cloned().collect();
                let place = which.get(&shards);
                let mut leaving = some_nodes(&catalog, leaving);
                leaving.retain(|node| !place.replicas.contains(node));
                leaving.sort_unstable();
                let at = Bytes::from([&place.range.start()[..], &[0]].concat());
                let child = ShardId(place.shard.0 + 1);
                let splitting = (place.range.contains(&at) && *born > 1).then_some(Splitting { at, child });
                let shape = Shape { born: Index(*born), leaving, splitting };
                catalog.put_shard(ShardPlace { shape, ..place.clone() });
            }
            Step::State(id, state) => {
                let state = [NodeState::Active, NodeState::Draining, NodeState::Removed][usize::from(*state)];
                if let Some(node) = catalog.nodes.get(&NodeId(u64::from(*id))).cloned() {
                    catalog.put_node(Node { state, ..node });
                }
            }
            Step::Drop(_) | Step::Replicas(..) | Step::Shape(..) => {}
        }
        catalog.revision += 1;
    }
    catalog
}

fn decoded_or_refused(bytes: Vec<u8>) -> Result<(), TestCaseError> {
    let bytes = Bytes::from(bytes);
    if let Ok(catalog) = Catalog::decode(&bytes) {
        prop_assert_eq!(catalog.check(), Ok(()));
        prop_assert_eq!(catalog.encode(), bytes);
    }
    Ok(())
}

proptest! {
    #[test]
    fn lookups_agree_with_a_search(steps in steps(), key in proptest::collection::vec(any::<u8>(), 0..3)) {
        let catalog = build(&steps);
        prop_assert_eq!(catalog.check(), Ok(()));
        for table in 0..12 {
            let table = TableId(table);
            let mut of_table: Vec<_> = catalog.shards.values().filter(|shard| shard.table == table).collect();
            of_table.sort_by_key(|shard| shard.range.start().clone());
            prop_assert_eq!(catalog.shards_of(table).collect::<Vec<_>>(), of_table.clone());
            let holding: Vec<_> = of_table.into_iter().filter(|shard| shard.range.contains(&key)).collect();
            prop_assert_eq!(holding.len(), usize::from(catalog.tables.contains_key(&table)), "each key once");
            prop_assert_eq!(catalog.shard_for(table, &key), holding.first().copied());
            let name = format!("a.t{}", table.0);
            prop_assert_eq!(catalog.table_named(&name), catalog.tables.values().find(|table| table.name == name));
        }
        for node in 0..10 {
            let on_node = catalog.shards.values().filter(|shard| shard.holders().any(|held| held == NodeId(node)));
            prop_assert_eq!(catalog.shards_on(NodeId(node)).collect::<Vec<_>>(), on_node.collect::<Vec<_>>());
        }
        // A key that ends where a shard does, too.
        for shard in catalog.shards.values() {
            prop_assert_eq!(catalog.shard_for(shard.table, shard.range.start()), Some(shard));
        }
    }

    #[test]
    fn catalogs_come_back(steps in steps()) {
        let catalog = build(&steps);
        let bytes = catalog.encode();
        prop_assert!(bytes.len() <= codec::HEADER_BYTES_MAX + catalog.bytes);
        prop_assert!(bytes.len() > catalog.bytes);
        let decoded = Catalog::decode(&bytes).unwrap();
        // With the lookups, however they came about.
        prop_assert_eq!(decoded, catalog);
        for length in 0..bytes.len() {
            prop_assert!(Catalog::decode(&bytes.slice(..length)).is_err(), "the first {} bytes", length);
        }
    }

    #[test]
    fn any_bytes_are_decoded_or_refused(input: Vec<u8>, steps in steps(), place: prop::sample::Index, bit in 0u8..8, other in proptest::collection::vec(any::<u8>(), 1..12)) {
        decoded_or_refused([&[0x01], &[0; 16][..], &input].concat())?;
        decoded_or_refused(input)?;
        let bytes = build(&steps).encode().to_vec();
        let place = place.index(bytes.len());
        let mut flipped = bytes.clone();
        flipped[place] ^= 1 << bit;
        decoded_or_refused(flipped)?;
        let mut spliced = bytes;
        spliced.splice(place..place, other);
        decoded_or_refused(spliced)?;
    }
}
