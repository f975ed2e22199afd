//! Runs seeds from the command line.

use std::process::ExitCode;

use lentic_engine::MemStore;

fn main() -> ExitCode {
    lentic_sim::command::<MemStore>()
}
