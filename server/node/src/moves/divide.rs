//! Shards that are too large or too busy are cut in two: found by who leads them, said by the leader of the meta group.
//!
//! ```text
//!   each second    what came to each shard that is led here: for some seconds too much?     a key with half of it on each side
//!   now and then   what each has on disk: too much?                                          the same, of bytes
//!                  meta leader: the shard shall be cut there
//! ```
//!
//! Both parts stay where they are: what is too much for a node is moved by the balance.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use lentic_engine::Portable;
use lentic_machine::meta::{MetaCommand, ShardPlace};
use lentic_runtime::blocking;
use lentic_types::{Epoch, ShardId};
use tokio::time::{Instant, sleep};
use tracing::{debug, info};

use super::cut;
use crate::ask::{Answer, Question};
use crate::gateway::Gateway;
use crate::meta::service::MetaService;
use crate::shard::replica::Replica;

/// How often it is looked.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A shard is busy that was so for so many looks more than not: what passes sooner is over when a cut would help.
const BUSY_LOOKS: u32 = 5;
/// What a shard has on disk is asked for at every so manieth look.
const MEASURE_LOOKS: u32 = 10;
/// A look counts for one in so many of the average.
const SMOOTH: u64 = 3;
/// After a shard could not be cut, it is left alone for so long.
const LEFT_ALONE: Duration = Duration::from_secs(30);
/// Shards of the cluster that are cut at once.
const AT_ONCE_MAX: usize = 4;

/// Cuts that this node has asked for.
#[derive(Debug, Default)]
pub(crate) struct Divided {
    by_load: AtomicU64,
    by_bytes: AtomicU64,
}

impl Divided {
    /// For load, and for bytes.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.by_load.load(Ordering::Relaxed), self.by_bytes.load(Ordering::Relaxed))
    }
}

/// What is remembered of a shard from look to look.
#[derive(Default)]
struct Seen {
    operations: u64,
    busy_looks: u32,
    looks: u32,
    left_alone_until: Option<Instant>,
}

/// Why a shard is cut.
#[derive(Clone, Copy, Debug)]
enum Why {
    Load,
    Bytes,
}

/// Looks after what this node leads. It ends with the node.
pub(crate) async fn keep<S: Portable>(gateway: &Gateway<S>) {
    let mut seen = BTreeMap::<ShardId, Seen>::new();
    let mut at = Instant::now();
    loop {
        sleep(LOOK_EVERY).await;
        let (led, after) = (gateway.shards.groups(), std::mem::replace(&mut at, Instant::now()).elapsed());
        let mut before = std::mem::take(&mut seen);
        for home in led.into_iter().filter(|home| home.serves()) {
            // Who leads since this look knows nothing of the time before.
            let new = || Seen { operations: home.traffic().operations(), ..Seen::default() };
            let mut of_shard = before.remove(&home.shard).unwrap_or_else(new);
            if let Some((why, at)) = look(gateway, &home, &mut of_shard, after)
                && !divide(gateway, &home, why, at).await
            {
                of_shard.left_alone_until = Some(Instant::now() + LEFT_ALONE);
            }
            seen.insert(home.shard, of_shard);
        }
    }
}

/// Looks at a shard; where it should be cut, if it should.
fn look<S: Portable>(
    gateway: &Gateway<S>,
    home: &Arc<Replica<S>>,
    seen: &mut Seen,
    after: Duration,
) -> Option<(Why, Bytes)> {
    let (options, gauges) = (&gateway.options, home.gauges());
    let operations = home.traffic().operations();
    let come = operations.saturating_sub(std::mem::replace(&mut seen.operations, operations));
    let now = come.saturating_mul(1_000) / u64::try_from(after.as_millis()).unwrap_or(u64::MAX).max(1);
    let rate = (gauges.rate.load(Ordering::Relaxed) * (SMOOTH - 1) + now) / SMOOTH;
    gauges.rate.store(rate, Ordering::Relaxed);
    if seen.looks.is_multiple_of(MEASURE_LOOKS) {
        measure(home);
    }
    seen.looks = seen.looks.wrapping_add(1);
    let is_over = |limit: u64, value: u64| limit > 0 && value > limit;
    // Of single looks, not of their average, which remembers what has passed.
    seen.busy_looks = match is_over(options.split_operations, now) {
        true => seen.busy_looks + 1,
        false => seen.busy_looks.saturating_sub(1),
    };
    let may_be_cut = seen.left_alone_until.is_none_or(|until| until <= Instant::now());
    if !may_be_cut || !gateway.meta.is_balanced() || !is_idle(gateway, home) {
        return None;
    }
    if seen.busy_looks >= BUSY_LOOKS {
        seen.busy_looks = 0;
        if let Some(at) = cut::by_load(home.traffic().take_samples()) {
            return Some((Why::Load, at));
        }
        debug!(
            shard = home.shard.0,
            rate, "a shard is busy and cannot be cut: one key has nearly all, or few are known"
        );
    }
    if is_over(options.split_bytes, gauges.bytes.load(Ordering::Relaxed)) {
        match blocking(|| cut::by_bytes(home.store(), &home.descriptor())) {
            Ok(Some(at)) => return Some((Why::Bytes, at)),
            Ok(None) => debug!(shard = home.shard.0, "a shard is large and cannot be cut: one key has nearly all"),
            Err(error) => debug!(shard = home.shard.0, %error, "not known where a large shard can be cut"),
        }
        seen.left_alone_until = Some(Instant::now() + LEFT_ALONE);
    }
    None
}

/// What it has on disk.
fn measure<S: Portable>(home: &Replica<S>) {
    let descriptor = home.descriptor();
    match blocking(|| cut::bytes_of(home.store(), descriptor.table, &descriptor.range)) {
        Ok(bytes) => home.gauges().bytes.store(bytes, Ordering::Relaxed),
        Err(error) => debug!(shard = home.shard.0, %error, "not known how large a shard is"),
    }
}

/// Whether nothing is under way with it, as far as this node knows, and it is what the catalog says.
fn is_idle<S: Portable>(gateway: &Gateway<S>, home: &Replica<S>) -> bool {
    let catalog = gateway.meta.catalog();
    let place = catalog.shards.get(&home.shard);
    place.is_some_and(|place: &ShardPlace| place.shape.is_idle() && place.epoch == home.descriptor().epoch)
}

/// Has a shard cut; whether the meta group took it.
async fn divide<S: Portable>(gateway: &Gateway<S>, home: &Replica<S>, why: Why, at: Bytes) -> bool {
    let (shard, epoch, key) = (home.shard, home.descriptor().epoch, at.escape_ascii().to_string());
    let is_taken = match gateway.meta.leads() {
        true => begin(&gateway.meta, shard, epoch, at).await,
        false => {
            let answer = gateway.meta.ask_leader(&Question::BeginSplit { shard, epoch, at }).await;
            matches!(answer, Some(Answer::Done))
        }
    };
    let (rate, bytes) = (&home.gauges().rate, &home.gauges().bytes);
    let (rate, bytes) = (rate.load(Ordering::Relaxed), bytes.load(Ordering::Relaxed));
    if is_taken {
        info!(shard = shard.0, ?why, key, rate, bytes, "a shard is cut in two");
        let divided = &gateway.divided;
        let count = match why {
            Why::Load => &divided.by_load,
            Why::Bytes => &divided.by_bytes,
        };
        count.fetch_add(1, Ordering::Relaxed);
        // What was seen of the whole is not of the part.
        home.gauges().rate.store(rate / 2, Ordering::Relaxed);
        home.gauges().bytes.store(bytes / 2, Ordering::Relaxed);
    } else {
        debug!(shard = shard.0, ?why, key, rate, bytes, "a shard is not cut now");
    }
    is_taken
}

/// Says that a shard shall be cut, if there is room for one more: of the leader of the meta group.
pub(crate) async fn begin<S: Portable>(meta: &MetaService<S>, shard: ShardId, epoch: Epoch, at: Bytes) -> bool {
    let catalog = meta.catalog_after_apply();
    let under_way = catalog.shards.values().filter(|place| place.shape.splitting.is_some());
    if under_way.count() >= AT_ONCE_MAX || !meta.is_balanced() {
        return false;
    }
    match meta.propose(&MetaCommand::BeginSplit { shard, epoch, at }).await {
        Ok(_) => true,
        Err(failure) => {
            debug!(shard = shard.0, reason = failure.message, "a shard is not cut now");
            false
        }
    }
}
