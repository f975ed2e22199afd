//! The parts, and what they must reach.

use super::checkpoints::{self, Waits};
use super::place::Place;
use super::updates::{self, Load, Reads};
use super::{merges, timers};
use crate::Size;
use crate::cluster::Lentic;
use crate::figures::{Figures, Target};

pub(crate) async fn run(size: Size, figures: &mut Figures) {
    let load = Load { keys: size.pick(500_000, 50_000) as u64, events: size.pick(2_000_000, 200_000) as u64 };
    let repetitions = size.pick(3, 1);
    // The peer alone first: nothing else runs in this process.
    let plain: Vec<f64> = (0..repetitions).map(|_| updates::of_rocksdb(load)).collect();
    figures.add("updates_rocksdb", &plain, "events/s", Target::Stated);
    let place = Place::embedded().await;
    of_updates(&place, load, &plain, (1.0, None), figures).await;
    of_merges(&place, load, repetitions, 1_000_000.0, figures).await;
    let count = size.pick(500_000, 50_000) as u64;
    let (mut set, mut popped) = (Vec::new(), Vec::new());
    for repetition in 0..repetitions {
        let rates = timers::of_task(&place, &format!("timers-{repetition}"), count).await;
        set.push(rates.0);
        popped.push(rates.1);
    }
    figures.add("timers_set_embedded", &set, "timers/s", Target::Stated);
    figures.add("timers_popped_embedded", &popped, "timers/s", Target::AtLeast(200_000.0));
    of_checkpoints(&place, load, figures).await;
    place.client.clone().close().await.expect("the node ends");
    drop(place);

    let lentic = Lentic::start().await;
    let place = Place::cluster(&lentic).await;
    of_updates(&place, load, &plain, (0.7, Some(0.3)), figures).await;
    of_merges(&place, load, repetitions, 300_000.0, figures).await;
    of_checkpoints(&place, load, figures).await;
}

/// `least` are the ratios to the peer that must be reached with a cache and without.
async fn of_updates(place: &Place, load: Load, plain: &[f64], least: (f64, Option<f64>), figures: &mut Figures) {
    // A task that does not look ahead waits for each miss: fewer events tell it.
    let few = Load { events: load.events / 50, ..load };
    let parts = [
        (Reads::Cached, "cached", load, Some(least.0)),
        (Reads::Uncached, "uncached", load, least.1),
        (Reads::OneByOne, "one_by_one", few, None),
    ];
    for (reads, words, load, least) in parts {
        let (mut rates, mut ratios) = (Vec::new(), Vec::new());
        for (repetition, plain) in plain.iter().enumerate() {
            let rate = updates::of_task(place, &format!("updates-{words}-{repetition}"), load, reads).await;
            rates.push(rate);
            ratios.push(rate / plain);
        }
        let name = format!("updates_{}_{words}", place.name);
        figures.add(&name, &rates, "events/s", Target::Stated);
        figures.add(&format!("{name}_to_rocksdb"), &ratios, "ratio", least.map_or(Target::Stated, Target::AtLeast));
    }
}

async fn of_merges(place: &Place, load: Load, repetitions: usize, least: f64, figures: &mut Figures) {
    let (mut of_task, mut of_servers) = (Vec::new(), Vec::new());
    for repetition in 0..repetitions {
        of_task.push(merges::of_task(place, &format!("sums-{repetition}"), load).await);
        of_servers.push(merges::of_servers(place, &format!("merges-{repetition}"), load).await);
    }
    figures.add(&format!("merges_by_task_{}", place.name), &of_task, "events/s", Target::Stated);
    figures.add(&format!("merges_at_server_{}", place.name), &of_servers, "merges/s", Target::AtLeast(least));
}

async fn of_checkpoints(place: &Place, load: Load, figures: &mut Figures) {
    // Twenty seconds each.
    let load = Load { keys: load.keys / 5, events: load.events / 5 };
    let (without, with) = checkpoints::of_task(place, "checkpoints", load).await;
    for (words, waits) in [("without", without), ("with", with)] {
        let Waits { p50, p99, p999, longest } = waits;
        for (figure, us) in [("p50", p50), ("p99", p99), ("p999", p999), ("longest", longest)] {
            let name = format!("event_{figure}_{words}_checkpoints_{}", place.name);
            figures.add(&name, &[us], "us", Target::Stated);
        }
    }
}
