//! A network in memory: links with latency that break when they are cut.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use lentic_net::{Address, BoxFuture, Class, DialError, Link, Network};
use lentic_runtime::Random;
use lentic_types::NodeId;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};

type Listener = Arc<dyn Fn(Class, Link) -> BoxFuture<'static, ()> + Send + Sync>;

/// Frames that a link holds each way.
const FRAMES: usize = 64;

#[derive(Clone)]
pub struct Net(Arc<Inner>);

struct Inner {
    listeners: Mutex<BTreeMap<NodeId, Listener>>,
    /// Raised at each change: links look whether they are cut.
    changes: watch::Sender<u64>,
    state: Mutex<State>,
    random: Random,
    bytes: Mutex<BTreeMap<(NodeId, NodeId, Class), u64>>,
    frames: AtomicU64,
}

#[derive(Default)]
struct State {
    /// One-way cuts: what the first sends does not reach the second.
    cut: BTreeSet<(NodeId, NodeId)>,
    /// How often a node's links were hung up.
    lives: BTreeMap<NodeId, u64>,
    /// The next link of this class from the first to the second breaks after so many more bytes.
    break_after: BTreeMap<(NodeId, NodeId, Class), u64>,
}

impl Net {
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Inner {
            listeners: Mutex::default(),
            changes: watch::channel(0).0,
            state: Mutex::default(),
            random: Random::seeded(seed),
            bytes: Mutex::default(),
            frames: AtomicU64::new(0),
        }))
    }

    /// The network as `node` dials it.
    pub fn of(&self, node: NodeId) -> Dialer {
        Dialer { net: self.clone(), node }
    }

    pub fn listen(
        &self,
        node: NodeId,
        listener: impl Fn(Class, Link) -> BoxFuture<'static, ()> + Send + Sync + 'static,
    ) {
        self.0.listeners.lock().unwrap().insert(node, Arc::new(listener));
    }

    /// Breaks all links of a node, which is gone.
    pub fn hang_up(&self, node: NodeId) {
        self.0.listeners.lock().unwrap().remove(&node);
        *self.0.state.lock().unwrap().lives.entry(node).or_default() += 1;
        self.0.changes.send_modify(|changes| *changes += 1);
    }

    /// Cuts one direction. Links that use it break.
    pub fn cut_one_way(&self, from: NodeId, to: NodeId) {
        self.0.state.lock().unwrap().cut.insert((from, to));
        self.0.changes.send_modify(|changes| *changes += 1);
    }

    /// Cuts both directions between two sets.
    pub fn cut(&self, a: impl IntoIterator<Item = u64>, b: impl IntoIterator<Item = u64> + Clone) {
        for a in a {
            for b in b.clone() {
                self.cut_one_way(NodeId(a), NodeId(b));
                self.cut_one_way(NodeId(b), NodeId(a));
            }
        }
    }

    pub fn heal(&self) {
        self.0.state.lock().unwrap().cut.clear();
    }

    /// The next link of `class` from `from` to `to` breaks after that many bytes.
    pub fn break_after(&self, from: NodeId, to: NodeId, class: Class, bytes: u64) {
        self.0.state.lock().unwrap().break_after.insert((from, to, class), bytes);
    }

    /// Bytes sent from one to the other in a class, so far.
    pub fn bytes(&self, from: NodeId, to: NodeId, class: Class) -> u64 {
        self.0.bytes.lock().unwrap().get(&(from, to, class)).copied().unwrap_or(0)
    }

    pub fn frames(&self) -> u64 {
        self.0.frames.load(Ordering::Relaxed)
    }

    fn is_cut(&self, from: NodeId, to: NodeId) -> bool {
        let state = self.0.state.lock().unwrap();
        state.cut.contains(&(from, to)) || state.cut.contains(&(to, from))
    }

    fn life(&self, node: NodeId) -> u64 {
        self.0.state.lock().unwrap().lives.get(&node).copied().unwrap_or(0)
    }

    fn latency(&self) -> Duration {
        Duration::from_micros(100 + self.0.random.next_seed() % 900)
    }

    /// Carries frames one way, until a side is gone or the link is cut.
    async fn carry(
        self,
        (from, to, class): (NodeId, NodeId, Class),
        mut frames: mpsc::Receiver<Bytes>,
        out: mpsc::Sender<Bytes>,
    ) {
        let lives = (self.life(from), self.life(to));
        let mut changes = self.0.changes.subscribe();
        let mut last = Instant::now();
        loop {
            let frame = tokio::select! { biased;
                changed = changes.changed() => {
                    if changed.is_err() || self.is_cut(from, to) || lives != (self.life(from), self.life(to)) {
                        return;
                    }
                    continue;
                }
                frame = frames.recv() => match frame {
                    Some(frame) => frame,
                    None => return,
                },
            };
            let bytes = frame.len() as u64;
            {
                let mut state = self.0.state.lock().unwrap();
                if let Some(left) = state.break_after.get_mut(&(from, to, class)) {
                    if *left < bytes {
                        state.break_after.remove(&(from, to, class));
                        return;
                    }
                    *left -= bytes;
                }
            }
            *self.0.bytes.lock().unwrap().entry((from, to, class)).or_default() += bytes;
            self.0.frames.fetch_add(1, Ordering::Relaxed);
            last = last.max(Instant::now() + self.latency());
            sleep_until(last).await;
            if out.send(frame).await.is_err() {
                return;
            }
        }
    }
}

/// A node's side of the network.
pub struct Dialer {
    net: Net,
    node: NodeId,
}

impl Network for Dialer {
    fn dial(&self, address: &Address, class: Class) -> BoxFuture<'_, Result<Link, DialError>> {
        let address = address.clone();
        Box::pin(async move {
            sleep(self.net.latency()).await;
            let failed = |reason: &str| DialError { address: address.clone(), reason: reason.to_owned() };
            let to = NodeId(address.0.trim_start_matches('n').parse().unwrap());
            if self.net.is_cut(self.node, to) {
                return Err(failed("no route"));
            }
            let listener = self.net.0.listeners.lock().unwrap().get(&to).cloned();
            let listener = listener.ok_or_else(|| failed("nobody listens"))?;
            let (here, here_out) = mpsc::channel(FRAMES);
            let (there_in, there) = mpsc::channel(FRAMES);
            tokio::spawn(self.net.clone().carry((self.node, to, class), here_out, there_in));
            let (back, back_out) = mpsc::channel(FRAMES);
            let (back_in, back_there) = mpsc::channel(FRAMES);
            tokio::spawn(self.net.clone().carry((to, self.node, class), back_out, back_in));
            listener(class, Link::new(back, there)).await;
            Ok(Link::new(here, back_there))
        })
    }
}
