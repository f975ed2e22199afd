//! Lentic at work, for who sees it for the first time: three processes, a month of flights, a kill -9, stream jobs.
//!
//! The program does what a user would, with the binary `lentic` beside it, and checks every answer against the file
//! that was loaded. It ends with an error at the first thing that is not as promised, and leaves neither a process nor a
//! file, however it ends.
//!
//! | module | idea |
//! |---|---|
//! | `story` | what is shown, in its order |
//! | `stage` | the cluster, the commands, and the end of both |
//! | `flights` | the file, and what must be found when it is loaded |
//! | `job` | a job that counts, and how long it had to wait |
//! | `stream` | jobs with state (`client/rust/examples/flights`), and what others see of it |
//! | `check` | what is there against what must be |
//! | `text` | how figures and answers are shown |

#![allow(clippy::print_stdout, reason = "the output is the point")]

mod check;
mod flights;
mod job;
mod stage;
mod story;
mod stream;
mod text;

use std::process::ExitCode;
use std::time::Instant;

use tokio::signal::unix::{SignalKind, signal};

use crate::stage::Stage;

/// What is not as promised.
type Failure = String;

#[tokio::main]
async fn main() -> ExitCode {
    if std::env::args().len() > 1 {
        eprintln!("usage: lentic-demo");
        return ExitCode::from(2);
    }
    let began = Instant::now();
    let mut stage = match Stage::set() {
        Ok(stage) => stage,
        Err(failure) => return failed(&failure),
    };
    let told = tokio::select! {
        biased;
        name = interrupted() => Err(format!("stopped by {name}")),
        told = story::tell(&mut stage) => told,
    };
    // The stage is cleared whatever happened on it, and not again: a second signal has nothing to add.
    let cleared = stage.clear().await;
    match told.and(cleared) {
        Ok(()) => {
            println!(
                "\nEvery promise held, in {:.0} s. No process and no file is left.",
                began.elapsed().as_secs_f64()
            );
            ExitCode::SUCCESS
        }
        Err(failure) => failed(&failure),
    }
}

fn failed(failure: &str) -> ExitCode {
    eprintln!("\nlentic-demo: {failure}");
    ExitCode::FAILURE
}

/// Waits until somebody wants the program to end. From the first call on, signals end nothing by themselves.
async fn interrupted() -> &'static str {
    let listen = |kind| signal(kind).expect("signals can be listened to");
    let (mut interrupt, mut terminate) = (listen(SignalKind::interrupt()), listen(SignalKind::terminate()));
    let mut hangup = listen(SignalKind::hangup());
    tokio::select! {
        _ = interrupt.recv() => "SIGINT",
        _ = terminate.recv() => "SIGTERM",
        _ = hangup.recv() => "SIGHUP",
    }
}
