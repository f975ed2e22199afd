//! `lentic gc`

use clap::{Args, Subcommand};
use lentic_client::{ShardHistory, Version};
use serde::Serialize;

use crate::ending::Ending;
use crate::output::{Align, Answer, Table, version_text};
use crate::session::{Outcome, Session};
use crate::text::Span;

/// See how far history goes back
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum GcCommand {
    /// Show, for each shard, from which version on it can be read, and what is kept below that
    Status(GcStatusArgs),
}

impl GcCommand {
    pub(crate) async fn run(&self, session: &mut Session) -> Outcome {
        match self {
            Self::Status(args) => args.run(session).await,
        }
    }
}

#[derive(Clone, Debug, Args)]
pub(crate) struct GcStatusArgs {
    /// The table; else all
    table: Option<String>,
}

impl GcStatusArgs {
    async fn run(&self, session: &mut Session) -> Outcome {
        let client = session.client().await?;
        let (now, shards) = (client.now().await?, client.history(self.table.as_deref()).await?);
        session.printer.answer(&Status { shards: shards.iter().map(|shard| ShardRow::new(shard, now)).collect() })?;
        Ok(Ending::Done)
    }
}

#[derive(Serialize)]
struct Status {
    shards: Vec<ShardRow>,
}

#[derive(Serialize)]
struct ShardRow {
    shard: u64,
    table: String,
    /// From here on every version can be read; `None`: all of history is there.
    watermark: Option<String>,
    /// How far that is back.
    age_ms: Option<u64>,
    retention_ms: u64,
    newest: String,
    /// Versions that are kept below the watermark.
    pins: Vec<String>,
    /// How old the oldest of them is.
    oldest_pin_age_ms: Option<u64>,
    /// How much of what collections have looked at lately they kept for pins alone, in thousandths.
    pinned_permille: Option<u32>,
    rollbacks: u32,
    /// The node that says so.
    node: u64,
}

impl ShardRow {
    fn new(shard: &ShardHistory, now: Version) -> Self {
        let age_ms = |version: Version| now.ms().saturating_sub(version.ms());
        let watermark = Some(shard.watermark).filter(|watermark| *watermark > Version::ZERO);
        let pins = || shard.pins.iter().copied().filter(|pin| *pin < shard.watermark);
        Self {
            shard: shard.shard.0,
            table: shard.table_name.clone(),
            watermark: watermark.map(version_text),
            age_ms: watermark.map(age_ms),
            retention_ms: u64::try_from(shard.retention.as_millis()).unwrap_or(u64::MAX),
            newest: version_text(shard.newest),
            pins: pins().map(version_text).collect(),
            oldest_pin_age_ms: pins().next().map(age_ms),
            pinned_permille: shard.pinned_permille,
            rollbacks: shard.masks,
            node: shard.node.0,
        }
    }

    fn cells(&self) -> Vec<String> {
        let span = |ms: Option<u64>| ms.map_or_else(|| "-".to_owned(), |ms| Span::from_ms(ms).to_string());
        vec![
            format!("s{}", self.shard),
            self.table.clone(),
            self.watermark.as_ref().map_or_else(|| "all".to_owned(), |watermark| format!("v{watermark}")),
            span(self.age_ms),
            Span::from_ms(self.retention_ms).to_string(),
            self.pins.len().to_string(),
            span(self.oldest_pin_age_ms),
            self.pinned_permille.map_or_else(|| "-".to_owned(), |share| format!("{}.{}%", share / 10, share % 10)),
            self.rollbacks.to_string(),
        ]
    }
}

impl Answer for Status {
    fn human(&self) -> String {
        let left = ["SHARD", "TABLE", "READABLE FROM"].map(|name| (name, Align::Left));
        let right =
            ["AGE", "RETENTION", "PINS", "OLDEST PIN", "HELD BY PINS", "ROLLBACKS"].map(|name| (name, Align::Right));
        let mut table = Table::new(&[&left[..], &right[..]].concat());
        self.shards.iter().for_each(|row| table.push(row.cells()));
        table.rendered()
    }

    /// Shard, table, watermark, its age and the retention in milliseconds, newest version, pins, rollbacks, node, the share
    /// that pins hold in thousandths.
    fn plain(&self) -> Vec<Vec<String>> {
        let row = |row: &ShardRow| {
            let versions: Vec<String> = row.pins.iter().map(|pin| format!("v{pin}")).collect();
            vec![
                row.shard.to_string(),
                row.table.clone(),
                row.watermark.as_ref().map(|watermark| format!("v{watermark}")).unwrap_or_default(),
                row.age_ms.map(|ms| ms.to_string()).unwrap_or_default(),
                row.retention_ms.to_string(),
                format!("v{}", row.newest),
                versions.join(","),
                row.rollbacks.to_string(),
                row.node.to_string(),
                row.pinned_permille.map(|share| share.to_string()).unwrap_or_default(),
            ]
        };
        self.shards.iter().map(row).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use lentic_client::{NodeId, ShardId, TableId};

    use super::*;
    use crate::output::shapes_of;

    #[test]
    fn shards_are_shown_with_what_they_keep() {
        let at = |ms| Version::tick(ms, 0).unwrap();
        let shard = |shard, watermark, pins: &[u64]| ShardHistory {
            shard: ShardId(shard),
            table: TableId(1),
            table_name: "default.a".to_owned(),
            node: NodeId(2),
            watermark,
            newest: at(9_000),
            pins: pins.iter().map(|pin| at(*pin)).collect(),
            retention: Duration::from_secs(3_600),
            masks: 1,
            pinned_permille: (watermark > Version::ZERO).then_some(125),
        };
        let shards = [shard(2, Version::ZERO, &[9_000]), shard(3, at(4_000), &[1_000, 5_000])];
        let [human, plain, json] =
            shapes_of(&Status { shards: shards.iter().map(|shard| ShardRow::new(shard, at(10_000))).collect() });
        assert_eq!(
            human,
            "SHARD  TABLE      READABLE FROM  AGE  RETENTION  PINS  OLDEST PIN  HELD BY PINS  ROLLBACKS\n\
             s2     default.a  all              -         1h     0           -             -          1\n\
             s3     default.a  v16777216000    6s         1h     1          9s         12.5%          1\n"
        );
        assert_eq!(
            plain,
            "2\tdefault.a\t\t\t3600000\tv37748736000\t\t1\t2\t\n\
             3\tdefault.a\tv16777216000\t6000\t3600000\tv37748736000\tv4194304000\t1\t2\t125\n"
        );
        assert!(
            json.contains("\"pins\":[\"4194304000\"],\"oldest_pin_age_ms\":9000,\"pinned_permille\":125,\"rollbacks\":1,\"node\":2}"),
            "{json}"
        );
    }
}
