//! The story: a cluster, a month of flights, a day deleted by mistake, a node killed under load, and its return; then `stream`.

use std::collections::BTreeMap;
use std::time::Duration;

use lentic_client::{Client, ClusterStatus, Error, NodeId, ShardId, Version};
use tokio::time::{Instant, sleep, timeout};

use crate::Failure;
use crate::check::{self, checksum};
use crate::flights::{self, KEY_FORMAT, Month};
use crate::job::{self, Job};
use crate::stage::{Node, Stage};
use crate::stream;
use crate::text::{count, count_of, heading, say, span};

const NODES: usize = 3;
/// The day that is deleted by mistake.
const DAY: &str = "2013-01-07/";
/// Longer than anything takes to come to be that does.
const SOON: Duration = Duration::from_secs(30);
/// How often it is looked whether it has.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// One row of so many is read by itself.
const ROWS_PER_READ: usize = 135;
/// The kill comes when this part of the load is done: it is seen a while later, and most must be to come then.
const KILL_AFTER_PART: usize = 20;

pub(crate) async fn tell(stage: &mut Stage) -> Result<(), Failure> {
    let month = Month::read()?;
    println!("Lentic: three nodes, a month of flights, a kill -9, and stream jobs that survive more of them.");
    let client = start(stage).await?;
    load(stage, &client, &month).await?;
    query(stage, &client, &month).await?;
    look_back(stage, &client, &month).await?;
    let victim = kill(stage, &client, &month).await?;
    come_back(stage, &client, &month, &victim).await?;
    stream::tell(stage, &client).await
}

async fn start(stage: &mut Stage) -> Result<Client, Failure> {
    heading("1. A cluster");
    let began = Instant::now();
    stage.start_cluster(NODES).await?;
    let took = span(began.elapsed());
    let pids: Vec<String> = stage.nodes().iter().map(|node| format!("n{} is process {}", node.id, node.pid)).collect();
    say(&format!(
        "After {took}: {NODES} processes, one cluster. {}. Each write is fsynced by two of them before it counts.",
        pids.join(", ")
    ));
    let addresses = stage.nodes().iter().map(|node| &node.address);
    Client::builder().linger(Duration::from_millis(2)).connect(addresses).await.map_err(words)
}

async fn load(stage: &Stage, client: &Client, month: &Month) -> Result<(), Failure> {
    heading("2. A table of four shards, and a month of flights");
    create(stage, "flights").await?;
    let path = month.shown_path();
    stage.show(&["load", "flights", &path, "--key-format", KEY_FORMAT]).await?;
    let expected = month.rows();
    let found = check::rows(&client.table("flights"), None, &expected).await?;
    agree(&found, &expected)?;
    say(&format!(
        "All {} flights that left New York in January 2013, each a write of its own. Read back and compared with the file: \
         equal, CRC-32 {:08x}.",
        count(found.rows),
        found.checksum
    ));
    Ok(())
}

async fn query(stage: &Stage, client: &Client, month: &Month) -> Result<(), Failure> {
    heading("3. Questions");
    stage.show(&["get", "flights", "2013-01-07/HA/0051/JFK"]).await?;
    let frontier = stage.show(&["scan", "flights", "--prefix", "2013-01-07/F9/", "--keys-only"]).await?;
    expect("flights of F9 on 7 January", &2, &frontier.lines().filter(|line| line.starts_with("2013")).count())?;
    count_rows(stage, &["scan", "flights", "--prefix", "2013-01-07/UA/", "--count"], month, "2013-01-07/UA/").await?;
    let (table, began) = (client.table("flights"), Instant::now());
    let mut asked = 0u32;
    for flight in month.flights.iter().step_by(ROWS_PER_READ) {
        let found = table.get(flight.key.clone()).await.map_err(words)?;
        let is_right = found.is_some_and(|found| found.value == flight.value);
        is_right.then_some(()).ok_or_else(|| format!("{} is not what was loaded", flight.key))?;
        asked += 1;
    }
    say(&format!(
        "{} reads of single keys, one after the other, each confirmed by a quorum: {} µs each, all as in the file.",
        count(asked.into()),
        (began.elapsed() / asked).as_micros()
    ));
    Ok(())
}

async fn look_back(stage: &Stage, client: &Client, month: &Month) -> Result<(), Failure> {
    heading("4. A day is deleted by mistake");
    let now = stage.show(&["now"]).await?;
    let before = now.split_whitespace().next().unwrap_or_default().to_owned();
    stage.show(&["delete-range", "flights", "--prefix", DAY]).await?;
    let gone = stage.show(&["scan", "flights", "--prefix", DAY, "--count"]).await?;
    expect("flights of the deleted day", "0", gone.trim())?;
    count_rows(stage, &["scan", "flights", "--prefix", DAY, "--count", "--at", &before], month, DAY).await?;
    let version = before.trim_start_matches('v').parse().map(Version);
    let version = version.map_err(|_| format!("`lentic now` said {now:?}, expected a version"))?;
    let (table, expected) = (client.table("flights"), month.rows());
    let found = check::rows(&table, Some(version), &expected).await?;
    agree(&found, &expected)?;
    say(&format!(
        "The table at {before} is what the file is: {} rows, CRC-32 {:08x}. So the day is read there and put back.",
        count(found.rows),
        found.checksum
    ));
    println!();
    let file = stage.home().join("day.jsonl").display().to_string();
    stage.show(&["dump", "flights", &file, "--prefix", DAY, "--at", &before]).await?;
    stage.show(&["load", "flights", &file]).await?;
    agree(&check::rows(&table, None, &expected).await?, &expected)?;
    say("Compared with the file: equal again.");
    Ok(())
}

/// Loads and counts, and kills a node meanwhile. Returns that node.
async fn kill(stage: &Stage, client: &Client, month: &Month) -> Result<Node, Failure> {
    heading("5. kill -9 of a leader while a file is loaded and a job counts");
    create(stage, "again").await?;
    let points = [&["table", "create", "counts", "--split-at"][..], &job::SPLIT_AT].concat();
    stage.show(&points).await?;
    let status = led(client).await?;
    let victim = victim(stage, &status)?;
    let lost = status.shards.iter().filter(|(_, shard)| leads(shard.leader, &victim)).count();
    let path = month.shown_path();
    let load = ["load", "again", &path, "--key-format", KEY_FORMAT];
    crate::stage::shown(&load);
    let (job, mut loading) = (Job::start(&client.table("counts"), month), stage.begin(&load)?);
    let mark = &month.flights[month.flights.len() / KILL_AFTER_PART].key;
    wait("the load does not get on", async || Ok(client.table("again").get(mark.clone()).await?.is_some())).await?;
    wait("the job does not get on", async || Ok(job.acknowledged() > 0)).await?;
    let counted = job.furthest();
    stage.kill(&victim)?;
    let killed = Instant::now();
    if !loading.runs() || counted >= month.flights.len() as u64 {
        return Err("the load or the job was done before the kill, which shows nothing; a larger file is needed".into());
    }
    println!("  $ kill -9 {}\n", victim.pid);
    say(&format!(
        "A part of the file is loaded, and the job has counted up to {} flights, when n{} is killed. It led {} of {} \
         shards{}.",
        count(counted),
        victim.id,
        lost,
        status.shards.len(),
        if leads(status.meta_leader, &victim) { ", and the meta group with the oracle" } else { "" }
    ));
    println!();
    let answer = loading.answer().await?;
    answer.lines().for_each(|line| println!("    {line}"));
    let paces = job.finish().await?;
    println!();
    report(&paces, &status, &victim);
    say(&format!("The rest of both was done {} after the kill. Neither was told of an error.", span(killed.elapsed())));
    println!();
    verify(stage, client, month).await?;
    Ok(victim)
}

/// The cluster, once every shard has a leader.
pub(crate) async fn led(client: &Client) -> Result<ClusterStatus, Failure> {
    wait("not every shard has a leader", async || {
        let status = client.status(true).await?;
        Ok(status.meta_leader.is_some() && status.shards.iter().all(|(_, shard)| shard.leader.is_some()))
    })
    .await?;
    client.status(true).await.map_err(words)
}

/// The longest pause of each lane.
fn report(paces: &[job::Pace], status: &ClusterStatus, victim: &Node) {
    let mut shards: Vec<_> = status.shards.iter().filter(|(table, _)| is_table(table, "counts")).collect();
    shards.sort_by(|one, other| one.1.range.start().cmp(other.1.range.start()));
    println!("    counters  leader      merges  merges/s  longest pause");
    for (pace, (_, shard)) in paces.iter().zip(shards) {
        let leader = shard.leader.map_or_else(|| "none".to_owned(), |node| node.to_string());
        let leader = if leads(shard.leader, victim) { format!("{leader}, killed") } else { leader };
        let rate = pace.merges as f64 / pace.elapsed.as_secs_f64();
        let (merges, pause) = (count(pace.merges), span(pace.longest_pause));
        println!("    {:<8}  {leader:<10}  {merges:>6}  {rate:>8.0}  {pause:>13}", pace.kind);
    }
    println!();
}

/// Nothing is lost, nothing is doubled.
async fn verify(stage: &Stage, client: &Client, month: &Month) -> Result<(), Failure> {
    let (expected, counters) = (month.rows(), job::expected(month));
    let found = check::rows(&client.table("again"), None, &expected).await?;
    agree(&found, &expected)?;
    check::counters(&client.table("counts"), &counters).await?;
    stage.show(&["scan", "counts", "--prefix", "origin/", "--as", "i64"]).await?;
    stage.show(&["get", "counts", "carrier/UA", "route/JFK-LAX", "--as", "i64"]).await?;
    say(&format!(
        "Nothing is lost: {} rows, CRC-32 {:08x}, as in the file. Nothing is counted twice: all {} counters are what the \
         file says, in sum {} for each kind, though what was under way at the kill had to be sent again.",
        count(found.rows),
        found.checksum,
        counters.len(),
        count_of(&month.flights)
    ));
    Ok(())
}

async fn come_back(stage: &mut Stage, client: &Client, month: &Month, victim: &Node) -> Result<(), Failure> {
    heading("6. The node comes back");
    let began = Instant::now();
    stage.revive(victim)?;
    println!();
    wait("the node does not come back", async || Ok(Client::connect([&victim.address]).await.is_ok())).await?;
    let serves = began.elapsed();
    let shards = shards_of(client, "again").await?;
    for shard in &shards {
        lead(client, *shard, victim).await?;
    }
    say(&format!(
        "It serves again after {}. After {} it has caught up and leads, as it was asked to, all {} shards of the table that \
         was loaded while it was away.",
        span(serves),
        span(began.elapsed()),
        shards.len()
    ));
    println!();
    stage.show(&["table", "show", "again"]).await?;
    let expected = month.rows();
    let found = check::rows(&client.table("again"), None, &expected).await?;
    agree(&found, &expected)?;
    check::counters(&client.table("counts"), &job::expected(month)).await?;
    say(&format!("Read from it: {} rows, CRC-32 {:08x}, as in the file.", count(found.rows), found.checksum));
    Ok(())
}

/// Hands a shard over to a node, as soon as that can take it.
async fn lead(client: &Client, shard: ShardId, node: &Node) -> Result<(), Failure> {
    wait("a shard is not handed over", async || {
        // A replica that lags behind is refused or fails to take over: then it is asked again.
        let _ = client.transfer_leader(shard, Some(NodeId(node.id))).await;
        let status = client.status(true).await?;
        Ok(status.shards.iter().any(|(_, found)| found.shard == shard && leads(found.leader, node)))
    })
    .await
}

async fn shards_of(client: &Client, table: &str) -> Result<Vec<ShardId>, Failure> {
    let described = client.describe_table(table).await.map_err(words)?;
    Ok(described.shards.iter().map(|shard| shard.shard).collect())
}

/// The node to be killed: the one that leads the meta group, which is the worst to lose, if it leads a shard that is
/// written to; else one that does.
fn victim(stage: &Stage, status: &ClusterStatus) -> Result<Node, Failure> {
    let leads_counts =
        |node: &Node| status.shards.iter().any(|(table, shard)| is_table(table, "counts") && leads(shard.leader, node));
    let mut nodes: Vec<&Node> = stage.nodes().iter().filter(|node| leads_counts(node)).collect();
    nodes.sort_by_key(|node| !leads(status.meta_leader, node));
    nodes.first().copied().cloned().ok_or_else(|| "no node leads a shard of the table of counters".to_owned())
}

pub(crate) fn leads(leader: Option<NodeId>, node: &Node) -> bool {
    leader == Some(NodeId(node.id))
}

pub(crate) fn is_table(found: &str, name: &str) -> bool {
    found.strip_prefix("default.").unwrap_or(found) == name
}

async fn create(stage: &Stage, name: &str) -> Result<(), Failure> {
    let words = [&["table", "create", name, "--split-at"][..], &flights::SPLIT_AT].concat();
    stage.show(&words).await.map(drop)
}

/// Shows a count of rows and compares it with how many keys of the file have the prefix.
async fn count_rows(stage: &Stage, words: &[&str], month: &Month, prefix: &str) -> Result<(), Failure> {
    let expected = month.flights.iter().filter(|flight| flight.key.starts_with(prefix)).count();
    let answer = stage.show(words).await?;
    expect(prefix, &*count(expected as u64), answer.trim())
}

fn expect<T: PartialEq + std::fmt::Display + ?Sized>(what: &str, expected: &T, found: &T) -> Result<(), Failure> {
    if expected == found { Ok(()) } else { Err(format!("{what}: expected {expected}, found {found}")) }
}

fn agree(found: &check::Found, expected: &BTreeMap<String, String>) -> Result<(), Failure> {
    expect("checksum", &checksum(expected), &found.checksum)
}

/// Waits until `is_so` says so.
async fn wait(what: &str, is_so: impl AsyncFn() -> Result<bool, Error>) -> Result<(), Failure> {
    let waiting = async {
        while !is_so().await.map_err(words)? {
            sleep(LOOK_EVERY).await;
        }
        Ok(())
    };
    timeout(SOON, waiting).await.unwrap_or_else(|_| Err(format!("{what}, after {} s", SOON.as_secs())))
}

fn words(error: impl std::fmt::Display) -> Failure {
    error.to_string()
}
