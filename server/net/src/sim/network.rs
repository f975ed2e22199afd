//! Hosts, faults, dialling.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lentic_runtime::{Random, Scope};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout_at};

use super::event::{Happening, NetCounts, NetEvent};
use super::knobs::SimKnobs;
use super::path::{Path, open};
use super::state::{Host, OpenLink, Shared, State};
use super::wire::{Destiny, Way, Wire};
use crate::link::{Accept, Address, BoxFuture, Class, DialError, Link, Network};
use crate::queue::{QUEUE_FRAMES_MAX, queue};

/// A network in memory. Clones are the same network.
#[derive(Clone)]
pub struct SimNetwork(Arc<Shared>);

impl SimNetwork {
    /// A network without hosts. Delays and chances come from `random`; its time begins now.
    #[must_use]
    pub fn new(random: &Random, knobs: SimKnobs) -> Self {
        let own = || Random::seeded(random.next_seed());
        let state = State {
            knobs,
            hosts: BTreeMap::new(),
            crashed: BTreeSet::new(),
            paths: BTreeMap::new(),
            links: BTreeMap::new(),
            links_opened: 0,
            counts: NetCounts::default(),
            hook: None,
        };
        let (random, scope) = (own(), Scope::new(own()));
        Self(Arc::new(Shared { state: Mutex::new(state), random, scope, started: Instant::now() }))
    }

    /// Calls `hook` with everything that happens from now on, in order.
    pub fn on_event(&self, hook: impl Fn(&NetEvent) + Send + Sync + 'static) {
        self.0.lock().hook = Some(Arc::new(hook));
    }

    /// How the network behaves from now on.
    pub fn set_knobs(&self, knobs: SimKnobs) {
        self.0.lock().knobs = knobs;
    }

    /// What happened so far.
    #[must_use]
    pub fn counts(&self) -> NetCounts {
        self.0.lock().counts
    }

    /// How many links are open, in one direction at least.
    #[must_use]
    pub fn links(&self) -> usize {
        self.0.lock().links.len()
    }

    /// The network as `host` sees it: what it dials comes from there. A client needs no [`Self::start`].
    #[must_use]
    pub fn for_host(&self, host: &Address) -> Arc<dyn Network> {
        Arc::new(View { shared: self.0.clone(), host: host.clone() })
    }

    /// Lets `host` take links, for the first time or after a crash. They are served in `scope`.
    pub fn start(&self, host: &Address, scope: Scope, accept: Arc<dyn Accept>) {
        let mut state = self.0.lock();
        state.crashed.remove(host);
        state.hosts.insert(host.clone(), Host { scope, accept });
    }

    /// `host` is gone: its links break, as far as the news can pass, and who dials it is refused. Its tasks are the
    /// caller's to abort.
    pub fn crash(&self, host: &Address) {
        let mut state = self.0.lock();
        state.hosts.remove(host);
        state.crashed.insert(host.clone());
        let all: Vec<_> =
            state.links.values().map(|link| (link.from.clone(), link.to.clone(), link.destiny.clone())).collect();
        let cut = |state: &mut State, to: &Address| state.path(host, to).borrow().cut_since.is_some();
        let broken: Vec<_> = all
            .into_iter()
            .filter(|(from, to, _)| (from == host && !cut(&mut state, to)) || (to == host && !cut(&mut state, from)))
            .collect();
        drop(state);
        for (_, _, destiny) in broken {
            self.0.break_link(&destiny, "the host crashed", |counts| &mut counts.links_broken);
        }
    }

    /// Breaks the links between two hosts, whoever dialled: both ends find them gone, what was on its way is lost. How
    /// many there were.
    pub fn break_links(&self, a: &Address, b: &Address) -> usize {
        let state = self.0.lock();
        let between = |link: &&OpenLink| (&link.from, &link.to) == (a, b) || (&link.from, &link.to) == (b, a);
        let found: Vec<_> = state.links.values().filter(between).map(|link| link.destiny.clone()).collect();
        drop(state);
        for destiny in &found {
            self.0.break_link(destiny, "it was broken", |counts| &mut counts.links_broken);
        }
        found.len()
    }

    /// Cuts both directions between two hosts.
    pub fn cut(&self, a: &Address, b: &Address) {
        self.cut_one_way(a, b);
        self.cut_one_way(b, a);
    }

    /// Cuts one direction: nothing passes from `from` to `to` until it is healed. Links between them break after
    /// [`SimKnobs::cut_ms_max`].
    pub fn cut_one_way(&self, from: &Address, to: &Address) {
        self.0.lock().path(from, to).send_modify(|path| {
            path.cut_since.get_or_insert_with(Instant::now);
        });
    }

    /// Heals both directions between two hosts. Each link sends again what a cut has held back at a moment of its own,
    /// which the longer comes the longer the cut was, as TCP does (RFC 6298): up to as long as it was.
    pub fn heal(&self, a: &Address, b: &Address) {
        for (from, to) in [(a, b), (b, a)] {
            self.0.lock().path(from, to).send_modify(Path::heal);
        }
    }

    /// Heals all cuts.
    pub fn heal_all(&self) {
        self.0.lock().paths.values().for_each(|path| path.send_modify(Path::heal));
    }

    /// Until when links may hold back what cuts that are healed have held back.
    #[must_use]
    pub fn holds_until(&self) -> Option<Instant> {
        let state = self.0.lock();
        let longest = Duration::from_millis(state.knobs.cut_ms_max);
        let until = |path: &watch::Sender<Path>| Some(path.borrow().healed_at? + path.borrow().was_cut.min(longest));
        state.paths.values().filter_map(until).max()
    }

    /// How many bytes a second pass in one direction, on each link; `None`: as many as there are.
    pub fn set_rate(&self, from: &Address, to: &Address, bytes_per_second: Option<u64>) {
        self.0.lock().path(from, to).send_modify(|path| path.bytes_per_second = bytes_per_second);
    }
}

/// The network as one host sees it.
struct View {
    shared: Arc<Shared>,
    host: Address,
}

impl Network for View {
    fn dial(&self, address: &Address, class: Class) -> BoxFuture<'_, Result<Link, DialError>> {
        let way = Way { link: 0, from: self.host.clone(), to: address.clone(), class, from_dialler: true };
        Box::pin(async move {
            dial(&self.shared, &way).await.map_err(|reason| {
                self.shared.happened(&way, Happening::Failed(reason));
                DialError { address: way.to.clone(), reason: reason.to_owned() }
            })
        })
    }
}

/// A packet there, and one back.
async fn dial(shared: &Arc<Shared>, way: &Way) -> Result<Link, &'static str> {
    let deadline = Instant::now() + Duration::from_millis(shared.knobs().dial_ms_max);
    let passed = timeout_at(deadline, async {
        pass(shared, &way.from, &way.to).await;
        let found = shared.lock().hosts.contains_key(&way.to);
        pass(shared, &way.to, &way.from).await;
        found
    });
    let found = passed.await;
    let mut state = shared.lock();
    let host = match found {
        Err(_) => {
            state.counts.dials_cut += 1;
            return Err("it does not answer");
        }
        Ok(found) => state.hosts.get(&way.to).filter(|_| found).cloned(),
    };
    let Some(host) = host.filter(|_| !state.crashed.contains(&way.from)) else {
        state.counts.dials_refused += 1;
        return Err("the connection was refused");
    };
    drop(state);
    let (here, there, way) = connect(shared, way);
    shared.happened(&way, Happening::Opened);
    host.scope.spawn(host.accept.accept(way.class, there));
    Ok(here)
}

/// Waits while the path is cut, and then for as long as a frame is on its way.
async fn pass(shared: &Shared, from: &Address, to: &Address) {
    let path = shared.lock().path(from, to).subscribe();
    open(path).await;
    let (delay, _) = shared.knobs().delay(&shared.random);
    if delay.is_zero() { tokio::task::yield_now().await } else { sleep(delay).await }
}

/// Lays the wires of a new link: its two ends, and its way from the dialling one.
fn connect(shared: &Arc<Shared>, way: &Way) -> (Link, Link, Way) {
    let mut state = shared.lock();
    state.links_opened += 1;
    state.counts.links += 1;
    let way = Way { link: state.links_opened, ..way.clone() };
    let back = Way { from: way.to.clone(), to: way.from.clone(), from_dialler: false, ..way.clone() };
    let destiny = Destiny::open();
    let there_path = state.path(&way.from, &way.to).subscribe();
    let back_path = state.path(&back.from, &back.to).subscribe();
    let link = OpenLink { from: way.from.clone(), to: way.to.clone(), destiny: destiny.clone(), wires: 2 };
    state.links.insert(way.link, link);
    drop(state);
    let wire = |way: &Way, there: &_, back: &_| {
        let (sender, source) = queue(QUEUE_FRAMES_MAX);
        let (sink, receiver) = queue(QUEUE_FRAMES_MAX);
        let random = Random::seeded(shared.random.next_seed());
        let (there, back): (_, _) = (Clone::clone(there), Clone::clone(back));
        let wire = Wire {
            way: way.clone(),
            source,
            sink,
            there,
            back,
            destiny: destiny.clone(),
            random,
            shared: shared.clone(),
        };
        shared.scope.spawn(wire.carry());
        (sender, receiver)
    };
    let (to_there, at_there) = wire(&way, &there_path, &back_path);
    let (to_here, at_here) = wire(&back, &back_path, &there_path);
    let here = Link { sender: to_there, receiver: at_here };
    (here, Link { sender: to_here, receiver: at_there }, way)
}
