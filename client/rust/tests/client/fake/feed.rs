//! Feeds of the fake cluster: everything applied is told, up to a tick above it.

use lentic_engine::ReadStats;
use lentic_engine::feed::{Feed, FeedEvent, FeedLimits, Window};
use lentic_machine::Refusal;
use lentic_proto::v1::pipe_response::Response;
use lentic_proto::v1::{self, Failure, feed_event::Event};
use lentic_types::{ErrorKind, KeyRange, Position, Version};

use super::answer::failure;
use super::world::World;

impl World {
    /// A page of the feed of a range, as far as it lies in the shard.
    pub(super) fn feed(&mut self, id: u64, feed: v1::FeedRequest) -> Result<Response, Failure> {
        let wanted = lentic_proto::key_range(feed.start, feed.end)?;
        let (until, place) = (self.next_tick(), &self.shards[&id]);
        let range = wanted.intersection(place.range()).expect("the shard was found by the range");
        if feed.route.is_some() && range != wanted {
            return Err(failure(&Refusal::OutOfRange));
        }
        let after = feed.after.unwrap_or_default();
        let after = Position { version: Version(after.version), key: after.key };
        if after.version > until {
            return Err(Failure::new(ErrorKind::VersionTooNew, "the version is in the future"));
        }
        let watermark = place.machine.descriptor().watermark;
        if after.complete() < watermark {
            return Err(Failure::new(ErrorKind::VersionTooOld, "history is gone").with_version(watermark.0));
        }
        let (table, masks, mut stats) = (place.machine.descriptor().table, place.machine.masks(), ReadStats::default());
        let mut window = Window::new(table, range.clone(), after.clone(), until, 4 << 10);
        while !window.advance(&place.store, 100, &mut stats).expect("a store in memory works") {}
        let limits = FeedLimits { bytes_max: feed.page_bytes.max(1) as usize, ..FeedLimits::default() };
        let (feed, changes) = (Feed { table, masks, range: &range }, window.changes(&after, &range));
        let page = feed.page(&place.store, &after, changes, &window.end(), &limits, &mut stats);
        let page = page.expect("a store in memory works").expect("what was found is there");
        let next = v1::FeedPosition { version: page.next.version.0, key: page.next.key };
        let rest = wanted.without(&range).pop().filter(|rest| rest.start() > range.start());
        let events = page.events.into_iter().map(event).collect();
        Ok(Response::Feed(v1::FeedResponse { events, next: Some(next), rest: rest.map(|rest: KeyRange| rest.into()) }))
    }
}

fn event(event: FeedEvent) -> v1::FeedEvent {
    let event = match event {
        FeedEvent::Change { key, version, value } => Event::Change(v1::FeedChange {
            key,
            version: version.0,
            expires_unix_ms: value.as_ref().and_then(|found| found.expiry).map(lentic_proto::expiry_unix_ms),
            value: value.map(|found| found.value),
        }),
        FeedEvent::RolledBack(mask) => Event::RolledBack(v1::FeedRollback {
            start: mask.range.start().clone(),
            end: mask.range.end().cloned(),
            to: mask.from.0,
            version: mask.end.0,
        }),
    };
    v1::FeedEvent { event: Some(event) }
}
