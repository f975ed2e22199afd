//! Which of the commands on snapshots.

use clap::Subcommand;

use super::create::CreateSnapshotArgs;
use super::drop::DropSnapshotArgs;
use super::list::ListSnapshotsArgs;
use super::show::ShowSnapshotArgs;
use crate::session::{Outcome, Session};

/// Name a version of tables, and keep it for as long as it is needed
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum SnapshotCommand {
    /// Name the version of this moment, of one table or several; nothing is copied
    Create(CreateSnapshotArgs),
    /// List snapshots
    List(ListSnapshotsArgs),
    /// Show what a snapshot is of, and for how long it is kept
    Show(ShowSnapshotArgs),
    /// Drop a snapshot: its version can be read for as long as the tables' retention lasts
    Drop(DropSnapshotArgs),
}

impl SnapshotCommand {
    pub(crate) async fn run(&self, session: &mut Session) -> Outcome {
        match self {
            Self::Create(args) => args.run(session).await,
            Self::List(args) => args.run(session).await,
            Self::Show(args) => args.run(session).await,
            Self::Drop(args) => args.run(session).await,
        }
    }
}
