//! The binary `lentic`: `serve` runs a node, all else is a client.
//!
//! | module | idea |
//! |---|---|
//! | `cli` | what can be asked for |
//! | `serve`, `dev` | what runs nodes |
//! | `commands`, `completions` | what asks a cluster one thing |
//! | `session` | the cluster and the way to stdout, as commands see them |
//! | `bulk` | what reads or writes whole files |
//! | `bench` | what measures a cluster |
//! | `args`, `text` | arguments that several commands have, and how things are written as text |
//! | `output`, `failure`, `ending` | answers, errors, exit codes |
//! | `interrupt`, `progress` | Ctrl-C, and how far long work is |

mod args;
mod bench;
mod bulk;
mod cli;
mod commands;
mod completions;
mod dev;
mod ending;
mod failure;
#[cfg(test)]
mod golden;
mod interrupt;
mod output;
mod progress;
mod serve;
mod session;
mod text;

use std::io::{BufWriter, Write as _};
use std::process::ExitCode;

use clap::Parser as _;

use crate::cli::Cli;
use crate::failure::Failure;
use crate::output::Printer;
use crate::session::{Outcome, Session};

/// Requests are many small allocations that another thread frees, which glibc's allocator pays a lock for.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    plant_bug();
    let Cli { command, session } = Cli::parse();
    let format = session.output;
    let printer = Printer::new(format, Box::new(BufWriter::new(std::io::stdout())));
    let mut session = Session { args: session, printer };
    let ending = run(&command, &mut session).unwrap_or_else(|failure| {
        // Answers that came before the failure stand before it.
        drop(session.printer.flush());
        drop(std::io::stderr().write_all(failure.rendered(format).as_bytes()));
        failure.code
    });
    ending.into()
}

/// In a build with planted bugs, plants the one that the environment names: who starts nodes cannot speak to them before.
fn plant_bug() {
    #[cfg(mutant = "any")]
    if let Ok(name) = std::env::var("PLANTED_BUG") {
        assert!(lentic_types::mutant::plant(&name), "the bug is planted first of all");
    }
}

fn run(command: &cli::Command, session: &mut Session) -> Outcome {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if let Some(threads) = command.worker_threads()? {
        builder.worker_threads(threads);
    }
    let runtime = builder.enable_all().build();
    let runtime = runtime.map_err(|error| Failure::usage(format!("the runtime cannot start: {error}")))?;
    let ending = runtime.block_on(command.run(session));
    // Something may still wait for stdin.
    runtime.shutdown_background();
    session.printer.flush()?;
    ending
}
