//! Replica snapshots: what replication asks for, from what a store can do.
//!
//! With a group goes all that rides in it. The receiver cannot know what that is, nor what shape the shard has there, so a file
//! of its own says it, behind those of the store:
//!
//! ```text
//! shape       epoch n rider*    rider     group table range
//! ```
//!
//! A shard may be cut while it is sent or received: what is sent has the shape that it had at one moment, and what is replaced is
//! what the receiver has of it then. A state from before a cut is not taken once the receiver knows of that: the keys that were
//! cut off may be another group's there.

use std::sync::Arc;

use bytes::Bytes;
use lentic_engine::keys::sys::{self, SysKind};
use lentic_engine::store::{TransferError, portable};
use lentic_engine::{Family, Portable, Span, StoreError};
use lentic_machine::shard::{self, Descriptor};
use lentic_raft::{Export, Fault, FileInfo, Import, Transfer};
use lentic_runtime::blocking;
use lentic_types::codec::{DecodeError, Reader, put_varint};
use lentic_types::limits::{BRANCHES_MAX, KEY_BYTES_MAX};
use lentic_types::{Epoch, GroupId, TableId, Version};

use crate::failure::{StoreFailure, fault};
use crate::shard::whole::Whole;

/// The name of the file that says what shape the shard has and what rides in its group. It is none of a store's.
const SHAPE: &str = "shape";
/// Most bytes of it.
const SHAPE_BYTES_MAX: usize = BRANCHES_MAX * (2 * KEY_BYTES_MAX + 64);
/// How often an export is made again because the shape or the riders have changed meanwhile. They seldom do.
const ATTEMPTS_MAX: usize = 8;

/// Sends and receives the state of one group and of what rides in it.
pub(crate) struct StoreTransfer<S> {
    group: GroupId,
    store: Arc<S>,
    failure: StoreFailure,
    /// Where the state lies, if that never changes; else it is a shard's.
    fixed: Option<Vec<Span>>,
    whole: Arc<Whole>,
}

impl<S: Portable> StoreTransfer<S> {
    /// The state of a shard. `whole` is told before anything of it is replaced.
    pub(crate) const fn of_shard(group: GroupId, store: Arc<S>, failure: StoreFailure, whole: Arc<Whole>) -> Self {
        Self { group, store, failure, fixed: None, whole }
    }

    /// What lies in these spans.
    pub(crate) fn of_spans(group: GroupId, store: Arc<S>, failure: StoreFailure, spans: Vec<Span>) -> Self {
        Self { group, store, failure, fixed: Some(spans), whole: Arc::default() }
    }
}

impl<S: Portable> Transfer for StoreTransfer<S> {
    fn export(&self) -> Result<Box<dyn Export>, Fault> {
        let (export, shape) = self.export_with_shape()?;
        let replica = portable::Export::values(&export).first().cloned().flatten();
        let replica = replica.ok_or_else(|| fault("the state to be sent says nothing of its last entry"))?;
        let mut files: Vec<_> = portable::Export::files(&export).iter().map(info).collect();
        let crc32 = crc32fast::hash(&shape);
        files.push(FileInfo { name: SHAPE.to_owned(), bytes: shape.len() as u64, crc32 });
        if lentic_types::mutant!("lossy-snapshot") && files.len() > 2 {
            files.drain(1..files.len() - 1);
        }
        Ok(Box::new(StoreExport { export, replica: replica.into(), files, shape }))
    }

    fn import(&self) -> Result<Box<dyn Import>, Fault> {
        let import = self.store.import().map_err(fault)?;
        let (group, store, whole) = (self.group, Arc::clone(&self.store), Arc::clone(&self.whole));
        let (failure, fixed) = (self.failure.clone(), self.fixed.clone());
        Ok(Box::new(StoreImport { group, store, failure, fixed, whole, import, shape: Vec::new() }))
    }
}

impl<S: Portable> StoreTransfer<S> {
    /// The state of the group at one moment, and what shape it had then.
    fn export_with_shape(&self) -> Result<(S::Export, Bytes), Fault> {
        let replica = (Family::Sys, sys::key(self.group, SysKind::Replica, &[]));
        let rows = [shard::changed_key(self.group), shard::descriptor_key(self.group)].map(|key| (Family::Sys, key));
        for _ in 0..ATTEMPTS_MAX {
            // In this order: if the rows are the same in the export, so is what was made of them.
            let mut before = Vec::with_capacity(rows.len());
            for (family, key) in &rows {
                before.push(self.store.get(*family, key).map_err(fault)?);
            }
            let (epoch, mut spans) = shape_of(&*self.store, self.group, self.fixed.as_deref())?;
            let Ok(mut riders) = shard::riders_in(&*self.store, self.group) else { continue };
            if lentic_types::mutant!("branch-not-in-snapshot") {
                riders.clear();
            }
            spans.extend(riders.iter().flat_map(|(group, descriptor)| shard::spans(*group, descriptor)));
            spans.sort();
            let keys: Vec<_> = std::iter::once(&replica).chain(&rows).cloned().collect();
            let export = blocking(|| self.store.export(&spans, &keys)).map_err(fault)?;
            if portable::Export::values(&export).get(1..) == Some(&*before) {
                return Ok((export, encode(epoch, &riders)));
            }
        }
        Err(fault("the shard changes its shape all the time; the snapshot is made again"))
    }
}

/// The epoch of a shard here and where it lies: now, for it may be cut.
fn shape_of(store: &impl Portable, group: GroupId, fixed: Option<&[Span]>) -> Result<(Epoch, Vec<Span>), Fault> {
    if let Some(spans) = fixed {
        return Ok((Epoch(0), spans.to_vec()));
    }
    let descriptor = shard::descriptor_in(store, group).map_err(fault)?;
    let descriptor = descriptor.ok_or_else(|| fault("the store has no shard of this group; replace this replica"))?;
    Ok((descriptor.epoch, shard::spans(group, &descriptor)))
}

fn encode(epoch: Epoch, riders: &[(GroupId, Descriptor)]) -> Bytes {
    let mut out = Vec::new();
    put_varint(&mut out, epoch.0);
    put_varint(&mut out, riders.len() as u64);
    for (group, descriptor) in riders {
        put_varint(&mut out, group.0);
        put_varint(&mut out, u64::from(descriptor.table.0));
        shard::encode_range(&mut out, &descriptor.range);
    }
    out.into()
}

/// The shard's epoch, and the spans of riders, that a file tells of.
fn decode(file: &[u8]) -> Result<(Epoch, Vec<Span>), DecodeError> {
    let mut reader = Reader::new(file);
    let epoch = Epoch(reader.varint("epoch")?);
    let count = reader.count(3, "riders")?;
    if count > BRANCHES_MAX {
        return Err(DecodeError::Invalid { field: "riders" });
    }
    let mut spans = Vec::new();
    for _ in 0..count {
        let group = GroupId(reader.varint("rider")?);
        let table = u32::try_from(reader.varint("table of rider")?)
            .map_err(|_| DecodeError::Invalid { field: "table of rider" })?;
        let (table, range) = (TableId(table), shard::decode_range(&mut reader)?);
        let descriptor = Descriptor { table, range, epoch: Epoch(1), watermark: Version::ZERO, ttl_ms: 0 };
        spans.extend(shard::spans(group, &descriptor));
    }
    reader.finish("shape")?;
    Ok((epoch, spans))
}

struct StoreExport<E> {
    export: E,
    replica: Bytes,
    files: Vec<FileInfo>,
    shape: Bytes,
}

impl<E: portable::Export> Export for StoreExport<E> {
    fn replica(&self) -> Bytes {
        self.replica.clone()
    }

    fn files(&self) -> &[FileInfo] {
        &self.files
    }

    fn read(&self, file: usize, offset: u64, bytes_max: usize) -> Result<Bytes, Fault> {
        if self.files.get(file).is_some_and(|file| file.name == SHAPE) {
            let start = usize::try_from(offset).map_or(self.shape.len(), |offset| offset.min(self.shape.len()));
            let end = start.saturating_add(bytes_max).min(self.shape.len());
            return Ok(self.shape.slice(start..end));
        }
        blocking(|| self.export.read(file, offset, bytes_max)).map_err(fault)
    }
}

struct StoreImport<S: Portable> {
    group: GroupId,
    store: Arc<S>,
    failure: StoreFailure,
    fixed: Option<Vec<Span>>,
    whole: Arc<Whole>,
    import: S::Import,
    shape: Vec<u8>,
}

impl<S: Portable> StoreImport<S> {
    /// Where the state lies here and where it will, if it is of no older shape than what is here.
    fn checked_spans(&self) -> Result<Vec<Span>, Fault> {
        let (epoch, riders) = decode(&self.shape).map_err(fault)?;
        let (here, mut spans) = shape_of(&*self.store, self.group, self.fixed.as_deref())?;
        if epoch < here {
            return Err(fault(format!("the state is of {epoch} and the shard here of {here}; it is sent again")));
        }
        spans.extend(riders);
        Ok(spans)
    }
}

impl<S: Portable> Import for StoreImport<S> {
    fn write(&mut self, file: &FileInfo, offset: u64, bytes: &[u8]) -> Result<(), Fault> {
        if file.name == SHAPE {
            let start = usize::try_from(offset).map_err(fault)?;
            if start > self.shape.len() || start + bytes.len() > SHAPE_BYTES_MAX {
                return Err(fault("the shape of the shard is told in parts that do not fit together"));
            }
            self.shape.truncate(start);
            self.shape.extend_from_slice(bytes);
            // Here it is only refused; at the end it would stop the group.
            return if self.shape.len() as u64 == file.bytes { self.checked_spans().map(drop) } else { Ok(()) };
        }
        let import = &mut self.import;
        blocking(|| portable::Import::write(import, &portable(file), offset, bytes)).map_err(fault)
    }

    fn finish(self: Box<Self>, files: &[FileInfo]) -> Result<(), Fault> {
        let files: Vec<_> = files.iter().filter(|file| file.name != SHAPE).map(portable).collect();
        // What is here now, and what rides in it, goes with the rest, also where the sender has it no more.
        let mut spans = self.checked_spans()?;
        let Self { group, store, failure, whole, import, .. } = *self;
        let here = shard::riders_in(&*store, group).map_err(fault)?;
        spans.extend(here.iter().flat_map(|(group, descriptor)| shard::spans(*group, descriptor)));
        whole.broken();
        spans.sort();
        spans.dedup();
        // It stops the group, and what the disk refused for one it will refuse for others.
        blocking(|| store.install(import, &spans, &files)).map_err(|error| match error {
            TransferError::Store(error) => failure.fault(&error),
            TransferError::Io { .. } => failure.fault(&StoreError::Failed(error.to_string())),
            TransferError::Ranges { .. } | TransferError::Refused { .. } => fault(error),
        })
    }
}

fn info(file: &portable::PortableFile) -> FileInfo {
    FileInfo { name: file.name.clone(), bytes: file.bytes, crc32: file.crc32 }
}

fn portable(file: &FileInfo) -> portable::PortableFile {
    portable::PortableFile { name: file.name.clone(), bytes: file.bytes, crc32: file.crc32 }
}

#[cfg(test)]
mod tests {
    use lentic_engine::MemStore;
    use lentic_engine::store::Store as _;
    use lentic_machine::Shard;
    use lentic_machine::meta::GROUP;
    use lentic_machine::shard::{Action, Branch, Command, HeadsOptions, Operation, Request, Write};
    use lentic_types::{Index, KeyRange, ShardId};

    use super::*;

    const HOME: GroupId = GroupId(GROUP.0 + 1);

    fn descriptor(table: u32) -> Descriptor {
        Descriptor {
            table: TableId(table),
            range: KeyRange::all(),
            epoch: Epoch(1),
            watermark: Version::ZERO,
            ttl_ms: 0,
        }
    }

    fn apply(store: &MemStore, shard: &mut Shard, rider: Option<ShardId>, action: Action) {
        let version = shard.newest().max(rider.and_then(|rider| shard.rider(rider)).map_or(Version(0), Shard::newest));
        let requests = vec![Request { version: Version(version.0 + 1), key: None, action }];
        let command = Command { epoch: Epoch(1), requests };
        let mut batch = shard.apply_for(rider, shard.applied().next(), &command, store).unwrap().batch;
        batch.put(Family::Sys, &sys::key(HOME, SysKind::Replica, &[]), b"replica");
        store.write(&batch).unwrap();
    }

    /// A store with a group, and the branches of these numbers in it, each with a value of its own.
    fn store(riders: &[u64]) -> MemStore {
        let (store, mut batch) = (MemStore::new(), lentic_engine::Batch::new());
        Shard::create(&mut batch, HOME, &descriptor(1));
        store.write(&batch).unwrap();
        let mut shard = Shard::load(&store, HOME, &HeadsOptions::default()).unwrap().unwrap();
        let put = || {
            let put = Operation::Put { key: "k".into(), value: "v".into(), expiry: None };
            Action::Write(Write { operations: vec![put], ..Write::default() })
        };
        apply(&store, &mut shard, None, put());
        for rider in riders {
            let (id, table) = (ShardId(*rider), TableId(u32::try_from(*rider).unwrap()));
            let branch = Branch { shard: id, table, version: Version(1), revision: 1 };
            apply(&store, &mut shard, None, Action::Branch(branch));
            apply(&store, &mut shard, Some(id), put());
        }
        store
    }

    fn transfer(from: &MemStore, to: &MemStore) {
        let of = |store: &MemStore| {
            let store = Arc::new(store.crash(store.unflushed()));
            (StoreTransfer::of_shard(HOME, Arc::clone(&store), StoreFailure::default(), Arc::default()), store)
        };
        let (sender, _) = of(from);
        let (receiver, received) = of(to);
        let (export, mut import) = (sender.export().unwrap(), receiver.import().unwrap());
        for (position, file) in export.files().iter().enumerate() {
            import.write(file, 0, &export.read(position, 0, 5).unwrap()).unwrap();
            if file.bytes > 5 {
                import.write(file, 5, &export.read(position, 5, usize::MAX).unwrap()).unwrap();
            }
        }
        import.finish(export.files()).unwrap();
        for family in Family::ALL {
            assert_eq!(received.entries(family), from.entries(family), "{family:?}");
        }
        let shard = Shard::load(&*received, HOME, &HeadsOptions::default()).unwrap();
        assert!(shard.is_some_and(|shard| shard.applied() > Index(0)));
    }

    #[test]
    fn what_rides_in_a_group_goes_with_it() {
        transfer(&store(&[12, 13]), &store(&[]));
        // What the receiver has and the sender has not, goes.
        transfer(&store(&[12]), &store(&[12, 14]));
        transfer(&store(&[]), &store(&[14]));
    }

    /// Who runs the node must hear of it: the group has stopped, and nothing starts it again.
    #[test]
    fn a_store_that_fails_while_it_takes_a_state_in_is_a_failure_of_the_node() {
        let (from, to, failure) = (Arc::new(store(&[])), Arc::new(store(&[])), StoreFailure::default());
        let export = StoreTransfer::of_shard(HOME, from, StoreFailure::default(), Arc::default()).export().unwrap();
        let receiver = StoreTransfer::of_shard(HOME, Arc::clone(&to), failure.clone(), Arc::default());
        let mut import = receiver.import().unwrap();
        for (position, file) in export.files().iter().enumerate() {
            import.write(file, 0, &export.read(position, 0, usize::MAX).unwrap()).unwrap();
        }
        to.fail("no space left");
        assert!(import.finish(export.files()).is_err());
        assert!(failure.get().is_some_and(|words| words.contains("no space left")), "{:?}", failure.get());
    }

    #[test]
    fn golden_bytes_of_a_shape() {
        let file = encode(Epoch(9), &[(GroupId(300), descriptor(7))]);
        assert_eq!(&file[..], b"\x09\x01\xac\x02\x07\x00\x00");
        assert_eq!(decode(&file), Ok((Epoch(9), shard::spans(GroupId(300), &descriptor(7)))));
        for length in 0..file.len() {
            assert!(decode(&file[..length]).is_err(), "the first {length} bytes");
        }
        assert_eq!(decode(&encode(Epoch(3), &[])), Ok((Epoch(3), Vec::new())));
    }
}
