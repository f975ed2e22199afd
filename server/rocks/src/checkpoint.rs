//! The whole store, as it is at one moment, as another directory.

use std::fs;
use std::path::Path;
use std::sync::PoisonError;

use lentic_engine::store::TransferError;
use rocksdb::checkpoint::Checkpoint;

use crate::identity::{Identity, State};
use crate::open::DATABASE_NAME;
use crate::store::RocksStore;
use crate::transfer::{io_error, rocks_error};

impl RocksStore {
    /// Makes a copy of the store in `directory`, which must not exist yet: everything written so far is flushed, and
    /// files are hard links where the file system is the same, so it costs seconds, not space.
    ///
    /// It is a store like this one, for a backup to copy from, and can be opened. Its identity is written last: what
    /// a crash leaves of it has none, and is refused.
    pub fn checkpoint(&self, directory: &Path) -> Result<(), TransferError> {
        fs::create_dir(directory).map_err(io_error("create directory", directory))?;
        self.checkpoint_into(directory).inspect_err(|_| {
            // What is left of it is of no use; that it cannot be removed changes nothing about the error.
            let _ = fs::remove_dir_all(directory);
        })
    }

    fn checkpoint_into(&self, directory: &Path) -> Result<(), TransferError> {
        let _no_installs = self.installs.write().unwrap_or_else(PoisonError::into_inner);
        Checkpoint::new(&self.db)
            .and_then(|checkpoint| checkpoint.create_checkpoint(directory.join(DATABASE_NAME)))
            .map_err(rocks_error("make a checkpoint in", directory))?;
        let identity = Identity { cluster: self.cluster, state: State::Ready };
        identity.write(directory).map_err(io_error("write the identity in", directory))
    }
}
