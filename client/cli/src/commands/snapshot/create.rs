//! `lentic snapshot create`

use clap::Args;
use lentic_client::SnapshotOptions;

use super::row::SnapshotRow;
use crate::ending::Ending;
use crate::failure::Failure;
use crate::session::{Outcome, Session};
use crate::text::Span;

#[derive(Clone, Debug, Args)]
pub(crate) struct CreateSnapshotArgs {
    /// The snapshot's name: letters, digits, and . _ - / : @
    name: String,
    /// The tables, all at one version
    #[arg(required = true)]
    table: Vec<String>,
    /// For how long it is kept; else until it is dropped
    #[arg(long, value_name = "SPAN")]
    lease: Option<Span>,
    /// Who makes it, for those who find it later
    #[arg(long, value_name = "NAME", default_value = "")]
    owner: String,
}

impl CreateSnapshotArgs {
    pub(super) async fn run(&self, session: &mut Session) -> Outcome {
        if self.lease.is_some_and(Span::is_zero) {
            return Err(Failure::usage("--lease is 0, and nothing would be kept; leave it out to keep it for good"));
        }
        let options = SnapshotOptions {
            tables: self.table.clone(),
            owner: self.owner.clone(),
            lease: self.lease.map(Span::duration),
        };
        let made = session.client().await?.create_snapshot(&self.name, options).await?;
        session.printer.answer(&SnapshotRow::new(&made))?;
        Ok(Ending::Done)
    }
}
