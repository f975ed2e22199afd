//! `lentic table create`

use std::time::Duration;

use clap::Args;
use lentic_client::{Client, TableDescription, TableOptions};
use lentic_types::limits::{REPLICAS_MAX, SHARDS_PER_TABLE_MAX};
use tokio::time::{Instant, sleep};

use super::described::Described;
use crate::args::SyntaxArgs;
use crate::ending::Ending;
use crate::failure::Failure;
use crate::session::{Outcome, Session};
use crate::text::Span;

/// How long the shards of a new table may take to elect their first leaders, which are told along with them. The table is
/// there in any case.
const LEADERS_WITHIN: Duration = Duration::from_secs(5);
/// How often it is asked who leads.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A new table, once its shards have leaders, or as it is if that takes long.
pub(super) async fn with_leaders(client: &Client, mut made: TableDescription) -> Result<TableDescription, Failure> {
    let deadline = Instant::now() + LEADERS_WITHIN;
    while made.shards.iter().any(|shard| shard.leader.is_none()) && Instant::now() < deadline {
        sleep(LOOK_EVERY).await;
        made = client.describe_table(&made.table.name).await?;
    }
    Ok(made)
}

#[derive(Clone, Debug, Args)]
pub(crate) struct CreateArgs {
    /// The table's name: letters, digits, _ and -, with a namespace before it if need be, as in jobs.clicks
    name: String,
    /// Into how many shards of equal size to cut it, if keys begin with evenly spread bytes, such as a hash
    #[arg(long, value_name = "N", conflicts_with = "split_at", value_parser = clap::value_parser!(u32).range(1..=SHARDS_PER_TABLE_MAX as i64))]
    shards: Option<u32>,
    /// Where to cut it: a shard begins at each of these keys, and one before the first
    #[arg(long, value_name = "KEY", num_args = 1..)]
    split_at: Vec<String>,
    /// How many nodes hold each shard; else the cluster's choice
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=REPLICAS_MAX as i64))]
    replicas: Option<u32>,
    /// For how long past versions can be read; else the cluster's choice
    #[arg(long, value_name = "SPAN")]
    retention: Option<Span>,
    /// How long a value lives whose writer does not say, from its commit on; else for ever
    #[arg(long, value_name = "SPAN")]
    ttl: Option<Span>,
    #[command(flatten)]
    syntax: SyntaxArgs,
}

impl CreateArgs {
    pub(super) async fn run(&self, session: &mut Session) -> Outcome {
        let mut split_points: Vec<_> =
            self.split_at.iter().map(|key| self.syntax.parse("--split-at", key)).collect::<Result<_, _>>()?;
        split_points.sort();
        split_points.dedup();
        if self.retention.is_some_and(Span::is_zero) {
            return Err(Failure::usage(
                "--retention is 0, and no read could be answered; leave it out for the default",
            ));
        }
        if self.ttl.is_some_and(Span::is_zero) {
            return Err(Failure::usage(
                "--ttl is 0, and no value could be read; leave it out for values that never end",
            ));
        }
        let options = TableOptions {
            shards: self.shards.unwrap_or(0),
            split_points,
            retention: self.retention.map(Span::duration),
            replicas: self.replicas.unwrap_or(0),
            ttl: self.ttl.map(Span::duration),
        };
        let client = session.client().await?;
        let made = client.create_table(&self.name, options).await?;
        let made = with_leaders(&client, made).await?;
        session.printer.answer(&Described::new(&made))?;
        Ok(Ending::Done)
    }
}
