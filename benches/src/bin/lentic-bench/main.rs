//! Macro benchmarks: whole layers under a stated load, each figure a ratio to a named peer within one run.
//!
//! `lentic-bench engine|log|vs-etcd|growth|txn|versions|elastic|state|nexmark [--quick]` prints a line for each figure and keeps the
//! run in target/bench/NAME.json. The parts of `engine` (`puts`, `reads`, `merges`) run alone under a profiler.
//! Quick runs are smaller and repeat less: they say whether a figure is in the right region, not what it is.

#![allow(clippy::print_stdout, reason = "the figures are the program's output")]

mod ceiling;
mod cluster;
mod drive;
mod elastic;
mod figures;
mod growth;
mod load;
mod log;
mod merges;
mod nexmark;
mod peer;
mod puts;
mod reads;
mod restart;
mod state;
mod txn;
mod versions;
mod vs_etcd;

use std::process::ExitCode;

use figures::Figures;

/// How much to do.
#[derive(Clone, Copy)]
struct Size {
    quick: bool,
    repetitions: usize,
}

impl Size {
    /// `full`, or `quick` in a quick run.
    const fn pick(self, full: usize, quick: usize) -> usize {
        if self.quick { quick } else { full }
    }
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let (name, quick) = match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [name] => (name.to_owned(), false),
        [name, "--quick"] => (name.to_owned(), true),
        // The child that the restart benchmark kills.
        ["log-writer", directory, bytes] => return restart::write_until_killed(directory, bytes),
        _ => return usage(),
    };
    let size = Size { quick, repetitions: if quick { 3 } else { 5 } };
    let mut figures = Figures::new(&name, quick);
    match name.as_str() {
        "puts" => puts::run(size, &mut figures),
        "reads" => reads::run(size, &mut figures),
        "merges" => merges::run(size, &mut figures),
        "engine" => {
            puts::run(size, &mut figures);
            reads::run(size, &mut figures);
            merges::run(size, &mut figures);
        }
        "log" => {
            log::run(size, &mut figures);
            restart::run(size, &mut figures);
        }
        "growth" => growth::run(size, &mut figures),
        "vs-etcd" => vs_etcd::run(size, &mut figures),
        "txn" => txn::run(size, &mut figures),
        "versions" => {
            let runtime = runtime();
            runtime.block_on(versions::history(size, &mut figures));
            runtime.block_on(versions::feeds(size, &mut figures));
            runtime.block_on(versions::names(size, &mut figures));
        }
        "elastic" => runtime().block_on(elastic::run(size, &mut figures)),
        "state" => runtime().block_on(state::run(size, &mut figures)),
        "nexmark" => runtime().block_on(nexmark::run(size, &mut figures)),
        _ => return usage(),
    }
    figures.keep();
    ExitCode::SUCCESS
}

fn runtime() -> tokio::runtime::Runtime {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime can be built")
}

fn usage() -> ExitCode {
    eprintln!(
        "usage: lentic-bench engine|puts|reads|merges|log|vs-etcd|growth|txn|versions|elastic|state|nexmark [--quick]"
    );
    ExitCode::from(2)
}
