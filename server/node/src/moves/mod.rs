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
//! | `divide` | shards that are too large or too busy are cut |
//! | `cut` | where: functions |
//! | `leave` | the leader of the meta group says where replicas go whose nodes are emptied or dead, and where one lacks |

mod cut;
mod divide;
mod leave;
mod run;
mod split;
mod step;

pub(crate) use divide::{Divided, begin, keep as divide};
pub(crate) use leave::{has_leader, keep, planned};
pub(crate) use run::follow;
pub(crate) use split::lead;
