//! Requests that name a table and no route, sent to a node that hears of tables last.

use std::time::Duration;

use lentic_client::{Options, TableOptions};
use lentic_net::{Address, Class, Link, Network};
use lentic_proto::v1::pipe_request::Request;
use lentic_proto::v1::pipe_response::Response;
use lentic_proto::v1::{self, GetRequest, Hello, MultiGetRequest, Operation, PipeRequest, PipeResponse, Put};
use lentic_proto::v1::{ScanRequest, WriteRequest};
use lentic_sim::{Cluster, Shape, run};
use prost::Message as _;
use tokio::time::timeout;

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

fn write(table: &str) -> Request {
    let put = Put { key: "k".into(), value: "v".into(), expires_unix_ms: None };
    let operations = vec![Operation { operation: Some(v1::operation::Operation::Put(put)) }];
    Request::Write(WriteRequest { table: table.to_owned(), operations, ..WriteRequest::default() })
}

#[test]
fn a_table_that_was_made_elsewhere_a_moment_ago_is_found_by_name() {
    let outcome = run(11, false, |dice, trace| async move {
        let shape = Shape { hosts: LAST + 1, ..Shape::default() };
        let mut cluster = Cluster::start(&dice, trace, shape).await;
        let client = cluster.client(Options::default());
        let address = cluster.address_of(LAST);
        let mut caller = Caller::new(&*cluster.caller(), &address).await;
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
        let Response::Failure(failure) = none else { panic!("there is no such table, and yet {none:?}") };
        assert_eq!(failure.kind(), v1::ErrorKind::NotFound, "{failure:?}");
    });
    outcome.value.unwrap();
}

#[test]
fn a_table_that_was_made_anew_is_found_by_its_old_name() {
    let outcome = run(12, false, |dice, trace| async move {
        let shape = Shape { hosts: LAST + 1, ..Shape::default() };
        let mut cluster = Cluster::start(&dice, trace, shape).await;
        let client = cluster.client(Options::default());
        let address = cluster.address_of(LAST);
        let mut caller = Caller::new(&*cluster.caller(), &address).await;
        for _ in 0..5 {
            client.create_table("t", TableOptions::default()).await.expect("the table is made");
            let written = caller.ask(write("t")).await;
            assert!(matches!(written, Response::Write(_)), "{written:?}");
            client.drop_table("t").await.expect("the table is dropped");
            client.create_table("t", TableOptions::default()).await.expect("the table is made anew");
            let get = GetRequest { table: "t".to_owned(), key: "k".into(), ..GetRequest::default() };
            // Of which of the two tables is not promised: a shard serves until its node hears that it is gone.
            let answer = caller.ask(Request::Get(get)).await;
            assert!(matches!(answer, Response::Get(_)), "a read by name of a table that was made anew: {answer:?}");
            client.drop_table("t").await.expect("the table is dropped");
        }
    });
    outcome.value.unwrap();
}
