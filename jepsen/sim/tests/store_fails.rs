//! A node whose store cannot be written any more, as on a full disk, or read, as from a damaged one.

use std::time::Duration;

use lentic_client::{KeyRange, Options, TableOptions};
use lentic_net::{Class, Link};
use lentic_proto::v1::pipe_request::Request;
use lentic_proto::v1::pipe_response::Response;
use lentic_proto::v1::{self, GetRequest, Hello, PipeRequest, PipeResponse};
use lentic_sim::{Cluster, Shape, run};
use prost::Message as _;
use tokio::time::{Instant, sleep, timeout};

/// The host that leads a group.
fn leader_of(cluster: &Cluster, group: &str) -> Option<usize> {
    let leads = |host: &usize| {
        let groups = cluster.node(*host).expect("it runs").groups();
        groups.iter().any(|(name, status)| name == group && status.is_leader)
    };
    (0..cluster.hosts()).find(leads)
}

/// The meta group, too, can lose a member.
async fn settles(cluster: &Cluster) {
    let has_members = |host| {
        let groups = cluster.node(host).expect("it runs").groups();
        groups.len() == 2 && groups.iter().all(|(_, status)| status.voters.len() == 3)
    };
    while !(0..cluster.hosts()).all(has_members) {
        sleep(Duration::from_millis(50)).await;
    }
}

async fn ask(link: &mut Link, request: Request) -> Response {
    let frame = PipeRequest { id: 1, deadline_ms: 10_000, request: Some(request) }.encode_to_vec();
    link.sender.send(frame.into()).await.expect("the node keeps the pipe");
    let answer = timeout(Duration::from_secs(11), link.receiver.recv()).await.expect("it answers in time");
    let answer = PipeResponse::decode(answer.expect("it keeps the pipe")).expect("it says what is understood");
    answer.response.expect("it is an answer")
}

#[test]
fn others_take_over_and_it_says_why_it_does_not_serve() {
    for seed in 1..=5 {
        let outcome = run(seed, false, |dice, trace| async move {
            let mut cluster = Cluster::start(&dice, trace, Shape::default()).await;
            let client = cluster.client(Options::default());
            client.create_table("t", TableOptions::default()).await.expect("the table is made");
            client.table("t").put("key", "value").await.expect("it is put");
            timeout(Duration::from_secs(60), settles(&cluster)).await.expect("every group has three members");
            let shard = client.describe_table("t").await.expect("it is known").shards.remove(0);
            let host = leader_of(&cluster, &format!("shard {}", shard.shard)).expect("it has a leader");
            let node = cluster.node(host).expect("it runs").clone();
            assert_eq!(node.store_failure(), None);
            cluster.store_of(node.id()).expect("it has a store").fail("no space left");

            let began = Instant::now();
            client.table("t").put("key", "newer").await.expect("others take it");
            assert!(began.elapsed() < Duration::from_secs(5), "it took {:?}", began.elapsed());
            while node.store_failure().is_none() {
                assert!(began.elapsed() < Duration::from_secs(5), "the node does not say that its store has failed");
                sleep(Duration::from_millis(50)).await;
            }
            let failure = node.store_failure().unwrap();
            assert!(failure.contains("no space left") && failure.contains("must stop"), "{failure}");
            assert!(node.faults().iter().any(|fault| fault.contains("no space left")), "{:?}", node.faults());

            let mut link =
                cluster.caller().dial(&cluster.address_of(host), Class::Pipe).await.expect("it takes a link");
            assert!(matches!(ask(&mut link, Request::Hello(Hello::default())).await, Response::Hello(_)));
            let by_name = GetRequest { table: "t".to_owned(), key: "key".into(), ..GetRequest::default() };
            let Response::Get(found) = ask(&mut link, Request::Get(by_name.clone())).await else {
                panic!("not passed on")
            };
            assert_eq!(found.value.map(|value| value.value), Some("newer".into()));
            let route = Some(v1::Route { shard: shard.shard.0, epoch: shard.epoch.0 });
            let get = GetRequest { route, ..by_name };
            let Response::Failure(failure) = ask(&mut link, Request::Get(get)).await else { panic!("it serves") };
            assert_eq!(failure.kind(), v1::ErrorKind::NotLeader, "{failure:?}");
            assert!(failure.message.contains("has stopped on this node"), "{failure:?}");
            assert!(failure.message.contains("no space left"), "{failure:?}");
            let leader = failure.shard.expect("it names the shard").leader;
            assert_ne!(leader, Some(node.id().0), "it names itself");
        });
        assert_eq!(outcome.value, Ok(()), "seed {seed}");
    }
}

#[test]
fn what_one_node_cannot_read_another_answers() {
    for seed in 1..=5 {
        let outcome = run(seed, false, |dice, trace| async move {
            let mut cluster = Cluster::start(&dice, trace, Shape::default()).await;
            let client = cluster.client(Options::default());
            client.create_table("t", TableOptions::default()).await.expect("the table is made");
            let table = client.table("t");
            table.put("key", "value").await.expect("it is put");
            timeout(Duration::from_secs(60), settles(&cluster)).await.expect("every group has three members");
            let shard = client.describe_table("t").await.expect("it is known").shards.remove(0);
            let host = leader_of(&cluster, &format!("shard {}", shard.shard)).expect("it has a leader");
            let node = cluster.node(host).expect("it runs").clone();
            cluster.store_of(node.id()).expect("it has a store").fail_reads("checksum mismatch in 000123.sst");

            let began = Instant::now();
            let reads = async { (table.get("key").await, table.scan(KeyRange::all()).start().next().await) };
            let ends = async {
                while node.store_failure().is_none() {
                    sleep(Duration::from_millis(50)).await;
                }
                // As its process does.
                cluster.crash(host, false);
            };
            let ((found, row), ()) = tokio::join!(reads, ends);
            assert_eq!(found.expect("another answers").map(|value| value.value), Some("value".into()));
            assert_eq!(row.map(|row| row.expect("another answers").key), Some("key".into()));
            assert!(began.elapsed() < Duration::from_secs(5), "it took {:?}", began.elapsed());
            let failure = node.store_failure().unwrap();
            assert!(failure.contains("000123.sst") && failure.contains("must stop"), "{failure}");
        });
        assert_eq!(outcome.value, Ok(()), "seed {seed}");
    }
}
