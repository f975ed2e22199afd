//! The state machine of the meta group: what belongs to no shard.
//!
//! The catalog says which nodes, tables and shards there are, and where; counters say which ids are still free; the
//! window's end says below which version the [oracle](crate::oracle) may hand out ticks; pins say which versions are kept. Every
//! node follows the catalog.
//!
//! | file | idea |
//! |---|---|
//! | `apply` | the switch: from an entry to its effects |
//! | `register_node`, `create_table`, `create_branch`, `drop_table`, `extend_window`, `issue_clients`, `set_replicas`, `set_cluster`, `set_balance`, `begin_split`, `end_split`, `create_pin`, `renew_pin`, `release_pin`, `sweep_pins`, `move_replica`, `settle_replicas`, `set_node_state` | one command each |
//! | `command`, `outcome` | what goes in and what comes out, with their bytes in `codec` |
//! | `catalog` | nodes, tables and shards, with the lookups that a router needs |
//! | `branches` | which table continues which, and whose groups its shards ride in |
//! | `pins` | versions that are kept from GC, and the floor below which no more come |
//! | `name`, `options` | how a table may be called, and what it may be asked to be |
//! | `rows` | the bytes of the state in the store |
//! | `state` | the replicated state, decoded: always what [`Meta::load`] would read from the store |

mod apply;
mod begin_split;
mod branches;
mod catalog;
mod codec;
mod command;
mod create_branch;
mod create_pin;
mod create_table;
mod drop_table;
mod end_split;
mod extend_window;
mod issue_clients;
mod move_replica;
mod name;
mod options;
mod outcome;
mod pins;
mod register_node;
mod release_pin;
mod renew_pin;
mod rows;
mod set_balance;
mod set_cluster;
mod set_node_state;
mod set_replicas;
mod settle_replicas;
mod state;
mod sweep_pins;

pub use apply::MetaApplied;
pub use catalog::{Catalog, Node, NodeState, Origin, Shape, ShardPlace, Splitting, Table};
pub use command::MetaCommand;
pub use name::canonical_name;
pub use options::TableOptions;
pub use outcome::{MetaOutcome, MetaRefusal};
pub use pins::{Pin, PinKind, PinSpan, Pins};
pub use state::{Counters, GROUP, Meta};
