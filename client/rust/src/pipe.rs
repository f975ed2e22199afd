//! The pipe to one node: dialled when it is needed, again when it broke.

mod line;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use lentic_net::{Address, Class, Link};
use lentic_proto::v1::{Hello, PipeRequest, PipeResponse, pipe_request, pipe_response};
use lentic_types::ErrorKind;
use prost::Message as _;
use tokio::sync::watch;
use tokio::time::Instant;

pub(crate) use line::{Line, Lost, Unsent, Waiting};

use crate::backoff;
use crate::core::Core;
use crate::error::Error;

/// The pipe to one node.
#[derive(Debug)]
pub(crate) struct Pipe {
    address: Address,
    state: watch::Sender<State>,
}

#[derive(Clone, Debug)]
enum State {
    /// Nobody has needed it yet, or the last line ended.
    Idle {
        failures: u32,
    },
    /// A task opens a line.
    Dialling,
    Up(Arc<Line>),
    /// It could not be opened; not tried again before then.
    Down {
        error: Error,
        until: Instant,
        failures: u32,
    },
}

impl Pipe {
    pub(crate) fn new(address: Address) -> Self {
        Self { address, state: watch::Sender::new(State::Idle { failures: 0 }) }
    }

    /// A line to the node: the open one, or a new one.
    ///
    /// # Errors
    /// The node could not be reached, just now or a moment ago.
    pub(crate) async fn line(self: &Arc<Self>, core: &Arc<Core>) -> Result<Arc<Line>, Error> {
        if let State::Up(line) = &*self.state.borrow() {
            return Ok(line.clone());
        }
        let mut state = self.state.subscribe();
        loop {
            // A copy, for `begin` takes the lock that a look holds.
            let now = state.borrow_and_update().clone();
            match now {
                State::Up(line) => return Ok(line),
                State::Down { error, until, .. } if Instant::now() < until => return Err(error),
                State::Down { failures, .. } | State::Idle { failures } => self.begin(core, failures),
                State::Dialling => {}
            }
            if state.changed().await.is_err() {
                return Err(Error::unavailable("the client is closed"));
            }
        }
    }

    /// Starts the task that opens a line and reads from it, unless another has.
    fn begin(self: &Arc<Self>, core: &Arc<Core>, failures: u32) {
        let is_mine = self.state.send_if_modified(|state| {
            let may_begin = matches!(state, State::Idle { .. } | State::Down { .. });
            if may_begin {
                *state = State::Dialling;
            }
            may_begin
        });
        if is_mine {
            core.tasks.spawn(run(self.clone(), core.clone(), failures));
        }
    }
}

impl fmt::Display for Pipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)
    }
}

/// Opens a line and reads from it until it ends.
async fn run(pipe: Arc<Pipe>, core: Arc<Core>, failures: u32) {
    let failed = |error: Error| {
        let until = Instant::now() + backoff::pause(&core.options, failures, &core.random);
        State::Down { error, until, failures: failures.saturating_add(1) }
    };
    let opened = match tokio::time::timeout(core.options.dial_max, open(&pipe.address, &core)).await {
        Ok(opened) => opened,
        Err(_) => Err(unreachable(&pipe.address, &no_hello(core.options.dial_max))),
    };
    let (link, hello) = match opened {
        Ok(opened) => opened,
        Err(error) => {
            pipe.state.send_replace(failed(error));
            return;
        }
    };
    let Link { sender, receiver } = link;
    let line = Arc::new(Line::new(pipe.address.0.clone(), sender, &hello, core.options.pipeline_bytes_max));
    pipe.state.send_replace(State::Up(line.clone()));
    let ended = line.read(receiver, core.options.silence_max).await;
    pipe.state.send_replace(if ended.was_of_use {
        State::Idle { failures: 0 }
    } else {
        failed(unreachable(&pipe.address, &ended.reason))
    });
}

/// Dials, and exchanges hellos.
async fn open(address: &Address, core: &Core) -> Result<(Link, Hello), Error> {
    let mut link =
        core.network.dial(address, Class::Pipe).await.map_err(|error| Error::unavailable(error.to_string()))?;
    let cluster = core.cluster.get().map_or_else(Vec::new, |cluster| cluster.0.to_vec());
    let release = env!("CARGO_PKG_VERSION").to_owned();
    let hello = Hello { cluster: cluster.into(), release, ..Hello::default() };
    let request = PipeRequest { id: 0, deadline_ms: 0, request: Some(pipe_request::Request::Hello(hello)) };
    let closed = "it closed the connection instead of a hello";
    link.sender.send(request.encode_to_vec().into()).await.map_err(|_| unreachable(address, closed))?;
    let frame = link.receiver.recv().await.ok_or_else(|| unreachable(address, closed))?;
    let response = PipeResponse::decode(frame).ok().and_then(|response| response.response);
    let hello = match response {
        Some(pipe_response::Response::Hello(hello)) => hello,
        Some(pipe_response::Response::Failure(failure)) => {
            return Err(Error::from_failure(failure).in_front(&format!("{address} refused the connection: ")));
        }
        _ => return Err(unreachable(address, "it sent something else than a hello; is it a node of Lentic?")),
    };
    meet(address, core, &hello)?;
    Ok((link, hello))
}

/// Checks that a node is of the cluster, and learns of the others.
fn meet(address: &Address, core: &Core, hello: &Hello) -> Result<(), Error> {
    let Ok(Some(found)) = lentic_proto::cluster_id(&hello.cluster) else {
        return Err(unreachable(address, "it does not say of which cluster it is; is it a node of Lentic?"));
    };
    let expected = *core.cluster.get_or_init(|| found);
    if found != expected {
        let message = format!(
            "{address} is a node of cluster {found}, expected one of {expected}; connect to the nodes of one cluster"
        );
        return Err(Error::new(ErrorKind::Throttled, message));
    }
    core.nodes.learn(hello.addresses.iter().map(|address| Address::from(&**address)));
    Ok(())
}

fn no_hello(dial_max: Duration) -> String {
    format!("it has not answered for {} ms", dial_max.as_millis())
}

fn unreachable(address: &Address, reason: &str) -> Error {
    Error::unavailable(format!("{address} cannot be used: {reason}"))
}
