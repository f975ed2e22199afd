//! Two stream jobs that share a ledger, killed and rescaled while they run, and a node with them; and what another process sees
//! of them meanwhile.

use std::time::Duration;

use lentic_client::Client;
use tokio::time::{Instant, sleep_until};

use crate::Failure;
use crate::stage::{Node, Stage};
use crate::story::{is_table, leads, led};
use crate::text::{count, heading, say};

/// The state of one of the jobs; the job is called so, too.
const JOB: &str = "flights-departures";
const LEDGER: &str = "flights-ledger";
/// The node is killed after so many checkpoints of both jobs.
const KILL_AFTER_CHECKPOINTS: u64 = 6;
/// How long it is away.
const AWAY: Duration = Duration::from_secs(2);
/// How often another process looks.
const LOOK_EVERY: Duration = Duration::from_millis(300);

/// What another process has seen.
#[derive(Default)]
struct Seen {
    looks: u64,
    /// Rows of the job's state at its last complete checkpoint, each time there was one.
    rows: Vec<u64>,
}

pub(crate) async fn tell(stage: &mut Stage, client: &Client) -> Result<(), Failure> {
    heading("7. Two stream jobs with a ledger in common, killed and rescaled while they run");
    let addresses: Vec<_> = stage.nodes().iter().map(|node| node.address.clone()).collect();
    let mut jobs = stage.start_jobs(&["--cluster", &addresses.join(","), "--chaos", "--seed", "7"])?;
    let (mut seen, mut away, mut checkpoints) = (Seen::default(), None, 0);
    let mut next_look = Instant::now() + LOOK_EVERY;
    loop {
        tokio::select! {
            biased;
            line = jobs.next_line() => {
                let Some(line) = line? else { break };
                println!("    {line}");
                checkpoints += u64::from(line.contains(": checkpoint "));
                if checkpoints == KILL_AFTER_CHECKPOINTS && away.is_none() {
                    away = Some((Instant::now(), kill(stage, client).await?));
                }
            }
            () = sleep_until(next_look) => {
                look(stage, &mut seen).await?;
                next_look = Instant::now() + LOOK_EVERY;
            }
        }
        if let Some((at, node)) = &away
            && at.elapsed() > AWAY
            && !stage.has_revived(node)
        {
            stage.revive(node)?;
        }
    }
    jobs.end().await?;
    if away.is_none() {
        return Err("the jobs ended before a node was killed, which shows too little; more flights are needed".into());
    }
    let (Some(first), Some(last)) = (seen.rows.first(), seen.rows.last()) else {
        return Err("the jobs ended before anybody could look at a checkpoint of theirs".into());
    };
    println!();
    say(&format!(
        "Meanwhile other processes have looked {} times: the ledger, which both jobs change by transactions, always added up \
         to 0, and the state of {JOB} at its last complete checkpoint had {} rows at first and {} in the end.",
        count(seen.looks),
        count(*first),
        count(*last)
    ));
    Ok(())
}

/// Kills the node that leads the first shard of the job's state.
async fn kill(stage: &Stage, client: &Client) -> Result<Node, Failure> {
    let status = led(client).await?;
    let of_job = status.shards.iter().find(|(table, _)| is_table(table, JOB));
    let leader = of_job.and_then(|(_, shard)| shard.leader);
    let node = stage.nodes().iter().find(|node| leads(leader, node)).ok_or("nobody leads the job's state")?;
    stage.kill(node)?;
    println!("  $ kill -9 {}", node.pid);
    Ok(node.clone())
}

/// What another process sees now.
async fn look(stage: &Stage, seen: &mut Seen) -> Result<(), Failure> {
    let ledger = ["scan", LEDGER, "--prefix", "aircraft/", "--as", "i64", "--output", "plain"];
    let ledger = stage.begin(&ledger)?.answer().await?;
    let aircraft = ledger.lines().map(|line| line.rsplit('\t').next().and_then(|count| count.parse::<i64>().ok()));
    let total: Option<i64> = aircraft.sum();
    if total != Some(0) {
        return Err(format!("the ledger adds up to {total:?}, expected 0:\n{ledger}"));
    }
    seen.looks += 1;
    let rows = ["scan", JOB, "--at-checkpoint", JOB, "--count", "--output", "plain"];
    match stage.begin(&rows)?.answer().await {
        Ok(rows) => seen.rows.push(rows.trim().parse().map_err(|_| format!("{rows:?} is no count"))?),
        // There is none before the first; from then on there always is one.
        Err(failure) if !seen.rows.is_empty() => return Err(failure),
        Err(_) => {}
    }
    Ok(())
}
