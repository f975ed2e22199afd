//! Two stream jobs over a month of flights, killed and rescaled while they run, with the right state at their end.
//!
//!     cargo run --example flights -- --cluster http://127.0.0.1:7420 --tasks 3 --chaos --seed 7
//!     cargo run --example flights --features embedded -- --embedded /tmp/flights
//!
//! docs/state.md has the story, `job` the jobs. Tables `flights-…` are made anew.

#![allow(clippy::print_stdout, reason = "an example shows what it does")]

mod arguments;
mod job;
mod summary;

use std::process::ExitCode;
use std::time::Instant;

use lentic_client::Client;
use lentic_client::state::StateOptions;
use lentic_runtime::Random;

use crate::arguments::{Arguments, Place};
use crate::job::{Failure, Plan, Side};

/// Events of a job between two checkpoints.
const ROUND_EVENTS: usize = 4_000;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = match Arguments::parse(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(refusal) => {
            eprintln!("flights: {refusal}\n{}", arguments::USAGE);
            return ExitCode::from(2);
        }
    };
    match run(&arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("flights: {failure}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &Arguments) -> Result<(), Failure> {
    let flights = job::read(&arguments.data)?;
    println!("{} flights of {}", flights.len(), arguments.data.display());
    let client = open(&arguments.place).await?;
    job::prepare(&client).await?;
    let plan = |offset: u64| Plan {
        tasks: arguments.tasks,
        round_events: ROUND_EVENTS,
        chaos: arguments.chaos.map(|seed| Random::seeded(seed.wrapping_add(offset))),
        options: StateOptions::default(),
        say: |line| println!("  {line}"),
    };
    if let Some(seed) = arguments.chaos {
        println!("chaos with seed {seed}");
    }
    let began = Instant::now();
    let (departing, arriving) = (plan(0), plan(1));
    let (departures, arrivals) = tokio::try_join!(
        job::run(&client, Side::Departures, &flights, &departing),
        job::run(&client, Side::Arrivals, &flights, &arriving),
    )?;
    let took = began.elapsed();
    let rows = job::compare(&client, &job::expected(&flights)).await?;
    summary::print(&flights, departures, &arrivals.report, took).await?;
    #[cfg(feature = "embedded")]
    client.close().await?;
    println!("\nAll {rows} rows of state, output and ledger are those of a calculation in memory, byte for byte.");
    Ok(())
}

async fn open(place: &Place) -> Result<Client, Failure> {
    match place {
        Place::Cluster(addresses) => Ok(Client::connect(addresses).await?),
        #[cfg(feature = "embedded")]
        Place::Embedded(directory) => Ok(Client::embedded(directory).await?),
        #[cfg(not(feature = "embedded"))]
        Place::Embedded(_) => Err(Failure::Wrong(
            "this program was built without embedded nodes; build it with --features embedded".to_owned(),
        )),
    }
}
