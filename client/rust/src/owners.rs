//! Owned ranges: one writer at a time, checkpoints, and the way back to them.
//!
//! ```text
//!   acquire ──► fence ──► writes that carry it ──► checkpoint ──► token        a job's task, attempt 1
//!                                                                   │
//!   restore ◄───────────────────────────────────────────────────────┘          attempt 2: a new fence
//! ```

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use lentic_proto::v1::pipe_request::Request;
use lentic_proto::v1::pipe_response::Response;
use lentic_proto::v1::{self, PipeRequest, TakeRequest, back::To};
use lentic_types::{KeyRange, PinId, Version};
use tokio::time::Instant;

use crate::call::{self, ShardCall, Stop, unexpected};
use crate::catalog::Entry;
use crate::core::Core;
use crate::error::Error;
use crate::progress::{Effect, Progress};
use crate::routes::Place;
use crate::table::Table;

/// What the writer of an owned range shows with each write. It is the version at which the range was taken; a newer owner
/// has a greater one, and then the older one's writes fail as `Fenced`, wherever they are still under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fence(pub u64);

impl From<u64> for Fence {
    fn from(token: u64) -> Self {
        Self(token)
    }
}

impl fmt::Display for Fence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "f{}", self.0)
    }
}

/// A named version of an owned range. Nothing is copied to make one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// What to keep, at most 64 bytes: it is all that is needed to restore it.
    pub token: Bytes,
    /// What it names: above all that its owner was told is written, and readable as any version.
    pub version: Version,
    /// What keeps it: until newer checkpoints of the range follow, or the lease ends.
    pub pin: PinId,
}

/// A part of a range with one owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owned {
    /// The part.
    pub range: KeyRange,
    /// Who owns it.
    pub owner: String,
    /// What its writes carry.
    pub fence: Fence,
}

/// The owned parts of a range.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Owners {
    /// In key order.
    pub parts: Vec<Owned>,
    /// A version when the last of them was read: an owner's age is the time since its fence.
    pub now: Version,
}

/// How a range is taken: [`Table::take`].
///
/// ```
/// use lentic_client::{KeyRange, Take, Version};
/// let range = |start: &'static str, end: &'static str| KeyRange::new(start, Some(end)).unwrap();
/// // One task in place of two, each at its own checkpoint.
/// let tokens = [vec![1; 49], vec![2; 49]];
/// let take = Take::new(range("a", "z"), "job")
///     .restore(&range("a", "m"), tokens[0].clone())
///     .restore(&range("m", "z"), tokens[1].clone());
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Take {
    range: KeyRange,
    owner: String,
    force: bool,
    back: Vec<v1::Back>,
}

impl Take {
    /// Takes a range for `owner`, 1 to 256 bytes: a job's name, not a task's, for an owner may take over from itself.
    #[must_use]
    pub fn new(range: KeyRange, owner: &str) -> Self {
        Self { range, owner: owner.to_owned(), force: false, back: Vec::new() }
    }

    /// Takes it from another owner, too.
    #[must_use]
    pub fn by_force(mut self) -> Self {
        self.force = true;
        self
    }

    /// Takes a part of it back to a checkpoint. Parts are given in key order, without overlap, at most 1,024; they need
    /// not be the ranges that the checkpoints were made of.
    #[must_use]
    pub fn restore(self, part: &KeyRange, token: impl Into<Bytes>) -> Self {
        self.back_to(part, To::Checkpoint(token.into()))
    }

    /// Takes a part of it back to a version.
    #[must_use]
    pub fn restore_version(self, part: &KeyRange, version: Version) -> Self {
        self.back_to(part, To::Version(version.0))
    }

    fn back_to(mut self, part: &KeyRange, to: To) -> Self {
        let (start, end) = (part.start().clone(), part.end().cloned());
        self.back.push(v1::Back { start, end, to: Some(to) });
        self
    }
}

impl Table {
    /// Makes `owner` the only writer of a range, over as many shards as it has, at once.
    ///
    /// # Errors
    /// `Owned` if some of it belongs to another owner.
    pub async fn acquire(&self, range: KeyRange, owner: &str) -> Result<Fence, Error> {
        self.take(Take::new(range, owner)).await
    }

    /// Takes a range, and parts of it back: everywhere at one version, or nowhere. What was written to those parts since
    /// is hidden from reads above that version, and stays readable below it. No data moves, so it takes as long for any
    /// size.
    ///
    /// # Errors
    /// `Owned` if some of it belongs to another owner and it is not by force; `VersionTooOld` if history does not go back
    /// that far any more; `Invalid` for a token of another table or cluster.
    pub async fn take(&self, take: Take) -> Result<Fence, Error> {
        self::take(self.core(), self.entry(), take, self.deadline()).await
    }

    /// Gives up what a fence owns of a range, in one shard after the other; what it owns outside of the range it keeps. To
    /// give up what is not owned any more is no error.
    pub async fn release(&self, range: &KeyRange, fence: Fence) -> Result<(), Error> {
        let (start, end) = (range.start().clone(), range.end().cloned());
        let request = v1::ReleaseRequest { table: self.name().to_owned(), start, end, fence: fence.0 };
        match self.ask(Request::Release(request), Effect::Writes).await? {
            Response::Release(_) => Ok(()),
            _ => Err(unexpected()),
        }
    }

    /// Names a version of a range that `fence` owns, to come back to: above all writes that were acknowledged before this
    /// call. `number` is the job's, and kept in the token. It is kept for a day; of one range the newest three are.
    ///
    /// # Errors
    /// `Fenced` if the fence does not own all of the range any more.
    pub async fn checkpoint(&self, range: &KeyRange, fence: Fence, number: u64) -> Result<Checkpoint, Error> {
        let (start, end) = (range.start().clone(), range.end().cloned());
        let random = &self.core().random;
        let nonce = [random.next_seed(), random.next_seed()].iter().flat_map(|half| half.to_be_bytes()).collect();
        let table = self.name().to_owned();
        let request = v1::CheckpointRequest { table, start, end, fence: fence.0, number, lease_ms: 0, nonce };
        match self.ask(Request::Checkpoint(request), Effect::Writes).await? {
            Response::Checkpoint(named) => {
                let (version, pin) = (Version(named.version), PinId(named.pin));
                Ok(Checkpoint { token: named.checkpoint, version, pin })
            }
            _ => Err(unexpected()),
        }
    }

    /// Who owns what of a range.
    pub async fn owners(&self, range: &KeyRange) -> Result<Owners, Error> {
        let (mut owners, mut rest) = (Owners::default(), Some(range.clone()));
        while let Some(range) = rest {
            let (start, end) = (range.start().clone(), range.end().cloned());
            let request = v1::OwnedRequest { table: self.name().to_owned(), start, end, ..v1::OwnedRequest::default() };
            let Response::Owned(page) = self.ask(Request::Owned(request), Effect::Reads).await? else {
                return Err(unexpected());
            };
            for v1::Owned { start, end, owner, fence } in page.owned {
                let range = lentic_proto::key_range(start, end).map_err(Error::from_failure)?;
                owners.parts.push(Owned { range, owner, fence: Fence(fence) });
            }
            owners.now = Version(page.now);
            let rest_of = |rest: v1::Rest| lentic_proto::key_range(rest.start, rest.end).map_err(Error::from_failure);
            rest = page.rest.map(rest_of).transpose()?;
        }
        Ok(owners)
    }

    pub(crate) async fn ask(&self, request: Request, effect: Effect) -> Result<Response, Error> {
        call::any(self.core(), request, Progress::until(effect, self.deadline())).await
    }
}

async fn take(core: &Arc<Core>, entry: &Arc<Entry>, take: Take, deadline: Instant) -> Result<Fence, Error> {
    let Take { range, owner, force, back } = take;
    // As of a transaction, which it is: its node coordinates, and a copy is best sent there, too.
    let place = Place::Key(range.start().clone());
    let (start, end) = (range.start().clone(), range.end().cloned());
    let request = TakeRequest { key: None, table: entry.name.to_string(), start, end, owner, force, back };
    let request = PipeRequest { request: Some(Request::Take(request)), ..PipeRequest::default() };
    let mut progress = Progress::until(Effect::Writes, deadline);
    let mut call = ShardCall { core, entry, place, request };
    let send = async {
        let ticket = core.sessions.ticket(core, &mut progress).await?;
        if let Some(Request::Take(take)) = &mut call.request.request {
            take.key = Some(ticket.key);
        }
        // The ticket is held until the answer is here: it is what keeps the key from being acknowledged.
        let answer = call.run(&mut progress, |_, _| true).await;
        drop(ticket);
        match answer {
            Ok((Response::Take(taken), _)) => {
                core.newest.hear(taken.fence);
                Ok(Fence(taken.fence))
            }
            Ok(_) | Err(Stop::Split) => Err(unexpected()),
            Err(Stop::Failed(error)) => Err(error),
        }
    };
    match tokio::time::timeout_at(deadline, send).await {
        Ok(result) => result,
        Err(_) => Err(progress.out_of_time()),
    }
}
