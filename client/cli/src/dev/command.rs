//! Start, tell how to talk to it, wait, stop.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use lentic_client::{Client, ClusterStatus};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use super::layout::{Home, Place, places};
use super::processes::{Ended, Processes, tail};
use super::report::{Report, Running};
use crate::ending::Ending;
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::session::{Outcome, Session};

/// How long the nodes may take until they are a cluster.
const START_MAX: Duration = Duration::from_secs(60);
/// How often they are asked.
const ASK_EVERY: Duration = Duration::from_millis(50);
/// How long one question may take.
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// Run a cluster on this machine, each node a process of its own, until Ctrl-C
#[derive(Clone, Debug, Args)]
pub(crate) struct DevArgs {
    /// How many nodes
    #[arg(long, short, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=99))]
    nodes: u16,
    /// Where the nodes keep their data; it stays, and a later run goes on with it. Else it goes away at the end
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// The first port; each node takes two. 0: any that are free
    #[arg(long, value_name = "PORT", default_value_t = 7420)]
    port: u16,
    /// Keep the data, though no directory was named
    #[arg(long)]
    keep: bool,
    /// Set a knob of all nodes, as in `raft.heartbeat_ms=50`; `lentic serve --print-config` shows them all
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

/// What the start came to.
enum Started {
    Up(ClusterStatus),
    Interrupted,
}

impl DevArgs {
    pub(crate) async fn run(&self, session: &mut Session) -> Outcome {
        let mut interrupt = Interrupt::listen()?;
        let home = Home::open(self.data.as_deref(), self.keep)?;
        let places = places(&home.path, self.nodes.into(), self.port)?;
        let mut processes = Processes::new()?;
        let outcome = self.run_nodes(session, &home, &places, &mut processes, &mut interrupt).await;
        processes.stop().await;
        outcome
    }

    async fn run_nodes(
        &self,
        session: &mut Session,
        home: &Home,
        places: &[Place],
        processes: &mut Processes,
        interrupt: &mut Interrupt,
    ) -> Outcome {
        let mut pids = Vec::new();
        let status = match self.start(places, processes, &mut pids, interrupt).await? {
            Started::Up(status) => status,
            Started::Interrupted => return Ok(Ending::Interrupted),
        };
        let running =
            places.iter().zip(&pids).map(|(place, pid)| Running { node: id_of(&status, place), place, pid: *pid });
        session.printer.answer(&Report::new(home, &running.collect::<Vec<_>>()))?;
        session.printer.flush()?;
        while processes.running() > 0 {
            let ended = tokio::select! {
                biased;
                () = interrupt.asked() => return Ok(Ending::Done),
                ended = processes.ended() => ended,
            };
            self.tell(&ended, &status, places);
        }
        Err(Failure::usage("all nodes have ended").with_help(format!("their logs are in {}", home.path.display())))
    }

    /// Starts the nodes, and waits until each is ready: from then on the cluster can lose one. Those with data need each
    /// other and start at once; new ones join one after the other, so that they are numbered as their directories are.
    async fn start(
        &self,
        places: &[Place],
        processes: &mut Processes,
        pids: &mut Vec<u32>,
        interrupt: &mut Interrupt,
    ) -> Result<Started, Failure> {
        let deadline = Instant::now() + START_MAX;
        let mut last = None;
        for place in places {
            let is_new = place.is_new();
            pids.push(processes.start(place, &self.arguments(place, &places[0]))?);
            if !is_new && place.number < places.len() {
                continue;
            }
            let up = tokio::select! {
                biased;
                () = interrupt.asked() => return Ok(Started::Interrupted),
                ended = processes.ended() => return Err(ended_too_soon(&ended, places)),
                up = until_up(&places[..place.number], deadline) => up,
            };
            last = Some(up.ok_or_else(|| too_slow(place))?);
        }
        for place in places {
            let ready = tokio::select! {
                biased;
                () = interrupt.asked() => return Ok(Started::Interrupted),
                ended = processes.ended() => return Err(ended_too_soon(&ended, places)),
                ready = until_ready(place, deadline) => ready,
            };
            ready.then_some(()).ok_or_else(|| too_slow(place))?;
        }
        Ok(Started::Up(last.expect("there is at least one node")))
    }

    fn arguments(&self, place: &Place, first: &Place) -> Vec<String> {
        let data = place.data.display().to_string();
        let parent = std::process::id().to_string();
        let fixed = ["serve", "--data", &data, "--listen", &place.listen(), "--http-listen", &place.http_listen()]
            .map(str::to_owned);
        let mut arguments = fixed.to_vec();
        arguments.extend(["--stop-with-parent".to_owned(), parent]);
        if place.number > 1 {
            arguments.extend(["--join".to_owned(), first.address()]);
        }
        // They share the machine's cores.
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = (cores / usize::from(self.nodes)).max(1);
        arguments.extend(["--set".to_owned(), format!("process.worker_threads={threads}")]);
        arguments.extend(self.set.iter().flat_map(|knob| ["--set".to_owned(), knob.clone()]));
        arguments
    }

    /// Says that a node has ended, and how to start it again.
    fn tell(&self, ended: &Ended, status: &ClusterStatus, places: &[Place]) {
        let place = &places[ended.number - 1];
        let again = self.arguments(place, &places[0]).join(" ");
        let again = again.replace(&format!(" --stop-with-parent {}", std::process::id()), "");
        let (node, how, log) = (id_of(status, place), ended.words(), place.log.display());
        let message = format!("node n{node} has ended: {how}; its log is {log}\n  start it again: lentic {again}\n");
        drop(std::io::stderr().write_all(message.as_bytes()));
    }
}

/// The id of a node in the cluster.
fn id_of(status: &ClusterStatus, place: &Place) -> u64 {
    let address = place.address();
    let found = status.nodes.iter().find(|node| *node.address.0 == *address);
    found.map_or(0, |node| node.node.0)
}

/// Asks until all of `places` are nodes of the cluster, heard from lately, and a leader is known; `None` when that takes
/// too long.
async fn until_up(places: &[Place], deadline: Instant) -> Option<ClusterStatus> {
    while Instant::now() < deadline {
        if let Some(status) = ask(&places[places.len() - 1]).await
            && status.meta_leader.is_some()
            && places.iter().all(|place| is_up(&status, place))
        {
            return Some(status);
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
    None
}

/// Asks until a node says that it is ready; false when that takes too long.
async fn until_ready(place: &Place, deadline: Instant) -> bool {
    while Instant::now() < deadline {
        if timeout(ANSWER_MAX, is_ready(place)).await.is_ok_and(|ready| ready.unwrap_or(false)) {
            return true;
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
    false
}

/// What the first line of the page says.
async fn is_ready(place: &Place) -> io::Result<bool> {
    let mut stream = TcpStream::connect(place.http_listen()).await?;
    stream.write_all(b"GET /readyz HTTP/1.0\r\n\r\n").await?;
    let mut line = [0; "HTTP/1.0 200".len()];
    stream.read_exact(&mut line).await?;
    Ok(line.ends_with(b" 200"))
}

fn is_up(status: &ClusterStatus, place: &Place) -> bool {
    let address = place.address();
    status.nodes.iter().any(|node| *node.address.0 == *address && node.is_alive)
}

async fn ask(place: &Place) -> Option<ClusterStatus> {
    let asking = async {
        let client = Client::builder().deadline(ANSWER_MAX).connect([place.address()]).await.ok()?;
        client.status(false).await.ok()
    };
    timeout(ANSWER_MAX, asking).await.ok().flatten()
}

fn ended_too_soon(ended: &Ended, places: &[Place]) -> Failure {
    let place = &places[ended.number - 1];
    let message = format!("node {} has ended: {}; it said:\n{}", ended.number, ended.words(), tail(&place.log));
    Failure { code: Ending::Refused, ..Failure::usage(message) }
}

fn too_slow(place: &Place) -> Failure {
    let message =
        format!("node {} is not up after {} s; it said:\n{}", place.number, START_MAX.as_secs(), tail(&place.log));
    Failure { code: Ending::Refused, ..Failure::usage(message) }
}
