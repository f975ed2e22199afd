//! From a directory to a store, or to the reason why not.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use lentic_engine::Family;
use lentic_engine::gc::GcHandle;
use lentic_files::{DirectoryLock, LockError};
use lentic_types::ClusterId;
use rocksdb::{ColumnFamilyDescriptor, DB};

use crate::error::OpenError;
use crate::gc::{Buried, FilterFactory};
use crate::home::Home;
use crate::identity::{FORMAT_VERSION, IDENTITY_NAME, Identity, IdentityError, State};
use crate::options::StoreOptions;
use crate::store::{Parts, RocksStore};
use crate::tuning::{self, Shared};

/// The database's directory inside the store's.
pub(crate) const DATABASE_NAME: &str = "db";

impl RocksStore {
    /// Opens the store in `path`, and makes it if there is nothing: the directory is created, or is empty.
    ///
    /// `gc` holds the rules by which compactions drop what nobody can see. Errors are final: each says what to do.
    pub fn open(path: &Path, cluster: ClusterId, options: &StoreOptions, gc: GcHandle) -> Result<Self, OpenError> {
        options.check()?;
        // Before the lock, so that not even a lock file is left in a directory that is not ours; and again behind it,
        // because another process may have come first.
        inspect(path, cluster)?;
        lentic_files::make_directory(path).map_err(|error| OpenError::io(path, &error))?;
        let lock = DirectoryLock::take(path).map_err(|error| match error {
            LockError::Held(process) => OpenError::Locked { path: path.to_path_buf(), process },
            LockError::Io(error) => OpenError::io(path, &error),
        })?;
        let found = inspect(path, cluster)?;
        let write = |state| Identity { cluster, state }.write(path).map_err(|error| OpenError::io(path, &error));
        if found.is_none() {
            write(State::Creating)?;
        }
        let create = found != Some(State::Ready);
        let home = Home::new(path, lock).map_err(|error| OpenError::io(path, &error))?;
        let store = open_database(path, cluster, options, gc, create, home)?;
        store.finish_installs()?;
        if create {
            // It also makes the name of the database's directory durable, which lies in the same directory.
            write(State::Ready)?;
        }
        Ok(store)
    }
}

/// What `path` holds, without touching it: the state of our store, or `None` where one may be made.
fn inspect(path: &Path, cluster: ClusterId) -> Result<Option<State>, OpenError> {
    let here = || path.to_path_buf();
    let Some(text) = Identity::read(path).map_err(|error| OpenError::io(path, &error))? else {
        return match first_foreign_name(path).map_err(|error| OpenError::io(path, &error))? {
            Some(found) => Err(OpenError::Foreign { path: here(), found }),
            None => Ok(None),
        };
    };
    match Identity::parse(&text) {
        Err(IdentityError::Format(found)) => Err(OpenError::Format { path: here(), expected: FORMAT_VERSION, found }),
        Err(IdentityError::Damaged(reason)) => {
            Err(OpenError::Identity { path: path.join(IDENTITY_NAME), reason: reason.to_owned() })
        }
        Ok(identity) if identity.cluster != cluster => {
            Err(OpenError::Cluster { path: here(), expected: cluster, found: identity.cluster })
        }
        Ok(Identity { state: State::Ready, .. }) if !path.join(DATABASE_NAME).join("CURRENT").exists() => {
            Err(OpenError::Missing { path: path.join(DATABASE_NAME) })
        }
        Ok(identity) => Ok(Some(identity.state)),
    }
}

/// A name in `path` that a first open does not leave behind.
fn first_foreign_name(path: &Path) -> io::Result<Option<String>> {
    let entries = match fs::read_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        entries => entries?,
    };
    for entry in entries {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if !Identity::may_precede(&name) {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

fn open_database(
    path: &Path,
    cluster: ClusterId,
    options: &StoreOptions,
    gc: GcHandle,
    create: bool,
    home: Arc<Home>,
) -> Result<RocksStore, OpenError> {
    let shared = Shared::new(options);
    let buried = Arc::new(Buried::default());
    let database = tuning::database(options, &shared, create);
    let families = Family::ALL.map(|family| {
        let filter = (family == Family::Data).then(|| FilterFactory::new(gc.clone(), Arc::clone(&buried)));
        tuning::family(family, options, &shared, filter)
    });
    let descriptors =
        Family::ALL.map(|family| ColumnFamilyDescriptor::new(family.name(), families[family as usize].clone()));
    let db = DB::open_cf_descriptors(&database, path.join(DATABASE_NAME), descriptors)
        .map_err(|error| OpenError::rocks(path, error.as_ref()))?;
    Ok(RocksStore::new(Parts { db, database, families, shared, gc, buried, options: options.clone(), cluster, home }))
}
