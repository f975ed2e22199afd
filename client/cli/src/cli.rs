//! The command line: what can be asked for.

use clap::{Parser, Subcommand};

use crate::bench::BenchCommand;
use crate::bulk::{CopyArgs, DumpArgs, LoadArgs};
use crate::commands::{
    BalanceCommand, DeleteArgs, DeleteRangeArgs, DiffArgs, FeedArgs, GcCommand, GetArgs, MergeArgs, NodeCommand,
    NowArgs, PutArgs, ScanArgs, ShardCommand, SnapshotCommand, StatusArgs, TableCommand, TxnArgs, VersionArgs,
};
use crate::completions::CompletionsArgs;
use crate::dev::DevArgs;
use crate::ending::EXIT_CODES;
use crate::failure::Failure;
use crate::serve::ServeArgs;
use crate::session::{Outcome, Session, SessionArgs};

/// Lentic keeps the state of stream jobs: a replicated, sharded key-value store with versions.
///
/// `lentic serve` runs a node, `lentic dev` a cluster on this machine; all else is a client.
#[derive(Debug, Parser)]
#[command(name = "lentic", version, after_help = EXIT_CODES, max_term_width = 120)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
    #[command(flatten)]
    pub(crate) session: SessionArgs,
}

/// What can be asked for.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Serve(ServeArgs),
    Dev(DevArgs),
    #[command(subcommand)]
    Table(TableCommand),
    Put(PutArgs),
    Get(GetArgs),
    Delete(DeleteArgs),
    DeleteRange(DeleteRangeArgs),
    Scan(ScanArgs),
    Merge(MergeArgs),
    Diff(DiffArgs),
    Feed(FeedArgs),
    Txn(TxnArgs),
    Load(LoadArgs),
    Dump(DumpArgs),
    Copy(CopyArgs),
    Now(NowArgs),
    #[command(subcommand)]
    Snapshot(SnapshotCommand),
    #[command(subcommand)]
    Gc(GcCommand),
    Status(StatusArgs),
    #[command(subcommand)]
    Shard(ShardCommand),
    #[command(subcommand)]
    Node(NodeCommand),
    #[command(subcommand)]
    Balance(BalanceCommand),
    #[command(subcommand)]
    Bench(BenchCommand),
    Completions(CompletionsArgs),
    Version(VersionArgs),
}

impl Command {
    /// Threads of its runtime; `None`: one for each core.
    pub(crate) fn worker_threads(&self) -> Result<Option<usize>, Failure> {
        match self {
            Self::Serve(args) => args.worker_threads(),
            _ => Ok(None),
        }
    }

    /// Does it.
    pub(crate) async fn run(&self, session: &mut Session) -> Outcome {
        match self {
            Self::Serve(args) => args.run(session).await,
            Self::Dev(args) => args.run(session).await,
            Self::Table(command) => command.run(session).await,
            Self::Put(args) => args.run(session).await,
            Self::Get(args) => args.run(session).await,
            Self::Delete(args) => args.run(session).await,
            Self::DeleteRange(args) => args.run(session).await,
            Self::Scan(args) => args.run(session).await,
            Self::Merge(args) => args.run(session).await,
            Self::Diff(args) => args.run(session).await,
            Self::Feed(args) => args.run(session).await,
            Self::Txn(args) => args.run(session).await,
            Self::Load(args) => args.run(session).await,
            Self::Dump(args) => args.run(session).await,
            Self::Copy(args) => args.run(session).await,
            Self::Now(args) => args.run(session).await,
            Self::Snapshot(command) => command.run(session).await,
            Self::Gc(command) => command.run(session).await,
            Self::Status(args) => args.run(session).await,
            Self::Shard(command) => command.run(session).await,
            Self::Node(command) => command.run(session).await,
            Self::Balance(command) => command.run(session).await,
            Self::Bench(command) => command.run(session).await,
            Self::Completions(args) => args.run(session),
            Self::Version(args) => args.run(session),
        }
    }
}
