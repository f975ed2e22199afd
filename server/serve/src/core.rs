//! A node on its directory: log, store and the node itself, opened and closed in the order that keeps promises.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use lentic_engine::Store as _;
use lentic_engine::gc::GcHandle;
use lentic_log::{DiskFs, Holder, Log, Writer, WriterThread};
use lentic_net::{Address, Network};
use lentic_node::{Identity, Membership, Node, Seams, join};
use lentic_rocks::{RocksStore, StoreOptions};
use lentic_runtime::{Random, Scope, SystemClock, blocking, random};
use lentic_types::{ClusterId, NodeId};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use crate::config::Config;
use crate::directory::{DataDirectory, Member, State};
use crate::error::{StartError, StopError};
use crate::peers;

/// The node that makes a cluster.
const FOUNDER: NodeId = NodeId(1);
/// Groups whose log is to be let go of, and that wait for it; more are named again later.
const PRESSED_MAX: usize = 64;
/// How often a node asks others where all are, to remember it.
const PEERS_EVERY: Duration = Duration::from_secs(600);
/// How long they may take to answer.
const PEERS_WITHIN: Duration = Duration::from_secs(10);
/// How long what still looks at the store may take to let go of it when the node stops, and how often that is looked at.
const RELEASE_WITHIN: Duration = Duration::from_secs(5);
const RELEASE_PAUSE: Duration = Duration::from_millis(5);

/// A node on its directory.
pub(crate) struct Core {
    pub(crate) node: Node<RocksStore>,
    pub(crate) store: Arc<RocksStore>,
    pub(crate) log: Log,
    pub(crate) scope: Scope,
    pub(crate) member: Member,
    writer: WriterThread,
    // Dropped last: the directory is this process's until all else is closed.
    directory: DataDirectory,
}

/// Where a node is, and how it reaches others.
pub(crate) struct Place {
    pub(crate) network: Arc<dyn Network>,
    pub(crate) address: String,
    pub(crate) http_address: String,
}

/// 16 random bytes.
pub(crate) fn random_bytes() -> [u8; 16] {
    let mut bytes = [0; 16];
    let (first, second) = bytes.split_at_mut(8);
    first.copy_from_slice(&random().to_be_bytes());
    second.copy_from_slice(&random().to_be_bytes());
    bytes
}

impl Core {
    /// Opens what the directory holds, and joins or makes a cluster if it holds nothing yet.
    pub(crate) async fn open(config: &Config, mut directory: DataDirectory, place: Place) -> Result<Self, StartError> {
        let scope = Scope::new(Random::from_system());
        let member = match directory.state() {
            State::Joining { incarnation } => {
                become_member(config, &mut directory, &place, &scope, incarnation).await?
            }
            State::Creating(member) | State::Ready(member) => member,
        };
        // Only before the first promise: on a node that has lost its log it would break what it voted for.
        let founds = member.node == FOUNDER && matches!(directory.state(), State::Creating(_));
        let gc = GcHandle::new();
        let (store, log, writer, pressed) = blocking(|| open_files(config, &directory, member.cluster, &gc))?;
        // From here on the log is closed whatever happens: the thread ends with this value.
        let writer = writer.spawn();
        let peers = peers::load(directory.path());
        let Place { network, address, http_address } = place;
        let seams = Seams {
            scope: scope.clone(),
            clock: Arc::new(SystemClock),
            network: Arc::clone(&network),
            log: log.clone(),
            store: Arc::clone(&store),
            gc,
        };
        let identity = Identity { cluster: member.cluster, node: member.node, incarnation: member.incarnation };
        let membership =
            Membership { identity, address: address.clone(), http_address: http_address.clone(), founds, peers };
        let node = Node::start(seams, membership, &config.into(), (&config.raft).into()).await?;
        directory.become_ready()?;
        let (presses, followed) = (node.clone(), directory.path().to_path_buf());
        scope.spawn(release_pressed(presses, pressed));
        let seeds = config.place.join.iter().map(|seed| Address::from(&*seed.url())).collect();
        scope.spawn(remember_peers(followed, network, seeds, member, address, http_address));
        Ok(Self { node, store, log, scope, member, writer, directory })
    }

    /// Hands over what the node leads and stops it. What has been told to be let go of by then is closed: everything
    /// is flushed, so that the next start replays nothing.
    ///
    /// # Errors
    /// Not all of it could be flushed. Nothing that was acknowledged is lost: the next start replays it.
    pub(crate) async fn close(self, before_close: impl Future<Output = ()>) -> Result<(), StopError> {
        let Self { node, store, log, scope, member: _, writer, directory } = self;
        node.shutdown().await;
        before_close.await;
        drop((node, log));
        scope.abort();
        let released = async {
            while Arc::strong_count(&store) > 1 {
                sleep(RELEASE_PAUSE).await;
            }
        };
        if timeout(RELEASE_WITHIN, released).await.is_err() {
            warn!("something still looks at the store; it is closed when that ends");
        }
        let flushed = blocking(|| store.flush());
        let closed = blocking(|| writer.close());
        blocking(|| drop(store));
        drop(directory);
        flushed.map_err(StopError::Store).and(closed.map_err(StopError::Log))
    }
}

type Files = (Arc<RocksStore>, Log, Writer, mpsc::Receiver<Holder>);

fn open_files(
    config: &Config,
    directory: &DataDirectory,
    cluster: ClusterId,
    gc: &GcHandle,
) -> Result<Files, StartError> {
    let options = StoreOptions::from(&config.store);
    let store = RocksStore::open(&directory.store(), cluster, &options, gc.clone())?;
    let (press, pressed) = mpsc::channel(PRESSED_MAX);
    let on_pressure = Box::new(move |holders: &[Holder]| {
        // Those that find no room are named again at the next segment.
        for holder in holders {
            let _ = press.try_send(*holder);
        }
    });
    let files = Arc::new(DiskFs::new(directory.log()));
    let (log, writer) = Log::open(files, cluster, (&config.log).into(), on_pressure)?;
    Ok((Arc::new(store), log, writer, pressed))
}

/// Joins a cluster, or makes one; the directory remembers.
async fn become_member(
    config: &Config,
    directory: &mut DataDirectory,
    place: &Place,
    scope: &Scope,
    incarnation: [u8; 16],
) -> Result<Member, StartError> {
    if config.place.join.is_empty() {
        let member = directory.become_member(ClusterId(random_bytes()), FOUNDER)?;
        info!(cluster = %member.cluster, "made a cluster");
        return Ok(member);
    }
    let seeds: Vec<_> = config.place.join.iter().map(|seed| Address::from(&*seed.url())).collect();
    let within = Duration::from_millis(config.cluster.join_ms_max);
    let network = Arc::clone(&place.network);
    let joined = scope.run(join(network, &seeds, incarnation, &place.address, &place.http_address, within)).await?;
    // Before the identity: a member of the cluster knows whom to ask.
    save_peers(directory.path(), &joined.peers);
    let member = directory.become_member(joined.identity.cluster, joined.identity.node)?;
    info!(cluster = %member.cluster, node = member.node.0, "joined a cluster");
    Ok(member)
}

/// Lets go of logs that the log has named as those that hold it.
async fn release_pressed(node: Node<RocksStore>, mut pressed: mpsc::Receiver<Holder>) {
    while let Some(holder) = pressed.recv().await {
        node.release_log(holder).await;
    }
}

/// Asks now and then where all nodes are, so that a restart finds some of them. Asking again is what joining again is:
/// it gives the same id.
async fn remember_peers(
    directory: std::path::PathBuf,
    network: Arc<dyn Network>,
    seeds: Vec<Address>,
    member: Member,
    address: String,
    http_address: String,
) {
    loop {
        sleep(PEERS_EVERY).await;
        let known = peers::load(&directory);
        let others: Vec<_> = known.values().chain(&seeds).filter(|peer| *peer.0 != *address).cloned().collect();
        if others.is_empty() {
            continue;
        }
        let asked = join(Arc::clone(&network), &others, member.incarnation, &address, &http_address, PEERS_WITHIN);
        match asked.await {
            Ok(joined) if joined.identity.cluster != member.cluster || joined.identity.node != member.node => {
                warn!(cluster = %joined.identity.cluster, "where peers were is another cluster now");
            }
            Ok(joined) if joined.peers != known => save_peers(&directory, &joined.peers),
            Ok(_) | Err(_) => {}
        }
    }
}

fn save_peers(directory: &std::path::Path, peers: &BTreeMap<NodeId, Address>) {
    if let Err(error) = blocking(|| peers::save(directory, peers)) {
        warn!(%error, "the addresses of other nodes were not remembered");
    }
}
