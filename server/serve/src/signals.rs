//! When to stop: the first signal asks, the second insists.

use std::fmt;
use std::future::Future;
use std::io;

use tokio::signal::unix::{Signal as Stream, SignalKind, signal};
use tracing::{info, warn};

/// A signal that ends a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGINT: Ctrl-C in a terminal.
    Interrupt,
    /// SIGTERM: a supervisor's way to stop a service.
    Terminate,
}

impl Signal {
    /// The exit status of a process that ended by it, as shells have it.
    #[must_use]
    pub const fn exit_status(self) -> i32 {
        match self {
            Self::Interrupt => 128 + 2,
            Self::Terminate => 128 + 15,
        }
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Interrupt => "SIGINT",
            Self::Terminate => "SIGTERM",
        })
    }
}

struct Signals {
    interrupt: Stream,
    terminate: Stream,
}

impl Signals {
    async fn next(&mut self) -> Signal {
        tokio::select! {
            biased;
            _ = self.terminate.recv() => Signal::Terminate,
            _ = self.interrupt.recv() => Signal::Interrupt,
        }
    }
}

/// Takes SIGINT and SIGTERM from now on. What it returns is done at the first of them: then the node stops as it should.
/// At the second the process exits at once, wherever it is: acknowledged writes are on disk at any time.
///
/// # Errors
/// The operating system gives no signals to this process.
pub fn shutdown() -> io::Result<impl Future<Output = Signal> + Send> {
    let interrupt = signal(SignalKind::interrupt())?;
    let mut signals = Signals { interrupt, terminate: signal(SignalKind::terminate())? };
    Ok(async move {
        let first = signals.next().await;
        info!(signal = %first, "stopping; a second signal ends the process at once");
        lentic_runtime::spawn(async move {
            let second = signals.next().await;
            warn!(signal = %second, "ending at once");
            std::process::exit(second.exit_status());
        });
        first
    })
}
