//! `lentic snapshot show`

use clap::Args;

use super::row::SnapshotRow;
use crate::ending::Ending;
use crate::session::{Outcome, Session};

#[derive(Clone, Debug, Args)]
pub(crate) struct ShowSnapshotArgs {
    /// The snapshot's name
    name: String,
}

impl ShowSnapshotArgs {
    pub(super) async fn run(&self, session: &mut Session) -> Outcome {
        let found = session.client().await?.show_snapshot(&self.name).await?;
        session.printer.answer(&SnapshotRow::new(&found))?;
        Ok(Ending::Done)
    }
}
