//! Lingering: operations of one shard that wait a little for each other and go as one request.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::join_all;
use lentic_proto::v1::{Operation, WriteRequest};
use lentic_types::{ShardId, Version};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::batch::{bytes_of, touched};
use crate::call::Stop;
use crate::catalog::Entry;
use crate::core::Core;
use crate::error::Error;
use crate::progress::{Effect, Progress};
use crate::routes::Place;
use crate::write;

type Key = (Arc<str>, ShardId);

/// What waits to be sent together, by table and shard.
#[derive(Debug, Default)]
pub(crate) struct Batcher(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    gathering: BTreeMap<Key, Gathering>,
    begun: u64,
}

#[derive(Debug, Default)]
struct Gathering {
    /// Tells it from an earlier one of the same shard.
    number: u64,
    members: Vec<Member>,
    bytes: usize,
}

/// An operation and who waits for it.
#[derive(Debug)]
struct Member {
    operation: Operation,
    done: oneshot::Sender<Result<Version, Error>>,
}

impl Batcher {
    /// Sends one operation with others that come within the linger.
    pub(crate) async fn write(
        &self,
        core: &Arc<Core>,
        entry: &Arc<Entry>,
        operation: Operation,
        deadline: Instant,
    ) -> Result<Version, Error> {
        let mut progress = Progress::until(Effect::Writes, deadline);
        let place = Place::Key(touched(&operation).first().clone());
        let work = async {
            let route = entry.known(core, &mut progress, |entry| entry.route(&place)).await?;
            let done = self.add(core, entry, route.shard, operation);
            progress.in_doubt += 1;
            done.await.unwrap_or_else(|_| Err(Error::unknown("the client was closed")))
        };
        match tokio::time::timeout_at(deadline, work).await {
            Ok(result) => result,
            Err(_) => Err(progress.out_of_time()),
        }
    }

    fn add(
        &self,
        core: &Arc<Core>,
        entry: &Arc<Entry>,
        shard: ShardId,
        operation: Operation,
    ) -> oneshot::Receiver<Result<Version, Error>> {
        let (done, receiver) = oneshot::channel();
        let key = (entry.name.clone(), shard);
        let mut state = self.state();
        if !state.gathering.contains_key(&key) {
            state.begun += 1;
            let number = state.begun;
            state.gathering.insert(key.clone(), Gathering { number, ..Gathering::default() });
            core.tasks.spawn(linger(core.clone(), entry.clone(), key.clone(), number));
        }
        let gathering = state.gathering.get_mut(&key).expect("it was begun");
        gathering.bytes += bytes_of(&operation);
        gathering.members.push(Member { operation, done });
        let options = &core.options;
        if gathering.bytes >= options.batch_bytes_max || gathering.members.len() >= options.batch_operations_max {
            let full = state.gathering.remove(&key).expect("it was begun");
            core.tasks.spawn(send(core.clone(), entry.clone(), full.members));
        }
        receiver
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn linger(core: Arc<Core>, entry: Arc<Entry>, key: Key, number: u64) {
    tokio::time::sleep(core.options.linger).await;
    let gathered = {
        let mut state = core.batcher.state();
        let is_there = state.gathering.get(&key).is_some_and(|gathering| gathering.number == number);
        is_there.then(|| state.gathering.remove(&key)).flatten()
    };
    if let Some(gathered) = gathered {
        send(core, entry, gathered.members).await;
    }
}

/// Sends members as one request, and one by one if they are refused together.
async fn send(core: Arc<Core>, entry: Arc<Entry>, members: Vec<Member>) {
    let deadline = Instant::now() + core.options.deadline;
    let (operations, callers): (Vec<_>, Vec<_>) =
        members.into_iter().map(|member| (member.operation, member.done)).unzip();
    let place = Place::Key(touched(&operations[0]).first().clone());
    let mut write = WriteRequest { operations, ..WriteRequest::default() };
    let result = write::shard(&core, &entry, place, &mut write, deadline).await;
    let is_for_all = match &result {
        Ok(_) => true,
        Err(Stop::Failed(error)) => callers.len() == 1 || !write::is_refusal(error),
        Err(Stop::Split) => false,
    };
    if is_for_all {
        let result = result.map_err(|stop| match stop {
            Stop::Failed(error) => error,
            Stop::Split => Error::unavailable("the shard was split while the operation waited"),
        });
        callers.into_iter().for_each(|caller| drop(caller.send(result.clone())));
        return;
    }
    let alone = write.operations.into_iter().zip(callers).map(|(operation, caller)| async {
        let place = Place::Key(touched(&operation).first().clone());
        let mut write = WriteRequest { operations: vec![operation], ..WriteRequest::default() };
        let result = write::shard(&core, &entry, place, &mut write, deadline).await.map_err(|stop| match stop {
            Stop::Failed(error) => error,
            Stop::Split => Error::unavailable("the shard was split while the operation waited"),
        });
        drop(caller.send(result));
    });
    join_all(alone).await;
}
