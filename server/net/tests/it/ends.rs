//! How links end with their server.

use std::sync::Arc;

use lentic_net::grpc::{GrpcNetwork, GrpcServer, ServerKnobs};
use lentic_net::{Address, Class, Network as _};
use tokio::net::TcpListener;
use tokio::runtime::Builder;

use crate::stand::{Echo, HandOver, Stand, recv, send, soon};

#[tokio::test]
async fn a_server_that_is_gone_ends_links_and_its_successor_is_found() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    let address = Address::from(&*format!("http://127.0.0.1:{port}"));
    // A runtime of its own, which is gone at once as a killed process is.
    let process = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    process.spawn(async move {
        let listener = TcpListener::from_std(listener).unwrap();
        GrpcServer::new(Arc::new(Echo)).serve(listener, std::future::pending()).await.unwrap();
    });
    let network = GrpcNetwork::new();
    let mut link = network.dial(&address, Class::Pipe).await.unwrap();
    send(&link, "ask").await;
    assert_eq!(recv(&mut link).await.unwrap(), "ask");
    process.shutdown_background();
    assert_eq!(recv(&mut link).await, None);
    soon("the sender's end", link.sender.closed()).await;
    assert!(link.receiver.reason().is_some());

    let refused = soon("a refusal", network.dial(&address, Class::Pipe)).await.unwrap_err();
    assert_eq!(refused.address, address);
    let listener = soon("the port", async {
        loop {
            match TcpListener::bind(("127.0.0.1", port)).await {
                Ok(listener) => return listener,
                Err(_) => tokio::task::yield_now().await,
            }
        }
    });
    let _stand = Stand::on(listener.await, GrpcServer::new(Arc::new(Echo)));
    let mut link = network.dial(&address, Class::Pipe).await.unwrap();
    send(&link, "again").await;
    assert_eq!(recv(&mut link).await.unwrap(), "again");
}

#[tokio::test]
async fn a_server_that_stops_lets_links_finish() {
    let (accept, mut links) = HandOver::new();
    let mut stand = Stand::new(accept).await;
    let network = GrpcNetwork::new();
    let mut here = network.dial(&stand.address, Class::Pipe).await.unwrap();
    let (_, mut there) = links.recv().await.unwrap();
    send(&here, "ask").await;
    assert_eq!(recv(&mut there).await.unwrap(), "ask");
    stand.stop();
    assert_eq!(recv(&mut there).await, None, "nothing more is received");
    let address = stand.address.clone();
    soon("a refusal", async { while network.dial(&address, Class::Append).await.is_ok() {} }).await;
    send(&there, "answer").await;
    drop(there);
    assert_eq!(recv(&mut here).await.unwrap(), "answer");
    assert_eq!(recv(&mut here).await, None);
    stand.stopped().await;
}

#[tokio::test]
async fn a_server_that_stops_cuts_links_that_go_on() {
    let (accept, mut links) = HandOver::new();
    let mut stand = Stand::with_knobs(accept, ServerKnobs { drain_ms_max: 50, ..ServerKnobs::default() }).await;
    let mut here = GrpcNetwork::new().dial(&stand.address, Class::Pipe).await.unwrap();
    let (_, there) = links.recv().await.unwrap();
    stand.stop();
    assert_eq!(recv(&mut here).await, None);
    assert_eq!(here.receiver.reason(), Some("this node is stopping; ask another"));
    soon("the end", there.sender.closed()).await;
    stand.stopped().await;
}

#[tokio::test]
async fn dialling_nobody_says_so() {
    let network = GrpcNetwork::new();
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let nobody = Address::from(&*format!("http://{free}"));
    let error = soon("a refusal", network.dial(&nobody, Class::Pipe)).await.unwrap_err();
    assert!(error.to_string().starts_with(&format!("http://{free} cannot be reached: ")), "{error}");
    assert!(error.reason.contains("refused"), "{error}");
    for text in ["", "no address", "127.0.0.1:1", "ftp://127.0.0.1:1", "http://"] {
        let error = soon(text, network.dial(&Address::from(text), Class::Pipe)).await.unwrap_err();
        assert_eq!(error.address, Address::from(text));
    }
}
