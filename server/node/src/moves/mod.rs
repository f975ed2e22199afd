//! Replicas move and shards are cut: the catalog says how it shall be, and the leader of a shard's group makes it so.
//!
//! Nothing is remembered of how far a move is. The next step follows from what is seen: who the members of the group are, how
//! far each has the log, what the catalog says. So whoever leads after a crash goes on.
//!
//! | file | idea |
//! |---|---|
//! | `step` | from what is seen to the next step: a function |
//! | `run` | the leader of a group takes steps |
//! | `split` | the leader of a shard cuts it |
//! | `leave` | the leader of the meta group says where replicas go whose nodes are emptied or dead, and where one lacks |

mod leave;
mod run;
mod split;
mod step;

pub(crate) use leave::{has_leader, keep};
pub(crate) use run::follow;
pub(crate) use split::lead;
