//! Limits of a cluster that a script would be too long for.

use lentic_engine::{Batch, MemStore, Store};
use lentic_machine::meta::TableOptions;
use lentic_machine::{Meta, MetaApplied, MetaCommand, MetaOutcome, MetaRefusal, invariants};
use lentic_types::limits::{BRANCHES_MAX, NODES_MAX, SHARDS_MAX, SHARDS_PER_TABLE_MAX};
use lentic_types::{ClusterId, ErrorKind, NodeId, Version};

struct Replica {
    store: MemStore,
    meta: Meta,
}

impl Replica {
    fn new() -> Self {
        let (store, mut batch) = (MemStore::new(), Batch::new());
        Meta::create(&mut batch, ClusterId::default());
        store.write(&batch).expect("the store works");
        let meta = Meta::load(&store).expect("the store works").expect("it was created");
        Self { store, meta }
    }

    fn apply(&mut self, command: &MetaCommand) -> MetaOutcome {
        let next = self.meta.applied().next();
        let MetaApplied { batch, reply, .. } = self.meta.apply(next, Some(command)).expect("no fault");
        self.store.write(&batch).expect("the store works");
        reply
    }

    fn register(&mut self, number: usize) -> MetaOutcome {
        let mut incarnation = [0; 16];
        incarnation[..8].copy_from_slice(&number.to_be_bytes());
        let address = format!("node-{number}:7420");
        self.apply(&MetaCommand::RegisterNode { node: None, address, http_address: String::new(), incarnation })
    }

    fn create(&mut self, number: usize, shards: usize) -> MetaOutcome {
        let shards = u32::try_from(shards).expect("few");
        let options = TableOptions { shards, ..TableOptions::default() };
        self.apply(&MetaCommand::CreateTable { name: format!("t{number}"), options, avoid: vec![] })
    }
}

fn too_many(of: &'static str, most: usize) -> MetaOutcome {
    let refusal = MetaRefusal::TooMany { of: of.into(), most: most as u64 };
    assert_eq!(refusal.kind(), ErrorKind::TooLarge);
    refusal.into()
}

#[test]
fn a_cluster_of_the_most_nodes() {
    let mut replica = Replica::new();
    for number in 1..=NODES_MAX {
        assert_eq!(replica.register(number), MetaOutcome::Node(NodeId(number as u64)));
    }
    assert_eq!(replica.register(NODES_MAX + 1), too_many("nodes", NODES_MAX));
    assert_eq!(replica.register(7), MetaOutcome::Node(NodeId(7)), "one that is there");
    invariants::check_meta(&replica.meta, &replica.store).expect("the invariants hold");
}

#[test]
fn a_table_of_the_most_branches() {
    let mut replica = Replica::new();
    replica.register(1);
    replica.create(0, 1);
    let now = Version::tick(9, 0).expect("in range");
    assert_eq!(replica.apply(&MetaCommand::ExtendWindow { until: now }), MetaOutcome::Window(now));
    let mut branch = |name: String, of: &str| {
        let mut nonce = [0; 16];
        nonce[..name.len()].copy_from_slice(name.as_bytes());
        let of = of.to_owned();
        replica.apply(&MetaCommand::CreateBranch { name, of, version: now, now, nonce })
    };
    for number in 1..=BRANCHES_MAX {
        let of = if number.is_multiple_of(2) { "b1" } else { "t0" };
        assert!(matches!(branch(format!("b{number}"), of), MetaOutcome::Table { created: true, .. }));
    }
    let full = too_many("branches of one table and its branches", BRANCHES_MAX);
    assert_eq!((branch("more".to_owned(), "t0"), branch("most".to_owned(), "b2")), (full.clone(), full));
    invariants::check_meta(&replica.meta, &replica.store).expect("the invariants hold");
}

#[test]
fn a_cluster_of_the_most_shards() {
    let (mut replica, nodes) = (Replica::new(), 10u64);
    (1..=10).for_each(|number| drop(replica.register(number)));
    let (tables, rest) = (SHARDS_MAX / SHARDS_PER_TABLE_MAX, SHARDS_MAX % SHARDS_PER_TABLE_MAX);
    for number in 1..=tables {
        assert!(matches!(replica.create(number, SHARDS_PER_TABLE_MAX), MetaOutcome::Table { created: true, .. }));
    }
    assert_eq!(replica.create(0, rest + 1), too_many("shards", SHARDS_MAX));
    assert!(matches!(replica.create(0, rest), MetaOutcome::Table { created: true, .. }));
    assert_eq!(replica.create(9999, 1), too_many("shards", SHARDS_MAX));
    assert_eq!(replica.meta.catalog().shards.len(), SHARDS_MAX);
    // Each node has its share, and what is dropped makes room.
    let catalog = replica.meta.catalog();
    let leads = |node: u64| catalog.shards_on(NodeId(node)).filter(|shard| shard.replicas[0] == NodeId(node)).count();
    let leads: Vec<_> = (1..=nodes).map(leads).collect();
    assert!(leads.iter().all(|leads| (9_990..=10_010).contains(leads)), "{leads:?}");
    replica.apply(&MetaCommand::DropTable { name: "t1".to_owned() });
    assert!(matches!(replica.create(9999, 1), MetaOutcome::Table { created: true, .. }));
    invariants::check_meta(&replica.meta, &replica.store).expect("the invariants hold");
}

#[test]
fn more_nodes_to_avoid_than_there_can_be() {
    let mut replica = Replica::new();
    replica.register(1);
    let avoid = |count: usize| MetaCommand::CreateTable {
        name: "t".to_owned(),
        options: TableOptions::default(),
        avoid: vec![NodeId(2); count],
    };
    assert!(matches!(replica.apply(&avoid(NODES_MAX + 1)), MetaOutcome::Refused(MetaRefusal::Invalid(_))));
    assert!(matches!(replica.apply(&avoid(NODES_MAX)), MetaOutcome::Table { created: true, .. }));
}
