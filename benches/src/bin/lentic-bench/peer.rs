//! The peer: bare RocksDB, set up as the store sets it up, so that a ratio shows what our code costs and nothing else.

use std::path::Path;

use rocksdb::{
    BlockBasedIndexType, BlockBasedOptions, Cache, DB, DBCompressionType, MergeOperands, Options, SliceTransform,
    WriteBatch, WriteOptions,
};

/// Opens a bare RocksDB with the memory that [`lentic_rocks::StoreOptions`] gives by default.
///
/// `versions` is whether keys end with eight bytes of version: the filter then covers what is before them.
pub(crate) fn open(directory: &Path, versions: bool) -> DB {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.set_write_buffer_size(64 << 20);
    options.set_max_write_buffer_number(6);
    options.set_max_background_jobs(4);
    options.set_compression_type(DBCompressionType::Lz4);
    options.set_bottommost_compression_type(DBCompressionType::Zstd);
    options.set_level_compaction_dynamic_level_bytes(true);
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(&Cache::new_hyper_clock_cache(256 << 20, 0));
    table.set_block_size(16 << 10);
    table.set_hybrid_ribbon_filter(10.0, 1);
    table.set_cache_index_and_filter_blocks(true);
    table.set_cache_index_and_filter_blocks_with_high_priority(true);
    table.set_pin_l0_filter_and_index_blocks_in_cache(true);
    table.set_index_type(BlockBasedIndexType::TwoLevelIndexSearch);
    table.set_partition_filters(true);
    table.set_pin_top_level_index_and_filter(true);
    table.set_optimize_filters_for_memory(true);
    table.set_format_version(7);
    if versions {
        options.set_prefix_extractor(SliceTransform::create(
            "user_key",
            |key| &key[..key.len().saturating_sub(8)],
            None,
        ));
        options.set_memtable_prefix_bloom_ratio(0.1);
        table.set_whole_key_filtering(false);
    }
    options.set_merge_operator_associative("append", append);
    options.set_block_based_table_factory(&table);
    DB::open(&options, directory).expect("a new directory opens")
}

/// Operands behind each other, for who merges.
fn append(_key: &[u8], stored: Option<&[u8]>, operands: &MergeOperands) -> Option<Vec<u8>> {
    let mut all = stored.unwrap_or_default().to_vec();
    operands.iter().for_each(|operand| all.extend_from_slice(operand));
    Some(all)
}

/// Writes a batch without write-ahead log, as the subject does.
pub(crate) fn write(db: &DB, batch: WriteBatch) {
    let mut options = WriteOptions::default();
    options.disable_wal(true);
    db.write_opt(batch, &options).expect("the store works");
}
