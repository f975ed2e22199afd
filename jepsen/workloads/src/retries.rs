//! A request that is sent again takes effect once: after a lost answer, a change of leader, a snapshot.
//!
//! ```text
//!   client     write, key 7 ──► leader: applied ─ ✝ no answer
//!              write, key 7 ──► next leader: "that was done"; without a memory of key 7 it is done twice
//! ```
//!
//! Every request appends a token that no other has to a list, and adds one to a counter beside it; some insert a row, and
//! would find themselves; some append in another shard too. While things break, leaders are asked to hand over, so that
//! answers get lost. A list is used for so many tokens, then it is judged and another takes its place.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use lentic_client::{Error, MergeOperator, Transaction, Value, WriteBatch};
use tokio::time::{sleep, timeout};

use crate::tally::Style;
use crate::tasks::Tasks;
use crate::world::{Done, Step, World};

pub(crate) const NAME: &str = "retries";

const LANES: usize = 2;
const CALLERS: u64 = 3;
/// Tokens of a list.
const TOKENS: u64 = 90;
/// The time between two leaders that are asked to hand over, at most.
const HANDS_OVER_MS: RangeInclusive<u64> = 200..=1_500;

/// What is known of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    /// It is there once.
    Acknowledged,
    /// Once at most.
    Unknown,
    /// Never.
    Refused,
}

/// The lists of a lane, for a while.
#[derive(Debug)]
struct Lists {
    lane: usize,
    name: String,
    /// Of each token, what is known, and whether it is in both lists.
    tokens: Mutex<BTreeMap<u64, (Token, bool)>>,
}

/// What is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Found {
    list: Vec<u64>,
    beside: Vec<u64>,
    counter: u64,
}

/// Appends until all is over; what each list holds is judged when it is full.
pub(crate) async fn retries(world: World) {
    let mut tasks = Tasks::default();
    for lane in 0..LANES {
        tasks.spawn(lists(world.fork(), lane));
    }
    tasks.spawn(hand_over(world.fork()));
    tasks.all().await;
    let commits = world.tally().of(NAME).commits;
    world.tally().show(NAME, format!("{commits} requests took effect once"));
}

/// Asks leaders to hand over, as long as things break.
async fn hand_over(world: World) {
    while !world.is_over() && world.healed().is_none() {
        sleep(Duration::from_millis(world.between(HANDS_OVER_MS))).await;
        let client = world.client();
        let work = async {
            let shards = client.describe_table(world.table_name()).await?.shards;
            let shard = shards[world.below(shards.len())].shard;
            world.recorder().nemesis("transfer", &format!("shard {shard}"));
            client.transfer_leader(shard, None).await
        };
        // Whether it took effect shows in what callers see, and a cluster that hangs has enough to do.
        let _ = timeout(Duration::from_millis(*HANDS_OVER_MS.end()), work).await;
    }
}

async fn lists(world: World, lane: usize) {
    for number in 0_u64.. {
        if world.is_over() {
            return;
        }
        let name = format!("{NAME}/{lane}/{number:05}");
        let lists = Arc::new(Lists { lane, name, tokens: Mutex::default() });
        let mut callers = Tasks::default();
        for id in 0..CALLERS {
            callers.spawn(call(world.fork(), Arc::clone(&lists), id));
        }
        callers.all().await;
        let Some(found) = lists.read(&world).await else { continue };
        let tokens = lists.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(words) = contradiction(&tokens, &found) {
            panic!("{NAME}: {}: {words}", lists.name);
        }
    }
}

async fn call(world: World, lists: Arc<Lists>, id: u64) {
    for number in 0..TOKENS / CALLERS {
        if world.is_over() {
            return;
        }
        world.pause().await;
        lists.append(&world, 1 + number * CALLERS + id).await;
    }
}

impl Lists {
    fn key(&self, world: &World, what: &str) -> Bytes {
        let place = if what == "beside" { self.lane + 1 } else { self.lane };
        world.key(place, &format!("{}/{what}", self.name))
    }

    async fn append(&self, world: &World, token: u64) {
        let (in_both, inserts) = (world.one_in(3), world.one_in(3));
        let bytes = token.to_be_bytes().to_vec();
        let one = 1_i64.to_be_bytes().to_vec();
        let mut batch = WriteBatch::new().merge(self.key(world, "list"), MergeOperator::Append, bytes.clone()).merge(
            self.key(world, "counter"),
            MergeOperator::AddI64,
            one,
        );
        if inserts {
            let row = self.key(world, &format!("row/{token}"));
            batch = batch.if_absent(row.clone()).put(row, bytes.clone());
        }
        let mut shards = vec![self.lane];
        if in_both {
            batch = batch.merge(self.key(world, "beside"), MergeOperator::Append, bytes);
            shards.push(self.lane + 1);
        }
        let (client, step) = (world.client(), Step::new(NAME, Style::OneShot, "append", &self.name).value(token));
        let work = async {
            if in_both {
                return client.commit(Transaction::new().with(world.table_name(), batch)).await;
            }
            world.write_together(&client, batch).await
        };
        let known = match world.write(step.in_shards(shards), work).await {
            Done::Ok(_) => Token::Acknowledged,
            Done::Unknown => Token::Unknown,
            Done::Refused(_) => Token::Refused,
        };
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner).insert(token, (known, in_both));
    }

    /// Reads both lists and the counter at one version.
    async fn read(&self, world: &World) -> Option<Found> {
        let keys = ["list", "beside", "counter"].map(|what| self.key(world, what));
        let work = async { found(world.snapshot().await?.table(world.table_name()).multi_get(keys).await?) };
        world.run(Step::read(NAME, &self.name), work, |found| found.counter.into()).await.ok()
    }
}

fn found(values: Vec<Option<Value>>) -> Result<Found, Error> {
    let mut numbers = values.into_iter().map(|found| {
        let bytes = found.map(|found| found.value).unwrap_or_default();
        let chunks = bytes.chunks_exact(8);
        chunks.map(|chunk| u64::from_be_bytes(chunk.try_into().expect("eight bytes"))).collect::<Vec<u64>>()
    });
    let (list, beside) = (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default());
    let counter = numbers.next().and_then(|counter| counter.first().copied()).unwrap_or(0);
    Ok(Found { list, beside, counter })
}

/// What was found that was not answered so.
fn contradiction(tokens: &BTreeMap<u64, (Token, bool)>, found: &Found) -> Option<String> {
    for (what, list, is_beside) in [("the list", &found.list, false), ("the list beside", &found.beside, true)] {
        let mut seen = BTreeSet::new();
        for token in list {
            match tokens.get(token) {
                _ if !seen.insert(*token) => return Some(format!("{token} took effect twice in {what}: {list:?}")),
                None => return Some(format!("nobody appended {token} to {what}")),
                Some((Token::Refused, _)) => return Some(format!("{token} was refused and is in {what}")),
                Some((_, in_both)) if is_beside && !in_both => return Some(format!("{token} is not for {what}")),
                Some(_) => {}
            }
        }
        let lost = tokens.iter().find(|(token, (known, in_both))| {
            *known == Token::Acknowledged && (*in_both || !is_beside) && !seen.contains(*token)
        });
        if let Some((token, _)) = lost {
            return Some(format!("{token} was acknowledged and is lost from {what}"));
        }
    }
    let half = tokens
        .iter()
        .find(|(token, (_, in_both))| *in_both && found.list.contains(token) != found.beside.contains(token));
    if let Some((token, _)) = half {
        return Some(format!("{token} is in one list of two"));
    }
    let count = found.list.len();
    (u64::try_from(count) != Ok(found.counter)).then(|| format!("{} were counted, {count} are there", found.counter))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(list: &[u64], beside: &[u64], counter: u64) -> String {
        let tokens = [
            (1, (Token::Acknowledged, false)),
            (2, (Token::Acknowledged, true)),
            (3, (Token::Unknown, true)),
            (4, (Token::Refused, false)),
        ];
        let found = Found { list: list.to_vec(), beside: beside.to_vec(), counter };
        contradiction(&BTreeMap::from(tokens), &found).unwrap_or_default()
    }

    #[test]
    fn what_took_effect_twice_or_not_at_all_is_seen() {
        assert_eq!(words(&[2, 1], &[2], 2), "");
        assert_eq!(words(&[2, 1, 3], &[3, 2], 3), "", "what nobody knows may be there, once");
        assert!(words(&[1, 2, 1], &[2], 3).starts_with("1 took effect twice in the list"));
        assert!(words(&[1, 2], &[2, 2], 2).starts_with("2 took effect twice in the list beside"));
        assert!(words(&[2], &[2], 1).starts_with("1 was acknowledged and is lost from the list"));
        assert!(words(&[1, 2], &[], 2).starts_with("2 was acknowledged and is lost from the list beside"));
        assert!(words(&[1, 2, 3], &[2], 3).starts_with("3 is in one list of two"));
        assert!(words(&[1, 2, 4], &[2], 3).starts_with("4 was refused"));
        assert!(words(&[1, 2, 9], &[2], 3).starts_with("nobody appended 9"));
        assert!(words(&[1, 2], &[1, 2], 2).starts_with("1 is not for the list beside"));
        assert!(words(&[1, 2], &[2], 3).starts_with("3 were counted"));
    }
}
