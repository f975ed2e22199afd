//! Feeds of a store, compared with what the model says was written.

use bytes::Bytes;
use lentic_types::{KeyRange, Position, TableId, Version};

use super::model::{Model, Value};
use crate::feed::{Feed, FeedEvent, FeedLimits, Window};
use crate::masks::{Mask, MaskSet};
use crate::read::ReadStats;
use crate::store::Store;

/// An event as plainly as it can be said: its version, and either a key with its value or a rollback.
type Event = (Version, Result<(Vec<u8>, Option<Value>), Mask>);

/// Compares the feed of a range behind `after`, up to `until`, with the definition. The number chooses how large pages
/// and windows are, and where the feed begins.
pub(super) fn compare(
    store: &impl Store,
    table: TableId,
    (model, masks): (&Model, &MaskSet),
    (after, until): (Version, Version),
    number: u64,
) {
    let ends = [None, Some(&b"b\xff"[..]), Some(&b"c"[..])];
    let start = if number.is_multiple_of(2) { &b""[..] } else { &b"a\0"[..] };
    let end = ends[usize::try_from(number % 3).expect("small")];
    let range = KeyRange::new(start, end).expect("in order");
    let window_bytes = [1, 250, 1 << 20][usize::try_from(number / 2 % 3).expect("small")];
    let page_bytes = [1, 40, 1 << 20][usize::try_from(number / 3 % 3).expect("small")];
    let limits =
        FeedLimits { events_max: [1, 3, 1_000][usize::try_from(number % 3).expect("small")], bytes_max: page_bytes };
    let feed = Feed { table, masks, range: &range };
    let found = read(store, &feed, Position::after(after), until, (window_bytes, number % 5), &limits);
    let expected = expected(model, masks, &range, after, until);
    assert_eq!(found, expected, "feed of {range} behind {after} up to {until}, windows of {window_bytes}, {limits:?}");
}

/// All events, by windows and pages.
fn read(
    store: &impl Store,
    feed: &Feed<'_>,
    mut at: Position,
    until: Version,
    (window_bytes, steps): (usize, u64),
    limits: &FeedLimits,
) -> Vec<Event> {
    let (mut stats, mut events) = (ReadStats::default(), Vec::new());
    while at.complete() < until {
        let mut window = Window::new(feed.table, feed.range.clone(), at.clone(), until, window_bytes);
        while !window.advance(store, steps, &mut stats).expect("the store works") {
            assert!(!window.is_complete() && window.serves(feed.range, &at));
        }
        let end = window.end();
        assert!(!at.includes(&end), "a window moves: from {at} to {end}");
        while window.serves(feed.range, &at) {
            let changes = window.changes(&at, feed.range);
            let page = feed.page(store, &at, changes, &end, limits, &mut stats).expect("the store works");
            let page = page.expect("what was found is there");
            assert!(page.events.len() <= limits.events_max && page.next != at, "a page moves from {at}");
            at = page.next;
            events.extend(page.events.into_iter().map(plain));
        }
    }
    events
}

fn plain(event: FeedEvent) -> Event {
    let version = event.version();
    let plain = match event {
        FeedEvent::Change { key, value, .. } => {
            Ok((key.to_vec(), value.map(|found| (found.version, found.value.to_vec(), found.expiry))))
        }
        FeedEvent::RolledBack(mask) => Err(mask),
    };
    (version, plain)
}

/// The definition: everything that was written, and every rollback, by version and then by key.
fn expected(model: &Model, masks: &MaskSet, range: &KeyRange, after: Version, until: Version) -> Vec<Event> {
    let changes = model.written(range).into_iter().map(|(version, key)| {
        let value = model.get(&key, version);
        (version, Ok((key, value)))
    });
    let within = |mask: &Mask| Some(Mask { range: mask.range.intersection(range)?, ..mask.clone() });
    let rollbacks = masks.masks().iter().filter_map(within).map(|mask| (mask.end, Err(mask)));
    let mut events: Vec<Event> =
        changes.chain(rollbacks).filter(|(version, _)| *version > after && *version <= until).collect();
    events.sort_by(|(version, what), (other_version, other)| {
        let key = |what: &Result<(Vec<u8>, Option<Value>), Mask>| match what {
            Ok((key, _)) => (false, Bytes::copy_from_slice(key)),
            Err(_) => (true, Bytes::new()),
        };
        (version, key(what)).cmp(&(other_version, key(other)))
    });
    events
}
