//! What a shard's leader lets go of: history beyond the table's retention, but for pins.
//!
//! ```text
//!   now − retention ──► wanted ──► the meta group's leader: floor, pins ──► raise the watermark to the lower of
//!                                  (it raises the floor if it must)         wanted and floor, with those pins
//! ```
//!
//! The watermark moves in steps, so that an idle shard costs next to nothing. Compactions collect what is below it.

use std::time::Duration;

use lentic_engine::Portable;
use lentic_machine::Outcome;
use lentic_machine::shard::{Action, RaiseWatermark};
use lentic_proto::v1::Failure;
use lentic_types::{Epoch, Version};
use tokio::time::{Instant, sleep};
use tracing::debug;

use super::queue::{Cost, Proposal, Reply};
use super::replica::Replica;
use crate::convert::HEAD_BYTES;
use crate::failure;
use crate::gateway::Gateway;

/// How long one raise may take before the next shard has its turn.
const RAISE_WITHIN: Duration = Duration::from_secs(2);
/// The watermark moves by this part of the retention at least.
const STEPS_PER_RETENTION: u64 = 8;
/// However long history is kept: what a dropped pin has kept goes after this.
const STEP_MS_MAX: u64 = 10 * 60 * 1000;
/// Most bytes of a pin in an entry.
const PIN_BYTES: usize = 10;

/// Raises the watermarks of the shards that this node leads, until the node ends.
pub(crate) async fn keep<S: Portable>(gateway: &Gateway<S>) {
    loop {
        sleep(gateway.options.history_every).await;
        let led: Vec<_> = gateway.shards.all().into_iter().filter(|replica| replica.serves()).collect();
        if led.is_empty() {
            continue;
        }
        let Ok(now) = gateway.shards.shared.ticks.recent(gateway.options.history_every).await else { return };
        for replica in led {
            if let Err(failure) = raise(gateway, &replica, now).await {
                debug!(shard = replica.shard.0, reason = failure.message, "the watermark was not raised");
            }
        }
    }
}

/// Raises the watermark of a shard, if it is worth it.
async fn raise<S: Portable>(gateway: &Gateway<S>, replica: &Replica<S>, now: Version) -> Result<(), Failure> {
    let descriptor = replica.descriptor();
    let Some(retention) = gateway.retention_ms(descriptor.table) else { return Ok(()) };
    let step = (retention / STEPS_PER_RETENTION).min(STEP_MS_MAX);
    let wanted = now.minus_ms(retention);
    if wanted <= descriptor.watermark.plus_ms(step).unwrap_or(Version::MAX) {
        return Ok(());
    }
    let deadline = Instant::now() + RAISE_WITHIN;
    let asked = gateway.meta.pins_of(descriptor.table, &descriptor.range, wanted);
    let Ok(Some(list)) = tokio::time::timeout_at(deadline, asked).await else {
        return Err(failure::not_leader());
    };
    let to = wanted.min(list.floor);
    if to <= descriptor.watermark {
        return Ok(());
    }
    let raise = RaiseWatermark { to, revision: list.revision, pins: list.versions };
    match replica.raise(descriptor.epoch, raise, deadline).await? {
        Outcome::Refused(refusal) => Err(failure::of_refusal(&refusal)),
        _ => Ok(()),
    }
}

impl<S: Portable> Replica<S> {
    async fn raise(&self, epoch: Epoch, raise: RaiseWatermark, deadline: Instant) -> Result<Outcome, Failure> {
        let (reply, answer) = Reply::awaited();
        let cost = Cost { bytes: HEAD_BYTES + PIN_BYTES * raise.pins.len(), operations: 1 };
        let action = Action::RaiseWatermark(raise);
        self.propose(Proposal { epoch, key: None, action, cost, deadline, rides: false, reply });
        answer.await
    }
}
