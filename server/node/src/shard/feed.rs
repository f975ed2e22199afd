//! A page of a feed at the shard's leader.
//!
//! ```text
//!   behind what was noted        a walk over the range for older changes, in slices
//!   up to the newest applied     what was noted while it was applied: nobody waits for more than the apply
//!   nothing new within the wait  the floor of stamps is raised to a recent tick: nothing below it will come
//! ```
//!
//! Stamps rise strictly in a shard's log, so once an entry is applied nothing new can be committed at or below its stamp,
//! here or on any later leader, but by transactions that hold locks: a page ends below the lowest of them. So what is told
//! needs no quorum; that nothing else happened up to a tick does, and is confirmed as for a read at a version.
//!
//! A leader keeps nothing of those who follow it. Who reads slowly asks late, and finds out from its own position whether
//! history goes back that far.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use lentic_engine::feed::{Feed, FeedLimits, FeedPage, Window};
use lentic_engine::{Portable, ReadError, ReadStats};
use lentic_machine::Refusal;
use lentic_proto::v1::Failure;
use lentic_runtime::{blocking, hesitate};
use lentic_types::{Epoch, KeyRange, Position, Version, limits};
use tokio::time::{Instant, sleep_until};

use super::locked::Locked;
use super::machine::Rules;
use super::reader::{Place, Reader};
use super::windows::Shared;
use crate::failure;
use crate::ticks::last_of;

/// Records that a walk looks at before it lets others have the thread.
const STEPS_PER_SLICE: u64 = 10_000;
/// How long a walk goes on for a caller who would not wait.
const WALK_MIN: Duration = Duration::from_millis(100);
/// How old a tick may be at which a feed is told that nothing has happened.
const TICK_AGE_MAX: Duration = Duration::from_millis(50);
/// Changes that are looked up for one page.
const CHANGES_PER_PAGE_MAX: usize = 4_000;
/// From so many changes on a page is blocking work.
const BLOCKING_CHANGES_MIN: usize = 64;
/// How long a caller waits while others have older changes looked for, in milliseconds.
const WINDOWS_PAUSE_MS: u32 = 50;

/// What somebody who follows a range asks for.
#[derive(Clone, Debug)]
pub(crate) struct Poll {
    pub(crate) range: KeyRange,
    pub(crate) after: Position,
    pub(crate) limits: FeedLimits,
    pub(crate) wait: Duration,
}

/// Which changes come next, and up to where these are all.
struct Found {
    changes: Vec<(Version, Bytes)>,
    until: Position,
    /// The window that they are the last of.
    last_of: Option<Shared>,
}

impl<S: Portable> Reader<S> {
    /// The next events of a range; none if nothing happens within the wait, and then the page says at least how far it is.
    pub(crate) async fn feed(&self, epoch: Epoch, mut poll: Poll) -> Result<FeedPage, Failure> {
        let place = &self.at;
        place.begin_feed(epoch, &poll).await?;
        let deadline = Instant::now() + poll.wait;
        loop {
            let applied = place.shown.followed.applied();
            let mut applied = std::pin::pin!(applied);
            applied.as_mut().enable();
            // In this order: see `followed.rs`.
            let newest = place.shown.newest();
            let resolved = place.resolved(newest);
            let page = place.page(epoch, &poll, resolved, deadline).await?;
            if !page.events.is_empty() || page.next.complete() < resolved {
                return Ok(page);
            }
            poll.after = page.next;
            // Others may be so busy in the shard that it is woken without end.
            if Instant::now() >= deadline {
                break;
            }
            let is_held = |locked: &Locked| locked.oldest().is_some_and(|oldest| oldest <= newest);
            let is_held_now = is_held(&place.shown.locked);
            if is_held_now {
                place.queue.hurry();
            }
            tokio::select! {
                biased;
                () = applied => {}
                () = place.shown.locked.wait_while(is_held), if is_held_now => {}
                () = sleep_until(deadline) => break,
            }
        }
        let tick = place.recent_tick(&poll.after).await?;
        place.settle(tick).await?;
        place.page(epoch, &poll, place.resolved(tick), Instant::now()).await
    }
}

impl<S: Portable> Place<S> {
    /// Has changes noted from now on, unless the feed cannot be told.
    async fn begin_feed(&self, epoch: Epoch, poll: &Poll) -> Result<(), Failure> {
        if !self.queue.is_open() {
            return Err(failure::not_leader());
        }
        self.feed_rules(epoch, poll)?;
        if poll.after.version > self.shown.newest().max(self.ticks.newest()) {
            self.recent_tick(&poll.after).await?;
        }
        self.shown.followed.follow();
        Ok(())
    }

    /// The rules for a feed, unless it goes back too far or belongs elsewhere.
    fn feed_rules(&self, epoch: Epoch, poll: &Poll) -> Result<Arc<Rules>, Failure> {
        let rules = self.rules(epoch, poll.after.complete())?;
        if !rules.descriptor.range.covers(&poll.range) {
            return Err(failure::of_refusal(&Refusal::OutOfRange));
        }
        Ok(rules)
    }

    /// Up to where all is told that there will ever be, when everything up to `settled` is applied.
    fn resolved(&self, settled: Version) -> Version {
        if lentic_types::mutant!("feed-past-locks") { settled } else { self.shown.below_locks(settled) }
    }

    /// A recent tick, unless the feed was given more than there is.
    async fn recent_tick(&self, after: &Position) -> Result<Version, Failure> {
        let recent = self.ticks.recent(TICK_AGE_MAX).await.map_err(|_| failure::not_leader())?;
        if after.version <= recent {
            return Ok(recent);
        }
        let fresh = last_of(self.ticks.fetch(1).await.map_err(|_| failure::not_leader())?);
        // A leader stamps above what it has read at, so what was told can be a little above every tick.
        if after.version > fresh.max(self.shown.newest()) {
            return Err(failure::of_refusal(&Refusal::VersionTooNew { newest: fresh }));
        }
        Ok(fresh)
    }

    /// The events behind a feed's position, up to `resolved`, as many as fit a page. It takes until the deadline at most.
    async fn page(&self, epoch: Epoch, poll: &Poll, resolved: Version, deadline: Instant) -> Result<FeedPage, Failure> {
        let nothing = || FeedPage { events: Vec::new(), next: poll.after.clone() };
        if poll.after.complete() >= resolved {
            return Ok(nothing());
        }
        let Some(found) = self.find(epoch, poll, resolved, deadline).await? else { return Ok(nothing()) };
        hesitate().await;
        let rules = self.feed_rules(epoch, poll)?;
        let feed = Feed { table: rules.descriptor.table, masks: &rules.masks, range: &poll.range };
        let changes = found.changes.iter().map(|(version, key)| (*version, key));
        let mut stats = ReadStats::default();
        let read = || feed.page(&*self.store, &poll.after, changes, &found.until, &poll.limits, &mut stats);
        let page = if found.changes.len() < BLOCKING_CHANGES_MIN { read() } else { blocking(read) };
        let page = page.map_err(|error| self.failure.of_read(&error))?;
        // What was read may be gone by now, or may have gone before.
        self.feed_rules(epoch, poll)?;
        let page = page.ok_or_else(|| failure::internal("a change that was found is not in the store; report this"))?;
        if let Some(window) = found.last_of.filter(|_| page.next == found.until) {
            self.windows.release(&window);
        }
        Ok(page)
    }

    /// Which changes come next; `None` if they were looked for until the deadline.
    async fn find(
        &self,
        epoch: Epoch,
        poll: &Poll,
        resolved: Version,
        deadline: Instant,
    ) -> Result<Option<Found>, Failure> {
        let followed = &self.shown.followed;
        if let Some(changes) = followed.changes(&poll.after, resolved, &poll.range, CHANGES_PER_PAGE_MAX) {
            return Ok(Some(Found::new(changes, Position::after(resolved), None)));
        }
        let table = self.feed_rules(epoch, poll)?.descriptor.table;
        let (range, after) = (poll.range.clone(), poll.after.clone());
        let begin = || Window::new(table, range, after, resolved, limits::FEED_WINDOW_BYTES_MAX);
        let window = self.windows.find(self.group_id, &poll.range, &poll.after, begin).ok_or_else(|| {
            failure::throttled("as many feeds as may catch up on this node; ask again", WINDOWS_PAUSE_MS)
        })?;
        let deadline = deadline.max(Instant::now() + WALK_MIN);
        let mut stats = ReadStats::default();
        while !blocking(|| window.lock().advance(&*self.store, STEPS_PER_SLICE, &mut stats))
            .map_err(|error| self.failure.of_read(&ReadError::Store(error)))?
        {
            if Instant::now() >= deadline {
                return Ok(None);
            }
            tokio::task::yield_now().await;
        }
        let (changes, end) = {
            let window = window.lock();
            let changes = window.changes(&poll.after, &poll.range).take(CHANGES_PER_PAGE_MAX);
            (changes.map(|(version, key)| (version, key.clone())).collect(), window.end())
        };
        Ok(Some(Found::new(changes, end, Some(window))))
    }
}

impl Found {
    /// All changes up to `end`, or as many as a page takes: then up to the last of them.
    fn new(changes: Vec<(Version, Bytes)>, end: Position, window: Option<Shared>) -> Self {
        match changes.last() {
            Some((version, key)) if changes.len() >= CHANGES_PER_PAGE_MAX => {
                let until = Position::within(*version, key.clone());
                Self { changes, until, last_of: None }
            }
            _ => Self { changes, until: end, last_of: window },
        }
    }
}
