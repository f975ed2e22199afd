//! The simulated cluster with its stores on RocksDB.
