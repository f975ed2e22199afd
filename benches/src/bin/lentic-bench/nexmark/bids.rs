//! Queries of bids alone.

use lentic_client::state::Windowed;

use super::answer::Answer;
use super::backend::Backend;
use super::events::{Bid, Event, Rows};
use super::run::EVENTS_AT_ONCE;

/// Length of query 7's windows, in milliseconds.
pub(super) const WINDOW_MS: i64 = 10_000;

/// Query 7: the highest bids of each window, told when it ends.
pub(super) async fn highest_bid<B: Backend>(backend: &mut B, events: &[Event]) -> Answer {
    let mut answer = Answer::default();
    let highest = backend.value_state::<i64, Rows<Bid>>("highest");
    let mut ends = backend.timers::<i64>("ends");
    for some in events.chunks(EVENTS_AT_ONCE) {
        for bid in some.iter().filter_map(bid) {
            close(backend, &highest, &mut ends, bid.time, &mut answer).await;
            let end = bid.time - bid.time.rem_euclid(WINDOW_MS) + WINDOW_MS;
            let found = backend.value(&highest, &end).await;
            let Rows(mut bids) = match found {
                Some(found) => found,
                None => {
                    backend.set_timer(&mut ends, end, end).await;
                    Rows::default()
                }
            };
            let best = bids.first().map_or(i64::MIN, |best| best.price);
            if bid.price < best {
                continue;
            }
            if bid.price > best {
                bids.clear();
            }
            bids.push(bid.clone());
            backend.update(&highest, &end, &Rows(bids)).await;
        }
    }
    close(backend, &highest, &mut ends, i64::MAX, &mut answer).await;
    answer
}

/// Tells of the windows that have ended.
async fn close<B: Backend>(
    backend: &mut B,
    highest: &B::Value<i64, Rows<Bid>>,
    ends: &mut B::Timers<i64>,
    now: i64,
    answer: &mut Answer,
) {
    while let Some((end, _)) = backend.pop_up_to(ends, now).await {
        for bid in backend.value(highest, &end).await.unwrap_or_default().0 {
            answer.insert(&(end, bid));
        }
        backend.clear(highest, &end).await;
    }
}

/// Query 18: the last bid of each bidder for each auction.
pub(super) async fn last_bid<B: Backend>(backend: &mut B, events: &[Event]) -> Answer {
    let mut answer = Answer::default();
    let last = backend.value_state::<Windowed<i64>, Bid>("last");
    let of = |bid: &Bid| Windowed { key: bid.bidder, window: bid.auction };
    for some in events.chunks(EVENTS_AT_ONCE) {
        let keys: Vec<_> = some.iter().filter_map(bid).map(of).collect();
        backend.prefetch(&last, &keys).await;
        for bid in some.iter().filter_map(bid) {
            let key = of(bid);
            if let Some(before) = backend.value(&last, &key).await {
                answer.retract(&before);
            }
            answer.insert(bid);
            backend.update(&last, &key, bid).await;
        }
    }
    answer
}

pub(super) const fn bid(event: &Event) -> Option<&Bid> {
    match event {
        Event::Bid(bid) => Some(bid),
        Event::Person | Event::Auction(_) => None,
    }
}
