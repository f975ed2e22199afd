//! The commands that ask a cluster one thing: one file each, with its arguments and its answer.

mod balance;
mod delete;
mod delete_range;
mod diff;
mod feed;
mod gc;
mod get;
mod merge;
mod now;
mod put;
mod scan;
mod shard;
mod snapshot;
mod status;
mod table;
mod txn;
mod version;
mod written;

pub(crate) use balance::BalanceCommand;
pub(crate) use delete::DeleteArgs;
pub(crate) use delete_range::DeleteRangeArgs;
pub(crate) use diff::DiffArgs;
pub(crate) use feed::FeedArgs;
pub(crate) use gc::GcCommand;
pub(crate) use get::GetArgs;
pub(crate) use merge::MergeArgs;
pub(crate) use now::NowArgs;
pub(crate) use put::PutArgs;
pub(crate) use scan::ScanArgs;
pub(crate) use shard::ShardCommand;
pub(crate) use snapshot::SnapshotCommand;
pub(crate) use status::StatusArgs;
pub(crate) use table::TableCommand;
pub(crate) use txn::TxnArgs;
pub(crate) use version::VersionArgs;
