//! The state machine of the meta group: what belongs to no shard.
//!
//! The catalog says which nodes, tables and shards there are, and where; counters say which ids are still free; the
//! window's end says below which version the [oracle](crate::oracle) may hand out ticks. Every node follows the catalog.
//!
//! | file | idea |
//! |---|---|
//! | `apply` | the switch: from an entry to its effects |
//! | `register_node`, `create_table`, `drop_table`, `extend_window`, `issue_clients`, `set_replicas`, `set_cluster` | one command each |
//! | `command`, `outcome` | what goes in and what comes out, with their bytes in `codec` |
//! | `catalog` | nodes, tables and shards, with the lookups that a router needs |
//! | `name`, `options` | how a table may be called, and what it may be asked to be |
//! | `rows` | the bytes of the state in the store |
//! | `state` | the replicated state, decoded: always what [`Meta::load`] would read from the store |
//!
//! Commands to come have their place beside these: removal of nodes, snapshots, split and move.

mod apply;
mod catalog;
mod codec;
mod command;
mod create_table;
mod drop_table;
mod extend_window;
mod issue_clients;
mod name;
mod options;
mod outcome;
mod register_node;
mod rows;
mod set_cluster;
mod set_replicas;
mod state;

pub use apply::MetaApplied;
pub use catalog::{Catalog, Node, ShardPlace, Table};
pub use command::MetaCommand;
pub use name::canonical_name;
pub use options::TableOptions;
pub use outcome::{MetaOutcome, MetaRefusal};
pub use state::{Counters, GROUP, Meta};
