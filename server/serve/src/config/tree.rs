//! All knobs of a node, as one struct and by their keys.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use super::knob::{Given, HostPort, Section, Wrong, section};
use super::sections::{
    Cluster, Connections, History, Log, Logging, Process, Raft, RequestLimits, Requests, Shards, Store,
};

section! {
    /// Where the node is: the knobs without a section.
    pub struct Place {
        /// Where clients and other nodes are served: an IP address of this machine and a port. The default is for this
        /// machine alone; "0.0.0.0:7420" serves everyone, and nobody is asked who he is.
        pub listen: SocketAddr = SocketAddr::from((Ipv4Addr::LOCALHOST, 7420)),
        /// Where the HTTP pages are: metrics, health, readiness. They tell much and take no password.
        pub http_listen: SocketAddr = SocketAddr::from((Ipv4Addr::LOCALHOST, 7421)),
        /// Where clients and other nodes find this node: a host and a port. Empty: as in `listen`, which is right if
        /// that is an address that others can reach. All others must be able to reach it.
        pub advertise: Option<HostPort> = None,
        /// Where others find the HTTP pages. Empty: as in `http_listen`.
        pub http_advertise: Option<HostPort> = None,
        /// The directory of the node's data. It belongs to one node for its whole life. On a local disk: a network
        /// file system breaks what fdatasync and locks promise.
        pub data: PathBuf = PathBuf::from("./lentic-data"),
        /// Addresses of some nodes of a cluster to join. Empty: a node with an empty directory makes a cluster of its
        /// own. It counts only until the node has joined; after that the node knows its cluster.
        pub join: Vec<HostPort> = Vec::new(),
    }
}

/// All knobs of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// Where the node is.
    pub place: Place,
    /// The process.
    pub process: Process,
    /// The shape of the cluster.
    pub cluster: Cluster,
    /// Replication.
    pub raft: Raft,
    /// What a request may hold.
    pub limits: RequestLimits,
    /// The shards of this node.
    pub shards: Shards,
    /// How far back versions can be read.
    pub history: History,
    /// The requests of clients.
    pub requests: Requests,
    /// Who may connect, and how many.
    pub connections: Connections,
    /// The store.
    pub store: Store,
    /// The log.
    pub log: Log,
    /// What the node says of itself.
    pub logging: Logging,
}

/// The section without a name, whose knobs stand at the top of a file.
pub(super) const PLACE: &str = "";

impl Config {
    /// The sections with their names and what they are for, in the order in which they are printed.
    pub(super) fn sections(&self) -> [(&'static str, &'static str, &dyn Section); 12] {
        [
            (PLACE, "Where the node is.", &self.place),
            ("process", "The process.", &self.process),
            ("cluster", "The shape of the cluster.", &self.cluster),
            ("raft", "Replication.", &self.raft),
            ("limits", "What a request may hold: below the ceilings of the format, never above.", &self.limits),
            ("shards", "The shards of this node: from requests to log entries.", &self.shards),
            ("history", "How far back versions can be read.", &self.history),
            ("requests", "The requests of clients.", &self.requests),
            ("connections", "Who may connect, and how many.", &self.connections),
            ("store", "The store: RocksDB.", &self.store),
            ("log", "The log that all shards of the node share.", &self.log),
            ("logging", "What the node says of itself, on standard error.", &self.logging),
        ]
    }

    fn section(&mut self, name: &str) -> Option<&mut dyn Section> {
        Some(match name {
            PLACE => &mut self.place,
            "process" => &mut self.process,
            "cluster" => &mut self.cluster,
            "raft" => &mut self.raft,
            "limits" => &mut self.limits,
            "shards" => &mut self.shards,
            "history" => &mut self.history,
            "requests" => &mut self.requests,
            "connections" => &mut self.connections,
            "store" => &mut self.store,
            "log" => &mut self.log,
            "logging" => &mut self.logging,
            _ => return None,
        })
    }

    /// Sets the knob of a key: `listen`, `store.memtable_bytes`. `None`: there is none.
    pub(super) fn set(&mut self, key: &str, given: &Given<'_>) -> Option<Result<(), Wrong>> {
        let (section, name) = key.rsplit_once('.').unwrap_or((PLACE, key));
        self.section(section)?.set(name, given)
    }

    /// Every key with its value in TOML, in the order in which they are printed.
    #[must_use]
    pub fn keys(&self) -> Vec<(String, String)> {
        let keys = |(section, _, knobs): (&'static str, &str, &dyn Section)| {
            knobs.knobs().into_iter().map(move |knob| (key_of(section, knob.name), knob.value))
        };
        self.sections().into_iter().flat_map(keys).collect()
    }
}

pub(super) fn key_of(section: &str, name: &str) -> String {
    if section == PLACE { name.to_owned() } else { format!("{section}.{name}") }
}
