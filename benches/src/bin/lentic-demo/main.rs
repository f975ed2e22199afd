//! The demo: one durable shard on this machine, used as a stream job would use it, killed in the middle, and asked
//! afterwards about everything it promised.
//!
//! It is the ground without the network: commands go through the shared log (fdatasync), through apply, into RocksDB.
//! The program starts itself as the writer, so that there is a process to kill.

#![allow(clippy::print_stdout, reason = "the output is the point")]

mod node;
mod story;
mod writer;

use std::process::ExitCode;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => story::tell(),
        ["writer", directory] => writer::run(directory.as_ref()),
        _ => {
            eprintln!("usage: lentic-demo");
            ExitCode::from(2)
        }
    }
}
