//! How keys and values are written and shown, and when they are read.

use bytes::Bytes;
use clap::Args;
use lentic_client::{Client, ErrorKind, JobCheckpoint, Version};

use crate::failure::Failure;
use crate::output::RowStyle;
use crate::text::{Form, Moment, Syntax};

/// How keys and values are written.
#[derive(Clone, Copy, Debug, Default, Args)]
pub(crate) struct SyntaxArgs {
    /// Keys and values are written as hex digits: 0x6100, 6100
    #[arg(long, conflicts_with = "escaped")]
    hex: bool,
    /// Keys and values are written with escapes: \xNN, \n, \r, \t, \0, \\
    #[arg(long)]
    escaped: bool,
}

impl SyntaxArgs {
    /// The syntax asked for.
    pub(crate) const fn syntax(self) -> Syntax {
        match (self.hex, self.escaped) {
            (true, _) => Syntax::Hex,
            (false, true) => Syntax::Escaped,
            (false, false) => Syntax::Text,
        }
    }

    /// The bytes that `text` writes. `what` names them in the error.
    pub(crate) fn parse(self, what: &str, text: &str) -> Result<Bytes, Failure> {
        let bytes = self.syntax().parse(text);
        bytes.map(Bytes::from).map_err(|error| Failure::usage(format!("{what} {text:?}: {error}")))
    }

    /// The keys that `texts` write.
    pub(crate) fn keys(self, texts: &[String]) -> Result<Vec<Bytes>, Failure> {
        texts.iter().map(|text| self.parse("key", text)).collect()
    }
}

/// How values are shown.
#[derive(Clone, Copy, Debug, Default, Args)]
pub(crate) struct ShowArgs {
    /// Show values as this; else as text, with escapes where they are none
    #[arg(long = "as", value_name = "FORM")]
    form: Option<Form>,
    /// Show versions, their times, and when values end
    #[arg(short, long)]
    long: bool,
}

impl ShowArgs {
    /// Whether versions and times are wanted.
    pub(crate) const fn is_long(self) -> bool {
        self.long
    }

    /// The style of rows that is asked for.
    pub(crate) const fn style(self, keys_only: bool) -> RowStyle {
        RowStyle { form: self.form, is_long: self.long, keys_only }
    }
}

/// When to read.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct AtArgs {
    /// Read at a version (v123), at a time (2026-05-01T10:03:00Z), or so long ago (-10m)
    #[arg(long, value_name = "MOMENT", allow_hyphen_values = true)]
    at: Option<Moment>,
    /// Read at the version of a snapshot
    #[arg(long, value_name = "NAME", conflicts_with = "at")]
    at_snapshot: Option<String>,
}

/// When to read, a job's checkpoint among it.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct ReadAtArgs {
    #[command(flatten)]
    at: AtArgs,
    /// Read what a job had at its last complete checkpoint
    #[arg(long, value_name = "JOB", conflicts_with_all = ["at", "at_snapshot"])]
    at_checkpoint: Option<String>,
}

/// What is read.
#[derive(Clone, Debug)]
pub(crate) enum ReadAt {
    /// The newest.
    Newest,
    /// A version.
    Version(Version),
    /// A checkpoint.
    Checkpoint(Box<JobCheckpoint>),
}

impl ReadAtArgs {
    /// What to read of a table. Asks the cluster what time it is if that matters, for the snapshot, or for the checkpoint.
    pub(crate) async fn read_at(&self, client: &Client, table: &str) -> Result<ReadAt, Failure> {
        if let Some(job) = &self.at_checkpoint {
            let found = client.table(table).last_checkpoint(job).await.map_err(|error| {
                let kind = error.kind();
                let failure = Failure::from(error);
                if kind != ErrorKind::NotFound {
                    return failure;
                }
                failure.with_help(format!("`lentic table owners {table}` shows the jobs that own some of it"))
            })?;
            return Ok(ReadAt::Checkpoint(Box::new(found)));
        }
        Ok(self.at.version(client, table).await?.map_or(ReadAt::Newest, ReadAt::Version))
    }
}

impl AtArgs {
    /// The version to read a table at, `None` for the newest. Asks the cluster what time it is if that matters, or for the
    /// snapshot.
    pub(crate) async fn version(&self, client: &Client, table: &str) -> Result<Option<Version>, Failure> {
        if let Some(name) = &self.at_snapshot {
            return Ok(Some(client.table(table).at_snapshot(name).await?.version()));
        }
        let Some(moment) = self.at else { return Ok(None) };
        let now = if moment.needs_now() { client.now().await? } else { Version::MAX };
        moment.version(now).map(Some).map_err(|error| Failure::usage(error.to_string()))
    }
}
