//! Links, and the tasks that serve them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use lentic_client::{Client, Error, Options};
use lentic_net::{Address, BoxFuture, Class, DialError, Link, LinkSender, Network};
use lentic_proto::v1::pipe_request::Request;
use lentic_proto::v1::{PipeRequest, PipeResponse};
use prost::Message as _;
use tokio::sync::Notify;

use super::faults::Faults;
use super::world::{World, address};

/// Frames that a link holds each way.
const FRAMES: usize = 64;

/// A cluster in this process. Clones are the same cluster.
#[derive(Clone, Debug)]
pub(crate) struct Cluster {
    world: Arc<Mutex<World>>,
    /// Tells the links that faults have changed.
    changed: Arc<Notify>,
}

/// The server's end of a link.
#[derive(Clone, Debug)]
struct End {
    node: u64,
    sender: Arc<Mutex<Option<LinkSender>>>,
    cut: Arc<Notify>,
}

impl Cluster {
    pub(crate) fn new(nodes: u64) -> Self {
        Self { world: Arc::new(Mutex::new(World::new(nodes))), changed: Arc::new(Notify::new()) }
    }

    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A client that knows one node.
    pub(crate) fn client(&self) -> Client {
        self.client_with(Options::default())
    }

    pub(crate) fn client_with(&self, options: Options) -> Client {
        Client::with_network(Arc::new(self.clone()), vec![address(1)], options).expect("the options are usable")
    }

    /// Changes what goes wrong; links notice at once.
    pub(crate) fn fault<T>(&self, change: impl FnOnce(&mut Faults) -> T) {
        change(&mut self.world().faults);
        self.changed.notify_waiters();
    }

    /// Changes the cluster itself.
    pub(crate) fn with<T>(&self, change: impl FnOnce(&mut World) -> T) -> T {
        change(&mut self.world())
    }

    /// How many writes took effect.
    pub(crate) fn committed(&self) -> u64 {
        self.world().shards.values().map(|place| place.committed).sum()
    }

    /// How many requests were asked whose name begins with `name`.
    pub(crate) fn asked(&self, name: &str) -> usize {
        self.world()
            .trace
            .iter()
            .filter(|line| line.split(' ').nth(2).is_some_and(|asked| asked.starts_with(name)))
            .count()
    }

    async fn serve(self, node: u64, link: Link) {
        let Link { sender, mut receiver } = link;
        let end = End { node, sender: Arc::new(Mutex::new(Some(sender))), cut: Arc::new(Notify::new()) };
        self.world().links += 1;
        loop {
            let changed = self.changed.notified();
            let (is_down, is_stuck) = {
                let faults = &self.world().faults;
                let is_down = faults.down.contains(&node) || faults.unreachable.contains(&node);
                (is_down, faults.stuck.contains(&node))
            };
            if is_down {
                break;
            }
            tokio::select! {
                biased;
                () = end.cut.notified() => break,
                () = changed => {}
                frame = receiver.recv(), if !is_stuck => match frame {
                    Some(frame) => self.take(&end, frame).await,
                    None => break,
                }
            }
        }
        self.world().links -= 1;
        end.close();
    }

    /// Takes a request; it is answered when its time is over.
    async fn take(&self, end: &End, frame: Bytes) {
        let PipeRequest { id, request, .. } = PipeRequest::decode(frame).expect("the client sends requests");
        let request = request.expect("the client sends whole requests");
        let (delay_ms, is_held) = {
            let mut world = self.world();
            world.note(end.node, id, &request);
            if !matches!(request, Request::Hello(_)) && world.faults.passes() {
                drop(world);
                return end.close();
            }
            let delay_ms_max = world.faults.delay_ms_max;
            let is_held =
                world.faults.held.contains(&end.node) && !matches!(request, Request::Hello(_) | Request::Status(_));
            // Something may always be written meanwhile, and so a feed waits its time.
            let wait_ms = if let Request::Feed(feed) = &request { u64::from(feed.wait_ms) } else { 0 };
            (world.faults.draw(delay_ms_max + 1) + wait_ms, is_held)
        };
        if delay_ms == 0 && !is_held {
            return self.answer(end, id, request).await;
        }
        let (cluster, end) = (self.clone(), end.clone());
        lentic_runtime::spawn(async move {
            tokio::time::sleep(Duration::from_millis(delay_ms)).await;
            cluster.let_go(end.node).await;
            cluster.answer(&end, id, request).await;
        });
    }

    /// Waits until a node does not hold requests back.
    async fn let_go(&self, node: u64) {
        loop {
            let changed = self.changed.notified();
            if !self.world().faults.held.contains(&node) {
                return;
            }
            changed.await;
        }
    }

    async fn answer(&self, end: &End, id: u64, request: Request) {
        let (is_hello, is_status) = (matches!(request, Request::Hello(_)), matches!(request, Request::Status(_)));
        let (frame, is_cut_after) = {
            let mut world = self.world();
            if world.faults.garbage.contains(&end.node) && !is_hello {
                (Bytes::from_static(b"\xff\xff\xff"), false)
            } else {
                let response = Some(world.answer(end.node, request));
                if !is_hello && world.faults.passes() {
                    drop(world);
                    return end.close();
                }
                if world.faults.mute.contains(&end.node) && !is_hello && !is_status {
                    return;
                }
                (PipeResponse { id, response }.encode_to_vec().into(), !is_hello && world.faults.passes())
            }
        };
        let sender = end.sender.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(sender) = sender {
            // A client that is gone needs no answer.
            let _ = sender.send(frame).await;
        }
        if is_cut_after {
            end.close();
        }
    }
}

impl End {
    fn close(&self) {
        self.sender.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.cut.notify_one();
    }
}

impl World {
    fn note(&mut self, node: u64, id: u64, request: &Request) {
        let name = match request {
            Request::Hello(_) => "hello",
            Request::Write(_) => "write",
            Request::Get(_) => "get",
            Request::MultiGet(_) => "multi-get",
            Request::Scan(_) => "scan",
            Request::Feed(_) => "feed",
            Request::Now(_) => "now",
            Request::IssueClient(_) => "issue",
            Request::CreateTable(_) => "create",
            Request::Branch(_) => "branch",
            Request::DropTable(_) => "drop",
            Request::DescribeTable(_) => "describe",
            Request::ListTables(_) => "list",
            Request::Status(_) => "status",
            Request::TransferLeader(_) => "transfer",
            Request::MoveReplica(_) => "move",
            Request::SplitShard(_) => "split",
            Request::SetNodeState(_) => "node-state",
            Request::Join(_) => "join",
            Request::Balance(_) => "balance",
            Request::Transact(_) => "transact",
            Request::Take(_) => "take",
            Request::Release(_) => "release",
            Request::Checkpoint(_) => "checkpoint",
            Request::Owned(_) => "owned",
            Request::Step(_) => "step",
            Request::CreateSnapshot(_) => "create-snapshot",
            Request::ShowSnapshot(_) => "show-snapshot",
            Request::ListPins(_) => "pins",
            Request::DropPin(_) => "drop-pin",
            Request::RenewPin(_) => "renew-pin",
            Request::History(_) => "history",
            Request::LastCheckpoint(_) => "last-checkpoint",
            Request::Diff(_) => "diff",
        };
        self.trace.push(format!("{} n{node} {name} {id}", self.began.elapsed().as_millis()));
    }
}

impl Network for Cluster {
    fn dial(&self, to: &Address, class: Class) -> BoxFuture<'_, Result<Link, DialError>> {
        assert_eq!(class, Class::Pipe, "a client opens pipes only");
        let (cluster, to) = (self.clone(), to.clone());
        Box::pin(async move {
            let node = (1..=cluster.world().nodes).find(|node| address(*node) == to);
            let node = node.filter(|node| {
                let faults = &cluster.world().faults;
                !faults.down.contains(node) && !faults.unreachable.contains(node)
            });
            let Some(node) = node else {
                return Err(DialError { address: to, reason: "connection refused".to_owned() });
            };
            cluster.world().dialled += 1;
            let (here, there) = Link::pair(FRAMES);
            lentic_runtime::spawn(cluster.clone().serve(node, there));
            Ok(here)
        })
    }
}

/// All of the results are results.
#[track_caller]
pub(crate) fn all_done<T>(results: Vec<Result<T, Error>>) {
    if let Some(error) = results.into_iter().find_map(Result::err) {
        panic!("expected results only, found an error: {error}");
    }
}
