//! A node in the process of its client.

use lentic_client::{Client, Options, TableOptions};
use lentic_serve::Embedded;
use lentic_serve::config::Config;

use crate::support::config;

async fn open(path: &std::path::Path) -> (Embedded, Client) {
    let node = Embedded::open(path, &config(path)).await.unwrap();
    let client = Client::with_network(node.network(), vec![node.address()], Options::default()).unwrap();
    (node, client)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_embedded_node_keeps_what_is_written() {
    let directory = tempfile::tempdir().unwrap();
    let (node, client) = open(directory.path()).await;
    client.create_table("birds", TableOptions::default()).await.unwrap();
    client.table("birds").put("wren", "small").await.unwrap();
    node.close().await.unwrap();
    drop(client);
    let (node, client) = open(directory.path()).await;
    assert_eq!(client.table("birds").get("wren").await.unwrap().unwrap().value, "small");
    node.close().await.unwrap();
}

/// In one thread, as in a test of somebody's application.
#[tokio::test]
async fn it_works_in_one_thread() {
    let directory = tempfile::tempdir().unwrap();
    let (node, client) = open(directory.path()).await;
    client.create_table("birds", TableOptions::default()).await.unwrap();
    client.table("birds").put("wren", "small").await.unwrap();
    assert!(Embedded::open(directory.path(), &Config::default()).await.is_err(), "one at a time");
    node.close().await.unwrap();
}
