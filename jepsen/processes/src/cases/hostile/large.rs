//! What is larger than it may be: keys, values, batches, answers.

use bytes::Bytes;
use lentic_proto::v1::operation::Operation as Op;
use lentic_proto::v1::pipe_request::Request;
use lentic_proto::v1::pipe_response::Response;
use lentic_proto::v1::{
    Delete, DeleteRange, ErrorKind, Failure, GetRequest, MultiGetRequest, Operation, Put, Route, ScanRequest,
    WriteRequest,
};
use lentic_types::limits;

use super::{BIG, BIG_ROWS, Scene, TABLE, key};
use crate::pipe::RawPipe;

/// More keys than a multi-get may have.
const KEYS: usize = 100_001;

/// Requests that break a limit: each is told which.
pub(super) async fn keys_values_and_batches(scene: &mut Scene<'_>) {
    let before = scene.before();
    let pipe = RawPipe::open(&scene.node.address()).await;
    let put = |key: usize, value: usize| {
        Op::Put(Put { key: vec![b'k'; key].into(), value: vec![b'v'; value].into(), expires_unix_ms: None })
    };
    let delete = |key: &'static str| Op::Delete(Delete { key: key.into() });
    let range = |start: &'static str, end: Option<&'static str>| {
        Op::DeleteRange(DeleteRange { start: start.into(), end: end.map(Bytes::from) })
    };
    let rows: [(Vec<Op>, ErrorKind, &str); 6] = [
        (vec![put(limits::KEY_BYTES_MAX + 1, 1)], ErrorKind::Invalid, "key_bytes_max"),
        (vec![put(0, 1)], ErrorKind::Invalid, "empty"),
        (vec![put(1, limits::VALUE_BYTES_MAX + 1)], ErrorKind::Invalid, "value_bytes_max"),
        (vec![delete("k"); limits::OPERATIONS_MAX + 1], ErrorKind::Invalid, "too many operations"),
        (vec![range("b", Some("a"))], ErrorKind::Invalid, "range"),
        (vec![delete("k"), range("a", Some("a"))], ErrorKind::Invalid, "range"),
    ];
    for (operations, kind, words) in rows {
        let operations = operations.into_iter().map(|operation| Operation { operation: Some(operation) }).collect();
        let write = WriteRequest { table: TABLE.to_owned(), operations, ..WriteRequest::default() };
        refused(pipe.answer(Request::Write(write)).await, kind, words);
    }
    let get = GetRequest { table: "there.is.none".to_owned(), key: "k".into(), ..GetRequest::default() };
    refused(pipe.answer(Request::Get(get)).await, ErrorKind::NotFound, "no table");
    let route = Some(Route { shard: u64::MAX, epoch: 1 });
    let get = GetRequest { route, key: "k".into(), ..GetRequest::default() };
    refused(pipe.answer(Request::Get(get)).await, ErrorKind::WrongEpoch, "no such shard");
    let keys = vec![Bytes::from_static(b"k"); KEYS];
    let many = MultiGetRequest { table: TABLE.to_owned(), keys, ..MultiGetRequest::default() };
    refused(pipe.answer(Request::MultiGet(many)).await, ErrorKind::Invalid, "100,000 keys");
    scene.bounded("keys, values and batches above their limits", before, 256 << 20);
}

/// Answers that would be larger than they may be.
pub(super) async fn answers(scene: &mut Scene<'_>) {
    let before = scene.before();
    let pipe = RawPipe::open(&scene.node.address()).await;
    // By name it goes one way to the shard, by route another.
    let described = scene.client.describe_table(BIG).await.expect("the table is there").shards;
    let route = Some(Route { shard: described[0].shard.0, epoch: described[0].epoch.0 });
    let keys: Vec<Bytes> = (0..BIG_ROWS).map(|row| key(row).into()).collect();
    for (table, route) in [(BIG, None), ("", route)] {
        let many = MultiGetRequest { table: table.to_owned(), route, keys: keys.clone(), ..MultiGetRequest::default() };
        refused(pipe.answer(Request::MultiGet(many)).await, ErrorKind::TooLarge, "MiB");
        let few =
            MultiGetRequest { table: table.to_owned(), route, keys: keys[..8].to_vec(), ..MultiGetRequest::default() };
        let answer = pipe.answer(Request::MultiGet(few)).await;
        assert!(matches!(&answer, Response::MultiGet(got) if got.values.len() == 8), "few keys are answered");
    }
    let scan = ScanRequest { table: BIG.to_owned(), page_bytes: u32::MAX, ..ScanRequest::default() };
    let Response::Scan(page) = pipe.answer(Request::Scan(scan)).await else { panic!("a scan gets a page") };
    let bytes: usize = page.rows.iter().map(|row| row.value.as_ref().map_or(0, |value| value.value.len())).sum();
    assert!(bytes <= limits::SCAN_BYTES_MAX && page.rest.is_some(), "a page of {bytes} bytes");
    // The client asks for all of them at once, as well: it gets them.
    let table = scene.client.table(BIG);
    let found = table.multi_get((0..BIG_ROWS).map(key)).await.expect("a client gets what its caller asks for");
    assert!(found.iter().all(Option::is_some), "all rows are there");
    scene.bounded("answers of 96 MiB asked for", before, 512 << 20);
}

fn refused(answer: Response, kind: ErrorKind, words: &str) {
    let Response::Failure(Failure { kind: found, message, .. }) = answer else {
        panic!("expected {kind:?} with {words:?}, found {answer:?}")
    };
    assert!(found == kind as i32 && message.contains(words), "expected {kind:?} with {words:?}, found {message:?}");
}
