//! What a group applies its entries to: the seam to the state.

use std::fmt::Debug;
use std::sync::Arc;

use bytes::Bytes;
use lentic_types::Index;

/// The state cannot be read, written or made durable, or it contradicts the log. The group stops on this node and is
/// not tried again; other groups go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Fault(pub String);

impl Fault {
    /// A fault with what was expected, what was found and what to do.
    pub fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }
}

/// An entry that a quorum has, to be applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// Its position: one above the entry before it.
    pub index: Index,
    /// What was proposed; none for the first entry of a term and for changes of membership, which only raise the
    /// applied index.
    pub command: Option<Bytes>,
}

/// A replica's state, as one group on one node has it.
///
/// Calls come one at a time from async code and may hold the thread: a machine that does so for long wraps its work in
/// [`lentic_runtime::blocking`].
pub trait Machine: Send + Sync + 'static {
    /// What applying a command answers.
    type Reply: Send + Sync + Debug + 'static;

    /// What the last [`Self::apply`] that is in the store gave as `replica`; none for a new replica.
    fn replica(&self) -> Result<Option<Bytes>, Fault>;

    /// Applies `entries`, in order and without gaps from the last applied one on. The changes, the applied index and
    /// `replica` (opaque bytes, the newest wins) go into the store together: a crash leaves all of a prefix of the calls.
    ///
    /// Returns one reply per entry with a command, in order.
    ///
    /// # Errors
    /// [`Fault`] stops the group.
    fn apply(&mut self, entries: Vec<Committed>, replica: Bytes) -> Result<Vec<Self::Reply>, Fault>;

    /// The applied index that would come back after a crash now; 0 if none.
    fn durable(&self) -> Result<Index, Fault>;

    /// Asks for durability of everything applied so far, soon. Returns at once.
    fn request_flush(&self) -> Result<(), Fault>;

    /// A handle for moving the whole state while entries are being applied.
    fn transfer(&self) -> Arc<dyn Transfer>;

    /// Loads the state again: an import has replaced it.
    fn reload(&mut self) -> Result<(), Fault>;
}

/// Moves the state of a replica as files. Calls hold their thread.
pub trait Transfer: Send + Sync + 'static {
    /// The state of one moment, for as long as the export lives.
    fn export(&self) -> Result<Box<dyn Export>, Fault>;

    /// Begins to receive a state. What an earlier import that did not finish has left is gone.
    fn import(&self) -> Result<Box<dyn Import>, Fault>;
}

/// A state that can be read as files.
pub trait Export: Send + Sync {
    /// The replica bytes in it: those of the last [`Machine::apply`] before the moment.
    fn replica(&self) -> Bytes;

    /// The files, in the order in which they are read.
    fn files(&self) -> &[FileInfo];

    /// Reads up to `bytes_max` bytes of the file with this number from `offset` on; fewer only at its end.
    fn read(&self, file: usize, offset: u64, bytes_max: usize) -> Result<Bytes, Fault>;
}

/// A state that is being received. Dropped before [`Self::finish`], it leaves the group's state as it was.
pub trait Import: Send + Sync {
    /// Writes the next bytes of a file: files come one after the other, each from 0 to its end without gaps; of a file
    /// without bytes nothing comes. Nothing has to be durable.
    fn write(&mut self, file: &FileInfo, offset: u64, bytes: &[u8]) -> Result<(), Fault>;

    /// Replaces the group's state by these files, durably: after a crash at any moment the replica has either the
    /// state from before or the new one, or refuses to start. Checks each file against its checksum.
    fn finish(self: Box<Self>, files: &[FileInfo]) -> Result<(), Fault>;
}

/// A file of an exported state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileInfo {
    /// Its name, unique in the export.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// CRC-32 (IEEE) of its contents.
    pub crc32: u32,
}
