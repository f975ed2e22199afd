//! `lentic table branch`

use clap::Args;

use super::create;
use super::described::Described;
use crate::args::AtArgs;
use crate::ending::Ending;
use crate::session::{Outcome, Session};

#[derive(Clone, Debug, Args)]
pub(crate) struct BranchArgs {
    /// The branch's name
    name: String,
    /// The table to make a branch of
    of: String,
    #[command(flatten)]
    at: AtArgs,
}

impl BranchArgs {
    pub(super) async fn run(&self, session: &mut Session) -> Outcome {
        let client = session.client().await?;
        let at = self.at.version(&client, &self.of).await?;
        let made = client.branch(&self.name, &self.of, at).await?;
        let made = create::with_leaders(&client, made).await?;
        session.printer.answer(&Described::new(&made))?;
        Ok(Ending::Done)
    }
}
