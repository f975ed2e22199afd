//! Reads at versions from any replica.
//!
//! A replica knows up to which version it has everything, and answers there by itself. Else it refuses, and the leader is
//! asked as for any other read: so is whoever does not answer within the patience of a client, and he is left alone for a
//! while.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lentic_net::Address;
use lentic_proto::v1::PipeRequest;
use lentic_proto::v1::pipe_request::Request;
use lentic_proto::v1::pipe_response::Response;
use lentic_runtime::Random;
use lentic_types::ErrorKind;
use tokio::time::Instant;

use crate::call::{self, Stop};
use crate::catalog::Entry;
use crate::core::Core;
use crate::error::Error;
use crate::progress::Progress;
use crate::routes::{Place, Route};

/// For how long a node is left alone that did not answer.
const LEFT_ALONE: Duration = Duration::from_secs(3);
/// Most nodes to leave alone.
const LEFT_ALONE_MAX: usize = 64;

/// Who answers reads at a version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReadFrom {
    /// The leader of the shard.
    #[default]
    Leader,
    /// Any node that keeps the shard and knows that it has everything up to the version: it asks nobody. If the one that
    /// was chosen does not, the leader answers. What is read is the same: at one version all nodes have the same bytes.
    ///
    /// A version is known everywhere soon after it: a shard that is written to tells it by itself, another one within about
    /// 0.1 s of a read that asked for it.
    Any,
}

/// Nodes that did not answer lately.
#[derive(Debug, Default)]
pub(crate) struct Replicas(Mutex<Vec<(Address, Instant)>>);

impl Replicas {
    /// Some replica of a shard; `None` if it is better to ask the leader.
    fn choose(&self, route: &Route, random: &Random) -> Option<Address> {
        let now = Instant::now();
        let mut left_alone = self.lock();
        left_alone.retain(|(_, until)| *until > now);
        let is_free = |address: &&Address| left_alone.iter().all(|(other, _)| other != *address);
        let free: Vec<_> = route.replicas.iter().filter(is_free).collect();
        let place = usize::try_from(random.next_seed() % free.len().max(1) as u64).unwrap_or(0);
        free.get(place).map(|address| (*address).clone())
    }

    fn leave_alone(&self, address: Address) {
        let mut left_alone = self.lock();
        if left_alone.len() < LEFT_ALONE_MAX {
            left_alone.push((address, Instant::now() + LEFT_ALONE));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(Address, Instant)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asks some replica of the shard of `place` once, if the request says that any may answer. `None`: ask the leader.
pub(crate) async fn ask(
    core: &Arc<Core>,
    entry: &Arc<Entry>,
    place: &Place,
    request: &mut PipeRequest,
    progress: &mut Progress,
    fit: &mut (impl FnMut(&Route, &mut Request) -> bool + Send),
) -> Result<Option<Response>, Stop> {
    let Some(asked) = request.request.as_mut().filter(|request| may_be_any(request)) else { return Ok(None) };
    let route = entry.known(core, progress, |entry| entry.route(place)).await.map_err(Stop::Failed)?;
    if !fit(&route, asked) {
        return Ok(None);
    }
    let Some(address) = core.replicas.choose(&route, &core.random) else { return Ok(None) };
    call::mark(asked, Some(route.wire()), &entry.name);
    let patience = core.options.patience;
    let answer = tokio::time::timeout(patience, call::ask(core, &address, request, progress, patience)).await;
    match answer {
        Ok(Ok(Ok(Response::Failure(mut failure)))) => {
            if let Some(hint) = failure.shard.take().and_then(|shard| Route::from_wire(*shard)) {
                entry.learn(hint);
            }
            let error = Error::from_failure(failure);
            match error.kind() {
                // What one replica has let go of no other has, and all count alike.
                ErrorKind::VersionTooOld | ErrorKind::TooLarge => Err(Stop::Failed(error)),
                _ => {
                    progress.answered(&error);
                    progress.note(error);
                    Ok(None)
                }
            }
        }
        Ok(Ok(Ok(response))) => Ok(Some(response)),
        Ok(Ok(Err(error))) => {
            core.replicas.leave_alone(address);
            progress.note(error);
            Ok(None)
        }
        Ok(Err(error)) => Err(Stop::Failed(error)),
        Err(_) => {
            core.replicas.leave_alone(address);
            Ok(None)
        }
    }
}

const fn may_be_any(request: &Request) -> bool {
    match request {
        Request::Get(request) => request.any_replica,
        Request::MultiGet(request) => request.any_replica,
        Request::Scan(request) => request.any_replica,
        Request::Diff(request) => request.any_replica,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use lentic_types::{Epoch, KeyRange, ShardId, TableId};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn whoever_does_not_answer_is_left_alone_for_a_while() {
        let addresses: Vec<Address> = ["a", "b", "c"].into_iter().map(Address::from).collect();
        let route = Route {
            shard: ShardId(1),
            epoch: Epoch(1),
            table: TableId(1),
            range: KeyRange::all(),
            leader: None,
            replicas: addresses.clone(),
        };
        let (replicas, random) = (Replicas::default(), Random::seeded(7));
        let chosen = || {
            let mut all: Vec<_> = (0..100).filter_map(|_| replicas.choose(&route, &random)).collect();
            all.sort();
            all.dedup();
            all
        };
        assert_eq!(chosen(), addresses, "all take part");
        replicas.leave_alone("b".into());
        assert_eq!(chosen(), [addresses[0].clone(), addresses[2].clone()]);
        replicas.leave_alone("a".into());
        replicas.leave_alone("c".into());
        assert_eq!(chosen(), Vec::<Address>::new(), "the leader is asked");
        tokio::time::advance(LEFT_ALONE).await;
        assert_eq!(chosen(), addresses);
    }
}
