//! `lentic copy`

use std::path::{Path, PathBuf};

use bytes::Bytes;
use clap::Args;
use lentic_client::{
    Client, Error, ErrorKind, KeyRange, Row, Table, TableDescription, TableOptions, Version, WriteBatch,
};
use serde::Serialize;
use tokio::task::JoinSet;

use super::digest::{Digest, Digesting};
use crate::args::{ReadAtArgs, Reading};
use crate::ending::Ending;
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::output::Answer;
use crate::progress::{Progress, RowsStep};
use crate::session::{Outcome, Session, address};

/// Rows of one request. More would wait for each other; fewer cost a request each.
const ROWS_PER_BATCH: usize = 2_000;
/// Bytes of one request, as soon as it has so many.
const BYTES_PER_BATCH: usize = 1 << 20;
/// Requests that are sent and not acknowledged, at most.
const BATCHES_IN_FLIGHT: usize = 4;

/// Copy tables from one place to another: clusters, and the directories of embedded nodes
///
/// Each table is copied as it is at one moment, and read again where it is then: its rows, bytes and checksum must be the same
/// at both ends. The copy is cut where the table is cut, and must not have rows before.
#[derive(Clone, Debug, Args)]
pub(crate) struct CopyArgs {
    /// The tables
    #[arg(required = true, value_name = "TABLE")]
    tables: Vec<String>,
    /// Read from the directory of an embedded node, which nobody has open, in place of --server
    #[arg(long, value_name = "DIRECTORY")]
    from_embedded: Option<PathBuf>,
    /// Write to the directory of an embedded node, which is made if there is none
    #[arg(long, value_name = "DIRECTORY", conflicts_with = "to_server")]
    to_embedded: Option<PathBuf>,
    /// Write to another cluster: the address of a node, or several
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',', value_parser = address)]
    to_server: Vec<String>,
    /// What the copy is called, if not as the table
    #[arg(long = "as", value_name = "NAME")]
    name: Option<String>,
    /// How many replicas each shard of the copy has, if not as many as the table's and at most one a node
    #[arg(long, value_name = "COUNT")]
    replicas: Option<u32>,
    #[command(flatten)]
    at: ReadAtArgs,
}

impl CopyArgs {
    pub(crate) async fn run(&self, session: &mut Session) -> Outcome {
        self.check()?;
        let source = match &self.from_embedded {
            Some(directory) => embedded(directory).await?,
            None => session.client().await?,
        };
        let (mut ended, target) = match self.target(session, &source).await {
            Ok(target) => (self.copy_all(session, &source, &target).await, Some(target)),
            Err(failure) => (Err(failure), None),
        };
        for client in target.into_iter().chain([source]) {
            let closed = client.close().await;
            ended = ended.and_then(|ending| closed.map(|()| ending).map_err(Failure::from));
        }
        ended
    }

    fn check(&self) -> Result<(), Failure> {
        if self.name.is_some() && self.tables.len() > 1 {
            return Err(Failure::usage("--as names one copy, and there are several tables; copy them one by one"));
        }
        let is_said = self.to_embedded.is_some() || !self.to_server.is_empty() || self.from_embedded.is_some();
        if !is_said && self.name.is_none() {
            return Err(Failure::usage(
                "nothing says where to copy to: give --to-embedded, --to-server, or another name with --as",
            ));
        }
        if self.replicas == Some(0) {
            return Err(Failure::usage("--replicas is 0, and a shard has at least one"));
        }
        Ok(())
    }

    async fn target(&self, session: &Session, source: &Client) -> Result<Client, Failure> {
        if let Some(directory) = &self.to_embedded {
            return embedded(directory).await;
        }
        if !self.to_server.is_empty() {
            return session.client_of(&self.to_server).await;
        }
        if self.from_embedded.is_some() { session.client().await } else { Ok(source.clone()) }
    }

    async fn copy_all(&self, session: &mut Session, source: &Client, target: &Client) -> Outcome {
        let mut interrupt = Interrupt::listen()?;
        for table in &self.tables {
            let name = self.name.as_ref().unwrap_or(table);
            let from = source.table(table);
            let copied = tokio::select! {
                biased;
                () = interrupt.asked() => return Ok(Ending::Interrupted),
                copied = self.copy(session, &from, target, name) => copied?,
            };
            session.printer.answer(&copied)?;
        }
        Ok(Ending::Done)
    }

    async fn copy(&self, session: &Session, from: &Table, target: &Client, name: &str) -> Result<Copied, Failure> {
        let described = from.client().describe_table(from.name()).await?;
        let at = self.at.read_at(from.client(), from.name()).await?;
        let mut rows = Reading::begin(from, KeyRange::all(), at, None, false)?;
        // What cannot be read is not begun there.
        let mut next = rows.next().await.transpose()?;
        let to = self.make(target, name, described).await?;
        let (mut progress, mut sent, mut writes) =
            (Progress::new(session), Digesting::default(), Writes::new(to.clone()));
        while let Some(row) = next {
            sent.take(&row);
            writes.push(row).await?;
            progress.show(&RowsStep { rows: sent.rows(), bytes: sent.bytes(), bytes_total: None });
            next = rows.next().await.transpose()?;
        }
        writes.finish().await?;
        progress.clear();
        let sent = sent.finish();
        let (mut progress, mut found) = (Progress::new(session), Digesting::default());
        let mut rows = to.scan(KeyRange::all()).start();
        while let Some(row) = rows.next().await.transpose()? {
            found.take(&row);
            let bytes_total = Some(sent.bytes);
            progress.show(&RowsStep { rows: found.rows(), bytes: found.bytes(), bytes_total });
        }
        progress.clear();
        let found = found.finish();
        if !found.is_copy_of(&sent) {
            let message = format!(
                "table {name} is not as it was sent: expected {sent}, found {found}; somebody else writes there, or it is \
                 damaged"
            );
            return Err(Failure::no(message).with_help("drop it and copy again"));
        }
        Ok(Copied { table: from.name().to_owned(), copy: name.to_owned(), digest: sent })
    }

    /// The table that is copied to: it has no rows.
    async fn make(&self, target: &Client, name: &str, described: TableDescription) -> Result<Table, Failure> {
        let table = target.table(name);
        match target.describe_table(name).await {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
            Ok(_) if table.scan(KeyRange::all()).limit(1).start().next().await.transpose()?.is_none() => {
                return Ok(table);
            }
            Ok(_) => {
                let message = format!("table {name} has rows there already; nothing was copied");
                return Err(Failure::no(message).with_help("choose another name with --as, or drop it"));
            }
        }
        let nodes = u32::try_from(target.status(false).await?.nodes.len()).unwrap_or(u32::MAX);
        let starts = described.shards.iter().skip(1).map(|shard| shard.range.start().clone());
        let options = TableOptions {
            split_points: starts.collect(),
            replicas: self.replicas.unwrap_or_else(|| described.table.options.replicas.min(nodes)),
            ..described.table.options
        };
        target.create_table(name, options).await?;
        Ok(table)
    }
}

/// Rows on their way: a few requests at once. A row that is sent twice is the same row.
struct Writes {
    table: Table,
    batch: WriteBatch,
    rows: usize,
    bytes: usize,
    in_flight: JoinSet<Result<Version, Error>>,
}

impl Writes {
    fn new(table: Table) -> Self {
        Self { table, batch: WriteBatch::new(), rows: 0, bytes: 0, in_flight: JoinSet::new() }
    }

    async fn push(&mut self, row: Row) -> Result<(), Failure> {
        self.rows += 1;
        self.bytes += row.key.len() + row.value.len();
        // A page's memory goes when its rows are copied out of it, not when the last of them is acknowledged.
        let copy = |bytes: &Bytes| Bytes::copy_from_slice(bytes);
        let (batch, key, value) = (std::mem::take(&mut self.batch), copy(&row.key), copy(&row.value));
        self.batch = match row.expires_unix_ms {
            Some(expires) => batch.put_with(key, value, expires),
            None => batch.put(key, value),
        };
        if self.rows >= ROWS_PER_BATCH || self.bytes >= BYTES_PER_BATCH { self.send().await } else { Ok(()) }
    }

    async fn send(&mut self) -> Result<(), Failure> {
        if self.in_flight.len() >= BATCHES_IN_FLIGHT {
            self.acknowledged().await?;
        }
        let (table, batch) = (self.table.clone(), std::mem::take(&mut self.batch));
        (self.rows, self.bytes) = (0, 0);
        self.in_flight.spawn(async move { table.write_in_parts(batch).await });
        Ok(())
    }

    /// Waits for one answer; whether there was one to wait for.
    async fn acknowledged(&mut self) -> Result<bool, Failure> {
        let Some(answered) = self.in_flight.join_next().await else { return Ok(false) };
        answered.expect("a task that writes does not panic")?;
        Ok(true)
    }

    async fn finish(mut self) -> Result<(), Failure> {
        if self.rows > 0 {
            self.send().await?;
        }
        while self.acknowledged().await? {}
        Ok(())
    }
}

async fn embedded(directory: &Path) -> Result<Client, Failure> {
    let opened = Client::embedded(directory).await;
    opened.map_err(|error| Failure::file(&directory.display().to_string(), &error.message()))
}

#[derive(Serialize)]
struct Copied {
    table: String,
    copy: String,
    #[serde(flatten)]
    digest: Digest,
}

impl Answer for Copied {
    fn human(&self) -> String {
        let name = if self.copy == self.table { String::new() } else { format!(" as {}", self.copy) };
        format!("copied {}{name}: {}\n", self.table, self.digest)
    }

    /// Table, copy, rows, bytes, checksum.
    fn plain(&self) -> Vec<Vec<String>> {
        let Digest { rows, bytes, .. } = &self.digest;
        vec![vec![
            self.table.clone(),
            self.copy.clone(),
            rows.to_string(),
            bytes.to_string(),
            self.digest.checksum().to_string(),
        ]]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::shapes_of;

    #[test]
    fn a_copy_tells_what_both_ends_have() {
        let digest = Digest { rows: 1_000, bytes: 2_048, crc32: 0xbeef, ending: 0 };
        let copied = |copy: &str| Copied { table: "t".to_owned(), copy: copy.to_owned(), digest };
        let [human, plain, json] = shapes_of(&copied("u"));
        assert_eq!(human, "copied t as u: 1,000 rows, 2.0 KiB, CRC-32 0000beef\n");
        assert_eq!(plain, "t\tu\t1000\t2048\t0000beef\n");
        assert_eq!(
            json,
            "{\"table\":\"t\",\"copy\":\"u\",\"rows\":1000,\"bytes\":2048,\"checksum\":\"0000beef\",\"ending\":0}\n"
        );
        assert_eq!(shapes_of(&copied("t"))[0], "copied t: 1,000 rows, 2.0 KiB, CRC-32 0000beef\n");
    }
}
