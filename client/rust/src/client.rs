//! The client: how to get one, and what it asks of the cluster as a whole.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use lentic_net::grpc::GrpcNetwork;
use lentic_net::{Address, Network};
use lentic_types::{ClusterId, Version};
use tokio::time::{Instant, sleep};

use crate::core::Core;
use crate::error::Error;
use crate::options::Options;
use crate::progress::{Effect, Progress};
use crate::sessions;
use crate::snapshot::Snapshot;
use crate::table::Table;
use crate::transaction::{self, Transaction};
use crate::txn::{self, Txn};

/// A client of a cluster. Clones are the same client; they cost little. Its tasks end when the last clone, table or
/// scan of it is dropped.
#[derive(Clone, Debug)]
pub struct Client(Arc<Handle>);

/// Ends the tasks with the last clone, and the client's own node after them.
struct Handle {
    core: Arc<Core>,
    #[cfg(feature = "embedded")]
    node: crate::embedded::Node,
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.core.fmt(f)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.core.tasks.end();
    }
}

impl Client {
    /// A client with default options of the cluster that the nodes at `addresses` are of, each `http://host:port`. One
    /// address is enough; more help while nodes are down. The other nodes are learned from the first that answers.
    ///
    /// # Errors
    /// No node answered: check the addresses, or try again later.
    pub async fn connect<A: AsRef<str>>(addresses: impl IntoIterator<Item = A>) -> Result<Self, Error> {
        Self::builder().connect(addresses).await
    }

    /// A client with other options.
    #[must_use]
    pub fn builder() -> ClientBuilder {
        ClientBuilder::default()
    }

    /// A client over any network: a simulated one, or none at all for a node in the same process. Nothing is sent before
    /// the first operation.
    ///
    /// # Errors
    /// No seed, or an option that cannot be used.
    pub fn with_network(network: Arc<dyn Network>, seeds: Vec<Address>, options: Options) -> Result<Self, Error> {
        Ok(Self(Arc::new(Handle {
            core: Arc::new(Core::new(network, seeds, options)?),
            #[cfg(feature = "embedded")]
            node: crate::embedded::Node::default(),
        })))
    }

    /// A table of the cluster. Nothing is sent before its first operation, which fails if there is no such table.
    #[must_use]
    pub fn table(&self, name: &str) -> Table {
        Table::new(self.clone(), name)
    }

    /// A version above that of every write acknowledged before this call, and below that of every one begun after it: a
    /// name for this moment, to read at.
    pub async fn now(&self) -> Result<Version, Error> {
        sessions::now(self.core(), self.progress(Effect::Reads)).await.map(Version)
    }

    /// Commits a transaction: all of it takes effect at the version that is returned, over any tables and shards, strictly
    /// serializable with everything else.
    ///
    /// # Errors
    /// Nothing was done: `ConditionFailed` with the position of the condition that does not hold, counted over all batches;
    /// `Conflict` if something has changed since it was read; `NotFound` for a table that is not there; `Throttled` if
    /// others kept its keys until the deadline. [`Error::is_unknown`] tells when it may have been done all the same.
    pub async fn commit(&self, transaction: Transaction) -> Result<Version, Error> {
        transaction::commit(self.core(), transaction, Instant::now() + self.options().deadline).await
    }

    /// Runs a transaction: `body` reads and writes in it, then it is committed. While others change what it has read, it is
    /// run again, from its reads, at most [`Options::txn_attempts_max`] times and within the deadline of an operation. So
    /// `body` may run several times, and does nothing that it cannot do again. Returns what it did, and the commit version.
    ///
    /// ```no_run
    /// # async fn run(client: lentic_client::Client) -> Result<(), lentic_client::Error> {
    /// let (left, version) = client
    ///     .transact(|txn| async move {
    ///         let accounts = txn.table("accounts");
    ///         let found = accounts.get("ann").await?.and_then(|found| found.as_i64()).unwrap_or(0);
    ///         let paid = found.min(5);
    ///         accounts.add_i64("ann", -paid)?;
    ///         accounts.add_i64("bob", paid)?;
    ///         Ok::<_, lentic_client::Error>(found - paid)
    ///     })
    ///     .await?;
    /// # let _ = (left, version);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// What `body` returns ends it, and nothing was done. Otherwise as [`Self::commit`].
    pub async fn transact<T, E, F, Fut>(&self, body: F) -> Result<(T, Version), E>
    where
        E: From<Error>,
        F: Fn(Txn) -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        txn::transact(self, body).await
    }

    /// Begins a transaction for a caller who commits it himself. It must be committed within the deadline of an operation.
    #[must_use]
    pub fn begin(&self) -> Txn {
        Txn::begin(self.clone(), Instant::now() + self.options().deadline)
    }

    /// All tables at a version, to read from: a fresh one that sees every write acknowledged before this call.
    pub async fn snapshot(&self) -> Result<Snapshot, Error> {
        Ok(Snapshot::new(self.clone(), self.now().await?))
    }

    /// All tables as they were at `version`, to read from.
    #[must_use]
    pub fn snapshot_at(&self, version: Version) -> Snapshot {
        Snapshot::new(self.clone(), version)
    }

    /// The cluster that the client is connected to, once a node has answered.
    #[must_use]
    pub fn cluster(&self) -> Option<ClusterId> {
        self.core().cluster.get().copied()
    }

    /// The options.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.core().options
    }

    pub(crate) fn core(&self) -> &Arc<Core> {
        &self.0.core
    }

    #[cfg(feature = "embedded")]
    pub(crate) fn node(&self) -> &crate::embedded::Node {
        &self.0.node
    }

    pub(crate) fn progress(&self, effect: Effect) -> Progress {
        Progress::new(effect, &self.core().options)
    }

    /// Exchanges hellos with one of the seeds. Where nobody listens it is said at once; a node that is only silent, for
    /// it starts or has much to do, is tried again until the deadline.
    async fn greet(&self) -> Result<(), Error> {
        let core = self.core();
        let deadline = Instant::now() + core.options.deadline;
        loop {
            let (mut reasons, mut is_silent) = (Vec::new(), false);
            for _ in 0..core.nodes.len() {
                let (address, began) = (core.nodes.chosen(), Instant::now());
                match core.pipe(&address).line(core).await {
                    Ok(_) => return Ok(()),
                    Err(error) => reasons.push(error.message().to_owned()),
                }
                is_silent |= began.elapsed() >= core.options.dial_max;
                core.nodes.avoid(&address);
            }
            if !is_silent || Instant::now() >= deadline {
                return Err(Error::unavailable(format!("no node answered: {}", reasons.join("; "))));
            }
            // Until then its pipe says that it is down.
            sleep(core.options.backoff_max).await;
        }
    }
}

/// Options, and then a connection.
#[derive(Clone, Debug, Default)]
pub struct ClientBuilder {
    pub(crate) options: Options,
}

impl ClientBuilder {
    /// Sets how long an operation may take in all.
    #[must_use]
    pub const fn deadline(mut self, deadline: Duration) -> Self {
        self.options.deadline = deadline;
        self
    }

    /// Sets how long an operation may wait for others to go with: see [`Options::linger`].
    #[must_use]
    pub const fn linger(mut self, linger: Duration) -> Self {
        self.options.linger = linger;
        self
    }

    /// Sets all options.
    #[must_use]
    pub fn options(mut self, options: Options) -> Self {
        self.options = options;
        self
    }

    /// Connects as [`Client::connect`] does.
    ///
    /// # Errors
    /// No node answered, or an option cannot be used.
    pub async fn connect<A: AsRef<str>>(self, addresses: impl IntoIterator<Item = A>) -> Result<Client, Error> {
        let seeds = addresses.into_iter().map(|address| Address::from(address.as_ref())).collect();
        let client = Client::with_network(Arc::new(GrpcNetwork::new()), seeds, self.options)?;
        client.greet().await?;
        Ok(client)
    }
}
