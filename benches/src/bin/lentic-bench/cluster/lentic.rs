//! Three nodes of Lentic, each `lentic serve` on its defaults, but with threads for a third of the machine.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use lentic_client::{Client, NodeId, NodeStatus, TableDescription, TableOptions};

use super::processes::{Processes, free_ports, share_of_cores};

const NODES: usize = 3;
const UP_WITHIN: Duration = Duration::from_secs(60);

/// A cluster.
pub(crate) struct Lentic {
    pub(crate) processes: Processes,
    addresses: Vec<String>,
    pages: Vec<String>,
}

impl Lentic {
    /// Starts the nodes and waits until they are a cluster.
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// Starts the nodes with these settings, each `section.name=value`.
    pub(crate) async fn start_with(knobs: &[&str]) -> Self {
        let mut processes = Processes::new();
        let ports = free_ports(2 * NODES);
        let address = |node: usize| format!("127.0.0.1:{}", ports[node]);
        for node in 0..NODES {
            let http = format!("127.0.0.1:{}", ports[NODES + node]);
            let join = (node > 0).then(|| address(0));
            serve(&mut processes, node, (&address(node), &http), join.as_deref(), knobs);
        }
        let addresses: Vec<_> = (0..NODES).map(|node| format!("http://{}", address(node))).collect();
        let pages = ports[NODES..].iter().map(|port| format!("127.0.0.1:{port}")).collect();
        let mut cluster = Self { processes, addresses, pages };
        let began = Instant::now();
        while !cluster.is_up().await {
            cluster.processes.check();
            assert!(began.elapsed() < UP_WITHIN, "the cluster is not up after {UP_WITHIN:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        cluster
    }

    /// Starts one node more, and waits until the others know it.
    pub(crate) async fn add_node(&mut self, client: &Client, knobs: &[&str]) -> NodeId {
        let ports = free_ports(2);
        let (listen, http) = (format!("127.0.0.1:{}", ports[0]), format!("127.0.0.1:{}", ports[1]));
        let first = self.addresses[0].trim_start_matches("http://").to_owned();
        serve(&mut self.processes, self.addresses.len(), (&listen, &http), Some(&first), knobs);
        self.addresses.push(format!("http://{listen}"));
        self.pages.push(http);
        let began = Instant::now();
        loop {
            self.processes.check();
            let status = client.status(false).await.expect("the cluster answers");
            let is_it = |node: &&NodeStatus| node.is_alive && node.address.0.ends_with(&listen);
            let has_page = || page(&self.pages[self.pages.len() - 1]).is_ok_and(|page| page.contains("lentic_raft_"));
            if let Some(node) = status.nodes.iter().find(is_it).filter(|_| has_page()) {
                return node.node;
            }
            assert!(began.elapsed() < UP_WITHIN, "the node is not up after {UP_WITHIN:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn is_up(&self) -> bool {
        let asked = tokio::time::timeout(Duration::from_secs(2), async {
            let client = Client::connect(&self.addresses).await.ok()?;
            client.status(false).await.ok()
        });
        let status = asked.await.ok().flatten();
        status.is_some_and(|status| status.nodes.iter().filter(|node| node.is_alive).count() == NODES)
    }

    /// The sum of a metric over all nodes.
    pub(crate) fn metric(&self, name: &str) -> f64 {
        let value = |line: &str| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse::<f64>().ok();
        let of_page = |page: String| page.lines().find_map(value).unwrap_or_else(|| panic!("no node has {name}"));
        self.pages.iter().map(|address| of_page(page(address).expect("the node has pages"))).sum()
    }

    /// A client with default options.
    pub(crate) async fn client(&self) -> Client {
        Client::connect(&self.addresses).await.expect("the cluster answers")
    }

    /// Makes a table; returns when each of its shards has a leader.
    pub(crate) async fn table(&self, client: &Client, name: &str, shards: u32) -> TableDescription {
        let options = TableOptions { shards, ..TableOptions::default() };
        client.create_table(name, options).await.expect("the table is made");
        let began = Instant::now();
        loop {
            let described = client.describe_table(name).await.expect("the table is there");
            if described.shards.iter().all(|shard| shard.leader.is_some()) {
                return described;
            }
            assert!(began.elapsed() < UP_WITHIN, "the shards have no leaders after {UP_WITHIN:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// Starts node `number`, where it listens and where its pages are.
fn serve(processes: &mut Processes, number: usize, (listen, http): (&str, &str), join: Option<&str>, knobs: &[&str]) {
    let mut command = Command::new(program());
    let data = processes.directory().join(format!("node-{number}"));
    command.arg("serve").arg("--data").arg(data).args(["--listen", listen, "--http-listen", http]);
    command.args(["--set", &format!("process.worker_threads={}", share_of_cores(NODES))]);
    for knob in knobs {
        command.args(["--set", knob]);
    }
    if let Some(join) = join {
        command.args(["--join", join]);
    }
    processes.start(&format!("lentic-{number}"), command);
}

/// The metrics of a node, fetched in the plainest way.
fn page(address: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    let request = format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// `lentic`, built beside this program.
fn program() -> PathBuf {
    let own = std::env::current_exe().expect("this program is somewhere");
    let path = own.with_file_name("lentic");
    assert!(path.exists(), "{} is not there: cargo build --release -p lentic-cli", path.display());
    path
}
