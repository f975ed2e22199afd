//! Two jobs over one month of flights, whatever happens to them: used by the example and by a test of the client.
//!
//! ```text
//!   flights ──► departures: by route and by carrier ──► windows of delays ──► output
//!      │                          │ −1 origin, +1 air
//!      │                       ledger            one table, two jobs, a constant total
//!      │                          │ −1 air, +1 destination
//!      └──────► arrivals: by aircraft
//! ```
//!
//! | module | idea |
//! |---|---|
//! | `source` | the file, and its events in partitions with offsets |
//! | `worker` | a task at work: what an event does to its states |
//! | `ledger` | the table that both jobs change, each event once |
//! | `run` | a job from its first attempt to its end: checkpoints, kills, restores, zombies |
//! | `oracle` | what must be in the tables, calculated in memory |
//! | `check` | what is in the tables against that |
//! | `failure` | what can go wrong |

mod check;
mod failure;
mod ledger;
mod oracle;
mod run;
mod source;
mod worker;

pub(crate) use check::compare;
pub(crate) use failure::Failure;
pub(crate) use oracle::expected;
pub(crate) use run::{Ended, Plan, Report, prepare, run};
pub(crate) use source::{Flight, Side, read};
pub(crate) use worker::Worker;
