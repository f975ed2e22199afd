//! `lentic scan`

use clap::Args;
use lentic_client::{CheckpointScan, Error, KeyRange, Row, Scan, Table};
use serde::Serialize;

use crate::args::{RangeArgs, ReadAt, ReadAtArgs, ShowArgs, SyntaxArgs};
use crate::ending::Ending;
use crate::failure::Failure;
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
        let mut scan = self.begin(&client.table(&self.table), range, self.at.read_at(&client, &self.table).await?)?;
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

    fn begin(&self, table: &Table, range: KeyRange, at: ReadAt) -> Result<Reading, Failure> {
        if let ReadAt::Checkpoint(checkpoint) = at {
            let scan = checkpoint.scan(&range)?.limit(self.limit.unwrap_or(u64::MAX));
            return Ok(Reading::Checkpoint(if self.reverse { scan.reverse() } else { scan }));
        }
        let mut scan = table.scan(range);
        if let Some(limit) = self.limit {
            scan = scan.limit(limit);
        }
        if self.reverse {
            scan = scan.reverse();
        }
        if let ReadAt::Version(at) = at {
            scan = scan.at(at);
        }
        Ok(Reading::Version(scan.start()))
    }
}

/// A scan that runs.
enum Reading {
    Version(Scan),
    Checkpoint(CheckpointScan),
}

impl Reading {
    async fn next(&mut self) -> Option<Result<Row, Error>> {
        match self {
            Self::Version(scan) => scan.next().await,
            Self::Checkpoint(scan) => scan.next().await,
        }
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
