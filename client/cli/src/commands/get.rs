//! `lentic get`

use bytes::Bytes;
use clap::Args;
use lentic_client::{Table, Value};

use crate::args::{ReadAt, ReadAtArgs, ShowArgs, SyntaxArgs};
use crate::ending::Ending;
use crate::failure::Failure;
use crate::output::{Format, Rows, ShownRow};
use crate::session::{Outcome, Session};
use crate::text::Shown;

/// Show the values of keys, all of one moment or checkpoint; exits with 1 if a key has none
#[derive(Clone, Debug, Args)]
pub(crate) struct GetArgs {
    /// The table
    table: String,
    /// The keys
    #[arg(required = true)]
    key: Vec<String>,
    /// Write the value as it is, without a line end
    #[arg(long, conflicts_with_all = ["form", "long"])]
    raw: bool,
    #[command(flatten)]
    at: ReadAtArgs,
    #[command(flatten)]
    show: ShowArgs,
    #[command(flatten)]
    syntax: SyntaxArgs,
}

impl GetArgs {
    pub(crate) async fn run(&self, session: &mut Session) -> Outcome {
        let keys = self.syntax.keys(&self.key)?;
        if self.raw && keys.len() > 1 {
            return Err(Failure::usage("--raw writes the value of one key; ask for one"));
        }
        let client = session.client().await?;
        let at = self.at.read_at(&client, &self.table).await?;
        let values = read(&client.table(&self.table), &keys, at).await?;
        let is_complete = values.iter().all(Option::is_some);
        self.print(session, &keys, values)?;
        Ok(if is_complete { Ending::Done } else { Ending::No })
    }

    fn print(&self, session: &mut Session, keys: &[Bytes], values: Vec<Option<Value>>) -> Result<(), Failure> {
        let is_bare = self.raw || session.printer.format() == Format::Human && !self.show.is_long();
        if let ([key], [value], true) = (keys, &values[..], is_bare) {
            let Some(value) = value else {
                return Err(Failure::no(format!("key {} has no value in table {}", Shown(key), self.table)));
            };
            if self.raw {
                return session.printer.bytes(&value.value);
            }
            let row = ShownRow { key: key.to_vec(), value: Some(value.clone()) };
            return session.printer.text(&(row.bare_value(self.show.style(false))? + "\n"));
        }
        let mut rows = Rows::new(&mut session.printer, self.show.style(false));
        for (key, value) in keys.iter().zip(values) {
            rows.push(&ShownRow { key: key.to_vec(), value })?;
        }
        rows.finish()
    }
}

/// Reads one key without a version of its own, several at one.
async fn read(table: &Table, keys: &[Bytes], at: ReadAt) -> Result<Vec<Option<Value>>, Failure> {
    Ok(match (keys, at) {
        ([key], ReadAt::Newest) => vec![table.get(key.clone()).await?],
        (_, ReadAt::Newest) => table.multi_get(keys.iter().cloned()).await?,
        (_, ReadAt::Version(at)) => table.multi_get_at(keys.iter().cloned(), at).await?,
        (_, ReadAt::Checkpoint(checkpoint)) => checkpoint.multi_get(keys.iter().cloned()).await?,
    })
}
