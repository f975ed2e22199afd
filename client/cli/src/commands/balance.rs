//! `lentic balance`

use clap::Subcommand;
use lentic_client::{Balance, HandOver, ReplicaMove};
use serde::Serialize;

use crate::ending::Ending;
use crate::output::{Align, Answer, Table};
use crate::session::{Outcome, Session};
use crate::text::Span;

/// Spread leaders, replicas and load over the nodes, or leave all as it is
#[derive(Clone, Copy, Debug, Subcommand)]
pub(crate) enum BalanceCommand {
    /// Spread leaders by number and by work, and replicas by number, as often as `shards.balance_ms` of the nodes says; so it is
    /// in a new cluster
    On,
    /// Leave leaders, replicas and shards as they are, until it is switched on again
    Off,
    /// Show whether it is on, and what would be handed over and moved next
    Status,
}

impl BalanceCommand {
    pub(crate) async fn run(&self, session: &mut Session) -> Outcome {
        let client = session.client().await?;
        let balance = match self {
            Self::On => client.set_balance(true).await?,
            Self::Off => client.set_balance(false).await?,
            Self::Status => client.balance().await?,
        };
        session.printer.answer(&Shown::from(balance))?;
        Ok(Ending::Done)
    }
}

#[derive(Serialize)]
struct Shown {
    on: bool,
    /// How often it is looked at; `None`: never.
    every_ms: Option<u64>,
    plan: Vec<Step>,
    moves: Vec<MoveStep>,
}

/// A replica that shall move; without `from`, one that lacks.
#[derive(Serialize)]
struct MoveStep {
    shard: u64,
    from: Option<u64>,
    to: u64,
}

#[derive(Serialize)]
struct Step {
    shard: u64,
    from: u64,
    to: u64,
}

impl From<Balance> for Shown {
    fn from(Balance { is_on, every, steps, moves }: Balance) -> Self {
        let every_ms = every.map(|every| u64::try_from(every.as_millis()).unwrap_or(u64::MAX));
        let step = |HandOver { shard, from, to }| Step { shard: shard.0, from: from.0, to: to.0 };
        let one =
            |ReplicaMove { shard, from, to }| MoveStep { shard: shard.0, from: from.map(|from| from.0), to: to.0 };
        let (plan, moves) = (steps.into_iter().map(step).collect(), moves.into_iter().map(one).collect());
        Self { on: is_on, every_ms, plan, moves }
    }
}

impl Answer for Shown {
    fn human(&self) -> String {
        let mut text = match (self.on, self.every_ms) {
            (true, Some(every_ms)) => format!("on: leaders are looked at every {}\n", Span::from_ms(every_ms)),
            (true, None) => {
                "on, but the configuration of the meta group's leader says never: shards.balance_ms is 0\n".into()
            }
            (false, _) => "off: leaders and replicas stay where they are\n".into(),
        };
        if self.plan.is_empty() && self.moves.is_empty() {
            return text + "nothing to hand over, and no replica to move\n";
        }
        text += if self.on && self.every_ms.is_some() { "next, a few at a time:\n" } else { "would be done:\n" };
        let mut table = Table::new(&["WHAT", "SHARD", "FROM", "TO"].map(|name| (name, Align::Left)));
        for Step { shard, from, to } in &self.plan {
            table.push(vec!["hand over".to_owned(), format!("s{shard}"), format!("n{from}"), format!("n{to}")]);
        }
        for MoveStep { shard, from, to } in &self.moves {
            let from = from.map_or_else(|| "none".to_owned(), |from| format!("n{from}"));
            table.push(vec!["move".to_owned(), format!("s{shard}"), from, format!("n{to}")]);
        }
        text + &table.rendered()
    }

    /// `on` or `off` and the milliseconds between looks, 0 for never; then a line a step: `hand-over` or `move`,
    /// shard, from (0: one that lacks), to.
    fn plain(&self) -> Vec<Vec<String>> {
        let switch = if self.on { "on" } else { "off" };
        let head = vec![switch.to_owned(), self.every_ms.unwrap_or(0).to_string()];
        let line = |what: &str, numbers: [u64; 3]| {
            [what.to_owned()].into_iter().chain(numbers.map(|number| number.to_string())).collect::<Vec<_>>()
        };
        let steps = self.plan.iter().map(|step| line("hand-over", [step.shard, step.from, step.to]));
        let moves = self.moves.iter().map(|one| line("move", [one.shard, one.from.unwrap_or(0), one.to]));
        [head].into_iter().chain(steps).chain(moves).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use lentic_client::{NodeId, ShardId};

    use super::*;
    use crate::output::shapes_of;

    #[test]
    fn a_plan_is_shown() {
        let steps = vec![HandOver { shard: ShardId(12), from: NodeId(1), to: NodeId(3) }];
        let moves = vec![ReplicaMove { shard: ShardId(4), from: None, to: NodeId(2) }];
        let balance = Balance { is_on: true, every: Some(Duration::from_secs(5)), steps, moves };
        let [human, plain, json] = shapes_of(&Shown::from(balance));
        assert_eq!(
            human,
            "on: leaders are looked at every 5s\nnext, a few at a time:\nWHAT       SHARD  FROM  TO\nhand over  s12    n1    n3\n\
             move       s4     none  n2\n"
        );
        assert_eq!(plain, "on\t5000\nhand-over\t12\t1\t3\nmove\t4\t0\t2\n");
        assert_eq!(
            json,
            "{\"on\":true,\"every_ms\":5000,\"plan\":[{\"shard\":12,\"from\":1,\"to\":3}],\
             \"moves\":[{\"shard\":4,\"from\":null,\"to\":2}]}\n"
        );
    }

    #[test]
    fn off_is_said() {
        let [human, plain, json] =
            shapes_of(&Shown::from(Balance { is_on: false, every: None, steps: vec![], moves: vec![] }));
        assert_eq!(
            human,
            "off: leaders and replicas stay where they are\nnothing to hand over, and no replica to move\n"
        );
        assert_eq!((&*plain, &*json), ("off\t0\n", "{\"on\":false,\"every_ms\":null,\"plan\":[],\"moves\":[]}\n"));
    }
}
