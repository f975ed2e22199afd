//! What is worth reading of the jobs when they have ended: asked of their tasks.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::job::{Ended, Failure, Flight, Report, Worker};

/// How many carriers and routes are shown.
const SHOWN: usize = 5;
/// Routes with fewer flights are not compared.
const ROUTE_FLIGHTS_MIN: i64 = 30;

pub(crate) async fn print(
    flights: &[Flight],
    departures: Ended,
    arrivals: &Report,
    took: Duration,
) -> Result<(), Failure> {
    let Ended { report, mut workers } = departures;
    println!("\n{:<10}{:>9}{:>11}{:>12}", "carrier", "flights", "cancelled", "mean delay");
    for (flown, carrier, cancelled, delay) in carriers(flights, &mut workers).await?.into_iter().take(SHOWN) {
        println!("{carrier:<10}{flown:>9}{cancelled:>11}{:>8.1} min", mean(delay, flown));
    }
    println!("\n{:<10}{:>9}{:>12}{:>11}", "route", "flights", "mean delay", "longest");
    for (route, flown, delay, longest) in routes(flights, &mut workers).await?.into_iter().take(SHOWN) {
        println!("{route:<10}{flown:>9}{:>8.1} min{longest:>7} min", mean(delay, flown));
    }
    println!("\n{:<20}{:>11}{:>11}", "", "departures", "arrivals");
    for (what, [departures, arrivals]) in [
        ("events", [report.events as u64, arrivals.events as u64]),
        ("checkpoints", [report.checkpoints, arrivals.checkpoints]),
        ("kills", [report.kills, arrivals.kills]),
        ("failed attempts", [report.failures, arrivals.failures]),
        ("restores", [report.restores, arrivals.restores]),
        ("zombies fenced", [report.fenced, arrivals.fenced]),
    ] {
        println!("{what:<20}{departures:>11}{arrivals:>11}");
    }
    println!("in {:.1} s", took.as_secs_f64());
    Ok(())
}

/// Carriers by their flights, most first.
async fn carriers(flights: &[Flight], workers: &mut [Worker]) -> Result<Vec<(i64, String, i64, i64)>, Failure> {
    let names: BTreeSet<&String> = flights.iter().map(|flight| &flight.carrier).collect();
    let mut carriers = Vec::new();
    for name in names {
        let (flown, cancelled, delay) = worker_of(workers, name).carrier(name).await?;
        carriers.push((flown, name.clone(), cancelled, delay));
    }
    carriers.sort_by_key(|(flown, ..)| std::cmp::Reverse(*flown));
    Ok(carriers)
}

/// Routes by their mean delay, longest first.
async fn routes(flights: &[Flight], workers: &mut [Worker]) -> Result<Vec<(String, i64, i64, i64)>, Failure> {
    let names: BTreeSet<String> = flights.iter().map(Flight::route).collect();
    let mut routes = Vec::new();
    for name in names {
        let delays = worker_of(workers, &name).route(&name).await?;
        let Some((flown, (delay, longest))) = delays.filter(|(flown, _)| *flown >= ROUTE_FLIGHTS_MIN) else { continue };
        routes.push((name, flown, delay, longest));
    }
    routes.sort_by(|(_, flights, delay, _), (_, others, other, _)| {
        mean(*other, *others).total_cmp(&mean(*delay, *flights))
    });
    Ok(routes)
}

fn worker_of<'a>(workers: &'a mut [Worker], key: &str) -> &'a mut Worker {
    workers.iter_mut().find(|worker| worker.has(key)).expect("every key has a task")
}

#[allow(clippy::cast_precision_loss, reason = "a month has fewer minutes")]
fn mean(sum: i64, count: i64) -> f64 {
    sum as f64 / count.max(1) as f64
}
