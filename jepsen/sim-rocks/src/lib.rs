//! The simulated cluster with its stores on RocksDB.
//!
//! Each host has a directory of its own below the system's directory for temporary files, which goes with its store.
//! RocksDB does nothing by itself here: compaction is off, memtables are larger than what a seed writes, and a flush that
//! is only asked for is waited for. So what nodes do stays a function of the seed. The bytes of a snapshot do not, for
//! RocksDB writes names and times into its files: two runs of a seed have traces of the same events, whose digests differ
//! from the first snapshot on.

mod directory;
mod store;

pub use store::SimRocks;
