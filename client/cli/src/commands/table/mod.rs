//! `lentic table`

mod branch;
mod command;
mod create;
mod described;
mod drop;
mod list;
mod owners;
mod release;
mod show;
mod take;

pub(crate) use command::TableCommand;
pub(crate) use described::{ShardRow, shard_table};
