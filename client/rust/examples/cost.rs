//! What an operation costs in the client: a node in this process answers at once, without a network.
//!
//!     cargo run --release --example cost -- 256 1000000
//!
//! The node's own decoding and encoding is measured too, by itself, and taken off.

#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use lentic_client::{Client, Options, Table};
use lentic_net::{Address, BoxFuture, Class, DialError, Link, Network};
use lentic_proto::v1::pipe_request::Request;
use lentic_proto::v1::pipe_response::Response;
use lentic_proto::v1::{self, PipeRequest, PipeResponse};
use prost::Message as _;
use tokio::task::JoinSet;

const VALUE_BYTES: usize = 256;

fn main() {
    let mut numbers = std::env::args().skip(1).filter_map(|number| number.parse::<u64>().ok());
    let (callers, operations) = (numbers.next().unwrap_or(256), numbers.next().unwrap_or(1_000_000));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("the machine has threads to spare");
    let node = node_cost(operations.min(200_000));
    println!("node alone: {:.2} µs of processor time an operation", node.as_secs_f64() * 1e6);
    for (name, linger) in [("puts", Duration::ZERO), ("puts, linger 1 ms", Duration::from_millis(1))] {
        let (wall, cpu) = runtime.block_on(puts(callers, operations, linger));
        let each = |time: Duration| time.as_secs_f64() * 1e6 / operations as f64;
        println!(
            "{name}: {callers} callers, {:.0} operations/s, {:.2} µs of processor time each with the node, {:.2} without",
            operations as f64 / wall.as_secs_f64(),
            each(cpu),
            each(cpu) - if linger.is_zero() { node.as_secs_f64() * 1e6 } else { 0.0 }
        );
    }
}

async fn puts(callers: u64, operations: u64, linger: Duration) -> (Duration, Duration) {
    let options = Options { linger, ..Options::default() };
    let client = Client::with_network(Arc::new(Echo), vec!["http://echo:1".into()], options).expect("good options");
    let table = client.table("t");
    table.put("warm", "up").await.expect("the node answers");
    let (began, cpu, left) = (Instant::now(), processor_time(), Arc::new(AtomicU64::new(operations)));
    let mut tasks = JoinSet::new();
    for caller in 0..callers {
        tasks.spawn(call(table.clone(), caller, left.clone()));
    }
    while tasks.join_next().await.is_some() {}
    (began.elapsed(), processor_time().saturating_sub(cpu))
}

async fn call(table: Table, caller: u64, left: Arc<AtomicU64>) {
    let value = Bytes::from(vec![7; VALUE_BYTES]);
    while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
        let key = Bytes::copy_from_slice(&caller.to_be_bytes());
        table.put(key, value.clone()).await.expect("the node answers");
    }
}

/// What a node of this kind needs for one put.
fn node_cost(operations: u64) -> Duration {
    let put = v1::Put { key: vec![0; 8].into(), value: vec![7; VALUE_BYTES].into(), expires_unix_ms: None };
    let operations_of_one = vec![v1::Operation { operation: Some(v1::operation::Operation::Put(put)) }];
    let write = v1::WriteRequest { operations: operations_of_one, ..v1::WriteRequest::default() };
    let request = PipeRequest { id: 1_000, deadline_ms: 30_000, request: Some(Request::Write(write)) };
    let frame = Bytes::from(request.encode_to_vec());
    let began = Instant::now();
    for _ in 0..operations {
        std::hint::black_box(answer(std::hint::black_box(frame.clone())));
    }
    began.elapsed() / u32::try_from(operations).expect("not so many")
}

fn answer(frame: Bytes) -> Bytes {
    let PipeRequest { id, request, .. } = PipeRequest::decode(frame).expect("the client sends requests");
    let shard = || v1::Shard {
        shard: 1,
        epoch: 1,
        table: 1,
        leader_address: "http://echo:1".to_owned(),
        ..v1::Shard::default()
    };
    let response = match request.expect("the client sends whole requests") {
        Request::Hello(_) => {
            Response::Hello(v1::Hello { cluster: vec![1; 16].into(), node: 1, ..v1::Hello::default() })
        }
        Request::IssueClient(_) => Response::IssueClient(v1::IssueClientResponse { client: 1, version: next() }),
        Request::DescribeTable(_) => {
            Response::DescribeTable(v1::DescribeTableResponse { table: None, shards: vec![shard()] })
        }
        Request::Write(_) => Response::Write(v1::WriteResponse { version: next() }),
        Request::Now(_) => Response::Now(v1::NowResponse { version: next() }),
        _ => Response::Failure(v1::Failure::invalid("not asked for here")),
    };
    PipeResponse { id, response: Some(response) }.encode_to_vec().into()
}

fn next() -> u64 {
    static VERSION: AtomicU64 = AtomicU64::new(1);
    VERSION.fetch_add(1, Ordering::Relaxed)
}

/// A network with one node, which answers at once.
struct Echo;

impl Network for Echo {
    fn dial(&self, _: &Address, _: Class) -> BoxFuture<'_, Result<Link, DialError>> {
        let (here, mut there) = Link::pair(256);
        tokio::spawn(async move {
            let mut frames = Vec::new();
            while there.receiver.recv_many(&mut frames, 256).await > 0 {
                for frame in frames.drain(..) {
                    if there.sender.send(answer(frame)).await.is_err() {
                        return;
                    }
                }
            }
        });
        Box::pin(async { Ok(here) })
    }
}

/// Processor time of this process so far, to a hundredth of a second.
fn processor_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks: u64 = after_name.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(10 * ticks)
}
