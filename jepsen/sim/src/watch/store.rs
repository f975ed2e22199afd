//! A store that tells the watch of every write.

use std::sync::Arc;

use lentic_engine::store::{Metric, PortableFile, TransferError};
use lentic_engine::{Batch, Bounds, Family, Portable, Pressure, Span, Store, StoreError, View};
use lentic_types::{GroupId, Index};

use super::Watch;
use super::states::group_of;

/// The store of a host, watched.
pub struct Watched<S> {
    store: Arc<S>,
    watch: Watch,
    host: usize,
}

impl<S: Portable> Watched<S> {
    /// The store that a host starts with.
    pub(crate) fn new(store: Arc<S>, watch: Watch, host: usize) -> Self {
        watch.store_found(host, &*store);
        Self { store, watch, host }
    }
}

impl<S: View> View for Watched<S> {
    type Cursor<'a>
        = S::Cursor<'a>
    where
        S: 'a;

    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.store.get(family, key)
    }

    fn cursor(&self, family: Family, bounds: Bounds) -> Result<Self::Cursor<'_>, StoreError> {
        self.store.cursor(family, bounds)
    }
}

impl<S: Store> Store for Watched<S> {
    fn write(&self, batch: &Batch) -> Result<(), StoreError> {
        self.watch.write(self.host, &*self.store, batch)
    }

    fn flush(&self) -> Result<(), StoreError> {
        self.store.flush()
    }

    fn durable_applied(&self, group: GroupId) -> Result<Index, StoreError> {
        self.store.durable_applied(group)
    }

    fn pressure(&self) -> Pressure {
        self.store.pressure()
    }
}

impl<S: Portable> Portable for Watched<S> {
    type Export = S::Export;
    type Import = S::Import;

    fn export(&self, spans: &[Span], keys: &[(Family, Vec<u8>)]) -> Result<S::Export, TransferError> {
        self.store.export(spans, keys)
    }

    fn import(&self) -> Result<S::Import, TransferError> {
        self.store.import()
    }

    fn install(&self, import: S::Import, spans: &[Span], files: &[PortableFile]) -> Result<(), TransferError> {
        self.store.install(import, spans, files)?;
        for group in spans.iter().filter(|span| span.family == Family::Sys).filter_map(|span| group_of(&span.lower)) {
            self.watch.installed(self.host, group, &*self.store);
        }
        Ok(())
    }

    fn disk_bytes(&self, spans: &[Span]) -> Result<Vec<u64>, StoreError> {
        self.store.disk_bytes(spans)
    }

    fn request_flush(&self) -> Result<(), StoreError> {
        self.store.request_flush()
    }

    fn maintain(&self) -> Result<(), StoreError> {
        self.store.maintain()
    }

    fn metrics(&self) -> Vec<Metric> {
        self.store.metrics()
    }
}
