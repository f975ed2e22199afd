//! `lentic table take`

use bytes::Bytes;
use clap::Args;
use lentic_client::{Error, ErrorKind, Fence, Take, Version};
use serde::Serialize;

use crate::args::{RangeArgs, SyntaxArgs};
use crate::ending::Ending;
use crate::failure::Failure;
use crate::output::Answer;
use crate::session::{Outcome, Session};
use crate::text::{Moment, Syntax};

#[derive(Clone, Debug, Args)]
pub(crate) struct TakeArgs {
    /// The table's name
    name: String,
    /// Who takes it: a job, which may always take over from itself
    #[arg(long, value_name = "JOB")]
    owner: String,
    #[command(flatten)]
    range: RangeArgs,
    /// Take it from another owner, too, whose writes are refused from then on
    #[arg(long)]
    force: bool,
    /// Take the range back to a checkpoint: its token, as hex digits
    #[arg(long, value_name = "TOKEN")]
    restore: Option<String>,
    /// Take the range back to a version (v123), a time, or so long ago (-10m)
    #[arg(long, value_name = "MOMENT", allow_hyphen_values = true, conflicts_with = "restore")]
    restore_at: Option<Moment>,
    #[command(flatten)]
    syntax: SyntaxArgs,
}

impl TakeArgs {
    pub(super) async fn run(&self, session: &mut Session) -> Outcome {
        let range = self.range.range(self.syntax)?;
        let mut take = Take::new(range.clone(), &self.owner);
        if self.force {
            take = take.by_force();
        }
        if let Some(token) = &self.restore {
            take = take.restore(&range, token_of(token)?);
        }
        let client = session.client().await?;
        if let Some(moment) = self.restore_at {
            let now = if moment.needs_now() { client.now().await? } else { Version::MAX };
            let to = moment.version(now).map_err(|error| Failure::usage(error.to_string()))?;
            take = take.restore_version(&range, to);
        }
        let fence = client.table(&self.name).take(take).await.map_err(|error| self.explained(error))?;
        session.printer.answer(&Taken::new(&self.name, &self.owner, fence))?;
        Ok(Ending::Done)
    }

    fn explained(&self, error: Error) -> Failure {
        let kind = error.kind();
        let failure = Failure::from(error);
        match kind {
            ErrorKind::Owned => failure.with_help(format!(
                "`lentic table owners {}` shows who owns it; stop that job, or take it with --force",
                self.name
            )),
            ErrorKind::Invalid if self.restore.is_some() => failure.with_help(
                "a token is restored in the table and the cluster that it was made in, as it was handed out",
            ),
            _ => failure,
        }
    }
}

/// The bytes of a checkpoint's token.
fn token_of(text: &str) -> Result<Bytes, Failure> {
    let bytes = Syntax::Hex.parse(text);
    bytes.map(Bytes::from).map_err(|error| Failure::usage(format!("--restore {text:?}: {error}")))
}

#[derive(Serialize)]
struct Taken<'a> {
    table: &'a str,
    owner: &'a str,
    fence: String,
}

impl<'a> Taken<'a> {
    fn new(table: &'a str, owner: &'a str, fence: Fence) -> Self {
        // As text, as all versions are: it has more digits than numbers have elsewhere.
        Self { table, owner, fence: fence.0.to_string() }
    }
}

impl Answer for Taken<'_> {
    fn human(&self) -> String {
        format!("taken; writes carry fence f{} from now on, and others are refused\n", self.fence)
    }

    fn plain(&self) -> Vec<Vec<String>> {
        vec![vec![self.fence.clone()]]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::shapes_of;

    #[test]
    fn a_taking_tells_its_fence() {
        assert_eq!(
            shapes_of(&Taken::new("t", "job", Fence(1 << 60))),
            [
                "taken; writes carry fence f1152921504606846976 from now on, and others are refused\n",
                "1152921504606846976\n",
                "{\"table\":\"t\",\"owner\":\"job\",\"fence\":\"1152921504606846976\"}\n"
            ]
        );
    }

    #[test]
    fn tokens_are_digits() {
        assert_eq!(token_of("0x01ff").unwrap(), Bytes::from_static(b"\x01\xff"));
        assert!(token_of("1f0").unwrap_err().message.starts_with("--restore \"1f0\": "));
    }
}
