//! The queries again, in the plainest way: over all events at once, with maps in memory.

use std::collections::{BTreeMap, HashMap};

use super::answer::Answer;
use super::auctions::CATEGORY;
use super::bids::{WINDOW_MS, bid};
use super::events::{Auction, Bid, Event, events};
use super::hot::{PANES, SLIDE_MS};
use super::plain::Plain;
use super::run::Query;

const EVENTS: usize = 120_000;

fn answer(query: Query, events: &[Event]) -> Answer {
    let mut answer = Answer::default();
    let bids = || events.iter().filter_map(bid);
    match query {
        Query::Q4 => {
            let mut categories: BTreeMap<i64, (i64, i64)> = BTreeMap::new();
            for (auction, best) in best_bids(events) {
                let (sum, count) = categories.entry(auction.category).or_default();
                (*sum, *count) = (*sum + best.price, *count + 1);
            }
            categories.into_iter().for_each(|(category, (sum, count))| answer.insert(&(category, sum / count)));
        }
        Query::Q5 => {
            let mut windows: BTreeMap<i64, HashMap<i64, i64>> = BTreeMap::new();
            for bid in bids() {
                let first_end = (bid.time.div_euclid(SLIDE_MS) + 1) * SLIDE_MS;
                for slide in 0..i64::try_from(PANES).unwrap() {
                    *windows.entry(first_end + slide * SLIDE_MS).or_default().entry(bid.auction).or_default() += 1;
                }
            }
            for (end, counts) in windows {
                let most = *counts.values().max().unwrap();
                let first = counts.into_iter().filter(|(_, count)| *count == most);
                first.for_each(|(auction, count)| answer.insert(&(end, (auction, count))));
            }
        }
        Query::Q7 => {
            let mut windows: BTreeMap<i64, Vec<&Bid>> = BTreeMap::new();
            bids().for_each(|bid| windows.entry(bid.time.div_euclid(WINDOW_MS)).or_default().push(bid));
            for (window, bids) in windows {
                let highest = bids.iter().map(|bid| bid.price).max().unwrap();
                let highest = bids.into_iter().filter(|bid| bid.price == highest);
                highest.for_each(|bid| answer.insert(&((window + 1) * WINDOW_MS, bid.clone())));
            }
        }
        Query::Q9 => {
            best_bids(events).into_iter().for_each(|(auction, bid)| answer.insert(&(auction.clone(), bid.clone())));
        }
        Query::Q18 => {
            let last: HashMap<_, _> = bids().map(|bid| ((bid.bidder, bid.auction), bid)).collect();
            last.into_values().for_each(|bid| answer.insert(bid));
        }
        Query::Q20 => {
            let auctions = auctions(events);
            for bid in bids() {
                if let Some(auction) = auctions.get(&bid.auction).filter(|auction| auction.category == CATEGORY) {
                    answer.insert(&(bid.clone(), Auction::clone(auction)));
                }
            }
        }
    }
    answer
}

fn auctions(events: &[Event]) -> HashMap<i64, &Auction> {
    let mut auctions = HashMap::new();
    for event in events {
        if let Event::Auction(auction) = event {
            auctions.insert(auction.id, auction);
        }
    }
    auctions
}

/// Of the bids within each auction the one with the highest price, of those the first.
fn best_bids(events: &[Event]) -> Vec<(&Auction, &Bid)> {
    let auctions = auctions(events);
    let mut best: HashMap<i64, &Bid> = HashMap::new();
    for bid in events.iter().filter_map(bid) {
        let is_within = auctions.get(&bid.auction).is_some_and(|auction| bid.is_within(auction));
        if is_within && best.get(&bid.auction).is_none_or(|best| bid.price > best.price) {
            best.insert(bid.auction, bid);
        }
    }
    best.into_iter().map(|(auction, bid)| (auctions[&auction], bid)).collect()
}

#[tokio::test]
async fn each_query_answers_what_its_sql_means() {
    let events = events(EVENTS);
    for query in Query::ALL {
        let mut plain = Plain::open(tempfile::tempdir().unwrap());
        let found = query.answer(&mut plain, &events).await;
        let expected = answer(query, &events);
        assert!(expected.sent > 0, "{query:?} has an answer");
        assert!(found.stands_as(&expected), "{query:?}: {} rows are expected", expected.sent);
    }
}
