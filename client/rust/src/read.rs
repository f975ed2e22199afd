//! Reads of single keys.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::join_all;
use lentic_proto::v1::pipe_request::Request;
use lentic_proto::v1::pipe_response::Response;
use lentic_proto::v1::{self, GetRequest, MultiGetRequest, PipeRequest};
use lentic_types::{ErrorKind, ShardId, Version};
use tokio::time::Instant;

use crate::call::{ShardCall, Stop, unexpected};
use crate::catalog::Entry;
use crate::core::Core;
use crate::error::Error;
use crate::progress::{Effect, Progress};
use crate::replicas::{self, ReadFrom};
use crate::routes::{Place, Route};
use crate::sessions;

/// Most keys of one request; more are asked for in several, so that none holds its shard for long.
const KEYS_MAX: usize = 10_000;

/// A value, when it was written, and when it ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    /// The value. It may share memory with what was read together with it; copy it to keep it for long.
    pub value: Bytes,
    /// The version at which it was last changed.
    pub version: Version,
    /// When it ends, in milliseconds since 1970; `None`: never.
    pub expires_unix_ms: Option<u64>,
}

impl Value {
    pub(crate) fn from_wire(value: v1::Value) -> Self {
        let v1::Value { value, version, expires_unix_ms } = value;
        Self { value, version: Version(version), expires_unix_ms }
    }

    /// The value as an integer, if it has 8 bytes: what [`MergeOperator::AddI64`](crate::MergeOperator::AddI64) keeps.
    #[must_use]
    pub fn as_i64(&self) -> Option<i64> {
        self.value[..].try_into().ok().map(i64::from_be_bytes)
    }

    /// The value as a float, if it has 8 bytes: what [`MergeOperator::AddF64`](crate::MergeOperator::AddF64) keeps.
    #[must_use]
    pub fn as_f64(&self) -> Option<f64> {
        self.value[..].try_into().ok().map(f64::from_be_bytes)
    }
}

/// The value of a key.
pub(crate) async fn get(
    core: &Arc<Core>,
    entry: &Arc<Entry>,
    key: Bytes,
    at: Option<Version>,
    from: ReadFrom,
    deadline: Instant,
) -> Result<Option<Value>, Error> {
    let place = Place::Key(key.clone());
    let any_replica = at.is_some() && from == ReadFrom::Any;
    let request = Request::Get(GetRequest { key, at: at.map(|at| at.0), any_replica, ..GetRequest::default() });
    match shard(core, entry, place, request, deadline, |_, _| true).await {
        Ok(Response::Get(got)) => Ok(got.value.map(Value::from_wire)),
        Ok(_) => Err(unexpected()),
        Err(Stop::Failed(error)) => Err(error),
        Err(Stop::Split) => Err(unexpected()),
    }
}

/// Sends a read to the shard of `place`: to any replica first, if it says so, else to the leader.
pub(crate) async fn shard(
    core: &Arc<Core>,
    entry: &Arc<Entry>,
    place: Place,
    request: Request,
    deadline: Instant,
    mut fit: impl FnMut(&Route, &mut Request) -> bool + Send,
) -> Result<Response, Stop> {
    let mut progress = Progress::until(Effect::Reads, deadline);
    let mut request = PipeRequest { request: Some(request), ..PipeRequest::default() };
    let asked = async {
        if let Some(response) = replicas::ask(core, entry, &place, &mut request, &mut progress, &mut fit).await? {
            return Ok(response);
        }
        let mut call = ShardCall { core, entry, place, request };
        call.run(&mut progress, fit).await.map(|(response, _)| response)
    };
    match tokio::time::timeout_at(deadline, asked).await {
        Ok(answer) => answer,
        Err(_) => Err(Stop::Failed(progress.out_of_time())),
    }
}

/// The values of `keys`, in their order, all at one version.
pub(crate) async fn multi_get(
    core: &Arc<Core>,
    entry: &Arc<Entry>,
    keys: &[Bytes],
    mut at: Option<Version>,
    from: ReadFrom,
    deadline: Instant,
) -> Result<Vec<Option<Value>>, Error> {
    // A fresh version is known nowhere yet.
    let any_replica = at.is_some() && from == ReadFrom::Any;
    let mut values: Vec<Option<Value>> = vec![None; keys.len()];
    let mut pending: Vec<usize> = (0..keys.len()).collect();
    let mut keys_max = KEYS_MAX;
    while !pending.is_empty() {
        let parts = cut_in_time(core, entry, keys, &pending, keys_max, deadline).await?;
        if at.is_none() && parts.len() > 1 {
            at = Some(Version(sessions::now(core, Progress::until(Effect::Reads, deadline)).await?));
        }
        pending = Vec::new();
        let asked = parts.into_iter().map(|part| async {
            let result = part_of(core, entry, keys, &part, (at, any_replica), deadline).await;
            (result, part)
        });
        for (result, part) in join_all(asked).await {
            match result {
                Ok(found) => part.into_iter().zip(found).for_each(|(place, value)| values[place] = value),
                Err(Stop::Split) => pending.extend(part),
                // Their values are too many bytes for one answer.
                Err(Stop::Failed(error)) if error.kind() == ErrorKind::TooLarge && part.len() > 1 => {
                    keys_max = keys_max.min(part.len().div_ceil(2));
                    pending.extend(part);
                }
                Err(Stop::Failed(error)) => return Err(error),
            }
        }
    }
    Ok(values)
}

/// The values of some of `keys` that were found in one shard.
async fn part_of(
    core: &Arc<Core>,
    entry: &Arc<Entry>,
    keys: &[Bytes],
    part: &[usize],
    (at, any_replica): (Option<Version>, bool),
    deadline: Instant,
) -> Result<Vec<Option<Value>>, Stop> {
    let asked: Vec<Bytes> = part.iter().map(|place| keys[*place].clone()).collect();
    let place = Place::Key(asked[0].clone());
    let at_version = at.map(|at| at.0);
    let request =
        Request::MultiGet(MultiGetRequest { keys: asked, at: at_version, any_replica, ..MultiGetRequest::default() });
    let fit = |route: &Route, request: &mut Request| match request {
        Request::MultiGet(get) => get.keys.iter().all(|key| route.range.contains(key)),
        _ => true,
    };
    match shard(core, entry, place, request, deadline, fit).await? {
        Response::MultiGet(got) if got.values.len() == part.len() => {
            if at.is_none() {
                core.newest.hear(got.at);
            }
            Ok(got.values.into_iter().map(|value| value.value.map(Value::from_wire)).collect())
        }
        _ => Err(Stop::Failed(unexpected())),
    }
}

async fn cut_in_time(
    core: &Arc<Core>,
    entry: &Arc<Entry>,
    keys: &[Bytes],
    pending: &[usize],
    keys_max: usize,
    deadline: Instant,
) -> Result<Vec<Vec<usize>>, Error> {
    let mut progress = Progress::until(Effect::Reads, deadline);
    let work = entry.known(core, &mut progress, |entry| cut(entry, keys, pending, keys_max));
    match tokio::time::timeout_at(deadline, work).await {
        Ok(parts) => parts,
        Err(_) => Err(progress.out_of_time()),
    }
}

/// The places of keys by shard, in parts of bounded size; `None` if some shard is not known.
fn cut(entry: &Entry, keys: &[Bytes], pending: &[usize], keys_max: usize) -> Option<Vec<Vec<usize>>> {
    let mut parts: BTreeMap<ShardId, Vec<usize>> = BTreeMap::new();
    for place in pending {
        let route = entry.route(&Place::Key(keys[*place].clone()))?;
        parts.entry(route.shard).or_default().push(*place);
    }
    let chunks = |part: Vec<usize>| part.chunks(keys_max).map(<[usize]>::to_vec).collect::<Vec<_>>();
    Some(parts.into_values().flat_map(chunks).collect())
}
