//! What the tests share.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use lentic_client::Client;
use lentic_serve::Running;
use lentic_serve::config::{Config, HostPort};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Longer than anything takes that works; what takes longer hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A node on ports of its own, which uses little memory.
pub(crate) fn config(data: &Path) -> Config {
    let mut config = Config::default();
    config.place.data = data.to_path_buf();
    config.place.listen = SocketAddr::from(([127, 0, 0, 1], 0));
    config.place.http_listen = SocketAddr::from(([127, 0, 0, 1], 0));
    config.store.block_cache_bytes = 8 << 20;
    config.store.memtable_bytes = 1 << 20;
    config.store.memtables_bytes_max = 16 << 20;
    config.log.segment_bytes = 1 << 20;
    config.log.bytes_max = 8 << 20;
    config
}

pub(crate) fn joining(data: &Path, to: &Running) -> Config {
    let mut config = config(data);
    config.place.join = vec![HostPort::from(to.address())];
    config
}

/// The same node again, at the same addresses: others know it there.
pub(crate) fn again(data: &Path, node: &Running) -> Config {
    let mut config = config(data);
    (config.place.listen, config.place.http_listen) = (node.address(), node.http_address());
    config
}

pub(crate) async fn client(nodes: &[&Running]) -> Client {
    Client::connect(nodes.iter().map(|node| format!("http://{}", node.address()))).await.unwrap()
}

/// Status and body of a page.
pub(crate) async fn page(node: &Running, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(node.http_address()).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), body.to_owned())
}

/// Waits until the node says that it is ready.
pub(crate) async fn ready(node: &Running) {
    let asking = async {
        while page(node, "/readyz").await.0 != 200 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    if tokio::time::timeout(PATIENCE, asking).await.is_err() {
        panic!("not ready: {}", page(node, "/readyz").await.1);
    }
}
