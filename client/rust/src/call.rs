//! One request until it is answered: to any node, or to the leader of its shard.
//!
//! | what happened | what follows |
//! |---|---|
//! | a stale route, with the right one in the failure | learn it, send at once; a few times in a row at most |
//! | a stale route without, no leader, a lost connection, a node in trouble | pause, describe the table, send again |
//! | the node has too much to do | wait as hinted, send again |
//! | no answer for long | describe the table; if the shard has moved, send there; else go on waiting |
//! | the leader cannot be reached again and again | ask another node to pass the request on |
//! | any other failure | it is the answer |
//!
//! A write is sent again with the same key, so it takes effect once. All of it ends at the operation's deadline.

use std::sync::Arc;
use std::time::Duration;

use lentic_net::Address;
use lentic_proto::v1::pipe_request::Request;
use lentic_proto::v1::pipe_response::Response;
use lentic_proto::v1::{self, PipeRequest};
use lentic_types::{ErrorKind, Retry};

use crate::backoff;
use crate::catalog::Entry;
use crate::core::Core;
use crate::error::Error;
use crate::pipe::{Lost, Unsent, Waiting};
use crate::progress::{Effect, Progress};
use crate::routes::{Place, Route};

/// Most resends in a row without a pause.
const AT_ONCE_MAX: u32 = 3;

/// Why a request to a shard ended without an answer.
#[derive(Debug)]
pub(crate) enum Stop {
    /// For the caller.
    Failed(Error),
    /// It does not fit the shard that holds its place now, and had no effect: cut it anew.
    Split,
}

/// A request to a shard.
#[derive(Debug)]
pub(crate) struct ShardCall<'a> {
    pub(crate) core: &'a Arc<Core>,
    pub(crate) entry: &'a Arc<Entry>,
    pub(crate) place: Place,
    pub(crate) request: PipeRequest,
}

/// Sends a request that any node can answer, to one after the other until one does.
pub(crate) async fn any(core: &Arc<Core>, request: Request, mut progress: Progress) -> Result<Response, Error> {
    any_with(core, request, &mut progress).await
}

/// The patience with a change of the catalog, and with a question for which all shards of a table are asked: it takes
/// rounds of consensus, and asking again elsewhere only adds to them.
const CHANGE_PATIENCE: Duration = Duration::from_secs(5);

/// The same; `progress` tells afterwards how it went.
pub(crate) async fn any_with(core: &Arc<Core>, request: Request, progress: &mut Progress) -> Result<Response, Error> {
    let mut request = PipeRequest { request: Some(request), ..PipeRequest::default() };
    let deadline = progress.deadline;
    match tokio::time::timeout_at(deadline, ask_any(core, &mut request, progress)).await {
        Ok(answer) => answer,
        Err(_) => Err(progress.out_of_time()),
    }
}

async fn ask_any(core: &Arc<Core>, request: &mut PipeRequest, progress: &mut Progress) -> Result<Response, Error> {
    let is_long = progress.effect() == Effect::Writes || matches!(request.request, Some(Request::LastCheckpoint(_)));
    let patience = if is_long { core.options.patience.max(CHANGE_PATIENCE) } else { core.options.patience };
    let (mut misses, mut hint) = (0usize, None);
    loop {
        let address = hint.take().unwrap_or_else(|| core.nodes.chosen());
        let error = match ask(core, &address, request, progress, patience).await? {
            Ok(Response::Failure(mut failure)) => {
                hint = failure.shard.take().and_then(|shard| Route::from_wire(*shard)?.leader);
                let error = Error::from_failure(failure);
                if error.retry() == Retry::Never {
                    return Err(error);
                }
                progress.answered(&error);
                error
            }
            Ok(response) => return Ok(response),
            Err(error) => error,
        };
        // What is about a shard is for its leader, which another node knows at times.
        if hint.as_ref().is_some_and(|hint| *hint != address) && progress.at_once < AT_ONCE_MAX {
            progress.at_once += 1;
            progress.note(error);
            continue;
        }
        (hint, progress.at_once) = (None, 0);
        misses += 1;
        let is_busy = error.kind() == ErrorKind::Throttled && error.retry_after().is_some();
        if !is_busy {
            core.nodes.avoid(&address);
        }
        let may_wait = is_busy || misses.is_multiple_of(core.nodes.len());
        let after = error.retry_after();
        progress.note(error);
        if may_wait {
            pause(core, progress, after).await;
        }
    }
}

/// Asks the node at `address` once. The outer error is for the caller, the inner one may go away elsewhere.
pub(crate) async fn ask(
    core: &Arc<Core>,
    address: &Address,
    request: &mut PipeRequest,
    progress: &mut Progress,
    patience: Duration,
) -> Result<Result<Response, Error>, Error> {
    let mut waiting = match send(core, address, request, progress).await {
        Ok(waiting) => waiting,
        Err(Unsent::Refused(error)) => return Err(error),
        Err(Unsent::Ended(error)) => return Ok(Err(error)),
    };
    Ok(match tokio::time::timeout(patience, waiting.answer()).await {
        Ok(Ok(response)) => Ok(response),
        Ok(Err(Lost(error))) => Err(error),
        Err(_) => Err(Error::unknown(format!("{address} has not answered for {} ms", patience.as_millis()))),
    })
}

/// Sends a request to the node at `address`. From here on its outcome is in doubt.
async fn send(
    core: &Arc<Core>,
    address: &Address,
    request: &mut PipeRequest,
    progress: &mut Progress,
) -> Result<Waiting, Unsent> {
    let line = core.pipe(address).line(core).await.map_err(Unsent::Ended)?;
    let waiting = line.send(request, progress.deadline).await?;
    progress.in_doubt += 1;
    Ok(waiting)
}

impl ShardCall<'_> {
    /// Sends the request to the leader of its shard until it is answered. Before each sending `fit` makes it fit the
    /// shard, or says that it does not.
    ///
    /// Dropped, it is given up. The caller drops it at the deadline of `progress`.
    pub(crate) async fn run(
        &mut self,
        progress: &mut Progress,
        mut fit: impl FnMut(&Route, &mut Request) -> bool + Send,
    ) -> Result<(Response, Arc<Route>), Stop> {
        loop {
            let find = |entry: &Entry| entry.route(&self.place);
            let route = self.entry.known(self.core, progress, find).await.map_err(Stop::Failed)?;
            if !fit(&route, self.request()) && !progress.is_in_doubt() {
                return Err(Stop::Split);
            }
            let Some((address, is_direct)) = self.choose(&route, progress) else {
                progress.unreachable += 1;
                progress.note(Error::new(
                    ErrorKind::NotLeader,
                    format!("shard {} of table {} has no leader that is known", route.shard, self.entry.name),
                ));
                self.reroute(&route, progress).await?;
                continue;
            };
            if lentic_types::mutant!("retry-new-key")
                && progress.is_in_doubt()
                && let Request::Write(v1::WriteRequest { key: Some(key), .. })
                | Request::Transact(v1::TransactRequest { key: Some(key), .. }) = self.request()
            {
                key.sequence += 1_000_000;
            }
            let name = self.entry.name.clone();
            mark(self.request(), is_direct.then(|| route.wire()), &name);
            match self.send(&address, &route, progress).await? {
                Sent::Answered(Response::Failure(failure)) => self.after_failure(failure, &route, progress).await?,
                Sent::Answered(response) => {
                    self.entry.note_served(route.shard);
                    return Ok((response, route));
                }
                Sent::Moved => {}
                Sent::Failed(error) => {
                    if is_direct {
                        progress.unreachable += 1;
                    } else {
                        self.core.nodes.avoid(&address);
                    }
                    progress.note(error);
                    self.reroute(&route, progress).await?;
                }
            }
        }
    }

    fn request(&mut self) -> &mut Request {
        self.request.request.as_mut().expect("a call has a request")
    }

    /// A transaction may lack any of its tables, and the node has asked the catalog.
    const fn is_transaction(&self) -> bool {
        matches!(self.request.request, Some(Request::Transact(_)))
    }

    /// Whom to send to: the leader; after every second failure to reach it, another node once, which passes it on.
    fn choose(&self, route: &Route, progress: &mut Progress) -> Option<(Address, bool)> {
        let takes_detour = progress.unreachable > 0 && progress.unreachable.is_multiple_of(2);
        if !takes_detour {
            return route.leader.clone().map(|leader| (leader, true));
        }
        progress.unreachable += 1;
        if let Some(leader) = &route.leader {
            self.core.nodes.avoid(leader);
        }
        Some((self.core.nodes.chosen(), false))
    }

    async fn send(&mut self, address: &Address, route: &Arc<Route>, progress: &mut Progress) -> Result<Sent, Stop> {
        let mut waiting = match send(self.core, address, &mut self.request, progress).await {
            Ok(waiting) => waiting,
            Err(Unsent::Refused(error)) => return Err(Stop::Failed(progress.give_up(error))),
            Err(Unsent::Ended(error)) => return Ok(Sent::Failed(error)),
        };
        let answered = |answer| match answer {
            Ok(response) => Sent::Answered(response),
            Err(Lost(error)) => Sent::Failed(error),
        };
        loop {
            if let Ok(answer) = tokio::time::timeout(self.core.options.patience, waiting.answer()).await {
                return Ok(answered(answer));
            }
            // Not the node that says nothing: it may hang.
            self.core.nodes.avoid(address);
            tokio::select! {
                biased;
                answer = waiting.answer() => return Ok(answered(answer)),
                described = self.entry.describe(self.core) => progress.note_or_stop(described).map_err(Stop::Failed)?,
            }
            if self.entry.route(&self.place).as_ref() != Some(route) {
                return Ok(Sent::Moved);
            }
        }
    }

    async fn after_failure(
        &self,
        mut failure: v1::Failure,
        used: &Arc<Route>,
        progress: &mut Progress,
    ) -> Result<(), Stop> {
        if let Some(hint) = failure.shard.take().and_then(|shard| Route::from_wire(*shard)) {
            self.entry.learn(hint);
        }
        let error = Error::from_failure(failure);
        match error.kind() {
            ErrorKind::AnswerForgotten => return Err(Stop::Failed(Error::unknown(error.message()))),
            // Whether there is such a table is for the catalog to say, which is asked before the request is sent again:
            // the table may have been made anew, or its shard may not have come to its node yet.
            ErrorKind::NotFound if !self.is_transaction() => {
                progress.answered(&error);
                progress.note(error);
                return self.reroute(used, progress).await;
            }
            _ if error.retry() == Retry::Never => return Err(Stop::Failed(error)),
            _ => progress.answered(&error),
        }
        let (kind, after) = (error.kind(), error.retry_after());
        progress.note(error);
        if kind == ErrorKind::Throttled {
            pause(self.core, progress, after).await;
            return Ok(());
        }
        if self.entry.route(&self.place).as_ref() != Some(used) && progress.at_once < AT_ONCE_MAX {
            progress.at_once += 1;
            return Ok(());
        }
        self.reroute(used, progress).await
    }

    /// Waits a little, then finds out where the shard is, unless somebody else has before: of many callers one asks soon.
    async fn reroute(&self, used: &Arc<Route>, progress: &mut Progress) -> Result<(), Stop> {
        let is_served = tokio::select! {
            biased;
            () = self.entry.other_route(&self.place, used) => false,
            () = self.entry.other_served(&self.place, used) => true,
            () = pause(self.core, progress, None) => false,
        };
        if is_served && progress.at_once < AT_ONCE_MAX {
            progress.at_once += 1;
            return Ok(());
        }
        progress.at_once = 0;
        if self.entry.route(&self.place).as_ref() == Some(used) {
            let described = self.entry.describe(self.core).await;
            progress.note_or_stop(described).map_err(Stop::Failed)?;
        }
        Ok(())
    }
}

/// What came of sending a request to a shard.
enum Sent {
    Answered(Response),
    /// The shard has another route now.
    Moved,
    /// It was not sent, or its answer was lost.
    Failed(Error),
}

/// Says where a request belongs: by its route, or by the table's name for a node that passes it on.
pub(crate) fn mark(request: &mut Request, route: Option<v1::Route>, name: &str) {
    let (marked_route, table) = match request {
        Request::Write(request) => (&mut request.route, &mut request.table),
        Request::Get(request) => (&mut request.route, &mut request.table),
        Request::MultiGet(request) => (&mut request.route, &mut request.table),
        Request::Scan(request) => (&mut request.route, &mut request.table),
        Request::Feed(request) => (&mut request.route, &mut request.table),
        Request::Diff(request) => (&mut request.route, &mut request.table),
        _ => return,
    };
    if table.is_empty() && route.is_none() {
        name.clone_into(table);
    }
    *marked_route = route;
}

/// Waits before a retry: as long as a node said, or longer from time to time.
pub(crate) async fn pause(core: &Core, progress: &mut Progress, after: Option<Duration>) {
    let pause = backoff::pause(&core.options, progress.rounds, &core.random);
    let hinted = after.map_or(Duration::ZERO, |after| after + backoff::jitter(after / 2, &core.random));
    progress.rounds += 1;
    tokio::time::sleep(pause.max(hinted)).await;
}

/// A node answered with something else than was asked for.
pub(crate) fn unexpected() -> Error {
    Error::unknown("a node answered another question than was asked; report this")
}
