//! What no client says: frames that are too large, that are no frames, that are meant for another cluster.

use std::time::Duration;

use bytes::Bytes;
use lentic_net::grpc::GrpcNetwork;
use lentic_net::{Address, Class, Link, Network as _};
use lentic_proto::v1::kv_client::KvClient;
use lentic_proto::v1::pipe_request::Request;
use lentic_proto::v1::pipe_response::Response;
use lentic_proto::v1::{self, Hello, Operation, PipeRequest, PipeResponse, Put, WriteRequest};
use prost::Message as _;
use tokio::time::timeout;
use tonic::Code;

use super::{Scene, TABLE};
use crate::pipe::{Open, RawPipe, channel, message, open};

/// How long the node may take to answer or to hang up.
const WITHIN: Duration = Duration::from_secs(20);
/// More than a frame of a pipe may have.
const OVERSIZED_BYTES: usize = 72 << 20;
/// Garbage that is tried.
const GARBAGE: usize = 200;

/// A frame that is larger than any, on a pipe and as a call.
pub(super) async fn oversized(scene: &mut Scene<'_>) {
    let before = scene.before();
    let put = Put { key: "k".into(), value: vec![0; OVERSIZED_BYTES].into(), expires_unix_ms: None };
    let operation = Operation { operation: Some(v1::operation::Operation::Put(put)) };
    let write = WriteRequest { table: TABLE.to_owned(), operations: vec![operation], ..WriteRequest::default() };

    let Open { requests, mut responses } = open(&scene.node.address()).await;
    greet(&requests, &mut responses).await;
    requests.send(message(1, Request::Write(write.clone()))).await.expect("the pipe is open");
    let ended = timeout(WITHIN, responses.message()).await.expect("the node hangs up in time");
    let status = ended.expect_err("a frame that is too large ends the pipe");
    assert_eq!(status.code(), Code::OutOfRange, "{status}");

    let mut kv = KvClient::new(channel(&scene.node.address()).await);
    let answer = timeout(WITHIN, kv.write(write)).await.expect("the node answers in time");
    let status = answer.expect_err("a call that is too large is refused");
    assert_eq!(status.code(), Code::OutOfRange, "{status}");
    scene.bounded("frames of 72 MiB", before, 256 << 20);
}

/// Bytes that are no message, as the first words of a pipe and as later ones.
pub(super) async fn garbage(scene: &mut Scene<'_>) {
    let before = scene.before();
    let network = GrpcNetwork::new();
    for number in 0..GARBAGE {
        let Link { sender, mut receiver } = dial(&network, scene).await;
        if number % 2 == 0 {
            let hello = PipeRequest { request: Some(Request::Hello(Hello::default())), ..PipeRequest::default() };
            sender.send(hello.encode_to_vec().into()).await.expect("the link is open");
            let hello = timeout(WITHIN, receiver.recv()).await.expect("the node says hello in time");
            assert!(hello.is_some(), "the node says hello");
        }
        // It may have hung up already.
        let _ = sender.send(noise(number)).await;
        let mut said = Vec::new();
        while let Some(frame) = timeout(WITHIN, receiver.recv()).await.expect("the node hangs up in time") {
            said.push(PipeResponse::decode(frame).expect("nodes say what can be understood"));
        }
        let failure = said.iter().any(|said| matches!(said.response, Some(Response::Failure(_))));
        assert!(failure, "garbage {number} was not answered by a failure: {said:?}");
    }
    scene.bounded("garbage on 200 pipes", before, 64 << 20);
}

/// A hello to another cluster.
pub(super) async fn foreign_cluster(scene: &mut Scene<'_>) {
    let Open { requests, mut responses } = open(&scene.node.address()).await;
    let hello = Hello { cluster: Bytes::from_static(b"some other one.."), ..Hello::default() };
    requests.send(message(0, Request::Hello(hello))).await.expect("the pipe is open");
    let answer = timeout(WITHIN, responses.message()).await.expect("the node answers in time");
    let answer = answer.expect("it is an answer").and_then(|answer| answer.response);
    let Some(Response::Failure(failure)) = answer else { panic!("expected a failure, found {answer:?}") };
    assert!(failure.message.contains("belongs to cluster"), "{}", failure.message);
    let ended = timeout(WITHIN, responses.message()).await.expect("the node hangs up in time");
    assert!(!matches!(ended, Ok(Some(_))), "a pipe that was refused is over: {ended:?}");

    // A second hello is refused, and the pipe goes on.
    let pipe = RawPipe::open(&scene.node.address()).await;
    let again = pipe.answer(Request::Hello(Hello::default())).await;
    assert!(matches!(again, Response::Failure(_)), "{again:?}");
    scene.report.add("a hello to another cluster, a second hello", "refused");
}

async fn greet(requests: &tokio::sync::mpsc::Sender<PipeRequest>, responses: &mut tonic::Streaming<PipeResponse>) {
    requests.send(message(0, Request::Hello(Hello::default()))).await.expect("the pipe is open");
    let hello = timeout(WITHIN, responses.message()).await.expect("the node says hello in time");
    assert!(hello.is_ok_and(|hello| hello.is_some()), "the node says hello");
}

async fn dial(network: &GrpcNetwork, scene: &Scene<'_>) -> Link {
    let address = Address::from(&*scene.node.address());
    let dialled = timeout(WITHIN, network.dial(&address, Class::Pipe)).await.expect("the node takes a link in time");
    dialled.expect("the node takes a link")
}

/// Bytes that look random, and that no message begins with: field 0 does not exist.
fn noise(seed: usize) -> Bytes {
    let mut state = u64::try_from(seed).unwrap_or(u64::MAX).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let length = 1 + seed * 37 % 4_000;
    let bytes = (0..length).map(|place| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        if place == 0 { 0x07 } else { state.to_le_bytes()[0] }
    });
    bytes.collect()
}
