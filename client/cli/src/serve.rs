//! `lentic serve`

use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::Args;
use lentic_serve::config::{Argument, Config, Sources};
use lentic_serve::{Running, StartError, logging, signals};

use crate::ending::Ending;
use crate::failure::Failure;
use crate::session::{Outcome, SERVER_VARIABLE, Session};

/// Run a node: with nothing else said, a cluster of its own on 127.0.0.1:7420
#[derive(Clone, Debug, Args)]
pub(crate) struct ServeArgs {
    /// A configuration file in TOML; environment variables go before it, arguments before both
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where to serve clients and other nodes [default: 127.0.0.1:7420]
    #[arg(long, value_name = "IP:PORT")]
    listen: Option<String>,
    /// Where to serve metrics and health as HTTP pages [default: 127.0.0.1:7421]
    #[arg(long, value_name = "IP:PORT")]
    http_listen: Option<String>,
    /// Where others find this node, if that is not where it listens
    #[arg(long, value_name = "HOST:PORT")]
    advertise: Option<String>,
    /// Where to keep the data [default: ./lentic-data]
    #[arg(long, value_name = "DIR")]
    data: Option<String>,
    /// Nodes of a cluster to join, if this one has no data yet
    #[arg(long, value_name = "ADDRESS", num_args = 1..)]
    join: Vec<String>,
    /// Set a knob, as in `store.memtable_bytes=134217728`; --print-config shows them all
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Show the whole configuration, with what each knob is for, and do nothing else
    #[arg(long)]
    print_config: bool,
    /// End when the process with this id does, which must have started this one
    #[arg(long, value_name = "PID", hide = true)]
    stop_with_parent: Option<i32>,
}

/// Most threads that a runtime is given.
const WORKER_THREADS_MAX: u16 = 1_024;

impl ServeArgs {
    /// Threads of the node's runtime, which is there before the node.
    pub(crate) fn worker_threads(&self) -> Result<Option<usize>, Failure> {
        let threads = self.config()?.process.worker_threads.min(WORKER_THREADS_MAX);
        Ok((threads > 0).then_some(threads.into()))
    }

    pub(crate) async fn run(&self, session: &mut Session) -> Outcome {
        let config = self.config()?;
        if self.print_config {
            session.printer.text(&config.print())?;
            return Ok(Ending::Done);
        }
        logging::start(&config.logging).map_err(|error| Failure::usage(error.to_string()))?;
        let stopping = signals::shutdown();
        let stopping = stopping.map_err(|error| Failure::usage(format!("signals cannot be listened to: {error}")))?;
        if let Some(parent) = self.stop_with_parent {
            stop_with_parent(parent)?;
        }
        let mut stopping = std::pin::pin!(stopping);
        let mut node = tokio::select! {
            biased;
            _ = &mut stopping => return Ok(Ending::Interrupted),
            started = Running::start(&config) => started.map_err(|error| refused(&error))?,
        };
        tokio::select! {
            biased;
            _ = &mut stopping => {}
            // It has nothing to flush: it ends as a killed one does, and is started again as such.
            fatal = node.wait() => {
                return Err(Failure { code: Ending::Ended, ..stopped(&fatal) });
            }
        }
        node.shutdown().await.map_err(|error| stopped(&error))?;
        Ok(Ending::Done)
    }

    fn config(&self) -> Result<Config, Failure> {
        Config::load(&self.sources()?).map_err(|error| Failure::usage(error.to_string()))
    }

    fn sources(&self) -> Result<Sources, Failure> {
        let variables = std::env::vars_os();
        let environment =
            variables.filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        Ok(Sources {
            file: self.config.clone(),
            environment: environment.collect(),
            // It is for clients, and may well be set where a node is started.
            foreign_variables: BTreeSet::from([SERVER_VARIABLE.to_owned()]),
            arguments: self.arguments()?,
        })
    }

    /// The knobs that are set by arguments. Those with an argument of their own win over `--set`.
    fn arguments(&self) -> Result<Vec<Argument>, Failure> {
        let mut arguments = Vec::new();
        for knob in &self.set {
            let (key, value) = knob.split_once('=').ok_or_else(|| {
                Failure::usage(format!("--set {knob}: expected KEY=VALUE, as in raft.heartbeat_ms=50"))
            })?;
            arguments.push(argument("--set", key.trim(), value));
        }
        let own = [
            ("--listen", "listen", &self.listen),
            ("--http-listen", "http_listen", &self.http_listen),
            ("--advertise", "advertise", &self.advertise),
            ("--data", "data", &self.data),
        ];
        let own = own.into_iter().filter_map(|(name, key, value)| Some(argument(name, key, value.as_ref()?)));
        arguments.extend(own);
        if !self.join.is_empty() {
            arguments.push(argument("--join", "join", &self.join.join(",")));
        }
        Ok(arguments)
    }
}

fn argument(name: &str, key: &str, value: &str) -> Argument {
    Argument { name: name.to_owned(), key: key.to_owned(), value: value.to_owned() }
}

fn refused(error: &StartError) -> Failure {
    match error {
        StartError::Config(_) | StartError::Directory(_) | StartError::Listen { .. } => {
            Failure::usage(error.to_string())
        }
        StartError::Join(_) | StartError::Store(_) | StartError::Log(_) | StartError::Node(_) => stopped(error),
    }
}

/// The node does not start, cannot go on, or has not ended as it should.
fn stopped(reason: &impl std::fmt::Display) -> Failure {
    Failure { code: Ending::Refused, kind: "node", ..Failure::usage(reason.to_string()) }
}

/// Has this process asked to stop when its parent ends, however that ends. The kernel has a signal for that, but it comes
/// when the thread ends that started this process, and a parent's threads come and go.
#[cfg(target_os = "linux")]
fn stop_with_parent(parent: i32) -> Result<(), Failure> {
    use rustix::event::{PollFd, PollFlags, poll};
    use rustix::process::{Pid, PidfdFlags, Signal, getpid, getppid, kill_process, pidfd_open};
    let gone = || Failure::usage(format!("process {parent}, which this one is to end with, is not its parent"));
    let watched = pidfd_open(Pid::from_raw(parent).ok_or_else(gone)?, PidfdFlags::empty()).map_err(|_| gone())?;
    // It may have ended before.
    if getppid().is_none_or(|found| found.as_raw_nonzero().get() != parent) {
        return Err(gone());
    }
    let watch = move || {
        while poll(&mut [PollFd::new(&watched, PollFlags::IN)], None) != Ok(1) {}
        // Who is asked to stop by himself may.
        let _ = kill_process(getpid(), Signal::TERM);
    };
    let watching = std::thread::Builder::new().name("parent".to_owned()).spawn(watch);
    let failed = |error| Failure::usage(format!("the end of the parent cannot be waited for: {error}"));
    watching.map(drop).map_err(failed)
}

/// Other systems do not tell: the process is to be stopped by hand.
#[cfg(not(target_os = "linux"))]
fn stop_with_parent(_: i32) -> Result<(), Failure> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command};
    use clap::Parser as _;
    use lentic_serve::config::HostPort;

    fn config(line: &str) -> Result<Config, String> {
        let Command::Serve(args) = Cli::try_parse_from(line.split(' ')).unwrap().command else { panic!("{line}") };
        let arguments = args.arguments().map_err(|failure| failure.message)?;
        Config::load(&Sources { arguments, ..Sources::default() }).map_err(|error| error.to_string())
    }

    #[test]
    fn arguments_set_knobs() {
        let line = "lentic serve --listen 127.0.0.1:1 --http-listen 127.0.0.1:2 --data d --join a:1 b:2 --join http://c:3 \
                    --set raft.heartbeat_ms=50 --set data=e --advertise me:4";
        let config = config(line).unwrap();
        assert_eq!((config.place.listen.port(), config.place.http_listen.port()), (1, 2));
        assert_eq!(config.place.join.iter().map(HostPort::as_str).collect::<Vec<_>>(), ["a:1", "b:2", "c:3"]);
        assert_eq!((config.raft.heartbeat_ms, config.place.data), (50, "d".into()));
        assert_eq!(config.place.advertise.unwrap().as_str(), "me:4");
    }

    #[test]
    fn what_is_no_knob_is_refused_with_its_argument() {
        assert!(config("lentic serve --set data").unwrap_err().starts_with("--set data: expected KEY=VALUE"));
        assert!(config("lentic serve --set dat=x").unwrap_err().contains("argument --set: unknown key `dat`"));
        assert!(config("lentic serve --listen here").unwrap_err().contains("argument --listen: expected `listen`"));
    }
}
