//! `lentic table show`

use clap::Args;

use super::described::Described;
use crate::ending::Ending;
use crate::session::{Outcome, Session};

#[derive(Clone, Debug, Args)]
pub(crate) struct ShowTableArgs {
    /// The table's name
    name: String,
}

impl ShowTableArgs {
    pub(super) async fn run(&self, session: &mut Session) -> Outcome {
        let found = session.client().await?.describe_table(&self.name).await?;
        session.printer.answer(&Described::new(&found))?;
        Ok(Ending::Done)
    }
}
