//! Replica snapshots: what replication asks for, from what a store can do.

use std::sync::Arc;

use bytes::Bytes;
use lentic_engine::keys::sys::{self, SysKind};
use lentic_engine::store::portable;
use lentic_engine::{Family, Portable, Span};
use lentic_raft::{Export, Fault, FileInfo, Import, Transfer};
use lentic_runtime::blocking;
use lentic_types::GroupId;

use crate::failure::fault;
use crate::shard::whole::Whole;

/// Sends and receives the state of one group, which lies in some spans of a store.
pub(crate) struct StoreTransfer<S> {
    group: GroupId,
    store: Arc<S>,
    spans: Vec<Span>,
    whole: Arc<Whole>,
}

impl<S: Portable> StoreTransfer<S> {
    /// `whole` is told before anything of the state is replaced.
    pub(crate) const fn new(group: GroupId, store: Arc<S>, spans: Vec<Span>, whole: Arc<Whole>) -> Self {
        Self { group, store, spans, whole }
    }
}

impl<S: Portable> Transfer for StoreTransfer<S> {
    fn export(&self) -> Result<Box<dyn Export>, Fault> {
        let replica = (Family::Sys, sys::key(self.group, SysKind::Replica, &[]));
        let export = blocking(|| self.store.export(&self.spans, &[replica])).map_err(fault)?;
        let replica = portable::Export::values(&export).first().cloned().flatten();
        let replica = replica.ok_or_else(|| fault("the state to be sent says nothing of its last entry"))?;
        let mut files: Vec<_> = portable::Export::files(&export).iter().map(info).collect();
        if lentic_types::mutant!("lossy-snapshot") && files.len() > 1 {
            files.truncate(1);
        }
        Ok(Box::new(StoreExport { export, replica: replica.into(), files }))
    }

    fn import(&self) -> Result<Box<dyn Import>, Fault> {
        let import = self.store.import().map_err(fault)?;
        let (group, store, spans) = (self.group, Arc::clone(&self.store), self.spans.clone());
        Ok(Box::new(StoreImport { group, store, spans, whole: Arc::clone(&self.whole), import }))
    }
}

struct StoreExport<E> {
    export: E,
    replica: Bytes,
    files: Vec<FileInfo>,
}

impl<E: portable::Export> Export for StoreExport<E> {
    fn replica(&self) -> Bytes {
        self.replica.clone()
    }

    fn files(&self) -> &[FileInfo] {
        &self.files
    }

    fn read(&self, file: usize, offset: u64, bytes_max: usize) -> Result<Bytes, Fault> {
        blocking(|| self.export.read(file, offset, bytes_max)).map_err(fault)
    }
}

struct StoreImport<S: Portable> {
    group: GroupId,
    store: Arc<S>,
    spans: Vec<Span>,
    whole: Arc<Whole>,
    import: S::Import,
}

impl<S: Portable> Import for StoreImport<S> {
    fn write(&mut self, file: &FileInfo, offset: u64, bytes: &[u8]) -> Result<(), Fault> {
        let import = &mut self.import;
        blocking(|| portable::Import::write(import, &portable(file), offset, bytes)).map_err(fault)
    }

    fn finish(self: Box<Self>, files: &[FileInfo]) -> Result<(), Fault> {
        let files: Vec<_> = files.iter().map(portable).collect();
        let Self { group, store, spans, whole, import } = *self;
        whole.broken();
        blocking(|| store.install(import, group, &spans, &files)).map_err(fault)
    }
}

fn info(file: &portable::PortableFile) -> FileInfo {
    FileInfo { name: file.name.clone(), bytes: file.bytes, crc32: file.crc32 }
}

fn portable(file: &FileInfo) -> portable::PortableFile {
    portable::PortableFile { name: file.name.clone(), bytes: file.bytes, crc32: file.crc32 }
}
