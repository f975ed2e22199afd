//! RocksDB's options, each with its reason.
//!
//! An option that is not set here has RocksDB's default on purpose: checksums of every block read, the check of each
//! file's unique id at open, and a full check of consistency at open are all on by default.

use lentic_engine::Family;
use lentic_engine::keys::data;
use lentic_types::mutant;
use rocksdb::statistics::StatsLevel;
use rocksdb::{
    BlockBasedIndexType, BlockBasedOptions, Cache, CompactionPri, DBCompressionType, Options, SliceTransform,
    WriteBufferManager,
};

use crate::gc::FilterFactory;
use crate::options::StoreOptions;

/// Files in level 0 that start a compaction of it: RocksDB's default, named because level 1 is sized by it.
pub(crate) const LEVEL_ZERO_FILES_COMPACT: u16 = 4;
/// Memtables of a family, full ones included. An atomic flush makes one of each family full at a time, so that the
/// small families have as many as the large one; writers slow down one before the last.
pub(crate) const MEMTABLES_MAX: u8 = 6;
/// Bits of filter for a key: one read in a hundred finds a file in vain.
const FILTER_BITS: f64 = 10.0;
/// Part of a data memtable that its own filter may take: enough for one key prefix in a hundred bytes.
const MEMTABLE_FILTER_RATIO: f64 = 0.1;
/// Less work than zstd's default level 3, for a little more space: while a store is small everything that is
/// written is compacted into the last level at once.
const ZSTD_LEVEL: i32 = 1;
/// RocksDB's default: the size of zstd's window follows from the level.
const ZSTD_WINDOW_BITS: i32 = -14;
/// Bytes after which a background write is pushed to the disk, so that an fsync at the end does not stall all others.
const SYNC_EVERY_BYTES: u64 = 1 << 20;
/// RocksDB's own log: files kept and their size. It is the first thing to read after a stall.
const INFO_LOGS: (usize, usize) = (8, 16 << 20);
/// The rate limiter's period: shorter costs wake-ups, longer makes bursts.
const RATE_PERIOD_MICROS: i64 = 100_000;

/// What several families share, and what is asked for figures later.
pub(crate) struct Shared {
    pub(crate) cache: Cache,
    pub(crate) memtables: WriteBufferManager,
}

impl Shared {
    pub(crate) fn new(options: &StoreOptions) -> Self {
        Self {
            // One cache for all families: a byte goes where it is used. HyperClock has no lock on a hit, where an LRU
            // cache has one for each of its parts; 0 lets it learn the size of blocks by itself.
            cache: Cache::new_hyper_clock_cache(options.block_cache_bytes, 0),
            // No stall of its own: writers are told by `pressure`, and stopped by RocksDB when memtables run out.
            memtables: WriteBufferManager::new_write_buffer_manager(options.memtables_bytes_max, false),
        }
    }
}

/// The options of the whole store. `create` is true until its first complete open.
pub(crate) fn database(options: &StoreOptions, shared: &Shared, create: bool) -> Options {
    let mut db = Options::default();
    db.create_if_missing(create);
    db.create_missing_column_families(create);

    // All families are flushed together or not at all. Without it a crash could bring back an applied index in `sys`
    // whose records in `data` are lost: they would never be applied again.
    db.set_atomic_flush(!mutant!("store-not-atomic"));
    // There is no write-ahead log (each write says so), so closing flushes what is in memory: RocksDB's default, and
    // the reason why a clean restart replays nothing.
    db.set_write_buffer_manager(&shared.memtables);

    db.set_max_background_jobs(i32::from(options.background_jobs));
    // A large compaction of level 0 is cut in two, else it holds up all those that wait for it.
    db.set_max_subcompactions(2);
    db.set_max_open_files(i32::from(options.open_files_max));
    db.set_bytes_per_sync(SYNC_EVERY_BYTES);
    if let Some(rate) = options.background_write_bytes_per_second {
        let rate = i64::try_from(rate).unwrap_or(i64::MAX);
        // Fairness 10: one in ten times a compaction goes before a flush, so that neither starves.
        db.set_ratelimiter(rate, RATE_PERIOD_MICROS, 10);
    }
    // A reader that drops the last cursor over old files does not delete them itself: requests do not wait for unlink.
    db.set_avoid_unnecessary_blocking_io(true);

    // Counters only. Timers cost a clock call on each read and write.
    db.enable_statistics();
    db.set_statistics_level(StatsLevel::ExceptHistogramOrTimers);
    db.set_keep_log_file_num(INFO_LOGS.0);
    db.set_max_log_file_size(INFO_LOGS.1);
    // Its history of statistics would be written into family `default`, which we keep empty.
    db.set_stats_persist_period_sec(0);
    db
}

/// The options of one family; `gc` is for family data only.
pub(crate) fn family(family: Family, options: &StoreOptions, shared: &Shared, gc: Option<FilterFactory>) -> Options {
    let mut cf = Options::default();
    cf.set_write_buffer_size(options.memtable_bytes);
    cf.set_max_write_buffer_number(i32::from(MEMTABLES_MAX));

    cf.set_disable_auto_compactions(!options.automatic_compaction);
    cf.set_level_zero_file_num_compaction_trigger(i32::from(LEVEL_ZERO_FILES_COMPACT));
    cf.set_level_zero_slowdown_writes_trigger(i32::from(options.level_zero_files_slow));
    cf.set_level_zero_stop_writes_trigger(i32::from(options.level_zero_files_stop));
    cf.set_soft_pending_compaction_bytes_limit(options.pending_compaction_bytes_slow);
    cf.set_hard_pending_compaction_bytes_limit(options.pending_compaction_bytes_stop);
    // Levels are sized from the last one upward: old versions and deletes take a tenth on top of the live data, not
    // up to as much again.
    cf.set_level_compaction_dynamic_level_bytes(true);
    // Level 1 about as large as what level 0 hands down: a compaction between them rewrites the least.
    cf.set_max_bytes_for_level_base(options.memtable_bytes as u64 * u64::from(LEVEL_ZERO_FILES_COMPACT));
    cf.set_target_file_size_base(options.file_bytes as u64);
    // Files that overlap least with the next level first: the least written for the most compacted.
    cf.set_compaction_pri(CompactionPri::MinOverlappingRatio);
    // RocksDB's default with a compaction filter would be thirty days.
    cf.set_periodic_compaction_seconds(options.file_seconds_max);
    // Upper levels are rewritten soon: cheap to compress. The last level holds nine tenths of the data for long.
    cf.set_compression_type(DBCompressionType::Lz4);
    cf.set_bottommost_compression_type(DBCompressionType::Zstd);
    cf.set_bottommost_compression_options(ZSTD_WINDOW_BITS, ZSTD_LEVEL, 0, 0, true);

    let mut table = blocks(shared);
    match family {
        Family::Data => tune_data(&mut cf, &mut table, gc),
        // Few and short-lived entries, read by their whole key or by range.
        Family::Lock | Family::Sys => table.set_bloom_filter(FILTER_BITS, false),
    }
    cf.set_block_based_table_factory(&table);
    cf
}

/// Records of tables: many versions under one user key, sought by [`Bounds::OneKey`](lentic_engine::Bounds::OneKey).
fn tune_data(cf: &mut Options, table: &mut BlockBasedOptions, gc: Option<FilterFactory>) {
    // Filters hold user keys, not records: a read seeks a version that hardly ever exists as such. The name is part
    // of the format: files written under another name lose the use of their filters.
    cf.set_prefix_extractor(SliceTransform::create("lentic.user_key", data::prefix, None));
    cf.set_memtable_prefix_bloom_ratio(MEMTABLE_FILTER_RATIO);
    table.set_whole_key_filtering(false);
    // Ribbon filters take a third less memory than bloom filters and three times the work to build: bloom for level
    // 0, which is gone within minutes, ribbon below.
    table.set_hybrid_ribbon_filter(FILTER_BITS, 1);
    if let Some(gc) = gc {
        cf.set_compaction_filter_factory(gc);
    }
}

fn blocks(shared: &Shared) -> BlockBasedOptions {
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(&shared.cache);
    // What is read at once on a miss. Larger compresses better; smaller reads less for one record.
    table.set_block_size(16 << 10);
    // Indexes and filters count against the cache's budget: outside of it they grow with the data, without a bound.
    table.set_cache_index_and_filter_blocks(true);
    // A cold filter costs a read per file and lookup; a scan must not push filters out by its data.
    table.set_cache_index_and_filter_blocks_with_high_priority(true);
    // Every read looks into every file of level 0.
    table.set_pin_l0_filter_and_index_blocks_in_cache(true);
    // In pages, with only the top in memory for certain: without, one lookup loads a filter of about a MiB.
    table.set_index_type(BlockBasedIndexType::TwoLevelIndexSearch);
    table.set_partition_filters(true);
    table.set_pin_top_level_index_and_filter(true);
    // Filters as large as the allocator's next size: a tenth less waste.
    table.set_optimize_filters_for_memory(true);
    // RocksDB's newest, pinned: an older release that cannot read it is stopped by the store's own format number.
    table.set_format_version(7);
    table
}
