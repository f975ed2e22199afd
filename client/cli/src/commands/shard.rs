//! `lentic shard`

use clap::{Args, Subcommand};
use lentic_client::{NodeId, ShardId};
use serde::Serialize;

use crate::ending::Ending;
use crate::output::Answer;
use crate::session::{Outcome, Session};

/// Hand over the leadership of shards
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum ShardCommand {
    /// Ask a shard's leader to hand over to another replica
    Transfer(TransferArgs),
}

impl ShardCommand {
    pub(crate) async fn run(&self, session: &mut Session) -> Outcome {
        match self {
            Self::Transfer(args) => args.run(session).await,
        }
    }
}

#[derive(Clone, Debug, Args)]
pub(crate) struct TransferArgs {
    /// The shard, by the number that `lentic status --shards` shows
    #[arg(value_parser = number_after('s'))]
    shard: u64,
    /// The node that shall lead; else any that can
    #[arg(long, value_name = "NODE", value_parser = number_after('n'))]
    to: Option<u64>,
}

/// A number, with its letter or without: `s12`, `12`.
fn number_after(letter: char) -> impl Fn(&str) -> Result<u64, String> + Clone {
    move |text| {
        let number = text.strip_prefix(letter).unwrap_or(text).parse().ok().filter(|number| *number > 0);
        number.ok_or_else(|| format!("expected a number from 1 on, as in {letter}12"))
    }
}

impl TransferArgs {
    async fn run(&self, session: &mut Session) -> Outcome {
        let client = session.client().await?;
        client.transfer_leader(ShardId(self.shard), self.to.map(NodeId)).await?;
        session.printer.answer(&Transferred { shard: self.shard, to: self.to })?;
        Ok(Ending::Done)
    }
}

#[derive(Serialize)]
struct Transferred {
    shard: u64,
    to: Option<u64>,
}

impl Answer for Transferred {
    fn human(&self) -> String {
        match self.to {
            Some(to) => format!("shard s{} was asked to be led by node n{to}\n", self.shard),
            None => format!("shard s{} was asked to be led by another node\n", self.shard),
        }
    }

    fn plain(&self) -> Vec<Vec<String>> {
        vec![vec![self.shard.to_string(), self.to.map(|to| to.to_string()).unwrap_or_default()]]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::shapes_of;

    #[test]
    fn numbers_may_have_their_letter() {
        assert_eq!(["s12", "12"].map(|text| number_after('s')(text).ok()), [Some(12); 2]);
        assert_eq!(["n12", "0", "s", "-1"].map(|text| number_after('s')(text).ok()), [None; 4]);
    }

    #[test]
    fn a_transfer_tells_what_was_asked() {
        let [human, plain, json] = shapes_of(&Transferred { shard: 3, to: Some(2) });
        assert_eq!(human, "shard s3 was asked to be led by node n2\n");
        assert_eq!((&*plain, &*json), ("3\t2\n", "{\"shard\":3,\"to\":2}\n"));
        assert_eq!(shapes_of(&Transferred { shard: 3, to: None })[2], "{\"shard\":3,\"to\":null}\n");
    }
}
