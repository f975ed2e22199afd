//! What all clones of a client share.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use lentic_net::{Address, Network};
use lentic_runtime::{Random, Scope};
use lentic_types::{ClusterId, Version};
use tokio::time::Instant;

use crate::batcher::Batcher;
use crate::catalog::Entry;
use crate::error::Error;
use crate::nodes::Nodes;
use crate::options::Options;
use crate::pipe::Pipe;
use crate::replicas::Replicas;
use crate::sessions::Sessions;
use crate::tasks::Tasks;

/// Most tables remembered; above it, those that nobody holds are forgotten.
const TABLES_MAX: usize = 10_000;
/// Most pipes; more nodes than this are more than a cluster has.
const PIPES_MAX: usize = 4_096;

/// What all clones of a client share.
pub(crate) struct Core {
    pub(crate) network: Arc<dyn Network>,
    pub(crate) options: Options,
    pub(crate) random: Random,
    pub(crate) tasks: Tasks,
    /// The cluster, once a node has said it.
    pub(crate) cluster: OnceLock<ClusterId>,
    pub(crate) nodes: Nodes,
    pub(crate) replicas: Replicas,
    pub(crate) sessions: Sessions,
    pub(crate) batcher: Batcher,
    pub(crate) newest: Newest,
    pipes: RwLock<BTreeMap<Address, Arc<Pipe>>>,
    tables: RwLock<BTreeMap<Arc<str>, Arc<Entry>>>,
}

impl Core {
    pub(crate) fn new(network: Arc<dyn Network>, seeds: Vec<Address>, options: Options) -> Result<Self, Error> {
        options.check()?;
        if seeds.is_empty() {
            return Err(Error::invalid("no address was given; name at least one node, as in http://127.0.0.1:7420"));
        }
        let random = Scope::current().map_or_else(Random::from_system, |scope| scope.random().clone());
        Ok(Self {
            network,
            tasks: Tasks::default(),
            cluster: OnceLock::new(),
            nodes: Nodes::new(seeds, random.next_seed()),
            replicas: Replicas::default(),
            sessions: Sessions::new(options.sessions_max),
            batcher: Batcher::default(),
            newest: Newest::new(),
            pipes: RwLock::default(),
            tables: RwLock::default(),
            options,
            random,
        })
    }

    /// The pipe to the node at `address`.
    pub(crate) fn pipe(&self, address: &Address) -> Arc<Pipe> {
        if let Some(pipe) = self.pipes.read().unwrap_or_else(PoisonError::into_inner).get(address) {
            return pipe.clone();
        }
        let mut pipes = self.pipes.write().unwrap_or_else(PoisonError::into_inner);
        if pipes.len() >= PIPES_MAX {
            pipes.retain(|_, pipe| Arc::strong_count(pipe) > 1);
        }
        pipes.entry(address.clone()).or_insert_with(|| Arc::new(Pipe::new(address.clone()))).clone()
    }

    /// What is remembered of the table `name`.
    pub(crate) fn table(&self, name: &str) -> Arc<Entry> {
        if let Some(entry) = self.tables.read().unwrap_or_else(PoisonError::into_inner).get(name) {
            return entry.clone();
        }
        let mut tables = self.tables.write().unwrap_or_else(PoisonError::into_inner);
        if tables.len() >= TABLES_MAX {
            tables.retain(|_, entry| Arc::strong_count(entry) > 1);
        }
        let name: Arc<str> = name.into();
        tables.entry(name.clone()).or_insert_with(|| Arc::new(Entry::new(name))).clone()
    }
}

impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Core").field("options", &self.options).field("nodes", &self.nodes).finish_non_exhaustive()
    }
}

/// The newest version that the cluster has said of itself, and when.
#[derive(Debug)]
pub(crate) struct Newest {
    version: AtomicU64,
    began: Instant,
    /// Milliseconds after `began`.
    heard_ms: AtomicU64,
}

impl Newest {
    fn new() -> Self {
        Self { version: AtomicU64::new(0), began: Instant::now(), heard_ms: AtomicU64::new(0) }
    }

    /// An answer carried `version`, which the cluster chose.
    pub(crate) fn hear(&self, version: u64) {
        if self.version.fetch_max(version, Ordering::Relaxed) < version {
            self.heard_ms.store(self.now_ms(), Ordering::Relaxed);
        }
    }

    /// The newest version heard; 0 before the first.
    pub(crate) fn version(&self) -> Version {
        Version(self.version.load(Ordering::Relaxed))
    }

    /// For how many milliseconds no newer one was heard.
    pub(crate) fn age_ms(&self) -> u64 {
        self.now_ms().saturating_sub(self.heard_ms.load(Ordering::Relaxed))
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}
