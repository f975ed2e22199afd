//! The conformance suite of clients on real disks: in this process, on one node, and on three.

use lentic_client::{Client, ErrorKind, conformance};
use lentic_serve::Running;

use crate::support::{client, config, joining, ready};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_embedded_node() {
    let directory = tempfile::tempdir().unwrap();
    let client = Client::builder().embedded_with(directory.path(), &config(directory.path())).await.unwrap();
    conformance::run(&client).await;
    let other = Client::embedded(directory.path()).await.unwrap_err();
    assert_eq!(other.kind(), ErrorKind::Invalid, "one process at a time, and one client: {other}");
    client.close().await.unwrap();
    let again = Client::embedded(directory.path()).await.unwrap();
    assert!(!again.list_tables().await.unwrap().is_empty(), "what was there is there");
    again.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_node() {
    let directory = tempfile::tempdir().unwrap();
    let node = Running::start(&config(directory.path())).await.unwrap();
    ready(&node).await;
    conformance::run(&client(&[&node]).await).await;
    node.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_nodes() {
    let directories = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let first = Running::start(&config(directories[0].path())).await.unwrap();
    let second = Running::start(&joining(directories[1].path(), &first)).await.unwrap();
    let third = Running::start(&joining(directories[2].path(), &first)).await.unwrap();
    for node in [&first, &second, &third] {
        ready(node).await;
    }
    conformance::run(&client(&[&first, &second, &third]).await).await;
    for node in [first, second, third] {
        node.shutdown().await.unwrap();
    }
}
