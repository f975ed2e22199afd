//! Frames go through, in order, whole.

use bytes::Bytes;
use lentic_net::grpc::GrpcNetwork;
use lentic_net::{Class, Network as _};
use lentic_proto::v1;

use crate::stand::{Echo, Stand, recv, send, soon};

const COUNT: u32 = 20_000;

#[tokio::test]
async fn frames_keep_their_order() {
    let stand = Stand::new(Echo).await;
    let link = GrpcNetwork::new().dial(&stand.address, Class::Append).await.unwrap();
    let frame = |number: u32| Bytes::from([number.to_be_bytes().to_vec(), vec![7; number as usize % 900]].concat());
    let sender = link.sender;
    tokio::spawn(async move {
        for number in 0..COUNT {
            sender.send(frame(number)).await.unwrap();
        }
    });
    let mut receiver = link.receiver;
    let mut frames = Vec::new();
    while soon("a frame", receiver.recv_many(&mut frames, 100)).await > 0 {}
    assert_eq!(frames.len(), COUNT as usize, "the answers arrive when all is said");
    assert!(frames.into_iter().eq((0..COUNT).map(frame)));
}

#[tokio::test]
async fn the_largest_frame_goes_through() {
    let stand = Stand::new(Echo).await;
    let network = GrpcNetwork::new();
    for class in [Class::Append, Class::Snapshot] {
        let mut link = network.dial(&stand.address, class).await.unwrap();
        let large = Bytes::from(vec![0xa5; class.frame_bytes_max()]);
        soon("sending", link.sender.send(large.clone())).await.unwrap();
        assert!(soon("the frame", link.receiver.recv()).await.unwrap() == large);
    }
}

#[tokio::test]
async fn links_of_one_class_share_a_connection_and_do_not_mix() {
    let stand = Stand::new(Echo).await;
    let network = GrpcNetwork::new();
    let mut links = Vec::new();
    for _ in 0..50 {
        links.push(network.dial(&stand.address, Class::Pipe).await.unwrap());
    }
    for (number, link) in links.iter().enumerate() {
        send(link, &number.to_string()).await;
    }
    for (number, link) in links.iter_mut().enumerate() {
        assert_eq!(recv(link).await.unwrap(), number.to_string());
    }
}

/// The pipe is an ordinary method of the wire contract.
#[tokio::test]
async fn an_ordinary_client_can_open_a_pipe() {
    let stand = Stand::new(Echo).await;
    let channel = GrpcNetwork::new().channel(&stand.address).await.unwrap();
    let mut client = v1::pipe_client::PipeClient::new(channel);
    // The echo answers with the request's bytes: fields 1 and 3, a failure and a hello, are read as such.
    let request = v1::PipeRequest {
        id: 7,
        deadline_ms: 0,
        request: Some(v1::pipe_request::Request::Hello(v1::Hello { node: 5, ..v1::Hello::default() })),
    };
    let answers = client.open(tonic::codegen::tokio_stream::iter([request])).await.unwrap();
    let answer = soon("an answer", answers.into_inner().message()).await.unwrap().unwrap();
    assert_eq!(answer.id, 7);
    let Some(v1::pipe_response::Response::Hello(hello)) = answer.response else { panic!("{answer:?}") };
    assert_eq!(hello.node, 5);
}
