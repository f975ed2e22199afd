//! Callers who ask and do not read the answers.

use std::time::Duration;

use lentic_proto::v1::kv_client::KvClient;
use lentic_proto::v1::pipe_request::Request;
use lentic_proto::v1::{GetRequest, Hello, ScanRequest};
use lentic_runtime::spawn;
use tokio::time::timeout;

use super::{BIG, BIG_ROWS, Scene, TABLE, key};
use crate::pipe::{self, message, open};

/// Requests of a caller who does not read.
const REQUESTS: usize = 3_000;
/// Calls on one connection of a caller who does not read.
const CALLS: usize = 600;
/// How long the caller asks on: what it asks for is done by then, or held back.
const ASKS_FOR: Duration = Duration::from_secs(3);
/// What a pipe may cost the node whose answers nobody reads: twice what may wait of them, for an answer that is on its way
/// is there as rows and as bytes.
const PIPE_BYTES_MAX: u64 = 2 * (128 << 20);
/// What unary calls of one connection may cost it: the same, and half as much again, for on a busy machine calls whose
/// turn to read has passed on read beside others. Without a bound it is all that is asked for, 600 MiB and more.
const CALLS_BYTES_MAX: u64 = 3 * (128 << 20);

/// A pipe on which large values are asked for, and nothing is read.
pub(super) async fn pipe(scene: &mut Scene<'_>) {
    let before = scene.before();
    let pipe = open(&scene.node.address()).await;
    let ask = async {
        pipe.requests.send(message(0, Request::Hello(Hello::default()))).await.ok()?;
        for number in 1..=REQUESTS {
            let get = GetRequest { table: BIG.to_owned(), key: key(number % BIG_ROWS).into(), ..GetRequest::default() };
            let id = u64::try_from(number).expect("a few thousand");
            pipe.requests.send(message(id, Request::Get(get))).await.ok()?;
        }
        Some(())
    };
    // That it does not come to an end is what back-pressure is.
    let _ = timeout(ASKS_FOR, ask).await;
    served(scene).await;
    scene.bounded("a pipe whose answers nobody reads", before, PIPE_BYTES_MAX);
    drop(pipe);
}

/// Calls for large values whose answers nobody reads.
pub(super) async fn calls(scene: &mut Scene<'_>) {
    let before = scene.before();
    let channel = pipe::channel(&scene.node.address()).await;
    // A stream that is not read takes the connection's window, so that the answers of all calls wait at the node.
    let mut kv = KvClient::new(channel.clone());
    let scan = ScanRequest { table: BIG.to_owned(), ..ScanRequest::default() };
    let held = kv.scan(scan).await.expect("the node takes a scan").into_inner();
    let call = |number: usize| {
        let mut kv = KvClient::new(channel.clone()).max_decoding_message_size(usize::MAX);
        spawn(async move {
            let get = GetRequest { table: BIG.to_owned(), key: key(number % BIG_ROWS).into(), ..GetRequest::default() };
            kv.get(get).await
        })
    };
    let calls: Vec<_> = (0..CALLS).map(call).collect();
    tokio::time::sleep(ASKS_FOR).await;
    served(scene).await;
    let mut other = KvClient::new(pipe::channel(&scene.node.address()).await).max_decoding_message_size(usize::MAX);
    let get = GetRequest { table: BIG.to_owned(), key: key(0).into(), ..GetRequest::default() };
    other.get(get).await.expect("calls of others are answered");
    scene.bounded("600 calls whose answers nobody reads", before, CALLS_BYTES_MAX);
    calls.iter().for_each(tokio::task::JoinHandle::abort);
    drop(held);
}

/// Scans of which nobody reads a page.
pub(super) async fn scans(scene: &mut Scene<'_>) {
    let before = scene.before();
    let channel = pipe::channel(&scene.node.address()).await;
    let mut held = Vec::new();
    for _ in 0..scene.plan.scans {
        let scan = ScanRequest { table: BIG.to_owned(), page_bytes: u32::MAX, ..ScanRequest::default() };
        let mut kv = KvClient::new(channel.clone());
        // It is refused when too many pages wait already.
        if let Ok(Ok(pages)) = timeout(ASKS_FOR, kv.scan(scan)).await {
            held.push(pages);
        }
    }
    tokio::time::sleep(ASKS_FOR).await;
    served(scene).await;
    scene.bounded(&format!("{} scans that nobody reads", scene.plan.scans), before, CALLS_BYTES_MAX);
    drop(held);
}

/// Everyone else is served meanwhile, large answers among it.
async fn served(scene: &Scene<'_>) {
    let small = scene.client.table(TABLE);
    small.put("other", "served").await.expect("others are served");
    small.delete("other").await.expect("others are served");
    let found = scene.client.table(BIG).get(key(0)).await.expect("others are served");
    assert!(found.is_some(), "and get large answers");
}
