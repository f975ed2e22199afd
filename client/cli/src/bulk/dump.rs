//! `lentic dump`

use std::path::{Path, PathBuf};

use clap::Args;
use lentic_client::{Row, Version};
use lentic_runtime::blocking;
use serde::Serialize;

use super::encoding::Encoding;
use super::target::Target;
use super::{csv, jsonl};
use crate::args::{AtArgs, RangeArgs, SyntaxArgs};
use crate::ending::Ending;
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::output::{Answer, version_text};
use crate::progress::{Progress, RowsStep};
use crate::session::{Outcome, Session};
use crate::text::{count, quantity_of_bytes};

/// Bytes that are put together before they are written.
const BYTES_PER_WRITE: usize = 256 << 10;

/// Write the rows of a table to a file, all of one moment; `lentic load` reads it
///
/// In CSV, keys and values are escaped; in JSON lines, what is not UTF-8 is written as hex digits.
#[derive(Clone, Debug, Args)]
pub(crate) struct DumpArgs {
    /// The table
    table: String,
    /// The file: *.csv, *.jsonl or *.ndjson, with .gz after it or not; - is stdout. It appears when it is whole
    file: PathBuf,
    /// What the file is written in, if its name does not say
    #[arg(long, value_name = "FORMAT")]
    format: Option<Encoding>,
    #[command(flatten)]
    range: RangeArgs,
    #[command(flatten)]
    at: AtArgs,
    #[command(flatten)]
    syntax: SyntaxArgs,
}

impl DumpArgs {
    pub(crate) async fn run(&self, session: &mut Session) -> Outcome {
        let encoding = Encoding::of(&self.file, self.format)?;
        let range = self.range.range(self.syntax)?;
        let client = session.client().await?;
        let mut scan = client.table(&self.table).scan(range);
        if let Some(at) = self.at.version(&client, &self.table).await? {
            scan = scan.at(at);
        }
        let mut scan = scan.start();
        // A table that is not there leaves no file.
        let mut next = scan.next().await.transpose()?;
        let mut writing = Writing::begin(&self.file, encoding)?;
        let (mut progress, mut interrupt) = (Progress::new(session), Interrupt::listen()?);
        while let Some(row) = next {
            writing.push(&row)?;
            progress.show(&writing.step());
            next = tokio::select! {
                biased;
                () = interrupt.asked() => return Ok(Ending::Interrupted),
                row = scan.next() => row.transpose()?,
            };
        }
        let RowsStep { rows, bytes, .. } = writing.finish()?;
        progress.clear();
        if self.file != Path::new("-") {
            let version = scan.version().unwrap_or_default();
            session.printer.answer(&Dumped::new(rows, bytes, version))?;
        }
        Ok(Ending::Done)
    }
}

/// A dump being written.
struct Writing {
    target: Target,
    name: String,
    encoding: Encoding,
    buffer: Vec<u8>,
    rows: u64,
    bytes: u64,
}

impl Writing {
    fn begin(path: &Path, encoding: Encoding) -> Result<Self, Failure> {
        let name = path.display().to_string();
        let target = Target::begin(path).map_err(|error| Failure::file(&name, &error))?;
        let mut buffer = Vec::new();
        if encoding == Encoding::Csv {
            csv::write_heading(&mut buffer);
        }
        Ok(Self { target, name, encoding, buffer, rows: 0, bytes: 0 })
    }

    fn push(&mut self, row: &Row) -> Result<(), Failure> {
        match self.encoding {
            Encoding::Csv => csv::write_row(&mut self.buffer, row),
            Encoding::Jsonl => jsonl::write_row(&mut self.buffer, row),
        }
        self.rows += 1;
        if self.buffer.len() >= BYTES_PER_WRITE { self.write() } else { Ok(()) }
    }

    fn write(&mut self) -> Result<(), Failure> {
        self.bytes += self.buffer.len() as u64;
        let written = blocking(|| self.target.write(&self.buffer));
        self.buffer.clear();
        written.map_err(|error| self.refused(&error))
    }

    fn step(&self) -> RowsStep {
        RowsStep { rows: self.rows, bytes: self.bytes + self.buffer.len() as u64, bytes_total: None }
    }

    fn finish(mut self) -> Result<RowsStep, Failure> {
        self.write()?;
        let (step, name) = (self.step(), self.name);
        blocking(|| self.target.finish()).map_err(|error| refused(&name, &error))?;
        Ok(step)
    }

    fn refused(&self, error: &std::io::Error) -> Failure {
        refused(&self.name, error)
    }
}

fn refused(name: &str, error: &std::io::Error) -> Failure {
    if name == "-" { Failure::stdout(error) } else { Failure::file(name, error) }
}

#[derive(Serialize)]
struct Dumped {
    rows: u64,
    /// Of rows as written, before they are compressed.
    bytes: u64,
    version: String,
}

impl Dumped {
    fn new(rows: u64, bytes: u64, version: Version) -> Self {
        Self { rows, bytes, version: version_text(version) }
    }
}

impl Answer for Dumped {
    fn human(&self) -> String {
        let (rows, bytes) = (count(self.rows), quantity_of_bytes(self.bytes));
        format!("dumped {rows} rows, {bytes}, as of v{}\n", self.version)
    }

    fn plain(&self) -> Vec<Vec<String>> {
        vec![vec![self.rows.to_string(), self.bytes.to_string(), format!("v{}", self.version)]]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::shapes_of;

    #[test]
    fn a_dump_tells_its_version() {
        let [human, plain, json] = shapes_of(&Dumped::new(1_000, 2_048, Version(7)));
        assert_eq!(human, "dumped 1,000 rows, 2.0 KiB, as of v7\n");
        assert_eq!((&*plain, &*json), ("1000\t2048\tv7\n", "{\"rows\":1000,\"bytes\":2048,\"version\":\"7\"}\n"));
    }
}
