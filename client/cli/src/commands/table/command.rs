//! Which of the commands on tables.

use clap::Subcommand;

use super::branch::BranchArgs;
use super::create::CreateArgs;
use super::drop::DropArgs;
use super::list::ListArgs;
use super::owners::OwnersArgs;
use super::release::ReleaseArgs;
use super::show::ShowTableArgs;
use super::take::TakeArgs;
use crate::session::{Outcome, Session};

/// Create, branch, list, show and drop tables
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum TableCommand {
    /// Create a table; one that is there already, with the same options, is shown
    Create(CreateArgs),
    /// Make a branch of a table: a table that shows what it held at a version, and then goes its own way
    Branch(BranchArgs),
    /// List all tables
    List(ListArgs),
    /// Show a table's options and shards
    Show(ShowTableArgs),
    /// Show who owns which ranges of a table, and since when
    Owners(OwnersArgs),
    /// Make a job the only writer of a range, and take it back to a checkpoint if asked
    Take(TakeArgs),
    /// Give up what is owned under a fence
    Release(ReleaseArgs),
    /// Drop a table and everything in it
    Drop(DropArgs),
}

impl TableCommand {
    pub(crate) async fn run(&self, session: &mut Session) -> Outcome {
        match self {
            Self::Create(args) => args.run(session).await,
            Self::Branch(args) => args.run(session).await,
            Self::List(args) => args.run(session).await,
            Self::Show(args) => args.run(session).await,
            Self::Owners(args) => args.run(session).await,
            Self::Take(args) => args.run(session).await,
            Self::Release(args) => args.run(session).await,
            Self::Drop(args) => args.run(session).await,
        }
    }
}
