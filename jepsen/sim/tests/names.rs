//! Requests that name a table and no route, sent to a node that hears of tables last.

use std::time::Duration;

use lentic_client::{Client, Options, TableOptions};
use lentic_net::{Address, Class, Link, Network};
use lentic_proto::v1::pipe_request::Request;
use lentic_proto::v1::pipe_response::Response;
use lentic_proto::v1::{self, GetRequest, Hello, MultiGetRequest, Operation, PipeRequest, PipeResponse, Put};
use lentic_proto::v1::{ScanRequest, WriteRequest};
use lentic_sim::{Cluster, Dice, Shape, Trace, run};
use prost::Message as _;
use tokio::time::{Instant, sleep, timeout};

/// Beyond the meta group, which has three members.
const LAST: usize = 4;

/// A caller on one pipe, one request at a time.
struct Caller(Link);

impl Caller {
    async fn new(network: &dyn Network, address: &Address) -> Self {
        let mut caller = Self(network.dial(address, Class::Pipe).await.expect("the node takes a link"));
        let hello = caller.ask(Request::Hello(Hello::default())).await;
        assert!(matches!(hello, Response::Hello(_)), "{hello:?}");
        caller
    }

    async fn ask(&mut self, request: Request) -> Response {
        let frame = PipeRequest { id: 1, deadline_ms: 10_000, request: Some(request) }.encode_to_vec();
        self.0.sender.send(frame.into()).await.expect("the node keeps the pipe");
        let answer = timeout(Duration::from_secs(11), self.0.receiver.recv()).await.expect("it answers in time");
        let answer =
            PipeResponse::decode(answer.expect("the node keeps the pipe")).expect("it says what is understood");
        answer.response.expect("it is an answer")
    }
}

/// A cluster, a client of it, and a caller of the node `by` alone.
async fn started(dice: &Dice, trace: Trace, hosts: usize, by: usize) -> (Cluster, Client, Caller) {
    let mut cluster = Cluster::start(dice, trace, Shape { hosts, ..Shape::default() }).await;
    let client = cluster.client(Options::default());
    let caller = Caller::new(&*cluster.caller(), &cluster.address_of(by)).await;
    (cluster, client, caller)
}

fn is_gone(answer: &Response) -> bool {
    matches!(answer, Response::Failure(failure) if failure.kind() == v1::ErrorKind::NotFound)
}

fn get() -> Request {
    Request::Get(GetRequest { table: "t".to_owned(), key: "k".into(), ..GetRequest::default() })
}

fn write(table: &str) -> Request {
    let put = Put { key: "k".into(), value: "v".into(), expires_unix_ms: None };
    let operations = vec![Operation { operation: Some(v1::operation::Operation::Put(put)) }];
    Request::Write(WriteRequest { table: table.to_owned(), operations, ..WriteRequest::default() })
}

#[test]
fn a_table_that_was_made_elsewhere_a_moment_ago_is_found_by_name() {
    let outcome = run(11, false, |dice, trace| async move {
        let (_cluster, client, mut caller) = started(&dice, trace, LAST + 1, LAST).await;
        for number in 0..8 {
            let table = format!("t{number}");
            client.create_table(&table, TableOptions::default()).await.expect("the table is made");
            let answer = match number % 4 {
                0 => caller.ask(write(&table)).await,
                1 => caller.ask(Request::Get(GetRequest { table, key: "k".into(), ..GetRequest::default() })).await,
                2 => {
                    let keys = vec!["k".into(), "l".into()];
                    caller.ask(Request::MultiGet(MultiGetRequest { table, keys, ..MultiGetRequest::default() })).await
                }
                _ => caller.ask(Request::Scan(ScanRequest { table, ..ScanRequest::default() })).await,
            };
            assert!(!matches!(answer, Response::Failure(_)), "a request by name to t{number}: {answer:?}");
        }
        let none = caller.ask(write("none")).await;
        assert!(is_gone(&none), "there is no such table, and yet {none:?}");
    });
    outcome.value.unwrap();
}

#[test]
fn a_table_that_was_dropped_is_gone_everywhere_and_one_made_anew_is_another() {
    let outcome = run(12, false, |dice, trace| async move {
        let (_cluster, client, mut caller) = started(&dice, trace, LAST + 1, LAST).await;
        for _ in 0..5 {
            client.create_table("t", TableOptions::default()).await.expect("the table is made");
            let written = caller.ask(write("t")).await;
            assert!(matches!(written, Response::Write(_)), "{written:?}");
            client.drop_table("t").await.expect("the table is dropped");
            for request in [get(), write("t")] {
                let gone = caller.ask(request).await;
                assert!(is_gone(&gone), "the table is gone, and yet {gone:?}");
            }
            client.create_table("t", TableOptions::default()).await.expect("the table is made anew");
            let anew = caller.ask(get()).await;
            let Response::Get(anew) = anew else { panic!("a read by name of a table that was made anew: {anew:?}") };
            assert_eq!(anew.value, None, "it has nothing of the one before");
            client.drop_table("t").await.expect("the table is dropped");
        }
    });
    outcome.value.unwrap();
}

#[test]
fn a_drop_waits_for_a_node_that_does_not_hear_of_it() {
    let outcome = run(14, false, |dice, trace| async move {
        let mut cluster = Cluster::start(&dice, trace, Shape::default()).await;
        let client = cluster.client(Options::default());
        client.create_table("t", TableOptions::default()).await.expect("the table is made");
        let leader = client.status(false).await.expect("they say").meta_leader.expect("the meta group is led");
        let leader = usize::try_from(leader.0).expect("there are three") - 1;
        let deaf = (leader + 1) % 3;
        let address = cluster.address_of(deaf);
        let mut caller = Caller::new(&*cluster.caller(), &address).await;
        cluster.cut(leader, deaf, true);
        let dropping = {
            let client = client.clone();
            lentic_runtime::spawn(async move { client.drop_table("t").await })
        };
        sleep(Duration::from_secs(2)).await;
        assert!(!dropping.is_finished(), "a node that is up does not know of it");
        cluster.heal(leader, deaf);
        dropping.await.expect("it ends").expect("the table is dropped");
        let gone = caller.ask(get()).await;
        assert!(is_gone(&gone), "the table is gone, and yet {gone:?}");
    });
    outcome.value.unwrap();
}

#[test]
fn a_drop_waits_for_no_node_that_is_down() {
    let outcome = run(13, false, |dice, trace| async move {
        let shape = Shape { hosts: LAST + 1, ..Shape::default() };
        let mut cluster = Cluster::start(&dice, trace, shape).await;
        let client = cluster.client(Options::default());
        for name in ["t", "u"] {
            client.create_table(name, TableOptions::default()).await.expect("the table is made");
        }
        cluster.crash(LAST, true);
        let took = async |name| {
            let began = Instant::now();
            client.drop_table(name).await.expect("the table is dropped");
            began.elapsed()
        };
        let (first, second) = (took("t").await, took("u").await);
        assert!(first < Duration::from_secs(6), "until the node is taken for dead: {first:?}");
        assert!(second < Duration::from_millis(500), "{second:?}");
        cluster.heal_all().await;
    });
    outcome.value.unwrap();
}
