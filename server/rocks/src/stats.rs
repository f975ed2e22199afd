//! Figures for an operator.

use lentic_engine::Family;
use lentic_engine::store::{Metric, MetricKind};
use rocksdb::properties::{
    BACKGROUND_ERRORS, CUR_SIZE_ALL_MEM_TABLES, ESTIMATE_NUM_KEYS, ESTIMATE_PENDING_COMPACTION_BYTES,
    LIVE_SST_FILES_SIZE, NUM_RUNNING_COMPACTIONS, NUM_RUNNING_FLUSHES, NUM_SNAPSHOTS, PropName, TOTAL_SST_FILES_SIZE,
};
use rocksdb::statistics::Ticker;

use crate::store::RocksStore;

type Row<Source> = (&'static str, Source, &'static str);

/// Properties that are summed over the families.
const SUMS: [Row<&PropName>; 5] = [
    ("lentic_rocks_memtable_used_bytes", CUR_SIZE_ALL_MEM_TABLES, "Bytes of all memtables that are not flushed yet."),
    ("lentic_rocks_live_files_bytes", LIVE_SST_FILES_SIZE, "Bytes of all files that the newest state consists of."),
    (
        "lentic_rocks_files_bytes",
        TOTAL_SST_FILES_SIZE,
        "Bytes of all files, with those that only open cursors and exports still need.",
    ),
    (
        "lentic_rocks_compaction_pending_bytes",
        ESTIMATE_PENDING_COMPACTION_BYTES,
        "Estimated bytes that compactions must rewrite until all levels are within their sizes.",
    ),
    ("lentic_rocks_entries_count", ESTIMATE_NUM_KEYS, "Estimated number of entries, all versions of a key counted."),
];

/// Properties of the whole store.
const GAUGES: [Row<&PropName>; 4] = [
    ("lentic_rocks_compactions_running_count", NUM_RUNNING_COMPACTIONS, "Compactions that are running now."),
    ("lentic_rocks_flushes_running_count", NUM_RUNNING_FLUSHES, "Flushes that are running now."),
    ("lentic_rocks_exports_open_count", NUM_SNAPSHOTS, "Exports that hold old entries from being dropped."),
    (
        "lentic_rocks_background_errors_count",
        BACKGROUND_ERRORS,
        "Flushes and compactions that have failed since the store was opened; the file LOG says why.",
    ),
];

/// RocksDB's own counters, summed.
const COUNTERS: [Row<&[Ticker]>; 15] = [
    (
        "lentic_rocks_stall_micros",
        &[Ticker::StallMicros],
        "Microseconds that writers were slowed or stopped by RocksDB.",
    ),
    ("lentic_rocks_written_bytes", &[Ticker::BytesWritten], "Bytes of batches written, before any rewriting."),
    ("lentic_rocks_flush_write_bytes", &[Ticker::FlushWriteBytes], "Bytes that flushes wrote to files."),
    ("lentic_rocks_compaction_read_bytes", &[Ticker::CompactReadBytes], "Bytes that compactions read."),
    ("lentic_rocks_compaction_write_bytes", &[Ticker::CompactWriteBytes], "Bytes that compactions wrote."),
    (
        "lentic_rocks_compaction_collected_count",
        &[Ticker::CompactionKeyDropUser],
        "Entries that GC dropped in compactions.",
    ),
    ("lentic_rocks_cache_data_hit_count", &[Ticker::BlockCacheDataHit], "Data blocks found in the block cache."),
    ("lentic_rocks_cache_data_miss_count", &[Ticker::BlockCacheDataMiss], "Data blocks not found in the block cache."),
    (
        "lentic_rocks_cache_index_miss_count",
        &[Ticker::BlockCacheIndexMiss],
        "Index blocks not found in the block cache.",
    ),
    (
        "lentic_rocks_cache_filter_miss_count",
        &[Ticker::BlockCacheFilterMiss],
        "Filter blocks not found in the block cache.",
    ),
    (
        "lentic_rocks_filter_useful_count",
        &[
            Ticker::LastLevelSeekFiltered,
            Ticker::NonLastLevelSeekFiltered,
            Ticker::BloomFilterPrefixUseful,
            Ticker::BloomFilterUseful,
        ],
        "Filters that spared the read of a file.",
    ),
    (
        "lentic_rocks_filter_passed_count",
        &[Ticker::LastLevelSeekFilterMatch, Ticker::NonLastLevelSeekFilterMatch],
        "Filters that let a seek read a file, which may still not hold the key.",
    ),
    ("lentic_rocks_seek_count", &[Ticker::NumberDbSeek], "Seeks of cursors."),
    (
        "lentic_rocks_step_skipped_count",
        &[Ticker::NumberIterSkip],
        "Deleted or overwritten entries that cursors stepped over.",
    ),
    ("lentic_rocks_file_open_count", &[Ticker::NoFileOpens], "Files opened."),
];

impl RocksStore {
    pub(crate) fn all_metrics(&self) -> Vec<Metric> {
        let gauge = |name, help, value| Metric { name, help, kind: MetricKind::Gauge, value };
        let counter = |name, help, value| Metric { name, help, kind: MetricKind::Counter, value };
        let (waiting, forgotten) = self.buried.counts();
        let level_zero = Family::ALL.map(|family| self.level_zero_files(family)).into_iter().max().unwrap_or(0);
        let mut metrics = vec![
            gauge(
                "lentic_rocks_memtable_bytes",
                "Memory that memtables hold, with those being flushed.",
                self.memtable_bytes() as u64,
            ),
            gauge("lentic_rocks_cache_bytes", "Memory of the block cache.", self.shared.cache.get_usage() as u64),
            gauge(
                "lentic_rocks_cache_pinned_bytes",
                "Memory of the block cache that is in use and cannot be given up.",
                self.shared.cache.get_pinned_usage() as u64,
            ),
            gauge(
                "lentic_rocks_level_zero_files_count",
                "Files in level 0 of the family that has the most: each read looks into all of them.",
                level_zero,
            ),
            gauge(
                "lentic_rocks_buried_waiting_count",
                "Deletes that wait to be removed as the oldest of their key.",
                waiting,
            ),
            counter(
                "lentic_rocks_buried_forgotten_count",
                "Such deletes that found the queue full and wait for another compaction.",
                forgotten,
            ),
        ];
        let sum = |property| Family::ALL.map(|family| self.family_property(family, property)).into_iter().sum();
        metrics.extend(SUMS.map(|(name, property, help)| gauge(name, help, sum(property))));
        let whole = |property| self.db.property_int_value(property).ok().flatten().unwrap_or(0);
        metrics.extend(GAUGES.map(|(name, property, help)| gauge(name, help, whole(property))));
        let count = |tickers: &[Ticker]| tickers.iter().map(|ticker| self.database.get_ticker_count(*ticker)).sum();
        metrics.extend(COUNTERS.map(|(name, tickers, help)| counter(name, help, count(tickers))));
        metrics
    }
}
