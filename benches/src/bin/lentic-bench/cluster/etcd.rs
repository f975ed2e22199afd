//! Three members of etcd, as Debian packages it, and as much of its client interface as the benchmark needs.
//!
//! Field numbers are those of etcd's `rpc.proto` (API 3), which is a wire contract that etcd keeps.

use std::process::Command;
use std::time::{Duration, Instant};

use bytes::Bytes;
use prost::Message;
use tonic::client::Grpc;
use tonic::transport::{Channel, Endpoint};
use tonic_prost::ProstCodec;

use super::processes::{Processes, free_ports};

const MEMBERS: usize = 3;
const UP_WITHIN: Duration = Duration::from_secs(60);

/// A cluster.
pub(crate) struct Etcd {
    pub(crate) processes: Processes,
    addresses: Vec<String>,
}

impl Etcd {
    /// Starts the members and waits until each answers a linearizable read.
    pub(crate) async fn start() -> Self {
        let mut processes = Processes::new();
        let ports = free_ports(2 * MEMBERS);
        let url = |port: u16| format!("http://127.0.0.1:{port}");
        let peers = (0..MEMBERS).map(|member| format!("m{member}={}", url(ports[MEMBERS + member])));
        let peers = peers.collect::<Vec<_>>().join(",");
        for member in 0..MEMBERS {
            let (client, peer) = (url(ports[member]), url(ports[MEMBERS + member]));
            let name = format!("m{member}");
            let mut command = Command::new("etcd");
            command.arg("--data-dir").arg(processes.directory().join(&name)).args(["--name", &name]);
            command.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
            command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
            command.args(["--initial-cluster", &peers, "--initial-cluster-state", "new"]);
            command.args(["--log-level", "error", "--quota-backend-bytes", "8589934592"]);
            processes.start(&format!("etcd-{member}"), command);
        }
        let addresses: Vec<_> = ports[..MEMBERS].iter().map(|port| url(*port)).collect();
        let mut cluster = Self { processes, addresses };
        let began = Instant::now();
        while !cluster.is_up().await {
            cluster.processes.check();
            assert!(began.elapsed() < UP_WITHIN, "etcd is not up after {UP_WITHIN:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        cluster
    }

    async fn is_up(&self) -> bool {
        for address in &self.addresses {
            let Some(kv) = connect(address).await else { return false };
            if kv.get(Bytes::from_static(b"is it up?")).await.is_err() {
                return false;
            }
        }
        true
    }

    /// `count` connections to the member that leads.
    pub(crate) async fn to_leader(&self, count: usize) -> Vec<Kv> {
        for address in &self.addresses {
            let kv = connect(address).await.expect("etcd answers");
            if kv.leads().await {
                return self.connections(std::slice::from_ref(address), count).await;
            }
        }
        panic!("no member of etcd says that it leads");
    }

    /// `count` connections, spread over all members.
    pub(crate) async fn to_all(&self, count: usize) -> Vec<Kv> {
        self.connections(&self.addresses, count).await
    }

    async fn connections(&self, addresses: &[String], count: usize) -> Vec<Kv> {
        let mut all = Vec::new();
        for address in addresses.iter().cycle().take(count) {
            all.push(connect(address).await.expect("etcd answers"));
        }
        all
    }
}

/// A connection, if the member answers.
async fn connect(address: &str) -> Option<Kv> {
    let endpoint = Endpoint::from_shared(address.to_owned()).ok()?.tcp_nodelay(true);
    Some(Kv(endpoint.connect().await.ok()?))
}

/// A connection to etcd. Clones share it.
#[derive(Clone)]
pub(crate) struct Kv(Channel);

impl Kv {
    /// Puts one value.
    pub(crate) async fn put(&self, key: Bytes, value: Bytes) -> Result<(), tonic::Status> {
        self.call::<_, Anything>("/etcdserverpb.KV/Put", Put { key, value }).await.map(drop)
    }

    /// Puts many in one transaction.
    pub(crate) async fn put_all(&self, pairs: Vec<(Bytes, Bytes)>) -> Result<(), tonic::Status> {
        let puts = pairs.into_iter().map(|(key, value)| Operation { put: Some(Put { key, value }) });
        let txn = Txn { success: puts.collect(), compare: Vec::new() };
        self.call::<_, Anything>("/etcdserverpb.KV/Txn", txn).await.map(drop)
    }

    /// Puts a value if the key has one: whether it had.
    pub(crate) async fn put_if_there(&self, key: Bytes, value: Bytes) -> Result<bool, tonic::Status> {
        let compare = Compare { result: GREATER, target: CREATED, key: key.clone(), create_revision: Some(0) };
        let txn = Txn { success: vec![Operation { put: Some(Put { key, value }) }], compare: vec![compare] };
        self.call::<_, TxnAnswer>("/etcdserverpb.KV/Txn", txn).await.map(|answer| answer.succeeded)
    }

    /// Reads the newest value, linearizably: whether it is there.
    pub(crate) async fn get(&self, key: Bytes) -> Result<bool, tonic::Status> {
        self.call::<_, RangeAnswer>("/etcdserverpb.KV/Range", Range { key }).await.map(|answer| answer.count > 0)
    }

    async fn leads(&self) -> bool {
        let answer = self.call::<_, StatusAnswer>("/etcdserverpb.Maintenance/Status", Anything {}).await;
        answer.is_ok_and(|answer| answer.header.is_some_and(|header| header.member_id == answer.leader))
    }

    async fn call<Q, A>(&self, path: &'static str, question: Q) -> Result<A, tonic::Status>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        let mut grpc = Grpc::new(self.0.clone());
        grpc.ready().await.map_err(|error| tonic::Status::unavailable(error.to_string()))?;
        let path = tonic::codegen::http::uri::PathAndQuery::from_static(path);
        let codec = ProstCodec::default();
        grpc.unary(tonic::Request::new(question), path, codec).await.map(tonic::Response::into_inner)
    }
}

#[derive(Clone, PartialEq, Message)]
struct Put {
    #[prost(bytes = "bytes", tag = "1")]
    key: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    value: Bytes,
}

#[derive(Clone, PartialEq, Message)]
struct Operation {
    #[prost(message, optional, tag = "2")]
    put: Option<Put>,
}

#[derive(Clone, PartialEq, Message)]
struct Txn {
    #[prost(message, repeated, tag = "1")]
    compare: Vec<Compare>,
    #[prost(message, repeated, tag = "2")]
    success: Vec<Operation>,
}

/// `Compare.CompareResult` and `Compare.CompareTarget` of the contract.
const GREATER: i32 = 1;
const CREATED: i32 = 1;

#[derive(Clone, PartialEq, Message)]
struct Compare {
    #[prost(int32, tag = "1")]
    result: i32,
    #[prost(int32, tag = "2")]
    target: i32,
    #[prost(bytes = "bytes", tag = "3")]
    key: Bytes,
    #[prost(int64, optional, tag = "5")]
    create_revision: Option<i64>,
}

#[derive(Clone, PartialEq, Message)]
struct TxnAnswer {
    #[prost(bool, tag = "2")]
    succeeded: bool,
}

#[derive(Clone, PartialEq, Message)]
struct Range {
    #[prost(bytes = "bytes", tag = "1")]
    key: Bytes,
}

#[derive(Clone, PartialEq, Message)]
struct RangeAnswer {
    #[prost(int64, tag = "4")]
    count: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Header {
    #[prost(uint64, tag = "2")]
    member_id: u64,
}

#[derive(Clone, PartialEq, Message)]
struct StatusAnswer {
    #[prost(message, optional, tag = "1")]
    header: Option<Header>,
    #[prost(uint64, tag = "4")]
    leader: u64,
}

/// An answer that is not looked into, or a question without fields.
#[derive(Clone, PartialEq, Message)]
struct Anything {}
