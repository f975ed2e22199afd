//! `lentic scan`

use clap::Args;
use serde::Serialize;

use crate::args::{RangeArgs, ReadAtArgs, Reading, ShowArgs, SyntaxArgs};
use crate::ending::Ending;
use crate::output::{Answer, Rows};
use crate::session::{Outcome, Session};
use crate::text::count;

/// Show the keys of a range with their values, in order, all of one moment or checkpoint
#[derive(Clone, Debug, Args)]
pub(crate) struct ScanArgs {
    /// The table
    table: String,
    #[command(flatten)]
    range: RangeArgs,
    /// Show at most so many rows
    #[arg(long, value_name = "ROWS")]
    limit: Option<u64>,
    /// From the last key to the first
    #[arg(long)]
    reverse: bool,
    /// Leave out the values
    #[arg(long)]
    keys_only: bool,
    /// Count the rows instead of showing them
    #[arg(long, conflicts_with_all = ["keys_only", "form", "long"])]
    count: bool,
    #[command(flatten)]
    at: ReadAtArgs,
    #[command(flatten)]
    show: ShowArgs,
    #[command(flatten)]
    syntax: SyntaxArgs,
}

impl ScanArgs {
    pub(crate) async fn run(&self, session: &mut Session) -> Outcome {
        let range = self.range.range(self.syntax)?;
        let client = session.client().await?;
        let at = self.at.read_at(&client, &self.table).await?;
        let mut scan = Reading::begin(&client.table(&self.table), range, at, self.limit, self.reverse)?;
        if self.count {
            let mut rows = 0;
            while let Some(row) = scan.next().await {
                row?;
                rows += 1;
            }
            session.printer.answer(&Count { rows })?;
            return Ok(Ending::Done);
        }
        let mut rows = Rows::new(&mut session.printer, self.show.style(self.keys_only));
        while let Some(row) = scan.next().await {
            rows.push(&row?.into())?;
        }
        rows.finish()?;
        Ok(Ending::Done)
    }
}

#[derive(Serialize)]
struct Count {
    rows: u64,
}

impl Answer for Count {
    fn human(&self) -> String {
        count(self.rows) + "\n"
    }

    fn plain(&self) -> Vec<Vec<String>> {
        vec![vec![self.rows.to_string()]]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::shapes_of;

    #[test]
    fn a_count_is_a_number() {
        assert_eq!(shapes_of(&Count { rows: 1_234 }), ["1,234\n", "1234\n", "{\"rows\":1234}\n"]);
    }
}
