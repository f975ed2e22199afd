//! Queries where bids meet their auction. A bid may come before it.

use lentic_client::state::Data;
use lentic_types::codec::{DecodeError, Reader, put_bytes};

use super::answer::Answer;
use super::backend::Backend;
use super::events::{Auction, Bid, Event, Rows};
use super::run::EVENTS_AT_ONCE;

/// What is known of an auction: with it, the best bid; without it, all bids that came before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Lot {
    auction: Option<Auction>,
    bids: Rows<Bid>,
}

impl Data for Lot {
    fn form() -> String {
        "lot".to_owned()
    }

    fn put(&self, out: &mut Vec<u8>) {
        let mut auction = Vec::new();
        self.auction.iter().for_each(|known| known.put(&mut auction));
        put_bytes(out, &auction);
        self.bids.put(out);
    }

    fn from_data(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let auction = reader.bytes("auction")?;
        let auction = if auction.is_empty() { None } else { Some(Auction::from_data(auction)?) };
        Ok(Self { auction, bids: Rows::from_data(reader.rest())? })
    }
}

/// A better bid for an auction, in place of another or of none.
struct Better<'a> {
    auction: &'a Auction,
    bid: &'a Bid,
    before: Option<Bid>,
}

impl Lot {
    /// Takes the auction; the best of the bids that came before, if one is within.
    fn open(&mut self, auction: &Auction) -> Option<Better<'_>> {
        self.auction = Some(auction.clone());
        let mut best: Option<Bid> = None;
        for bid in std::mem::take(&mut self.bids.0).into_iter().filter(|bid| bid.is_within(auction)) {
            if best.as_ref().is_none_or(|best| bid.price > best.price) {
                best = Some(bid);
            }
        }
        self.bids.0.extend(best);
        Some(Better { auction: self.auction.as_ref()?, bid: self.bids.0.first()?, before: None })
    }

    /// Takes a bid; whether anything has changed, and the bid if it is the best. Of two of one price the first is.
    fn bid(&mut self, bid: &Bid) -> (bool, Option<Better<'_>>) {
        let Some(auction) = &self.auction else {
            self.bids.0.push(bid.clone());
            return (true, None);
        };
        let best = self.bids.0.first();
        if !bid.is_within(auction) || best.is_some_and(|best| best.price >= bid.price) {
            return (false, None);
        }
        let before = self.bids.0.pop();
        self.bids.0.push(bid.clone());
        let better = self.bids.0.first().map(|bid| Better { auction, bid, before });
        (true, better)
    }
}

/// Tells of each auction's best bid, and of each change of it.
async fn best_bids<B: Backend>(backend: &mut B, events: &[Event], mut tell: impl AsyncFnMut(&mut B, Better<'_>)) {
    let lots = backend.value_state::<i64, Lot>("lots");
    for some in events.chunks(EVENTS_AT_ONCE) {
        backend.prefetch(&lots, &ids(some)).await;
        for event in some {
            match event {
                Event::Person => {}
                Event::Auction(auction) => {
                    let mut lot = backend.value(&lots, &auction.id).await.unwrap_or_default();
                    if let Some(better) = lot.open(auction) {
                        tell(backend, better).await;
                    }
                    backend.update(&lots, &auction.id, &lot).await;
                }
                Event::Bid(bid) => {
                    let mut lot = backend.value(&lots, &bid.auction).await.unwrap_or_default();
                    let (is_changed, better) = lot.bid(bid);
                    if let Some(better) = better {
                        tell(backend, better).await;
                    }
                    if is_changed {
                        backend.update(&lots, &bid.auction, &lot).await;
                    }
                }
            }
        }
    }
}

fn ids(events: &[Event]) -> Vec<i64> {
    let id = |event: &Event| match event {
        Event::Person => None,
        Event::Auction(auction) => Some(auction.id),
        Event::Bid(bid) => Some(bid.auction),
    };
    events.iter().filter_map(id).collect()
}

/// Query 4: the average of the best bids of a category's auctions.
pub(super) async fn average_price<B: Backend>(backend: &mut B, events: &[Event]) -> Answer {
    let mut answer = Answer::default();
    let categories = backend.value_state::<i64, (i64, i64)>("categories");
    best_bids(backend, events, async |backend, better| {
        let category = better.auction.category;
        let (sum, count) = backend.value(&categories, &category).await.unwrap_or((0, 0));
        let before = better.before.as_ref().map_or(0, |bid| bid.price);
        let now = (sum + better.bid.price - before, count + i64::from(better.before.is_none()));
        if count > 0 {
            answer.retract(&(category, sum / count));
        }
        answer.insert(&(category, now.0 / now.1));
        backend.update(&categories, &category, &now).await;
    })
    .await;
    answer
}

/// Query 9: each auction with its best bid.
pub(super) async fn winning_bids<B: Backend>(backend: &mut B, events: &[Event]) -> Answer {
    let mut answer = Answer::default();
    best_bids(backend, events, async |_, Better { auction, bid, before }| {
        if let Some(before) = before {
            answer.retract(&(auction.clone(), before));
        }
        answer.insert(&(auction.clone(), bid.clone()));
    })
    .await;
    answer
}

/// The category that query 20 asks for.
pub(super) const CATEGORY: i64 = 10;

/// Query 20: each bid with its auction, if that is of one category. Both sides are kept.
pub(super) async fn with_auctions<B: Backend>(backend: &mut B, events: &[Event]) -> Answer {
    let mut answer = Answer::default();
    let auctions = backend.value_state::<i64, Auction>("auctions");
    let bids = backend.list_state::<i64, Bid>("bids");
    for some in events.chunks(EVENTS_AT_ONCE) {
        backend.prefetch(&auctions, &ids(some)).await;
        for event in some {
            match event {
                Event::Auction(auction) if auction.category == CATEGORY => {
                    backend.update(&auctions, &auction.id, auction).await;
                    for bid in backend.elements(&bids, &auction.id).await {
                        answer.insert(&(bid, auction.clone()));
                    }
                }
                Event::Person | Event::Auction(_) => {}
                Event::Bid(bid) => {
                    if let Some(auction) = backend.value(&auctions, &bid.auction).await {
                        answer.insert(&(bid.clone(), auction));
                    }
                    backend.add(&bids, &bid.auction, bid).await;
                }
            }
        }
    }
    answer
}
