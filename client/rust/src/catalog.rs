//! What is remembered of a table.

use std::sync::{Arc, Mutex, PoisonError, RwLock};

use lentic_net::Address;
use lentic_proto::v1::pipe_response::Response;
use lentic_proto::v1::{DescribeTableRequest, Shard, pipe_request};
use lentic_types::{ErrorKind, KeyRange, ShardId};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::call::{self, unexpected};
use crate::core::Core;
use crate::error::Error;
use crate::flight::Flight;
use crate::progress::{Effect, Progress};
use crate::routes::{Place, Route, Routes};

/// A table's name and what is remembered of its shards. It is asked for when it is first needed, and again when it was
/// wrong.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) name: Arc<str>,
    routes: RwLock<Option<Arc<Routes>>>,
    /// Wakes who waits for another route, when the table was described: not for hints, of which one may contradict the next.
    described_anew: Notify,
    /// Wakes who waits for a shard, when another caller was served there.
    served: watch::Sender<Option<ShardId>>,
    describing: Flight,
    described: Mutex<Option<Instant>>,
}

impl Entry {
    pub(crate) fn new(name: Arc<str>) -> Self {
        let (routes, described) = (RwLock::default(), Mutex::default());
        let (described_anew, served) = (Notify::new(), watch::Sender::default());
        Self { name, routes, described_anew, served, describing: Flight::default(), described }
    }

    /// The shard of a place, if it is known.
    pub(crate) fn route(&self, place: &Place) -> Option<Arc<Route>> {
        let routes = self.routes.read().unwrap_or_else(PoisonError::into_inner);
        routes.as_ref()?.find(place).cloned()
    }

    /// The parts of a range by shard, if all are known.
    pub(crate) fn cut(&self, range: &KeyRange) -> Option<Vec<(Arc<Route>, KeyRange)>> {
        let routes = self.routes.read().unwrap_or_else(PoisonError::into_inner).clone();
        routes?.cut(range)
    }

    /// Takes a hint that a node gave.
    pub(crate) fn learn(&self, hint: Route) {
        let mut routes = self.routes.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(learned) = routes.as_ref().and_then(|routes| routes.learn(hint)) {
            *routes = Some(Arc::new(learned));
        }
    }

    /// Waits until the table is described anew, and a place has another route than `used`.
    pub(crate) async fn other_route(&self, place: &Place, used: &Arc<Route>) {
        loop {
            self.described_anew.notified().await;
            if self.route(place).as_ref() != Some(used) {
                return;
            }
        }
    }

    /// A caller was served by the leader of a shard: others who wait for it need not wait longer.
    pub(crate) fn note_served(&self, shard: ShardId) {
        if self.served.receiver_count() > 0 {
            self.served.send_replace(Some(shard));
        }
    }

    /// Waits until another caller is served by the leader of a place's shard.
    pub(crate) async fn other_served(&self, place: &Place, used: &Route) {
        let mut served = self.served.subscribe();
        // The sender is in the entry.
        while served.changed().await.is_ok() {
            let shard = self.route(place).map_or(used.shard, |route| route.shard);
            if *served.borrow_and_update() == Some(shard) {
                return;
            }
        }
    }

    /// Takes a description of the whole table.
    pub(crate) fn set(&self, shards: Vec<Shard>) -> Result<(), Error> {
        let routes = Routes::from_wire(shards).ok_or_else(|| {
            Error::unknown(format!("the shards of table {} overlap in the answer of a node; report this", self.name))
        })?;
        *self.routes.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(routes));
        self.described_anew.notify_waiters();
        Ok(())
    }

    /// Forgets the shards: the table was dropped.
    pub(crate) fn forget(&self) {
        *self.routes.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// What `find` finds in the routes; asks the cluster until it finds something.
    ///
    /// # Errors
    /// There is no such table.
    pub(crate) async fn known<T>(
        self: &Arc<Self>,
        core: &Arc<Core>,
        progress: &mut Progress,
        find: impl Fn(&Self) -> Option<T>,
    ) -> Result<T, Error> {
        loop {
            if let Some(found) = find(self) {
                return Ok(found);
            }
            let described = self.describe(core).await;
            progress.note_or_stop(described)?;
            if let Some(found) = find(self) {
                return Ok(found);
            }
            let message = format!("no shard of table {} is known for some of the keys", self.name);
            progress.note(Error::new(ErrorKind::WrongEpoch, message));
            call::pause(core, progress, None).await;
        }
    }

    /// Asks the cluster for the table's shards. Who asks meanwhile waits for the same answer.
    pub(crate) async fn describe(self: &Arc<Self>, core: &Arc<Core>) -> Result<(), Error> {
        self.describing.join(&core.tasks, || describe(self.clone(), core.clone())).await
    }
}

async fn describe(entry: Arc<Entry>, core: Arc<Core>) -> Result<(), Error> {
    let last = *entry.described.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(last) = last {
        tokio::time::sleep_until(last + core.options.backoff_min).await;
    }
    let request = pipe_request::Request::DescribeTable(DescribeTableRequest { name: entry.name.to_string() });
    let answer = call::any(&core, request, Progress::new(Effect::Reads, &core.options)).await;
    *entry.described.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    match answer? {
        Response::DescribeTable(described) => {
            // Nodes that joined later are learned here, so that a client outlives all whom it knew at first.
            core.nodes.learn(described.shards.iter().map(|shard| Address::from(&*shard.leader_address)));
            entry.set(described.shards)
        }
        _ => Err(unexpected()),
    }
}
