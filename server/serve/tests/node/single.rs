//! One node.

use std::time::Duration;

use lentic_client::{Address, Client, Options, TableOptions};
use lentic_net::grpc::GrpcNetwork;
use lentic_serve::{Running, StartError};
use tokio::net::{TcpListener, TcpStream};
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;

use crate::support::{again, client, config, page, ready};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_written_is_there_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let node = Running::start(&config(directory.path())).await.unwrap();
    let member = node.member();
    let client = client(&[&node]).await;
    client.create_table("birds", TableOptions::default()).await.unwrap();
    let birds = client.table("birds");
    for number in 0..50 {
        birds.put(format!("bird-{number}"), format!("value-{number}")).await.unwrap();
    }
    let restart = again(directory.path(), &node);
    node.shutdown().await.unwrap();
    let node = Running::start(&restart).await.unwrap();
    assert_eq!(node.member(), member, "who the node is does not change");
    // The client that was there goes on.
    for number in [0, 7, 49] {
        let found = birds.get(format!("bird-{number}")).await.unwrap();
        assert_eq!(found.unwrap().value, format!("value-{number}"));
    }
    birds.put("bird-50", "new").await.unwrap();
    node.shutdown().await.unwrap();
}

/// What a process leaves that ended without a word: nothing is flushed, and all that was acknowledged is there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_is_there_after_a_crash() {
    let directory = tempfile::tempdir().unwrap();
    let (data, copy) = (directory.path().join("data"), directory.path().join("copy"));
    let node = Running::start(&config(&data)).await.unwrap();
    let client = client(&[&node]).await;
    client.create_table("birds", TableOptions::default()).await.unwrap();
    for number in 0..50 {
        client.table("birds").put(format!("bird-{number}"), "v").await.unwrap();
    }
    copy_files(&data, &copy);
    node.shutdown().await.unwrap();
    let node = Running::start(&config(&copy)).await.unwrap();
    let client = crate::support::client(&[&node]).await;
    for number in 0..50 {
        assert!(client.table("birds").get(format!("bird-{number}")).await.unwrap().is_some(), "bird {number}");
    }
    node.shutdown().await.unwrap();
}

/// All files as they are. The store of so few writes stays in memory, so none of its files is replaced meanwhile.
fn copy_files(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_files(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// As a node that is about to answer: the first connection to it stays silent, the others do not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_waits_for_a_node_that_is_silent() {
    let directory = tempfile::tempdir().unwrap();
    let node = Running::start(&config(directory.path())).await.unwrap();
    let front = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, behind) = (front.local_addr().unwrap(), node.address());
    let proxy = tokio::spawn(async move {
        let _silent = front.accept().await.unwrap();
        loop {
            let (mut caller, _) = front.accept().await.unwrap();
            let mut node = TcpStream::connect(behind).await.unwrap();
            tokio::spawn(async move { tokio::io::copy_bidirectional(&mut caller, &mut node).await });
        }
    });
    let options = Options { dial_max: Duration::from_millis(200), ..Options::default() };
    let client = Client::builder().options(options).connect([format!("http://{address}")]).await.unwrap();
    assert!(client.cluster().is_some());
    let nobody = Client::connect(["http://127.0.0.1:1"]).await.unwrap_err();
    assert!(nobody.to_string().contains("no node answered"), "said at once: {nobody}");
    proxy.abort();
    node.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_and_health_tell_of_the_node() {
    let directory = tempfile::tempdir().unwrap();
    let node = Running::start(&config(directory.path())).await.unwrap();
    ready(&node).await;
    assert_eq!(page(&node, "/healthz").await, (200, "{\"faults\":[],\"healthy\":true}\n".into()));
    let client = client(&[&node]).await;
    client.create_table("birds", TableOptions::default()).await.unwrap();
    client.table("birds").put("a", "b").await.unwrap();
    let (status, metrics) = page(&node, "/metrics").await;
    assert_eq!(status, 200);
    for name in
        ["lentic_rocks_written_bytes", "lentic_log_sync_micros_count", "lentic_node_replicas_count", "process_open_fds"]
    {
        let line =
            metrics.lines().find(|line| line.starts_with(&format!("{name} "))).unwrap_or_else(|| panic!("{name}"));
        assert_ne!(line.rsplit_once(' ').unwrap().1, "0", "{line}");
    }
    assert!(metrics.contains("lentic_serve_not_ready_count 0\n"));
    let address = Address::from(&*format!("http://{}", node.address()));
    let channel = GrpcNetwork::new().channel(&address).await.unwrap();
    let mut health = HealthClient::new(channel.clone());
    let request = || tonic_health::pb::HealthCheckRequest { service: String::new() };
    // The page is asked for each time; what gRPC tells is looked at now and then.
    let mut told = health.watch(request()).await.unwrap().into_inner();
    while told.message().await.unwrap().unwrap().status != 1 {}
    let question = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut reflection = ServerReflectionClient::new(channel);
    let mut told = reflection.server_reflection_info(tokio_stream::once(question)).await.unwrap().into_inner();
    let services = format!("{:?}", told.message().await.unwrap().unwrap());
    for service in ["lentic.v1.Kv", "lentic.v1.Tables", "lentic.v1.Cluster", "lentic.v1.Pipe", "grpc.health.v1.Health"]
    {
        assert!(services.contains(&format!("{service:?}")), "{service}: {services}");
    }
    node.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_cannot_start_says_why_and_leaves_nothing_running() {
    let directory = tempfile::tempdir().unwrap();
    let node = Running::start(&config(directory.path())).await.unwrap();
    let error = Running::start(&config(directory.path())).await.err().unwrap();
    assert!(matches!(error, StartError::Directory(_)), "{error}");
    assert!(error.to_string().contains("found it in use by process"), "{error}");
    let other = tempfile::tempdir().unwrap();
    let mut taken = config(other.path());
    taken.place.listen = node.address();
    let error = Running::start(&taken).await.err().unwrap();
    assert!(matches!(error, StartError::Listen { key: "listen", .. }), "{error}");
    let mut unfit = config(other.path());
    unfit.raft.heartbeat_ms = 0;
    assert!(matches!(Running::start(&unfit).await.err().unwrap(), StartError::Config(_)));
    // Nobody is there: it gives up in time, and its page was there meanwhile.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut joining = config(other.path());
    joining.place.join = vec![silent.local_addr().unwrap().into()];
    joining.cluster.join_ms_max = 300;
    let error = Running::start(&joining).await.err().unwrap();
    assert!(matches!(error, StartError::Join(_)), "{error}");
    // The directory is free again, and still nobody's.
    let node_of_other = Running::start(&config(other.path())).await.unwrap();
    assert_ne!(node_of_other.member().cluster, node.member().cluster);
    node_of_other.shutdown().await.unwrap();
    node.shutdown().await.unwrap();
}

/// Files of one node in the directory of another are refused, not mixed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parts_of_two_nodes_make_none() {
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for directory in [&first, &second] {
        Running::start(&config(directory.path())).await.unwrap().shutdown().await.unwrap();
    }
    for part in ["log", "store"] {
        let (mine, other) = (first.path().join(part), second.path().join(part));
        let aside = first.path().join("aside");
        std::fs::rename(&mine, &aside).unwrap();
        copy_files(&other, &mine);
        let error = Running::start(&config(first.path())).await.err().unwrap();
        assert!(matches!(error, StartError::Log(_) | StartError::Store(_)), "{part}: {error}");
        std::fs::remove_dir_all(&mine).unwrap();
        std::fs::rename(&aside, &mine).unwrap();
    }
    Running::start(&config(first.path())).await.unwrap().shutdown().await.unwrap();
}
