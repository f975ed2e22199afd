//! What a peer cannot do: fill memory, take all links, hurt others with garbage.

use std::time::Duration;

use bytes::Bytes;
use lentic_net::grpc::{GrpcNetwork, ServerKnobs};
use lentic_net::{Class, Network as _};
use lentic_proto::v1;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::stand::{Echo, HandOver, Stand, recv, send, soon};

#[tokio::test]
async fn a_frame_of_another_client_that_is_too_large_is_refused() {
    let stand = Stand::new(Echo).await;
    let channel = GrpcNetwork::new().channel(&stand.address).await.unwrap();
    let limit = Class::Pipe.frame_bytes_max();
    let cluster = Bytes::from(vec![0; limit]);
    let hello = v1::pipe_request::Request::Hello(v1::Hello { cluster, ..v1::Hello::default() });
    let request = v1::PipeRequest { id: 1, deadline_ms: 0, request: Some(hello) };
    let answers = v1::pipe_client::PipeClient::new(channel).open(tonic::codegen::tokio_stream::iter([request])).await;
    let status = soon("a refusal", answers.unwrap().into_inner().message()).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::OutOfRange);
    assert!(status.message().contains(&format!("the limit is: {limit} bytes")), "{status}");
}

#[tokio::test]
async fn who_does_not_read_holds_back_who_writes() {
    let (accept, mut links) = HandOver::new();
    let stand = Stand::new(accept).await;
    let network = GrpcNetwork::new();
    for dialler_writes in [true, false] {
        let here = network.dial(&stand.address, Class::Append).await.unwrap();
        let (_, there) = links.recv().await.unwrap();
        let (writer, mut reader) = if dialler_writes { (here, there) } else { (there, here) };
        let frame = Bytes::from(vec![1; 256 << 10]);
        let mut sent = 0;
        while let Ok(done) = timeout(Duration::from_millis(500), writer.sender.send(frame.clone())).await {
            done.unwrap();
            sent += frame.len();
            assert!(sent <= 32 << 20, "two queues, a window and the buffers between");
        }
        assert!(sent >= 8 << 20, "{sent} bytes");

        // Others of the same connection go on.
        let other = network.dial(&stand.address, Class::Append).await.unwrap();
        let (_, mut there) = links.recv().await.unwrap();
        send(&other, "ask").await;
        assert_eq!(recv(&mut there).await.unwrap(), "ask");

        let Ok(_) = tokio::join!(writer.sender.send(Bytes::new()), async {
            let mut read = 0;
            while read < sent {
                read += soon("a frame", reader.receiver.recv()).await.unwrap().len();
            }
        })
        .0
        else {
            panic!("it goes on when it is read")
        };
    }
}

#[tokio::test]
async fn garbage_hurts_nobody() {
    let stand = Stand::new(Echo).await;
    let mut link = GrpcNetwork::new().dial(&stand.address, Class::Pipe).await.unwrap();
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let noise: Vec<u8> = (0..100_000u32).map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
    let request = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    for garbage in [&noise[..], &[preface, &noise[..]].concat(), request, &preface[..9], &[0; 9]] {
        let mut stream = TcpStream::connect(("127.0.0.1", stand.port)).await.unwrap();
        // The server may close before it has taken all.
        _ = stream.write_all(garbage).await;
        _ = stream.shutdown().await;
        _ = soon("the server to close", stream.read_to_end(&mut Vec::new())).await;
    }
    send(&link, "still there").await;
    assert_eq!(recv(&mut link).await.unwrap(), "still there");
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_says_nothing_is_closed() {
    let stand = Stand::new(Echo).await;
    let mut stream = TcpStream::connect(("127.0.0.1", stand.port)).await.unwrap();
    let read = timeout(Duration::from_secs(60), stream.read_to_end(&mut Vec::new())).await;
    assert!(read.is_ok(), "it was not closed in time");
}

#[tokio::test]
async fn links_above_the_bound_are_refused_until_one_ends() {
    let (accept, mut links) = HandOver::new();
    let stand = Stand::with_knobs(accept, ServerKnobs { links_max: 2, ..ServerKnobs::default() }).await;
    let network = GrpcNetwork::new();
    let first = network.dial(&stand.address, Class::Pipe).await.unwrap();
    let _second = network.dial(&stand.address, Class::Control).await.unwrap();
    let error = network.dial(&stand.address, Class::Pipe).await.unwrap_err();
    assert!(error.reason.ends_with("this node has 2 links open and takes no more; ask another, or wait"), "{error}");
    drop(links.recv().await.unwrap());
    drop(first);
    soon("a place", async { while network.dial(&stand.address, Class::Pipe).await.is_err() {} }).await;
}

#[tokio::test]
async fn connections_above_the_bound_are_closed() {
    let stand = Stand::with_knobs(Echo, ServerKnobs { connections_max: 1, ..ServerKnobs::default() }).await;
    let network = GrpcNetwork::new();
    let mut link = network.dial(&stand.address, Class::Pipe).await.unwrap();
    let mut above = TcpStream::connect(("127.0.0.1", stand.port)).await.unwrap();
    _ = soon("the server to close", above.read_to_end(&mut Vec::new())).await;
    assert!(network.dial(&stand.address, Class::Control).await.is_err());
    send(&link, "still there").await;
    assert_eq!(recv(&mut link).await.unwrap(), "still there");
    drop((link, network));
    let network = GrpcNetwork::new();
    soon("a place", async { while network.dial(&stand.address, Class::Control).await.is_err() {} }).await;
}
