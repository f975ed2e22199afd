//! A node in the client's own process: the same tables, the same promises, no sockets (feature `embedded`).

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use lentic_serve::config::Config;
use lentic_serve::{Embedded, StartError};
use lentic_types::ErrorKind;

use crate::client::{Client, ClientBuilder};
use crate::error::Error;

/// The node of an embedded client, until it is closed. Dropped, it ends as a killed process does.
#[derive(Default)]
pub(crate) struct Node(Mutex<Option<Embedded>>);

impl Client {
    /// A client with default options of a node of its own in this process, which keeps its data in `path` and is made
    /// there if there is none. Acknowledged is fsynced, as on any node. One process has the directory at a time.
    ///
    /// The node ends with the last clone of the client; [`close`](Self::close) it first, so that the next start need not
    /// replay the log.
    ///
    /// # Errors
    /// The directory cannot be used: the message says why and what to do.
    pub async fn embedded(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::builder().embedded(path).await
    }

    /// Ends the client, all its clones with it. A node of its own is flushed and closed; that of others stays.
    ///
    /// # Errors
    /// Not everything could be flushed. Nothing that was acknowledged is lost: the next start replays it.
    pub async fn close(self) -> Result<(), Error> {
        self.core().tasks.end();
        match self.node().take() {
            Some(node) => node.close().await.map_err(|error| Error::new(ErrorKind::Internal, error.to_string())),
            None => Ok(()),
        }
    }
}

impl ClientBuilder {
    /// Opens a node in this process as [`Client::embedded`] does.
    ///
    /// # Errors
    /// The directory or an option cannot be used.
    pub async fn embedded(self, path: impl AsRef<Path>) -> Result<Client, Error> {
        self.embedded_with(path, &Config::default()).await
    }

    /// The same with knobs of the node; its addresses and its directory do not count.
    ///
    /// # Errors
    /// The directory, an option or a knob cannot be used.
    pub async fn embedded_with(self, path: impl AsRef<Path>, config: &Config) -> Result<Client, Error> {
        let node = Embedded::open(path.as_ref(), config).await.map_err(refused)?;
        let client = Client::with_network(node.network(), vec![node.address()], self.options)?;
        client.node().put(node);
        Ok(client)
    }
}

impl Node {
    fn put(&self, node: Embedded) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(node);
    }

    fn take(&self) -> Option<Embedded> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

fn refused(error: StartError) -> Error {
    match error {
        StartError::Config(_) | StartError::Directory(_) => Error::invalid(error.to_string()),
        error => Error::new(ErrorKind::Internal, error.to_string()),
    }
}
