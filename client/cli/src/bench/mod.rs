//! `lentic bench`: how fast a cluster answers.
//!
//! | file | idea |
//! |---|---|
//! | `command`, `plan` | what is asked for |
//! | `keys` | which keys there are, and values |
//! | `pace` | when an operation begins: as soon as the last is done, or when its time has come |
//! | `caller` | one caller: operations one after the other |
//! | `measured`, `report` | latencies, and how they are told |

mod caller;
mod command;
mod keys;
mod measured;
mod pace;
mod plan;
mod report;

pub(crate) use command::BenchCommand;
