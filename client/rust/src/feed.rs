//! Feeds: what is committed to a range, in the order of versions, of the past and then as it happens.
//!
//! ```text
//!   range      ├──────────────────────────────────┤
//!   parts      │     s1       │    s2      │   s3  │      one for each shard, each as far as it is
//!              │▒▒▒▒▒▒▒▒      │▒▒▒▒▒▒▒▒▒   │▒▒▒▒▒▒▒│
//!   resolved            ▲                               the least of them
//! ```
//!
//! Each part is asked for page by page, all at the same time. A node keeps nothing of a feed: a page says where the next
//! one begins, and any node can go on from there. A part holds one page at most, so who reads slowly asks late; if
//! history is gone by then, the feed ends with an error, and its [token](Feed::token) says how far it was.

mod page;
mod token;

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use lentic_types::{ClusterId, ErrorKind, KeyRange, Position, TableId, Version};

use crate::error::Error;
use crate::progress::{Effect, Progress};
use crate::sessions;
use crate::table::Table;
use page::Fetched;
pub use token::FeedToken;

/// How long a node waits for something to tell, unless told otherwise: so often a quiet feed says how far it is.
const WAIT: Duration = Duration::from_millis(100);
/// A part asks for so much at least, however many parts share what the feed may hold.
const PART_BYTES_MIN: u32 = 16 << 10;

/// Something that a feed tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FeedEvent {
    /// A commit to a key.
    Change(FeedChange),
    /// Everything up to this version was told, of the whole range: nothing more can be committed at or below it. It rises.
    Resolved(Version),
    /// A rollback: from `version` on, readers see the range as it was at `to`. What it hides was told before.
    RolledBack {
        /// The keys, as far as the feed is about them, and as far as they lie in one shard.
        range: KeyRange,
        /// The version gone back to.
        to: Version,
        /// The rollback's own version.
        version: Version,
    },
}

/// A commit to a key. What one request does to a key in several operations is one change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedChange {
    /// The key.
    pub key: Bytes,
    /// The commit version.
    pub version: Version,
    /// The value that a reader at this version sees, merges folded in; `None` if there is none.
    pub value: Option<Bytes>,
    /// When the value ends, in milliseconds since 1970; `None`: never. That it ends is not told again.
    pub expires_unix_ms: Option<u64>,
}

/// Where a feed begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FeedStart {
    /// With what is committed after it is asked for first.
    Now,
    /// With what was committed above this version.
    After(Version),
    /// Where another feed was.
    Token(FeedToken),
}

impl From<Version> for FeedStart {
    fn from(version: Version) -> Self {
        Self::After(version)
    }
}

impl From<FeedToken> for FeedStart {
    fn from(token: FeedToken) -> Self {
        Self::Token(token)
    }
}

/// A feed that is being described. [`start`](Self::start) begins it.
#[derive(Clone, Debug)]
#[must_use = "a feed does nothing until it is started"]
pub struct FeedBuilder {
    table: Table,
    /// `None`: that of the token.
    range: Option<KeyRange>,
    from: FeedStart,
    wait: Duration,
    page_bytes: u32,
}

impl FeedBuilder {
    pub(crate) fn new(table: Table, range: KeyRange) -> Self {
        let page_bytes = table.core().options.page_bytes;
        Self { table, range: Some(range), from: FeedStart::Now, wait: WAIT, page_bytes }
    }

    pub(crate) fn resume(table: Table, token: FeedToken) -> Self {
        Self { range: None, from: FeedStart::Token(token), ..Self::new(table, KeyRange::all()) }
    }

    /// Begins there: at a version, where a token says, or now, which is the default. A token must be of this table, and of
    /// a feed of the whole range.
    pub fn from(mut self, start: impl Into<FeedStart>) -> Self {
        self.from = start.into();
        self
    }

    /// Has nodes wait so long, 5 s at most, for something to tell before they say how far it is. Short: more questions of
    /// a quiet feed. Long: its resolved version is older.
    pub const fn wait(mut self, wait: Duration) -> Self {
        self.wait = wait;
        self
    }

    /// Holds about so many bytes of events at most, all parts together.
    pub const fn buffer_bytes(mut self, bytes: u32) -> Self {
        self.page_bytes = bytes;
        self
    }

    /// Begins the feed. Nothing is sent before the first event is asked for.
    #[must_use]
    pub fn start(self) -> Feed {
        let Self { table, range, from, wait, page_bytes } = self;
        let beginning = Box::pin(begin(table.clone(), range, from));
        let resolved = Version::ZERO;
        Feed { table, wait, page_bytes, state: State::Beginning(beginning), resolved, turn: 0 }
    }
}

/// The events of a feed: a [`Stream`], or one after the other by [`next`](Self::next). It never ends by itself; after an
/// error it has ended.
///
/// The changes of a shard come in the order of versions, those of one version in the order of keys. Those of other shards
/// come between them, in no order with them but that of [`FeedEvent::Resolved`].
pub struct Feed {
    table: Table,
    wait: Duration,
    page_bytes: u32,
    state: State,
    /// What was told to be resolved.
    resolved: Version,
    /// Which part is looked at first.
    turn: usize,
}

type Asking = Pin<Box<dyn Future<Output = Result<Fetched, Error>> + Send>>;
type Beginning = Pin<Box<dyn Future<Output = Result<Begun, Error>> + Send>>;

enum State {
    Beginning(Beginning),
    Running(Begun),
    /// With where it was, if it had begun.
    Ended(Option<Begun>),
}

/// A feed that knows what it is of.
struct Begun {
    cluster: ClusterId,
    table: TableId,
    parts: Vec<Part>,
}

/// A part of a feed's range.
struct Part {
    range: KeyRange,
    /// What the caller was given.
    given: Position,
    /// Events that are here.
    events: VecDeque<(Position, FeedEvent)>,
    /// How far they go.
    ahead: Position,
    page: Option<Asking>,
    /// Whether the caller was given something since the page was asked for, and so may have been away.
    is_stale: bool,
}

impl Part {
    fn new(range: KeyRange, at: Position) -> Self {
        Self { range, ahead: at.clone(), given: at, events: VecDeque::new(), page: None, is_stale: false }
    }
}

impl Feed {
    /// The next event. It waits until there is one.
    ///
    /// # Errors
    /// `VersionTooOld` if history does not go back to where the feed is: it was read too slowly, or begun too late. Others
    /// as for reads; if [`Error::is_retryable`], begin anew with the [token](Self::token).
    pub async fn next(&mut self) -> Option<Result<FeedEvent, Error>> {
        std::future::poll_fn(|context| Pin::new(&mut *self).poll_next(context)).await
    }

    /// Where a feed goes on after the events given so far, without a gap and without a repetition; `None` before the first
    /// one.
    #[must_use]
    pub fn token(&self) -> Option<FeedToken> {
        let (State::Running(begun) | State::Ended(Some(begun))) = &self.state else { return None };
        let parts = begun.parts.iter().map(|part| (part.range.clone(), part.given.clone()));
        Some(FeedToken::new(begun.cluster, begun.table, parts.collect()))
    }

    /// Everything up to here was given.
    #[must_use]
    pub const fn resolved(&self) -> Version {
        self.resolved
    }

    fn end(&mut self, error: Error) -> Poll<Option<Result<FeedEvent, Error>>> {
        self.state = match std::mem::replace(&mut self.state, State::Ended(None)) {
            State::Running(mut begun) => {
                begun.parts.iter_mut().for_each(|part| part.page = None);
                State::Ended(Some(begun))
            }
            _ => State::Ended(None),
        };
        Poll::Ready(Some(Err(error)))
    }
}

impl Stream for Feed {
    type Item = Result<FeedEvent, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let feed = &mut *self;
        loop {
            let begun = match &mut feed.state {
                State::Ended(_) => return Poll::Ready(None),
                State::Running(begun) => begun,
                State::Beginning(beginning) => match beginning.as_mut().poll(context) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Err(error)) => return feed.end(error),
                    Poll::Ready(Ok(begun)) => {
                        // Where it begins is known to the caller.
                        feed.resolved = begun.resolved();
                        feed.state = State::Running(begun);
                        continue;
                    }
                },
            };
            if let Some(event) = begun.take(&mut feed.turn) {
                return Poll::Ready(Some(Ok(event)));
            }
            let resolved = begun.resolved();
            if resolved > feed.resolved {
                feed.resolved = resolved;
                return Poll::Ready(Some(Ok(FeedEvent::Resolved(resolved))));
            }
            match begun.poll_pages(&feed.table, feed.wait, feed.page_bytes, context) {
                Ok(true) => {}
                Ok(false) => return Poll::Pending,
                Err(error) => return feed.end(error),
            }
        }
    }
}

impl Begun {
    /// Everything up to here was given, in all parts.
    fn resolved(&self) -> Version {
        self.parts.iter().map(|part| part.given.complete()).min().unwrap_or_default()
    }

    /// Takes an event that is here, the parts in turn.
    fn take(&mut self, turn: &mut usize) -> Option<FeedEvent> {
        let count = self.parts.len();
        let place =
            (0..count).map(|step| (*turn + step) % count).find(|place| !self.parts[*place].events.is_empty())?;
        // As many in a row as are here: those of one version are not torn apart without need.
        *turn = place;
        let part = &mut self.parts[place];
        let (at, event) = part.events.pop_front()?;
        part.given = if part.events.is_empty() { part.ahead.clone() } else { at };
        self.parts.iter_mut().for_each(|part| part.is_stale = true);
        Some(event)
    }

    /// Asks for the next page of every part. True if something came of one.
    fn poll_pages(
        &mut self,
        table: &Table,
        wait: Duration,
        page_bytes: u32,
        context: &mut Context<'_>,
    ) -> Result<bool, Error> {
        let count = u32::try_from(self.parts.len()).unwrap_or(u32::MAX).max(1);
        let page_bytes = (page_bytes / count).max(PART_BYTES_MIN.min(page_bytes)).max(1);
        let (mut has_come, mut others) = (false, Vec::new());
        for part in &mut self.parts {
            let page = part.page.get_or_insert_with(|| {
                part.is_stale = false;
                let (range, at) = (part.range.clone(), part.given.clone());
                Box::pin(page::fetch(table.clone(), self.table, range, at, wait, page_bytes))
            });
            let Poll::Ready(fetched) = page.as_mut().poll(context) else { continue };
            part.page = None;
            has_come = true;
            match fetched {
                Ok(Fetched::Page { range, events, next }) => {
                    others.extend(
                        part.range.without(&range).into_iter().map(|other| Part::new(other, part.given.clone())),
                    );
                    part.range = range;
                    part.events = events;
                    part.ahead = next;
                    if part.events.is_empty() {
                        part.given = part.ahead.clone();
                    }
                }
                Ok(Fetched::Cut(ranges)) => {
                    let mut ranges = ranges.into_iter();
                    part.range = ranges.next().unwrap_or_else(|| part.range.clone());
                    others.extend(ranges.map(|range| Part::new(range, part.given.clone())));
                }
                // Its time ran while the caller was busy with other events.
                Err(error) if error.is_retryable() && part.is_stale => {}
                Err(error) => return Err(error),
            }
        }
        self.parts.extend(others);
        Ok(has_come)
    }
}

/// Finds out what the feed is of, and where its parts begin.
async fn begin(table: Table, range: Option<KeyRange>, from: FeedStart) -> Result<Begun, Error> {
    let (core, entry) = (table.core(), table.entry());
    let deadline = table.deadline();
    let of_cluster = || core.cluster.get().copied().unwrap_or(ClusterId([0; 16]));
    let known = || async {
        let mut progress = Progress::until(Effect::Reads, deadline);
        let asked = entry.known(core, &mut progress, |entry| entry.cut(&KeyRange::all()));
        match tokio::time::timeout_at(deadline, asked).await {
            Ok(parts) => Ok(parts?.first().map_or(TableId(0), |(route, _)| route.table)),
            Err(_) => Err(progress.out_of_time()),
        }
    };
    let mut id = known().await?;
    let starts = match from {
        FeedStart::After(version) => vec![(range.unwrap_or_else(KeyRange::all), Position::after(version))],
        FeedStart::Now => {
            let now = sessions::now(core, Progress::until(Effect::Reads, deadline)).await?;
            vec![(range.unwrap_or_else(KeyRange::all), Position::after(Version(now)))]
        }
        FeedStart::Token(token) => {
            if token.table != id {
                // The table may have been made anew since its shards were asked for.
                entry.describe(core).await?;
                id = known().await?;
            }
            starts_of(token, of_cluster(), id, range.as_ref(), table.name())?
        }
    };
    let parts = starts.into_iter().map(|(range, at)| Part::new(range, at)).collect();
    Ok(Begun { cluster: of_cluster(), table: id, parts })
}

/// Where the parts of a range begin by a token, or why they cannot.
fn starts_of(
    token: FeedToken,
    cluster: ClusterId,
    table: TableId,
    range: Option<&KeyRange>,
    name: &str,
) -> Result<Vec<(KeyRange, Position)>, Error> {
    if token.cluster != cluster {
        let message = format!("the token is of cluster {}, and this is {cluster}; check the address", token.cluster);
        return Err(Error::new(ErrorKind::Invalid, message));
    }
    if token.table != table {
        let message = format!("the token is of another table than {name}, or of one that was dropped; check the name");
        return Err(Error::new(ErrorKind::Invalid, message));
    }
    let Some(range) = range else { return Ok(resumed(token.parts)) };
    let parts = token.parts.iter().filter_map(|(part, at)| Some((part.intersection(range)?, at.clone())));
    let parts: Vec<_> = parts.collect();
    let missing = parts
        .iter()
        .fold(vec![range.clone()], |left, (part, _)| left.iter().flat_map(|left| left.without(part)).collect());
    match missing.first() {
        None => Ok(resumed(parts)),
        Some(missing) => {
            let message = format!("the token says nothing of {missing}; subscribe to the range it is of");
            Err(Error::new(ErrorKind::Invalid, message))
        }
    }
}

/// The parts of a token, as a feed goes on with them.
fn resumed(parts: Vec<(KeyRange, Position)>) -> Vec<(KeyRange, Position)> {
    if lentic_types::mutant!("feed-resume-off-by-one") {
        return parts.into_iter().map(|(range, at)| (range, Position::after(at.version))).collect();
    }
    parts
}

impl std::fmt::Debug for Feed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut feed = f.debug_struct("Feed");
        feed.field("table", &self.table).field("resolved", &self.resolved).field("token", &self.token());
        feed.finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(start: &'static str, end: Option<&'static str>) -> KeyRange {
        KeyRange::new(start, end).unwrap()
    }

    #[test]
    fn a_token_is_taken_for_its_own_table_and_range_only() {
        let (cluster, table) = (ClusterId([1; 16]), TableId(4));
        let (early, late) = (Position::after(Version(3)), Position::within(Version(9), "k".into()));
        let parts = vec![(range("b", Some("g")), early.clone()), (range("g", Some("p")), late.clone())];
        let token = || FeedToken::new(cluster, table, parts.clone());
        let starts = |cluster, table, range: Option<KeyRange>| starts_of(token(), cluster, table, range.as_ref(), "t");
        assert_eq!(starts(cluster, table, None), Ok(parts.clone()));
        let clipped = vec![(range("c", Some("g")), early), (range("g", Some("h")), late)];
        assert_eq!(starts(cluster, table, Some(range("c", Some("h")))), Ok(clipped));
        let refused = |cluster, table, range| starts(cluster, table, range).unwrap_err().message().to_owned();
        assert!(refused(ClusterId([2; 16]), table, None).contains("of cluster 0101"));
        assert!(refused(cluster, TableId(5), None).contains("another table"));
        assert!(refused(cluster, table, Some(range("a", Some("c")))).contains("says nothing of"));
        assert!(refused(cluster, table, Some(KeyRange::all())).contains("says nothing of"));
    }
}
