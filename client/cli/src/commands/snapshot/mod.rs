//! `lentic snapshot`

mod command;
mod create;
mod drop;
mod list;
mod row;
mod show;

pub(crate) use command::SnapshotCommand;
