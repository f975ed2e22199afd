//! A page of a part of a feed.

use std::collections::VecDeque;
use std::time::Duration;

use lentic_proto::v1::pipe_request::Request;
use lentic_proto::v1::pipe_response::Response;
use lentic_proto::v1::{self, FeedRequest};
use lentic_types::{ErrorKind, KeyRange, Position, TableId, Version};

use super::{FeedChange, FeedEvent};
use crate::call::{Stop, unexpected};
use crate::error::Error;
use crate::progress::{Effect, Progress};
use crate::read;
use crate::routes::{Place, Route};
use crate::table::Table;

/// What came of asking for a page.
pub(super) enum Fetched {
    /// The events of a range, which lies in the one asked for, each with where the feed is after it.
    Page { range: KeyRange, events: VecDeque<(Position, FeedEvent)>, next: Position },
    /// The range lies in several shards: it is asked for in these parts.
    Cut(Vec<KeyRange>),
}

/// Asks for the events of a range behind a position.
pub(super) async fn fetch(
    table: Table,
    id: TableId,
    range: KeyRange,
    after: Position,
    wait: Duration,
    page_bytes: u32,
) -> Result<Fetched, Error> {
    let deadline = table.deadline() + wait;
    let parts = parts(&table, &range, deadline).await?;
    if parts.len() > 1 {
        return Ok(Fetched::Cut(parts));
    }
    let wire = v1::FeedPosition { version: after.version.0, key: after.key.clone() };
    let wait_ms = u32::try_from(wait.as_millis()).unwrap_or(u32::MAX);
    let request = Request::Feed(FeedRequest { after: Some(wire), page_bytes, wait_ms, ..FeedRequest::default() });
    let (mut asked, mut is_other) = (range.clone(), false);
    let fit = |route: &Route, request: &mut Request| {
        let Request::Feed(feed) = request else { return true };
        is_other = route.table != id;
        let Some(part) = route.range.intersection(&range).filter(|_| route.table == id) else { return false };
        (feed.start, feed.end) = (part.start().clone(), part.end().cloned());
        asked = part;
        true
    };
    let place = Place::Key(range.start().clone());
    let page = match read::shard(table.core(), table.entry(), place, request, deadline, fit).await {
        Ok(Response::Feed(page)) => page,
        Err(Stop::Failed(error)) => return Err(error),
        Err(Stop::Split) if is_other => {
            let message = format!("table {} was dropped, and made anew; begin another feed", table.name());
            return Err(Error::new(ErrorKind::NotFound, message));
        }
        Ok(_) | Err(Stop::Split) => return Err(unexpected()),
    };
    if let Some(rest) = page.rest {
        let rest = KeyRange::try_from(rest).map_err(Error::from_failure)?;
        asked = asked.without(&rest).into_iter().next().ok_or_else(unexpected)?;
    }
    let next = page.next.ok_or_else(unexpected)?;
    let next = Position { version: Version(next.version), key: next.key };
    let events = page.events.into_iter().map(event).collect::<Option<VecDeque<_>>>().ok_or_else(unexpected)?;
    // A part must never go back, nor past what it was not told.
    let places = std::iter::once(&after).chain(events.iter().map(|(at, _)| at)).chain([&next]);
    let is_ordered = places.clone().zip(places.skip(1)).all(|(at, then)| then.includes(at));
    if !is_ordered {
        return Err(unexpected());
    }
    Ok(Fetched::Page { range: asked, events, next })
}

/// The parts of a range by shard, as far as is known.
async fn parts(table: &Table, range: &KeyRange, deadline: tokio::time::Instant) -> Result<Vec<KeyRange>, Error> {
    let mut progress = Progress::until(Effect::Reads, deadline);
    let cut = table.entry().known(table.core(), &mut progress, |entry| entry.cut(range));
    match tokio::time::timeout_at(deadline, cut).await {
        Ok(parts) => Ok(parts?.into_iter().map(|(_, part)| part).collect()),
        Err(_) => Err(progress.out_of_time()),
    }
}

/// An event, and where a feed is after it.
fn event(event: v1::FeedEvent) -> Option<(Position, FeedEvent)> {
    use v1::feed_event::Event;
    Some(match event.event? {
        Event::Change(v1::FeedChange { key, version, value, expires_unix_ms }) => {
            let version = Version(version);
            let at = Position::within(version, key.clone());
            (at, FeedEvent::Change(FeedChange { key, version, value, expires_unix_ms }))
        }
        Event::RolledBack(rollback) => {
            let (to, version) = (Version(rollback.to), Version(rollback.version));
            let range = KeyRange::new(rollback.start, rollback.end).ok()?;
            (Position::after(version), FeedEvent::RolledBack { range, to, version })
        }
    })
}
