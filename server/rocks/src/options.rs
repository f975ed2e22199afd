//! The knobs of a store: what an operator may turn, with the cost of turning it too far.
//!
//! What is not here is not a matter of taste but of correctness, or of the shape of our data: see `tuning`.

use crate::tuning::LEVEL_ZERO_FILES_COMPACT;

/// The knobs of a store. The defaults suit a node with a few GiB of memory and a local SSD.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreOptions {
    /// Memory for blocks read from files, with their indexes and filters. Too small: every read goes to the disk, and
    /// below some hundred bytes per MiB of data even the indexes do not stay. Too large: memory that the page cache
    /// would have used for the same blocks, compressed.
    pub block_cache_bytes: usize,
    /// Size at which the memtable of a family is flushed, and those of the others with it. Too small: many small
    /// files, and more compaction. Too large: a crash replays more of the log.
    pub memtable_bytes: usize,
    /// Memory of all memtables together, those being flushed included; beyond it everything is flushed. Near
    /// `memtable_bytes`: writers are slowed during each flush. Large: memory is the price.
    pub memtables_bytes_max: usize,
    /// Threads for flushes and compactions. Too few: compaction falls behind and writers are slowed; more than the
    /// machine has cores: compaction takes them from the requests.
    pub background_jobs: u16,
    /// Files kept open; RocksDB clips it to what the process may open. Too few: files are opened again and again, each
    /// time with a read of their footer. Too many: none are left for connections.
    pub open_files_max: u16,
    /// Size of a file of sorted records. Small files: many of them, and a longer manifest. Large: a compaction
    /// rewrites more at once, and an export or a removed shard shares more of its files with its neighbours.
    pub file_bytes: usize,
    /// Age at which a file is compacted again although nothing was written over it, so that GC sees it: how long the
    /// garbage of keys that nobody writes any more may stay. Too low: the whole store is rewritten that often.
    pub file_seconds_max: u64,
    /// What flushes and compactions may write per second, or `None` for no limit. Too low: compaction falls behind,
    /// and in the end writers are stopped.
    pub background_write_bytes_per_second: Option<u64>,
    /// Files in level 0 at which RocksDB slows writers down. Every read looks into each of them.
    pub level_zero_files_slow: u16,
    /// Files in level 0 at which RocksDB stops writers. Too close to the former: writers stop without warning.
    pub level_zero_files_stop: u16,
    /// Bytes waiting for compaction at which RocksDB slows writers down: a debt in space and in read cost.
    pub pending_compaction_bytes_slow: usize,
    /// Bytes waiting for compaction at which RocksDB stops writers.
    pub pending_compaction_bytes_stop: usize,
    /// Whether compactions start by themselves. Off, nothing is collected and level 0 grows until
    /// [`pressure`](lentic_engine::Store::pressure) says stop: for tests, and for an operator who must stop all disk
    /// writes but those of flushes.
    pub automatic_compaction: bool,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            block_cache_bytes: 256 << 20,
            memtable_bytes: 64 << 20,
            memtables_bytes_max: 256 << 20,
            background_jobs: 4,
            open_files_max: 8_192,
            file_bytes: 64 << 20,
            file_seconds_max: 7 * 24 * 60 * 60,
            background_write_bytes_per_second: None,
            level_zero_files_slow: 20,
            level_zero_files_stop: 36,
            pending_compaction_bytes_slow: 64 << 30,
            pending_compaction_bytes_stop: 256 << 30,
            automatic_compaction: true,
        }
    }
}

/// Options that no store can work with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("store option {name} is {found}, expected {expected}; change it in the configuration")]
pub struct OptionsError {
    /// The option.
    pub name: &'static str,
    /// Its value.
    pub found: u64,
    /// What it must be, in words.
    pub expected: String,
}

impl StoreOptions {
    /// Checks each option, and those that depend on each other.
    pub fn check(&self) -> Result<(), OptionsError> {
        let at_least = |name, found: u64, least: u64, of: &str| {
            let expected = format!("at least {least}{of}");
            if found >= least { Ok(()) } else { Err(OptionsError { name, found, expected }) }
        };
        let memtable = self.memtable_bytes as u64;
        let l0_slow = u64::from(self.level_zero_files_slow);
        let pending_slow = self.pending_compaction_bytes_slow as u64;
        at_least("block_cache_bytes", self.block_cache_bytes as u64, 1 << 20, "")?;
        at_least("memtable_bytes", memtable, 64 << 10, "")?;
        at_least("memtables_bytes_max", self.memtables_bytes_max as u64, memtable, ", the size of one memtable")?;
        at_least("background_jobs", u64::from(self.background_jobs), 2, ", for a flush beside a compaction")?;
        at_least("open_files_max", u64::from(self.open_files_max), 64, "")?;
        at_least("file_bytes", self.file_bytes as u64, 64 << 10, "")?;
        at_least("file_seconds_max", self.file_seconds_max, 60 * 60, ", an hour")?;
        let rate = self.background_write_bytes_per_second;
        at_least("background_write_bytes_per_second", rate.unwrap_or(u64::MAX), 1 << 20, ", or none for no limit")?;
        at_least(
            "level_zero_files_slow",
            l0_slow,
            LEVEL_ZERO_FILES_COMPACT.into(),
            ", the files that start a compaction",
        )?;
        let stop = u64::from(self.level_zero_files_stop);
        at_least("level_zero_files_stop", stop, l0_slow + 1, ", above level_zero_files_slow")?;
        at_least("pending_compaction_bytes_slow", pending_slow, 1 << 20, "")?;
        let stop = self.pending_compaction_bytes_stop as u64;
        at_least("pending_compaction_bytes_stop", stop, pending_slow + 1, ", above pending_compaction_bytes_slow")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_usable_and_nonsense_is_named() {
        assert_eq!(StoreOptions::default().check(), Ok(()));
        let small = StoreOptions { memtables_bytes_max: 1 << 20, ..StoreOptions::default() };
        assert_eq!(
            small.check().unwrap_err().to_string(),
            "store option memtables_bytes_max is 1048576, expected at least 67108864, the size of one memtable; \
             change it in the configuration"
        );
        let slow = StoreOptions { background_write_bytes_per_second: Some(0), ..StoreOptions::default() };
        assert_eq!(slow.check().unwrap_err().name, "background_write_bytes_per_second");
        let inverted = StoreOptions { level_zero_files_stop: 20, ..StoreOptions::default() };
        assert_eq!(inverted.check().unwrap_err().name, "level_zero_files_stop");
    }
}
