//! The jobs of the example `flights`: undisturbed, killed and rescaled, over a cluster that fails, against its oracle.

#![allow(clippy::unwrap_used, reason = "what a test does must succeed")]

use std::path::Path;

use lentic_client::Client;
use lentic_client::state::StateOptions;
use lentic_runtime::Random;

use crate::fake::Cluster;
use crate::job::{self, Failure, Flight, Plan, Report, Side};

const FLIGHTS: usize = 3_000;
/// Seeds of kills. Odd ones are of a cluster that cuts links and moves leaders, too.
const SEEDS: u64 = 6;

fn flights() -> Vec<Flight> {
    let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../benches/data/flights/2013-01.csv.gz"));
    let mut flights = job::read(path).unwrap();
    assert_eq!(flights.len(), 27_004);
    flights.truncate(FLIGHTS);
    flights
}

/// Small enough that tasks flush and forget while they work.
fn options() -> StateOptions {
    StateOptions { cache_bytes: 20_000, flush_bytes: 4_000, dirty_bytes_max: 10_000, ..StateOptions::default() }
}

async fn both(client: &Client, flights: &[Flight], tasks: u32, chaos: Option<u64>) -> Result<[Report; 2], Failure> {
    job::prepare(client).await?;
    let plan = |seed: Option<u64>| Plan {
        tasks,
        round_events: 400,
        chaos: seed.map(Random::seeded),
        options: options(),
        say: |_| {},
    };
    let (departing, arriving) = (plan(chaos), plan(chaos.map(|seed| seed + 100)));
    let (departures, arrivals) = tokio::try_join!(
        job::run(client, Side::Departures, flights, &departing),
        job::run(client, Side::Arrivals, flights, &arriving),
    )?;
    Ok([departures.report, arrivals.report])
}

#[tokio::test(start_paused = true)]
async fn undisturbed_jobs_end_as_the_oracle_says() {
    let (cluster, flights) = (Cluster::new(3), flights());
    let client = cluster.client();
    let reports = both(&client, &flights, 3, None).await.unwrap();
    assert!(reports.iter().all(|report| report.kills + report.restores == 0 && report.checkpoints > 5), "{reports:?}");
    let mut expected = job::expected(&flights);
    let rows = job::compare(&client, &expected).await.unwrap();
    assert!(rows > 2_000, "{rows} rows");
    // The comparison sees one byte, one row too few and one too many.
    let output = expected.get_mut(Side::Departures.output()).unwrap();
    let (key, mut value) = output.pop_last().unwrap();
    assert!(job::compare(&client, &expected).await.is_err());
    value[10] ^= 1;
    let put = |rows: &mut std::collections::BTreeMap<_, _>, value: &[u8]| rows.insert(key.clone(), value.to_vec());
    put(expected.get_mut(Side::Departures.output()).unwrap(), &value);
    assert!(job::compare(&client, &expected).await.is_err());
    value[10] ^= 1;
    put(expected.get_mut(Side::Departures.output()).unwrap(), &value);
    assert_eq!(job::compare(&client, &expected).await.unwrap(), rows);
    put(expected.get_mut(Side::Arrivals.output()).unwrap(), &value);
    assert!(job::compare(&client, &expected).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn killed_and_rescaled_jobs_end_as_the_oracle_says() {
    let flights = flights();
    let expected = job::expected(&flights);
    let (mut kills, mut fenced) = (0, 0);
    for seed in 0..SEEDS {
        let cluster = Cluster::new(3);
        if seed % 2 == 1 {
            cluster.fault(|faults| {
                faults.random = Some(Random::seeded(seed));
                faults.delay_ms_max = 3;
                faults.cut_permille = 3;
                faults.move_permille = 10;
            });
        }
        let client = cluster.client();
        let reports =
            both(&client, &flights, 2, Some(seed)).await.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        kills += reports.iter().map(|report| report.kills).sum::<u64>();
        fenced += reports.iter().map(|report| report.fenced).sum::<u64>();
        job::compare(&client, &expected).await.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    }
    assert!(kills > 3 * SEEDS && fenced > 2 * SEEDS, "{kills} kills, {fenced} zombies");
}
