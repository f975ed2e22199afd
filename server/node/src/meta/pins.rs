//! Pins as the leader of the meta group keeps them, and as the leaders of shards ask for them.
//!
//! Who asks gets floor and pins of one state of the meta group. Any state will do: no pin that comes after it lies below its
//! floor. So the answer needs no round, and a leader that was deposed and does not know it does no harm.

use std::time::Duration;

use lentic_engine::Portable;
use lentic_machine::meta::{MetaCommand, MetaOutcome};
use lentic_proto::v1::Failure;
use lentic_types::{KeyRange, PinId, TableId, Version};
use tokio::time::{sleep, timeout};
use tracing::{debug, info};

use super::service::MetaService;
use crate::ask::{Answer, Question};
use crate::failure;

/// How often the leader looks for leases that have ended.
const SWEEP_EVERY: Duration = Duration::from_secs(1);
/// How long a sweep may take before its asker does without.
const SWEEP_WITHIN: Duration = Duration::from_secs(2);

/// The pins of a range, and the floor that goes with them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PinList {
    pub(crate) revision: u64,
    pub(crate) floor: Version,
    pub(crate) versions: Vec<Version>,
}

impl<S: Portable> MetaService<S> {
    /// The pins of a range, from whoever leads the meta group; `None` if it was not reached. Its floor may be below what is
    /// wanted: then there is nobody who could raise it, or it is too early.
    pub(crate) async fn pins_of(&self, table: TableId, range: &KeyRange, wanted: Version) -> Option<PinList> {
        if self.leads() {
            return Some(self.own_pins_of(table, range, wanted).await);
        }
        match self.ask_leader(&Question::Pins { table, range: range.clone(), wanted }).await {
            Some(Answer::Pins(list)) => Some(list),
            _ => None,
        }
    }

    /// The same from this node, which leads the meta group: it raises the floor first if that is too low.
    pub(crate) async fn own_pins_of(&self, table: TableId, range: &KeyRange, wanted: Version) -> PinList {
        if self.pins_after_apply().floor() < wanted
            && let Ok(Err(failure)) = timeout(SWEEP_WITHIN, self.sweep_to(wanted)).await
        {
            debug!(reason = failure.message, "the floor of the pins was not raised");
        }
        let pins = self.pins_after_apply();
        PinList { revision: pins.revision(), floor: pins.floor(), versions: pins.versions_in(table, range) }
    }

    /// Raises the floor if it is below `wanted`, and takes the pins away whose lease has ended.
    async fn sweep_to(&self, wanted: Version) -> Result<(), Failure> {
        let _sweeping = self.sweeping.lock().await;
        if self.pins_after_apply().floor() >= wanted {
            return Ok(());
        }
        self.sweep().await
    }

    async fn sweep(&self) -> Result<(), Failure> {
        let ticks = self.ticks(1, None).await.map_err(|_| failure::not_leader())?;
        let now = ticks.first;
        let floor = now.minus_ms(u64::try_from(self.pin_grace.as_millis()).unwrap_or(u64::MAX));
        if let MetaOutcome::Swept { gone: 1.., .. } = self.propose(&MetaCommand::SweepPins { now, floor }).await? {
            info!("pins whose lease has ended are gone");
        }
        Ok(())
    }

    /// While this node leads the meta group: takes pins away whose lease has ended.
    pub(crate) async fn sweep_expired(&self) {
        loop {
            sleep(SWEEP_EVERY).await;
            let Some(first) = self.pins_after_apply().first_expiry().filter(|_| self.leads()) else { continue };
            let Ok(ticks) = self.ticks(1, None).await else { continue };
            if ticks.first >= first {
                let _sweeping = self.sweeping.lock().await;
                if let Ok(Err(failure)) = timeout(SWEEP_WITHIN, self.sweep()).await {
                    debug!(reason = failure.message, "pins whose lease has ended were not swept");
                }
            }
        }
    }

    /// The pin of this id, in what this node's replica has applied.
    pub(crate) fn pin_after_apply(&self, pin: PinId) -> Option<lentic_machine::meta::Pin> {
        self.pins_after_apply().get(pin).cloned()
    }
}
