//! A run is a function of its seed.

use lentic_client::{Options, TableOptions};
use lentic_sim::{Cluster, Outcome, Shape, run};

/// Three nodes, a table of four shards, a few writes and reads.
fn three_nodes(seed: u64) -> Outcome<()> {
    run(seed, true, |dice, trace| async move {
        let mut cluster = Cluster::start(&dice, trace.clone(), Shape::default()).await;
        let client = cluster.client(Options::default());
        let options = TableOptions { shards: 4, ..TableOptions::default() };
        client.create_table("t", options).await.expect("the table is made");
        let table = client.table("t");
        for number in 0..20_u8 {
            let key = vec![number * 12];
            table.put(key.clone(), vec![number]).await.expect("it is put");
            assert_eq!(table.get(key).await.expect("it is read").map(|found| found.value[0]), Some(number));
        }
        trace.add("done");
    })
}

#[test]
fn a_cluster_of_three_is_a_function_of_its_seed() {
    let (one, other) = (three_nodes(1), three_nodes(1));
    assert_eq!(one.value, Ok(()));
    let differs = one.lines.iter().zip(&other.lines).position(|(one, other)| one != other);
    if let Some(place) = differs {
        panic!("line {place} differs:\n{}\n{}", one.lines[place], other.lines[place]);
    }
    assert_eq!(one.digest, other.digest);
    assert!(one.digest.0 > 200, "a run of {} events shows nothing", one.digest.0);
    assert_ne!(one.digest, three_nodes(2).digest, "another seed gives another run");
}
