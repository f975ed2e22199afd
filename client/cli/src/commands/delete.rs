//! `lentic delete`

use clap::Args;
use lentic_client::WriteBatch;

use super::written::Written;
use crate::args::{ConditionArgs, SyntaxArgs};
use crate::ending::Ending;
use crate::failure::Failure;
use crate::session::{Outcome, Session};

/// Remove the values of keys; prints the version of the write
#[derive(Clone, Debug, Args)]
pub(crate) struct DeleteArgs {
    /// The table
    table: String,
    /// The keys; those of one shard are removed together
    #[arg(required = true)]
    key: Vec<String>,
    #[command(flatten)]
    condition: ConditionArgs,
    #[command(flatten)]
    syntax: SyntaxArgs,
}

impl DeleteArgs {
    pub(crate) async fn run(&self, session: &mut Session) -> Outcome {
        let keys = self.syntax.keys(&self.key)?;
        let mut batch = WriteBatch::new();
        match (&keys[..], self.condition.is_some()) {
            ([key], true) => batch = self.condition.require(batch, key, self.syntax)?,
            (_, true) => return Err(Failure::usage("a condition is about one key; delete keys one by one with it")),
            (_, false) => {}
        }
        let batch = keys.into_iter().fold(batch, WriteBatch::delete);
        let table = session.client().await?.table(&self.table);
        let written =
            if self.condition.is_some() { table.write(batch).await } else { table.write_in_parts(batch).await };
        session.printer.answer(&Written::at(written?))?;
        Ok(Ending::Done)
    }
}
