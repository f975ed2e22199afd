//! Ten thousand connections that do nothing.

use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{Scene, TABLE};

/// How long one connection may take.
const WITHIN: Duration = Duration::from_secs(20);
/// File descriptors for all else.
const SPARE: u64 = 500;
/// What a connection may cost the node.
const CONNECTION_BYTES_MAX: u64 = 48 << 10;
/// The first words of HTTP/2, and settings that change nothing.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// Connections that speak HTTP/2 and then say nothing more.
pub(super) async fn idle_connections(scene: &mut Scene<'_>) {
    let connections = scene.plan.connections.min(room());
    let before = scene.before();
    let mut open = Vec::with_capacity(connections);
    for _ in 0..connections {
        open.push(timeout(WITHIN, connect(scene)).await.expect("the node takes a connection in time"));
    }
    let table = scene.client.table(TABLE);
    table.put("crowd", "served").await.expect("a node with many connections serves");
    let client = lentic_client::Client::connect([scene.node.address()]).await.expect("it takes one more");
    let found = client.table(TABLE).get("crowd").await.expect("it serves one more");
    assert_eq!(found.map(|found| found.value), Some("served".into()));
    table.delete("crowd").await.expect("a node with many connections serves");
    let asked = scene.plan.connections;
    let bytes_max = CONNECTION_BYTES_MAX * u64::try_from(connections).unwrap_or(u64::MAX);
    scene.bounded(&format!("{connections} idle connections, of {asked} asked for"), before, bytes_max);
}

/// How many connections this process and the node, which has the same limits, can have at a time.
fn room() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let (now, most) = (limit.current.unwrap_or(u64::MAX), limit.maximum);
    // Not being allowed to is no failure: fewer connections are opened then, and the report says how many.
    let raised = setrlimit(Resource::Nofile, Rlimit { current: most, maximum: most }).is_ok();
    let files = if raised { most.unwrap_or(u64::MAX) } else { now };
    usize::try_from(files.saturating_sub(SPARE)).unwrap_or(usize::MAX)
}

async fn connect(scene: &Scene<'_>) -> TcpStream {
    let mut stream = TcpStream::connect(scene.node.listen()).await.expect("the node takes a connection");
    stream.write_all(PREFACE).await.expect("the node reads");
    // Its own settings come first: it has taken the connection for one.
    let mut first = [0; 9];
    stream.read_exact(&mut first).await.expect("the node speaks HTTP/2");
    assert_eq!(first[3], 4, "the first frame is of settings");
    stream
}
