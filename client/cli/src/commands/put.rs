//! `lentic put`

use std::io::Read as _;
use std::path::PathBuf;

use bytes::Bytes;
use clap::Args;
use lentic_client::WriteBatch;
use lentic_types::limits::VALUE_BYTES_MAX;

use super::written::{Written, end_of};
use crate::args::{ConditionArgs, SyntaxArgs};
use crate::ending::Ending;
use crate::failure::Failure;
use crate::session::{Outcome, Session};
use crate::text::{Span, quantity_of_bytes};

/// Set the value of a key; prints the version of the write
#[derive(Clone, Debug, Args)]
pub(crate) struct PutArgs {
    /// The table
    table: String,
    /// The key
    key: String,
    /// The value
    #[arg(required_unless_present = "value_file", allow_negative_numbers = true)]
    value: Option<String>,
    /// Read the value from a file, as it is; - is stdin
    #[arg(long, value_name = "FILE", conflicts_with = "value")]
    value_file: Option<PathBuf>,
    /// How long the value lives
    #[arg(long, value_name = "SPAN")]
    ttl: Option<Span>,
    #[command(flatten)]
    condition: ConditionArgs,
    #[command(flatten)]
    syntax: SyntaxArgs,
}

impl PutArgs {
    pub(crate) async fn run(&self, session: &mut Session) -> Outcome {
        let key = self.syntax.parse("key", &self.key)?;
        let value = self.value()?;
        let batch = self.condition.require(WriteBatch::new(), &key, self.syntax)?;
        let client = session.client().await?;
        let batch = match end_of(self.ttl, &client).await? {
            Some(end) => batch.put_with(key, value, end),
            None => batch.put(key, value),
        };
        let version = client.table(&self.table).write(batch).await?;
        session.printer.answer(&Written::at(version))?;
        Ok(Ending::Done)
    }

    fn value(&self) -> Result<Bytes, Failure> {
        match (&self.value, &self.value_file) {
            (Some(value), _) => self.syntax.parse("value", value),
            (None, Some(path)) => read_value(path),
            (None, None) => Err(Failure::usage("there is no value; give one, or a file with --value-file")),
        }
    }
}

/// Reads a value, and no more than a value can have.
fn read_value(path: &PathBuf) -> Result<Bytes, Failure> {
    let name = path.display().to_string();
    let input: Box<dyn std::io::Read> = if name == "-" {
        Box::new(std::io::stdin())
    } else {
        Box::new(std::fs::File::open(path).map_err(|error| Failure::file(&name, &error))?)
    };
    let mut value = Vec::new();
    let read = input.take(VALUE_BYTES_MAX as u64 + 1).read_to_end(&mut value);
    read.map_err(|error| Failure::file(&name, &error))?;
    if value.len() > VALUE_BYTES_MAX {
        let most = quantity_of_bytes(VALUE_BYTES_MAX as u64);
        return Err(Failure::usage(format!("{name} has more than {most}, which is the most a value can have")));
    }
    Ok(value.into())
}
