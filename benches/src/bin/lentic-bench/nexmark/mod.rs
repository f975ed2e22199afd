//! Six queries of Nexmark whose work is state, written once over a task's state, and run with it in this process, on three
//! nodes, and in a plain RocksDB as stream processors keep it.
//!
//! The queries are those of <https://github.com/nexmark/nexmark> (Apache-2.0), each as one task: what its SQL means, with the
//! changes that a streaming engine would send on. The events are those of the crate `nexmark`, and lie in memory before the
//! clock starts. All places must give the same answer.
//!
//! | module | idea |
//! |---|---|
//! | `run` | the queries in turn, at each place |
//! | `events` | what is taken from the generator, and how rows are written |
//! | `backend` | what a query may ask of its state; the task of a job |
//! | `plain` | the same on a bare RocksDB |
//! | `answer` | what came out, whatever the order |
//! | `auctions` | queries 4, 9 and 20: bids meet their auction |
//! | `hot` | query 5: the auctions with most bids in sliding windows |
//! | `bids` | queries 7 and 18: the highest of a window, the last of a bidder |

mod answer;
mod auctions;
mod backend;
mod bids;
mod events;
mod hot;
#[cfg(test)]
mod naive;
mod plain;
mod run;

pub(crate) use run::run;
