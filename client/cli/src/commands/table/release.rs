//! `lentic table release`

use std::str::FromStr;

use clap::Args;
use lentic_client::Fence;
use serde::Serialize;

use crate::args::{RangeArgs, SyntaxArgs};
use crate::ending::Ending;
use crate::output::Answer;
use crate::session::{Outcome, Session};

#[derive(Clone, Debug, Args)]
pub(crate) struct ReleaseArgs {
    /// The table's name
    name: String,
    /// The owner's fence, as `take` and `owners` tell it
    #[arg(long, value_name = "FENCE")]
    fence: GivenFence,
    #[command(flatten)]
    range: RangeArgs,
    #[command(flatten)]
    syntax: SyntaxArgs,
}

/// A fence as it is written: with its letter or without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct GivenFence(u64);

impl FromStr for GivenFence {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = text.strip_prefix('f').unwrap_or(text).parse();
        number.map(Self).map_err(|_| format!("expected a fence such as f4194304000, found {text:?}"))
    }
}

impl ReleaseArgs {
    pub(super) async fn run(&self, session: &mut Session) -> Outcome {
        let range = self.range.range(self.syntax)?;
        session.client().await?.table(&self.name).release(&range, Fence(self.fence.0)).await?;
        session.printer.answer(&Released { table: &self.name, fence: self.fence.0.to_string() })?;
        Ok(Ending::Done)
    }
}

#[derive(Serialize)]
struct Released<'a> {
    table: &'a str,
    fence: String,
}

impl Answer for Released<'_> {
    fn human(&self) -> String {
        format!(
            "fence f{} owns nothing there any more; `lentic table owners {}` shows who does\n",
            self.fence, self.table
        )
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
    fn fences_are_written_with_their_letter_or_without() {
        assert_eq!("f7".parse(), Ok(GivenFence(7)));
        assert_eq!("7".parse(), Ok(GivenFence(7)));
        assert!("v7".parse::<GivenFence>().unwrap_err().contains("found \"v7\""));
    }

    #[test]
    fn a_release_tells_the_fence() {
        let released = Released { table: "t", fence: "7".to_owned() };
        let human = "fence f7 owns nothing there any more; `lentic table owners t` shows who does\n";
        assert_eq!(shapes_of(&released), [human, "7\n", "{\"table\":\"t\",\"fence\":\"7\"}\n"]);
    }
}
