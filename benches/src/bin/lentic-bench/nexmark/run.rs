//! The queries in turn, at each place.

use std::time::Instant;

use super::answer::Answer;
use super::backend::Backend;
use super::events::{Event, events};
use super::plain::Plain;
use super::{auctions, bids, hot};
use crate::Size;
use crate::cluster::Lentic;
use crate::figures::{Figures, Target};
use crate::state::Place;

/// Events that a task takes from its input at a time.
pub(super) const EVENTS_AT_ONCE: usize = 1_000;
/// What a task's cache holds.
const CACHE_BYTES: usize = 64 << 20;

/// A query, by its number.
#[derive(Clone, Copy, Debug)]
pub(super) enum Query {
    Q4,
    Q5,
    Q7,
    Q9,
    Q18,
    Q20,
}

impl Query {
    pub(super) const ALL: [Self; 6] = [Self::Q4, Self::Q5, Self::Q7, Self::Q9, Self::Q18, Self::Q20];

    pub(super) async fn answer<B: Backend>(self, backend: &mut B, events: &[Event]) -> Answer {
        match self {
            Self::Q4 => auctions::average_price(backend, events).await,
            Self::Q5 => hot::hot_items(backend, events).await,
            Self::Q7 => bids::highest_bid(backend, events).await,
            Self::Q9 => auctions::winning_bids(backend, events).await,
            Self::Q18 => bids::last_bid(backend, events).await,
            Self::Q20 => auctions::with_auctions(backend, events).await,
        }
    }

    fn name(self) -> String {
        format!("{self:?}").to_lowercase()
    }

    /// Events a second, with all of the state on disk in the end, and the answer.
    async fn time<B: Backend>(self, backend: &mut B, events: &[Event]) -> (f64, Answer) {
        let began = Instant::now();
        let answer = self.answer(backend, events).await;
        backend.make_durable().await;
        (events.len() as f64 / began.elapsed().as_secs_f64(), answer)
    }
}

pub(crate) async fn run(size: Size, figures: &mut Figures) {
    let events = events(size.pick(500_000, 50_000));
    let repetitions = size.pick(3, 1);
    // The peer alone first: nothing else runs in this process.
    let mut peers = Vec::new();
    for query in Query::ALL {
        let (mut rates, mut answers) = (Vec::new(), Vec::new());
        for _ in 0..repetitions {
            let directory = tempfile::tempdir_in("target").expect("target is writable");
            let (rate, answer) = query.time(&mut Plain::open(directory), &events).await;
            rates.push(rate);
            answers.push(answer);
        }
        let name = format!("nexmark_{}", query.name());
        figures.add(&format!("{name}_rocksdb"), &rates, "events/s", Target::Stated);
        figures.add(&format!("{name}_rows"), &[answers[0].sent as f64], "rows sent on", Target::Stated);
        peers.push((query, rates, answers[0]));
    }
    let place = Place::embedded().await;
    at(&place, &events, &peers, figures).await;
    place.client.clone().close().await.expect("the node ends");
    drop(place);
    let lentic = Lentic::start().await;
    at(&Place::cluster(&lentic).await, &events, &peers, figures).await;
}

async fn at(place: &Place, events: &[Event], peers: &[(Query, Vec<f64>, Answer)], figures: &mut Figures) {
    for (query, of_peer, expected) in peers {
        let (mut rates, mut ratios) = (Vec::new(), Vec::new());
        for (repetition, of_peer) in of_peer.iter().enumerate() {
            let table = place.table(&format!("nexmark-{}-{repetition}", query.name())).await;
            let mut task = place.task(&table, CACHE_BYTES).await;
            let (rate, answer) = query.time(&mut task, events).await;
            assert_eq!(answer, *expected, "{query:?} has one answer");
            task.stop().await.expect("the task ends");
            rates.push(rate);
            ratios.push(rate / of_peer);
        }
        let name = format!("nexmark_{}_{}", query.name(), place.name);
        figures.add(&name, &rates, "events/s", Target::Stated);
        figures.add(&format!("{name}_to_rocksdb"), &ratios, "ratio", Target::Stated);
    }
}
