//! Three nodes.

use lentic_client::TableOptions;
use lentic_serve::Running;

use crate::support::{again, client, config, joining, ready};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_join_and_leave_and_come_back() {
    let directories = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let first = Running::start(&config(directories[0].path())).await.unwrap();
    let second = Running::start(&joining(directories[1].path(), &first)).await.unwrap();
    let third = Running::start(&joining(directories[2].path(), &first)).await.unwrap();
    let members = [&first, &second, &third].map(Running::member);
    assert!(members.iter().all(|member| member.cluster == members[0].cluster));
    assert_eq!(members.map(|member| member.node.0), [1, 2, 3]);
    for node in [&first, &second, &third] {
        ready(node).await;
    }
    let client = client(&[&first, &second, &third]).await;
    client.create_table("birds", TableOptions::default()).await.unwrap();
    let birds = client.table("birds");
    for number in 0..30 {
        birds.put(format!("bird-{number}"), "v").await.unwrap();
    }
    // Each in turn, as in a rolling restart; without `join`, for they know where they belong.
    let mut nodes = vec![first, second, third];
    for directory in &directories {
        let node = nodes.remove(0);
        let restart = again(directory.path(), &node);
        node.shutdown().await.unwrap();
        for number in 0..30 {
            birds.put(format!("bird-{number}"), "while it was away").await.unwrap();
        }
        let node = Running::start(&restart).await.unwrap();
        ready(&node).await;
        nodes.push(node);
    }
    let found: Vec<_> = nodes.iter().map(Running::member).collect();
    assert_eq!(found, members);
    for number in 0..30 {
        assert_eq!(birds.get(format!("bird-{number}")).await.unwrap().unwrap().value, "while it was away");
    }
    for node in nodes {
        node.shutdown().await.unwrap();
    }
}
