//! Query 5: the auctions with most bids in the last ten seconds, told every two.

use lentic_client::state::Data;
use lentic_types::codec::{DecodeError, Reader};

use super::answer::Answer;
use super::backend::Backend;
use super::bids::bid;
use super::events::{Event, Rows};
use super::run::EVENTS_AT_ONCE;

/// How often a window ends, in milliseconds.
pub(super) const SLIDE_MS: i64 = 2_000;
/// Slides that a window is long.
pub(super) const PANES: usize = 5;

/// Bids for an auction in the last slides, the newest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Panes {
    newest: i64,
    counts: [i64; PANES],
}

impl Panes {
    /// Makes `slide` the newest. It is not older than the newest.
    fn turn_to(&mut self, slide: i64) {
        let by = usize::try_from(slide - self.newest).unwrap_or(0).min(PANES);
        self.counts.copy_within(..PANES - by, by);
        self.counts[..by].fill(0);
        self.newest = slide;
    }
}

impl Data for Panes {
    fn form() -> String {
        "panes".to_owned()
    }

    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.newest.to_be_bytes());
        self.counts.iter().for_each(|count| out.extend_from_slice(&count.to_be_bytes()));
    }

    fn from_data(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let mut number = || reader.u64_be("panes").map(u64::cast_signed);
        let newest = number()?;
        let mut counts = [0; PANES];
        for count in &mut counts {
            *count = number()?;
        }
        reader.finish("panes")?;
        Ok(Self { newest, counts })
    }
}

/// The states of the query.
struct Hot<B: Backend> {
    bids: B::Value<i64, Panes>,
    /// By the end of a window: how many bids the first have, and which they are.
    first: B::Value<i64, (i64, Rows<i64>)>,
    /// For each auction: the next end of a window that has bids for it.
    ends: B::Timers<i64>,
}

/// Query 5.
pub(super) async fn hot_items<B: Backend>(backend: &mut B, events: &[Event]) -> Answer {
    let mut answer = Answer::default();
    let mut hot: Hot<B> =
        Hot { bids: backend.value_state("bids"), first: backend.value_state("first"), ends: backend.timers("ends") };
    for some in events.chunks(EVENTS_AT_ONCE) {
        let auctions: Vec<_> = some.iter().filter_map(bid).map(|bid| bid.auction).collect();
        backend.prefetch(&hot.bids, &auctions).await;
        for bid in some.iter().filter_map(bid) {
            close(backend, &mut hot, bid.time, &mut answer).await;
            let slide = bid.time.div_euclid(SLIDE_MS);
            let mut panes = backend.value(&hot.bids, &bid.auction).await.unwrap_or_default();
            panes.turn_to(slide);
            if panes.counts[0] == 0 {
                backend.set_timer(&mut hot.ends, (slide + 1) * SLIDE_MS, bid.auction).await;
            }
            panes.counts[0] += 1;
            backend.update(&hot.bids, &bid.auction, &panes).await;
        }
    }
    close(backend, &mut hot, i64::MAX, &mut answer).await;
    answer
}

/// Counts the windows that have ended, and tells of each which auctions are the first.
async fn close<B: Backend>(backend: &mut B, hot: &mut Hot<B>, now: i64, answer: &mut Answer) {
    let mut counted = None;
    while let Some((end, auction)) = backend.pop_up_to(&mut hot.ends, now).await {
        if counted.is_some_and(|counted| counted != end) {
            tell(backend, hot, counted, answer).await;
        }
        counted = Some(end);
        let mut panes = backend.value(&hot.bids, &auction).await.unwrap_or_default();
        panes.turn_to(end / SLIDE_MS - 1);
        let count: i64 = panes.counts.iter().sum();
        if count > panes.counts[PANES - 1] {
            backend.set_timer(&mut hot.ends, end + SLIDE_MS, auction).await;
        }
        let (most, Rows(mut auctions)) = backend.value(&hot.first, &end).await.unwrap_or_default();
        if count >= most {
            if count > most {
                auctions.clear();
            }
            auctions.push(auction);
            backend.update(&hot.first, &end, &(count, Rows(auctions))).await;
        }
    }
    tell(backend, hot, counted, answer).await;
}

async fn tell<B: Backend>(backend: &mut B, hot: &Hot<B>, ended: Option<i64>, answer: &mut Answer) {
    let Some(end) = ended else { return };
    let (count, Rows(auctions)) = backend.value(&hot.first, &end).await.unwrap_or_default();
    for auction in auctions {
        answer.insert(&(end, (auction, count)));
    }
    backend.clear(&hot.first, &end).await;
}
