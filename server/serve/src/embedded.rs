//! A node without sockets, for the process that it is part of.

use std::path::Path;
use std::sync::Arc;

use lentic_net::{Accept, Address, BoxFuture, Class, DialError, Link, Network};
use lentic_node::Node;
use lentic_rocks::RocksStore;
use lentic_runtime::Scope;

use crate::config::Config;
use crate::core::{Core, Place, random_bytes};
use crate::directory::DataDirectory;
use crate::error::{StartError, StopError};

/// Frames that a link holds in each direction before a sender waits.
const LINK_FRAMES: usize = 64;
/// Where the node is. Nobody can dial it from outside.
const ADDRESS: &str = "http://embedded:0";

/// A node of its own cluster, in this process. Dropped, it ends as a killed process does; what was acknowledged is on
/// disk at any time.
pub struct Embedded {
    core: Core,
}

impl Embedded {
    /// Opens the node in `path`, and makes it if there is none. The configuration's addresses and directory do not
    /// count.
    ///
    /// # Errors
    /// [`StartError`]: each says what to do.
    pub async fn open(path: &Path, config: &Config) -> Result<Self, StartError> {
        let mut config = config.clone();
        config.place.join.clear();
        config.cluster.replicas = 1;
        config.check()?;
        let directory = DataDirectory::open(path, random_bytes)?;
        let (address, http_address) = (ADDRESS.to_owned(), String::new());
        let core = Core::open(&config, directory, Place { network: Arc::new(Alone), address, http_address }).await?;
        Ok(Self { core })
    }

    /// The way to the node, for a client.
    #[must_use]
    pub fn network(&self) -> Arc<dyn Network> {
        Arc::new(Within { node: self.core.node.clone(), scope: self.core.scope.clone() })
    }

    /// An address for [`network`](Self::network).
    #[must_use]
    pub fn address(&self) -> Address {
        Address::from(ADDRESS)
    }

    /// Stops the node: flushes and closes. Networks that were given out reach nothing any more.
    ///
    /// # Errors
    /// [`StopError`]: not everything could be flushed. Nothing that was acknowledged is lost.
    pub async fn close(self) -> Result<(), StopError> {
        self.core.close(async {}).await
    }
}

/// The network of a node that has no others.
struct Alone;

impl Network for Alone {
    fn dial(&self, address: &Address, _class: Class) -> BoxFuture<'_, Result<Link, DialError>> {
        let reason = "this node is embedded and speaks to no others".to_owned();
        let refused = DialError { address: address.clone(), reason };
        Box::pin(async { Err(refused) })
    }
}

/// The way to a node in this process.
struct Within {
    node: Node<RocksStore>,
    scope: Scope,
}

impl Network for Within {
    fn dial(&self, _address: &Address, class: Class) -> BoxFuture<'_, Result<Link, DialError>> {
        let (here, there) = Link::pair(LINK_FRAMES);
        // In a scope that has ended it never runs, and the link is gone.
        self.scope.spawn(self.node.accept(class, there));
        Box::pin(async { Ok(here) })
    }
}
