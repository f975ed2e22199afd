//! What a node asks of its store beyond reading and writing.

use lentic_engine::store::{Metric, PortableFile, TransferError};
use lentic_engine::{Family, Portable, Span, StoreError};
use rocksdb::Range;

use crate::export::RocksExport;
use crate::import::RocksImport;
use crate::store::RocksStore;

/// Behind every key of ours: RocksDB asks for an end.
const LAST: [u8; 16] = [u8::MAX; 16];
/// Most deletes removed by one round of chores: each costs a seek.
const BURIED_PER_ROUND_MAX: usize = 1_000;

impl Portable for RocksStore {
    type Export = RocksExport;
    type Import = RocksImport;

    fn export(&self, spans: &[Span], keys: &[(Family, Vec<u8>)]) -> Result<RocksExport, TransferError> {
        self.export_files(spans, keys)
    }

    fn import(&self) -> Result<RocksImport, TransferError> {
        Ok(RocksImport::new(self.home.scratch()?))
    }

    fn install(&self, import: RocksImport, spans: &[Span], files: &[PortableFile]) -> Result<(), TransferError> {
        self.install_files(&import, spans, files)
    }

    fn disk_bytes(&self, spans: &[Span]) -> Result<Vec<u64>, StoreError> {
        let bytes = |span: &Span| {
            let end = span.upper.as_deref().unwrap_or(&LAST);
            let range = Range::new(&span.lower, end);
            // One answer for one range.
            self.db.get_approximate_sizes_cf(self.handle(span.family), &[range]).first().copied().unwrap_or(0)
        };
        Ok(spans.iter().map(bytes).collect())
    }

    /// For the log when it nears its byte cap: all groups share the memtables, so the oldest one is flushed with the
    /// others. It may still wait for a moment if a flush now would stop the writers.
    fn request_flush(&self) -> Result<(), StoreError> {
        self.flush_families(false)
    }

    fn maintain(&self) -> Result<(), StoreError> {
        self.promote_gc()?;
        self.remove_buried(BURIED_PER_ROUND_MAX).map(drop)
    }

    fn metrics(&self) -> Vec<Metric> {
        self.all_metrics()
    }
}
