//! `lentic txn`

use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::Args;
use lentic_types::limits::TXN_BYTES_MAX;

use super::committed::Committed;
use super::dry_run::DryRun;
use super::perform::perform;
use super::script::Script;
use crate::args::SyntaxArgs;
use crate::ending::Ending;
use crate::failure::Failure;
use crate::session::{Outcome, Session};

/// Run a script as one transaction; prints what it reads and its version
///
/// All of the script takes effect at one version, over any tables and shards, or nothing of it does. When others change
/// what it has read before it is done, it is run again as a whole, within the deadline.
#[derive(Clone, Debug, Args)]
#[command(after_long_help = NOTATION)]
pub(crate) struct TxnArgs {
    /// The script, as text or JSON; - is stdin
    file: PathBuf,
    /// Show what would be sent, and send nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    syntax: SyntaxArgs,
}

/// How scripts are written, for the help.
const NOTATION: &str = "\
Scripts as text, one statement a line:
  get TABLE KEY                             the value is shown
  scan TABLE [START [END]] [--limit N]      the rows are shown: from START on, before END
  scan TABLE --prefix KEY [--limit N]
  put TABLE KEY VALUE [--ttl SPAN]
  delete TABLE KEY
  delete-range TABLE START END              at most 10,000 keys in each shard
  merge TABLE KEY OPERATOR OPERAND... [--ttl SPAN]
  require TABLE KEY exists
  require TABLE KEY absent
  require TABLE KEY value VALUE
  require TABLE KEY version VERSION
  fence TABLE TOKEN                         the owner's token for this table

Reads see the writes above them. Conditions (require) are judged when all is committed, on what is stored just \
before, wherever they stand. Words are separated by blanks; 'quotes' or \"quotes\" hold blanks and what begins with -- \
or #; # begins a comment. Keys and values are written as with the other commands: as they are, or with --hex or \
--escaped.

Scripts as JSON have the same words:
  {\"statements\": [
    {\"get\": {\"table\": \"t\", \"key\": \"k\"}},
    {\"scan\": {\"table\": \"t\", \"start\": \"a\", \"end\": \"b\", \"limit\": 5}},   or \"prefix\"
    {\"put\": {\"table\": \"t\", \"key\": \"k\", \"value_hex\": \"00ff\", \"ttl\": \"10m\"}},
    {\"delete\": {\"table\": \"t\", \"key\": \"k\"}},
    {\"delete-range\": {\"table\": \"t\", \"start\": \"a\", \"end\": \"b\"}},
    {\"merge\": {\"table\": \"t\", \"key\": \"k\", \"operator\": \"add-i64\", \"operand\": 5}},
    {\"require\": {\"table\": \"t\", \"key\": \"k\", \"exists\": true}},   or \"absent\": true, \"value\", \"version\"
    {\"fence\": {\"table\": \"t\", \"token\": 7}}
  ]}
Bytes are a member with their text, or with hex digits when _hex is put after its name.

A script has at most 64 MiB and 100,000 statements.";

impl TxnArgs {
    pub(crate) async fn run(&self, session: &mut Session) -> Outcome {
        let script = Script::parse(&read(&self.file)?, self.syntax.syntax())?;
        if self.dry_run {
            session.printer.answer(&DryRun(&script))?;
            return Ok(Ending::Done);
        }
        let client = session.client().await?;
        // One moment for all ends, which runs again do not move.
        let now = if script.has_ends() { Some(client.now().await?) } else { None };
        let done = client.transact(|txn| perform(script.statements(), txn, now)).await;
        let (reads, version) = done.map_err(|failure: Failure| script.placed(failure))?;
        session.printer.answer(&Committed::new(version, reads))?;
        Ok(Ending::Done)
    }
}

/// Reads a script, and hardly more than a script can have.
fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let name = path.display().to_string();
    let refused = |error: std::io::Error| Failure::file(&name, &error);
    let input: Box<dyn std::io::Read> = match path == Path::new("-") {
        true => Box::new(std::io::stdin()),
        false => Box::new(std::fs::File::open(path).map_err(refused)?),
    };
    let mut bytes = Vec::new();
    input.take(TXN_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).map_err(refused)?;
    Ok(bytes)
}
