//! Where clients come in: pipes, what they ask, and where to send them when it is not here.

mod answers;
mod calls;
mod catalog;
mod checkpoint;
mod cluster;
mod forward;
mod guarded;
mod history;
mod kv;
mod last_checkpoint;
mod owners;
mod pauses;
mod pipe;
mod relay;
mod routes;
mod state;
mod unary;

pub(crate) use answers::Budget;
pub(crate) use calls::Calls;
pub(crate) use forward::{Forwarder, Lane};
pub(crate) use guarded::Guarded;
pub(crate) use pauses::{Pauses, Whom};
pub(crate) use routes::Routes;
pub(crate) use state::Gateway;
