//! Every knob of a node: where it comes from, what it is for, whether it fits.
//!
//! ```text
//! defaults ◀ file (TOML) ◀ environment (LENTIC_STORE__MEMTABLE_BYTES) ◀ arguments (--set store.memtable_bytes=…)
//! ```
//!
//! | file | idea |
//! |---|---|
//! | `tree`, `sections` | the knobs, with their docs and defaults |
//! | `knob` | what types a knob can have, and how a struct of knobs is made |
//! | `load`, `nearest` | from the sources to a configuration; nothing unknown passes |
//! | `check` | whether knobs make a node, each by itself and together |
//! | `print` | the whole configuration, commented; read back, it is the same |

mod check;
mod error;
mod knob;
mod load;
mod nearest;
mod print;
mod sections;
#[cfg(test)]
mod tests;
mod tree;

pub use error::{ConfigError, Origin};
pub use knob::HostPort;
pub use load::{Argument, Sources};
pub use sections::{
    Cluster, Connections, Format, History, Level, Log, Logging, Raft, RequestLimits, Requests, Shards, Store,
};
pub use tree::{Config, Place};
