//! A directory in memory that fails the way disks do, by seed.
//!
//! Of every file there are two views: what programs see, and what is on the platter. A write changes the first and
//! waits; a sync moves all that waits to the second. A crash goes back to the platter plus a part of what waited:
//! none, all, a prefix or any subset of the writes, each with some of its 512-byte sectors missing. Names work the
//! same way: creates, renames and removes wait for a sync of the directory, and a crash keeps any subset of them.
//!
//! A crash begins the next life and returns its handle. What is left of the lives before gets errors from everything,
//! so a thread of the old process can do no harm.

use super::{DirLock, File, Fs, LockError};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Error, ErrorKind, Result};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What tears: a write that was cut off by a crash keeps or loses whole sectors.
const SECTOR_BYTES: usize = 512;

/// A kind of operation, to be failed or watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SimOp {
    /// Reading a file.
    Read,
    /// Writing into a file.
    Write,
    /// Syncing a file.
    Sync,
    /// Reserving space.
    Allocate,
    /// Creating, renaming, removing, syncing names.
    Directory,
}

type Hook = Arc<dyn Fn(SimOp, &str) + Send + Sync>;

/// The simulated directory, in one life of the machine. Clones share both.
#[derive(Clone, Default)]
pub struct SimFs {
    disk: Arc<Mutex<Disk>>,
    life: u64,
}

#[derive(Default)]
struct Disk {
    nodes: BTreeMap<u64, Node>,
    node_next: u64,
    names: BTreeMap<String, u64>,
    names_durable: BTreeMap<String, u64>,
    names_waiting: Vec<NameChange>,
    /// Counts crashes and kills.
    life: u64,
    /// The life in which the lock was taken, if it is.
    locked_in: Option<u64>,
    read_only: bool,
    capacity_bytes: Option<u64>,
    faults: BTreeMap<SimOp, Fault>,
    counts: BTreeMap<SimOp, u64>,
    hook: Option<Hook>,
    clock: Duration,
}

#[derive(Clone, Copy)]
struct Fault {
    after: u64,
    error: ErrorKind,
}

#[derive(Default)]
struct Node {
    seen: Vec<u8>,
    durable: Vec<u8>,
    waiting: Vec<Change>,
}

enum Change {
    Write { offset: usize, data: Vec<u8> },
    Length(usize),
}

enum NameChange {
    Set(String, u64),
    Rename(String, String),
    Remove(String),
}

impl SimFs {
    /// An empty directory.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        // A test that panicked elsewhere must still be able to look at the disk.
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Loses power: keeps a part, chosen by `seed`, of what was not synced. Returns the handle of the next life.
    #[must_use]
    pub fn crash(&self, seed: u64) -> Self {
        let mut disk = self.disk();
        let mut random = Random(seed);
        for change in std::mem::take(&mut disk.names_waiting) {
            if random.one_in(2) {
                change.apply(&mut disk.names_durable);
            }
        }
        disk.names = disk.names_durable.clone();
        let kept: BTreeSet<u64> = disk.names.values().copied().collect();
        disk.nodes.retain(|node, _| kept.contains(node));
        disk.nodes.values_mut().for_each(|node| node.crash(&mut random));
        drop(disk);
        self.kill()
    }

    /// Ends the process but not the machine: nothing is lost. Returns the handle of the next life.
    #[must_use]
    pub fn kill(&self) -> Self {
        let mut disk = self.disk();
        disk.life += 1;
        Self { disk: Arc::clone(&self.disk), life: disk.life }
    }

    /// From the operation of this kind after the next `after` ones on, every one fails, until [`Self::heal`].
    ///
    /// A failed sync is like Linux's: what waited is lost from then on, though it is still seen until the crash.
    pub fn fail(&self, op: SimOp, after: u64, error: ErrorKind) {
        self.disk().faults.insert(op, Fault { after, error });
    }

    /// Ends all faults.
    pub fn heal(&self) {
        let mut disk = self.disk();
        disk.faults.clear();
        disk.read_only = false;
        disk.capacity_bytes = None;
    }

    /// Every operation that changes something fails as on a read-only mount.
    pub fn set_read_only(&self) {
        self.disk().read_only = true;
    }

    /// All files together may become no larger than this.
    pub fn set_capacity_bytes(&self, bytes: u64) {
        self.disk().capacity_bytes = Some(bytes);
    }

    /// Calls `hook` before each operation on a file, with the kind and the file's name at opening, and no lock held: to
    /// delay, to count, or to hold an operation until a test lets it go.
    pub fn set_hook(&self, hook: impl Fn(SimOp, &str) + Send + Sync + 'static) {
        self.disk().hook = Some(Arc::new(hook));
    }

    /// How many operations of this kind there have been.
    #[must_use]
    pub fn count(&self, op: SimOp) -> u64 {
        self.disk().counts.get(&op).copied().unwrap_or(0)
    }

    /// Moves the clock that [`Fs::now`] shows.
    pub fn advance(&self, by: Duration) {
        self.disk().clock += by;
    }

    /// The names that programs see now.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.disk().names.keys().cloned().collect()
    }

    /// A copy of a file as programs see it.
    #[must_use]
    pub fn bytes(&self, name: &str) -> Option<Vec<u8>> {
        let disk = self.disk();
        disk.names.get(name).map(|node| disk.nodes[node].seen.clone())
    }

    /// Puts a file in place, synced with its name: damage it, cut it, or bring it from elsewhere.
    pub fn put(&self, name: &str, bytes: Vec<u8>) {
        let mut disk = self.disk();
        // In place, so that whoever has the file open sees it, too.
        let node = disk.names.get(name).copied().unwrap_or_else(|| disk.new_node());
        disk.nodes.insert(node, Node { seen: bytes.clone(), durable: bytes, waiting: Vec::new() });
        disk.names.insert(name.to_owned(), node);
        disk.names_durable.insert(name.to_owned(), node);
    }

    /// Changes a byte of a file, as rot does.
    ///
    /// # Panics
    /// If there is no such file or byte.
    pub fn flip(&self, name: &str, offset: usize, mask: u8) {
        let mut bytes = self.bytes(name).expect("the file to damage exists");
        bytes[offset] ^= mask;
        self.put(name, bytes);
    }

    /// An independent copy of what programs see, all of it synced.
    #[must_use]
    pub fn copy(&self) -> Self {
        let copy = Self::new();
        for name in self.names() {
            copy.put(&name, self.bytes(&name).expect("listed a moment ago"));
        }
        copy
    }

    /// The disk, if this life goes on.
    fn live(&self) -> Result<MutexGuard<'_, Disk>> {
        let disk = self.disk();
        match disk.life == self.life {
            true => Ok(disk),
            false => Err(Error::other("the simulated machine has crashed since")),
        }
    }

    fn begin(&self, op: SimOp, name: &str) -> Result<MutexGuard<'_, Disk>> {
        let hook = self.live()?.hook.clone();
        if let Some(hook) = hook {
            hook(op, name);
        }
        let mut disk = self.live()?;
        disk.before(op)?;
        Ok(disk)
    }

    fn file(&self, name: &str, node: u64) -> Arc<dyn File> {
        Arc::new(SimFile { fs: self.clone(), name: name.to_owned(), node })
    }
}

impl Disk {
    fn new_node(&mut self) -> u64 {
        self.node_next += 1;
        self.node_next
    }

    fn before(&mut self, op: SimOp) -> Result<()> {
        *self.counts.entry(op).or_default() += 1;
        if self.read_only && op != SimOp::Read {
            return Err(ErrorKind::ReadOnlyFilesystem.into());
        }
        match self.faults.get_mut(&op) {
            Some(Fault { after: 0, error }) => Err(Error::new(*error, "simulated fault")),
            Some(fault) => {
                fault.after -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn find(&self, name: &str) -> Result<u64> {
        self.names.get(name).copied().ok_or_else(|| ErrorKind::NotFound.into())
    }

    fn rename(&mut self, change: NameChange) {
        change.apply(&mut self.names);
        self.names_waiting.push(change);
    }

    /// Fails if the node may not grow to `bytes`.
    fn check_capacity(&self, node: u64, bytes: usize) -> Result<()> {
        let grown = bytes.saturating_sub(self.nodes[&node].seen.len()) as u64;
        let used: u64 = self.names.values().map(|node| self.nodes[node].seen.len() as u64).sum();
        match self.capacity_bytes {
            Some(max) if grown > 0 && used + grown > max => Err(ErrorKind::StorageFull.into()),
            _ => Ok(()),
        }
    }
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<String, u64>) {
        match self {
            Self::Set(name, node) => {
                names.insert(name.clone(), *node);
            }
            Self::Rename(from, to) => {
                if let Some(node) = names.remove(from) {
                    names.insert(to.clone(), node);
                }
            }
            Self::Remove(name) => {
                names.remove(name);
            }
        }
    }
}

impl Node {
    fn change(&mut self, change: Change) {
        change.apply(&mut self.seen, |_| true);
        self.waiting.push(change);
    }

    fn sync(&mut self) {
        for change in self.waiting.drain(..) {
            change.apply(&mut self.durable, |_| true);
        }
    }

    fn crash(&mut self, random: &mut Random) {
        let waiting = std::mem::take(&mut self.waiting);
        let style = random.below(4);
        let prefix = random.below(waiting.len() as u64 + 1);
        for (position, change) in waiting.iter().enumerate() {
            let position = position as u64;
            match style {
                0 => {}
                1 => change.apply(&mut self.durable, |_| true),
                // A prefix, and some sectors of the change after it.
                2 if position < prefix => change.apply(&mut self.durable, |_| true),
                2 if position > prefix => {}
                _ => change.apply(&mut self.durable, |_| random.one_in(2)),
            }
        }
        self.seen = self.durable.clone();
    }
}

impl Change {
    /// Applies the change, to the sectors that `keep` wants.
    fn apply(&self, bytes: &mut Vec<u8>, mut keep: impl FnMut(usize) -> bool) {
        match self {
            Self::Length(length) => {
                if keep(0) {
                    bytes.resize(*length, 0);
                }
            }
            Self::Write { offset, data } => {
                let mut at = *offset;
                let end = offset + data.len();
                while at < end {
                    let next = end.min((at / SECTOR_BYTES + 1) * SECTOR_BYTES);
                    if keep(at / SECTOR_BYTES) {
                        bytes.resize(bytes.len().max(next), 0);
                        bytes[at..next].copy_from_slice(&data[at - offset..next - offset]);
                    }
                    at = next;
                }
            }
        }
    }
}

impl Fs for SimFs {
    fn lock(&self) -> std::result::Result<DirLock, LockError> {
        let mut disk = self.begin(SimOp::Directory, "LOCK").map_err(LockError::Io)?;
        if disk.locked_in == Some(self.life) {
            return Err(LockError::Held { process: Some(4711) });
        }
        disk.locked_in = Some(self.life);
        Ok(DirLock::new(SimLock(self.clone())))
    }

    fn list(&self) -> Result<Vec<String>> {
        Ok(self.live()?.names.keys().cloned().collect())
    }

    fn create(&self, name: &str) -> Result<Arc<dyn File>> {
        let mut disk = self.begin(SimOp::Directory, name)?;
        if disk.names.contains_key(name) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        let node = disk.new_node();
        disk.nodes.insert(node, Node::default());
        disk.rename(NameChange::Set(name.to_owned(), node));
        Ok(self.file(name, node))
    }

    fn open(&self, name: &str) -> Result<Arc<dyn File>> {
        let node = self.live()?.find(name)?;
        Ok(self.file(name, node))
    }

    fn rename(&self, from: &str, to: &str) -> Result<()> {
        let mut disk = self.begin(SimOp::Directory, from)?;
        disk.find(from)?;
        disk.rename(NameChange::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn remove(&self, name: &str) -> Result<()> {
        let mut disk = self.begin(SimOp::Directory, name)?;
        disk.find(name)?;
        disk.rename(NameChange::Remove(name.to_owned()));
        Ok(())
    }

    fn sync_dir(&self) -> Result<()> {
        let mut disk = self.begin(SimOp::Directory, ".")?;
        disk.names_durable = disk.names.clone();
        disk.names_waiting.clear();
        Ok(())
    }

    fn path(&self, name: &str) -> String {
        match name {
            "." => "sim".to_owned(),
            name => name.to_owned(),
        }
    }

    fn now(&self) -> Duration {
        self.disk().clock
    }
}

struct SimLock(SimFs);

impl Drop for SimLock {
    fn drop(&mut self) {
        let mut disk = self.0.disk();
        if disk.locked_in == Some(self.0.life) {
            disk.locked_in = None;
        }
    }
}

struct SimFile {
    fs: SimFs,
    name: String,
    node: u64,
}

impl SimFile {
    fn begin(&self, op: SimOp) -> Result<MutexGuard<'_, Disk>> {
        self.fs.begin(op, &self.name)
    }

    fn node<'a>(&self, disk: &'a mut Disk) -> &'a mut Node {
        disk.nodes.get_mut(&self.node).expect("a node lives as long as the life of its handles")
    }
}

impl File for SimFile {
    fn length(&self) -> Result<u64> {
        Ok(self.node(&mut *self.fs.live()?).seen.len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<()> {
        let mut disk = self.begin(SimOp::Read)?;
        let seen = &self.node(&mut disk).seen;
        let start = memory(offset);
        let bytes = seen.get(start..start + buffer.len()).ok_or(ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(bytes);
        Ok(())
    }

    fn write_at(&self, data: &[u8], offset: u64) -> Result<()> {
        let mut disk = self.begin(SimOp::Write)?;
        let offset = memory(offset);
        disk.check_capacity(self.node, offset + data.len())?;
        self.node(&mut disk).change(Change::Write { offset, data: data.to_vec() });
        Ok(())
    }

    fn sync_data(&self) -> Result<()> {
        match self.begin(SimOp::Sync) {
            Ok(mut disk) => {
                self.node(&mut disk).sync();
                Ok(())
            }
            Err(error) => {
                if let Ok(mut disk) = self.fs.live() {
                    self.node(&mut disk).waiting.clear();
                }
                Err(error)
            }
        }
    }

    fn allocate(&self, bytes: u64) -> Result<()> {
        let mut disk = self.begin(SimOp::Allocate)?;
        disk.check_capacity(self.node, memory(bytes))?;
        let node = self.node(&mut disk);
        if node.seen.len() < memory(bytes) {
            node.change(Change::Length(memory(bytes)));
        }
        Ok(())
    }

    fn cut(&self, bytes: u64) -> Result<()> {
        let mut disk = self.begin(SimOp::Allocate)?;
        self.node(&mut disk).change(Change::Length(memory(bytes)));
        Ok(())
    }
}

fn memory(bytes: u64) -> usize {
    usize::try_from(bytes).expect("a simulated file fits memory")
}

/// `SplitMix64` (Steele, Lea, Flood 2014): small, owned and the same everywhere, for a seed must replay.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}
