//! Runs seeds on RocksDB from the command line.

use std::process::ExitCode;

use lentic_sim_rocks::SimRocks;

fn main() -> ExitCode {
    lentic_sim::command::<SimRocks>()
}
