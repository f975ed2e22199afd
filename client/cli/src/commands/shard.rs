//! `lentic shard`

use std::time::Duration;

use clap::{Args, Subcommand};
use lentic_client::{ClusterStatus, NodeId, ShardId, TableDescription};
use serde::Serialize;
use tokio::time::sleep;

use crate::args::SyntaxArgs;
use crate::ending::Ending;
use crate::output::Answer;
use crate::session::{Outcome, Session};

/// How often it is looked whether a move is at its end.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Hand over the leadership of shards, move their replicas, and split them
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum ShardCommand {
    /// Ask a shard's leader to hand over to another replica
    Transfer(TransferArgs),
    /// Move a shard's replica from a node to another, while it is read and written
    Move(MoveArgs),
    /// Split the shard of a key in two, while it is read and written: no data moves
    Split(SplitArgs),
}

impl ShardCommand {
    pub(crate) async fn run(&self, session: &mut Session) -> Outcome {
        match self {
            Self::Transfer(args) => args.run(session).await,
            Self::Move(args) => args.run(session).await,
            Self::Split(args) => args.run(session).await,
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

#[derive(Clone, Debug, Args)]
pub(crate) struct MoveArgs {
    /// The shard, by the number that `lentic status --shards` shows
    #[arg(value_parser = number_after('s'))]
    shard: u64,
    /// The node that holds a replica, and shall hold none
    #[arg(long, value_name = "NODE", value_parser = number_after('n'))]
    from: u64,
    /// The node that shall hold one
    #[arg(long, value_name = "NODE", value_parser = number_after('n'))]
    to: u64,
    /// Wait until the node that it leaves holds it no more
    #[arg(long)]
    wait: bool,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct SplitArgs {
    /// The table
    table: String,
    /// The first key of the new shard
    at: String,
    /// Wait until the new shard has a leader
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    syntax: SyntaxArgs,
}

/// A number, with its letter or without: `s12`, `12`.
pub(super) fn number_after(letter: char) -> impl Fn(&str) -> Result<u64, String> + Clone {
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

impl MoveArgs {
    async fn run(&self, session: &mut Session) -> Outcome {
        let client = session.client().await?;
        let (shard, from, to) = (ShardId(self.shard), NodeId(self.from), NodeId(self.to));
        client.move_replica(shard, Some(from), to).await?;
        while self.wait && !has_moved(&client.status(true).await?, shard, to) {
            sleep(LOOK_EVERY).await;
        }
        session.printer.answer(&Moved { shard: self.shard, from: self.from, to: self.to, complete: self.wait })?;
        Ok(Ending::Done)
    }
}

impl SplitArgs {
    async fn run(&self, session: &mut Session) -> Outcome {
        let at = self.syntax.parse("key", &self.at)?;
        let client = session.client().await?;
        let shard = client.split_shard(&self.table, at).await?;
        while self.wait && !is_led(&client.describe_table(&self.table).await?, shard) {
            sleep(LOOK_EVERY).await;
        }
        session.printer.answer(&Divided { shard: shard.0, complete: self.wait })?;
        Ok(Ending::Done)
    }
}

fn is_led(table: &TableDescription, shard: ShardId) -> bool {
    table.shards.iter().any(|place| place.shard == shard && place.leader.is_some())
}

#[derive(Serialize)]
struct Divided {
    /// The new one.
    shard: u64,
    /// Whether it was waited for.
    complete: bool,
}

impl Answer for Divided {
    fn human(&self) -> String {
        match self.complete {
            true => format!("shard s{} begins with the key\n", self.shard),
            false => format!("shard s{} will begin with the key, in a moment\n", self.shard),
        }
    }

    fn plain(&self) -> Vec<Vec<String>> {
        vec![vec![self.shard.to_string(), if self.complete { "split" } else { "splits" }.to_owned()]]
    }
}

/// Whether a shard is where it shall be, or is gone. A node that answers may not have heard of the move yet.
fn has_moved(status: &ClusterStatus, shard: ShardId, to: NodeId) -> bool {
    let place = status.shards.iter().map(|(_, place)| place).find(|place| place.shard == shard);
    let is_there = place.is_none_or(|place| place.replicas.contains(&to));
    is_there && status.moves.iter().all(|moving| moving.shard != shard)
}

#[derive(Serialize)]
struct Moved {
    shard: u64,
    from: u64,
    to: u64,
    /// Whether it was waited for.
    complete: bool,
}

impl Answer for Moved {
    fn human(&self) -> String {
        let Self { shard, from, to, complete } = self;
        match complete {
            true => format!("shard s{shard} has moved from n{from} to n{to}\n"),
            false => format!("shard s{shard} moves from n{from} to n{to}; `lentic status` tells when it has\n"),
        }
    }

    fn plain(&self) -> Vec<Vec<String>> {
        vec![vec![
            self.shard.to_string(),
            self.from.to_string(),
            self.to.to_string(),
            if self.complete { "moved" } else { "moves" }.to_owned(),
        ]]
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
    fn a_move_tells_whether_it_is_at_its_end() {
        let [human, plain, json] = shapes_of(&Moved { shard: 3, from: 1, to: 4, complete: false });
        assert_eq!(human, "shard s3 moves from n1 to n4; `lentic status` tells when it has\n");
        assert_eq!(plain, "3\t1\t4\tmoves\n");
        assert_eq!(json, "{\"shard\":3,\"from\":1,\"to\":4,\"complete\":false}\n");
        let [human, plain, _] = shapes_of(&Moved { shard: 3, from: 1, to: 4, complete: true });
        assert_eq!(human, "shard s3 has moved from n1 to n4\n");
        assert_eq!(plain, "3\t1\t4\tmoved\n");
    }

    #[test]
    fn a_split_tells_which_shard_is_new() {
        let [human, plain, json] = shapes_of(&Divided { shard: 9, complete: false });
        assert_eq!(human, "shard s9 will begin with the key, in a moment\n");
        assert_eq!(plain, "9\tsplits\n");
        assert_eq!(json, "{\"shard\":9,\"complete\":false}\n");
        assert_eq!(shapes_of(&Divided { shard: 9, complete: true })[1], "9\tsplit\n");
    }

    #[test]
    fn a_transfer_tells_what_was_asked() {
        let [human, plain, json] = shapes_of(&Transferred { shard: 3, to: Some(2) });
        assert_eq!(human, "shard s3 was asked to be led by node n2\n");
        assert_eq!((&*plain, &*json), ("3\t2\n", "{\"shard\":3,\"to\":2}\n"));
        assert_eq!(shapes_of(&Transferred { shard: 3, to: None })[2], "{\"shard\":3,\"to\":null}\n");
    }
}
