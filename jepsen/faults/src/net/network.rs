//! The network: both kinds behind one type.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use tokio::net::{TcpListener, TcpSocket, TcpStream};

use super::claim::Claim;
use super::links::{Links, Way};
use super::proxy::{Link, Proxies};
use super::rule::{Counts, End, Rule, Unsupported};
use super::space::{self, Space};
use super::switch::{Port, Switch};

/// The most nodes that a network has.
pub const NODES_MAX: usize = 64;
/// The last byte of the address of this process, and of the proxies.
const OUR_HOST: u8 = 254;
/// Who waits to be accepted by a listener of [`Network::listen`].
const BACKLOG: u32 = 64;

/// The ports of each node.
#[derive(Clone, Copy, Debug)]
pub struct Ports {
    /// Where nodes speak to each other.
    pub data: u16,
    /// What always passes at once, whatever the rules say: health and metrics.
    pub control: u16,
}

/// How the network is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Each node has a network namespace, and a switch carries packets between them.
    Namespaces,
    /// Nodes are on loopback, and a proxy for each link carries streams.
    Loopback {
        /// Why it is not the better kind.
        because: String,
    },
}

impl fmt::Display for Kind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Namespaces => write!(out, "network namespaces, one a node"),
            Self::Loopback { because } => write!(out, "loopback, a proxy per link: {because}"),
        }
    }
}

/// The network between some nodes and this process. It ends with this value, and with this process in whatever way that
/// ends; the processes on it do not.
#[derive(Debug)]
pub struct Network {
    kind: Kind,
    nodes: usize,
    ports: Ports,
    links: Arc<Links>,
    carrier: Carrier,
    claim: Claim,
}

#[derive(Debug)]
enum Carrier {
    Switch { _switch: Switch, spaces: Vec<Space> },
    Proxies { _proxies: Proxies, redirects: Vec<Vec<(SocketAddrV4, SocketAddrV4)>> },
}

impl Network {
    /// A network of the better kind that this machine allows. Choices of packets are made from `seed`.
    ///
    /// # Errors
    /// Why neither kind can be made.
    ///
    /// # Panics
    /// If there are no nodes, or more than [`NODES_MAX`].
    pub fn new(nodes: usize, ports: Ports, seed: u64) -> Result<Self, String> {
        Self::namespaces(nodes, ports, seed).or_else(|because| {
            let loopback = Self::on_loopback(nodes, ports, seed, because.clone());
            loopback.map_err(|error| format!("{because}; and on loopback: {error}"))
        })
    }

    /// A network of namespaces, which needs root and `/dev/net/tun`.
    ///
    /// # Errors
    /// Why this machine does not allow it.
    ///
    /// # Panics
    /// As [`Network::new`].
    pub fn namespaces(nodes: usize, ports: Ports, seed: u64) -> Result<Self, String> {
        let claim = Claim::take(10, |claim| claim.has_route().map(|has_route| !has_route))?;
        let links = Arc::new(Links::new(checked(nodes), seed));
        let (mut spaces, mut plugs) = (Vec::new(), Vec::new());
        for node in 0..nodes {
            let address = claim.address(host(node));
            let (space, device) = Space::new(address)?;
            spaces.push(space);
            plugs.push(Port { end: End::Node(node), address, device });
        }
        let address = claim.address(OUR_HOST);
        plugs.push(Port { end: End::Clients, address, device: space::device(address)? });
        let switch = Switch::start(plugs, ports.control, Arc::clone(&links));
        let switch = switch.map_err(|error| format!("the switch cannot be started: {error}"))?;
        let carrier = Carrier::Switch { _switch: switch, spaces };
        Ok(Self { kind: Kind::Namespaces, nodes, ports, links, carrier, claim })
    }

    /// A network on loopback. Clients connect directly there, so nothing can be done to their links.
    ///
    /// # Errors
    /// Why this machine does not allow it.
    ///
    /// # Panics
    /// As [`Network::new`].
    pub fn loopback(nodes: usize, ports: Ports, seed: u64) -> Result<Self, String> {
        Self::on_loopback(nodes, ports, seed, "as was asked for".to_owned())
    }

    fn on_loopback(nodes: usize, ports: Ports, seed: u64, because: String) -> Result<Self, String> {
        let listens = |claim: &Claim, node| [ports.data, ports.control].map(|port| (claim.address(host(node)), port));
        let is_free = |address| std::net::TcpListener::bind(address).is_ok();
        let claim = Claim::take(127, |claim| Ok((0..nodes).flat_map(|node| listens(claim, node)).all(is_free)))?;
        let links = Arc::new(Links::new(checked(nodes), seed));
        let (mut all, mut redirects) = (Vec::new(), vec![Vec::new(); nodes]);
        for (from, redirects) in redirects.iter_mut().enumerate() {
            for to in (0..nodes).filter(|to| *to != from) {
                let way = Way { from: End::Node(from), to: End::Node(to) };
                let target = SocketAddrV4::new(claim.address(host(to)), ports.data);
                let link = Link::new(way, target, claim.address(OUR_HOST));
                let link = link.and_then(|link| link.proxy().map(|proxy| (link, proxy)));
                let (link, proxy) = link.map_err(|error| format!("a proxy cannot be made: {error}"))?;
                redirects.push((target, proxy));
                all.push(link);
            }
        }
        let proxies = Proxies::start(all, Arc::clone(&links));
        let proxies = proxies.map_err(|error| format!("the proxies cannot be started: {error}"))?;
        let carrier = Carrier::Proxies { _proxies: proxies, redirects };
        Ok(Self { kind: Kind::Loopback { because }, nodes, ports, links, carrier, claim })
    }

    /// How it is made, and why not better.
    #[must_use]
    pub const fn kind(&self) -> &Kind {
        &self.kind
    }

    /// How many nodes it has.
    #[must_use]
    pub const fn nodes(&self) -> usize {
        self.nodes
    }

    /// The ports of each node, as they were given.
    #[must_use]
    pub const fn ports(&self) -> Ports {
        self.ports
    }

    /// Where a node, from 0, listens.
    ///
    /// # Panics
    /// If there is no such node.
    #[must_use]
    pub fn address(&self, node: usize) -> Ipv4Addr {
        assert!(node < self.nodes, "node {node} of {}, counted from 0", self.nodes);
        self.claim.address(host(node))
    }

    /// What starts `program` in a node's place: its process is the program's own.
    ///
    /// On loopback the place is this process's own, and `program` must be made to follow [`Network::links_of`].
    ///
    /// # Panics
    /// If there is no such node.
    #[must_use]
    pub fn command(&self, node: usize, program: &Path) -> Command {
        assert!(node < self.nodes, "node {node} of {}, counted from 0", self.nodes);
        let mut command = Command::new(program);
        if let Carrier::Switch { spaces, .. } = &self.carrier {
            spaces[node].start(&mut command);
        }
        command
    }

    /// Where connections of a node must go instead: for each address that it asks for, the link's proxy. Empty if there
    /// is nothing to redirect, as in namespaces.
    ///
    /// # Panics
    /// If there is no such node.
    #[must_use]
    pub fn links_of(&self, node: usize) -> &[(SocketAddrV4, SocketAddrV4)] {
        assert!(node < self.nodes, "node {node} of {}, counted from 0", self.nodes);
        match &self.carrier {
            Carrier::Switch { .. } => &[],
            Carrier::Proxies { redirects, .. } => &redirects[node],
        }
    }

    /// Says what becomes of what `from` sends to `to`, from now on. A cut is complete when this returns, but for the
    /// piece of a stream that a proxy is writing. What is under way and not cut comes when it was due; on loopback what
    /// follows it on its connection comes after it.
    ///
    /// # Errors
    /// What this kind of network cannot do; the link is as it was.
    ///
    /// # Panics
    /// If there is no such node, if more than 100 of 100 packets are meant, or for longer than [`super::DELAY_MAX`].
    pub fn set(&self, from: End, to: End, rule: Rule) -> Result<(), Unsupported> {
        if matches!(self.carrier, Carrier::Proxies { .. }) && rule != Rule::default() {
            if from == End::Clients || to == End::Clients {
                return Err(Unsupported::Clients);
            }
            if rule.is_of_packets() {
                return Err(Unsupported::Packets);
            }
        }
        self.links.set(Way { from, to }, rule);
        Ok(())
    }

    /// Cuts the links between `a` and `b`, both ways.
    ///
    /// # Errors
    /// As [`Network::set`].
    ///
    /// # Panics
    /// As [`Network::set`].
    pub fn cut(&self, a: End, b: End) -> Result<(), Unsupported> {
        let rule = Rule { cut: true, ..Rule::default() };
        self.set(a, b, rule)?;
        self.set(b, a, rule)
    }

    /// Makes all links healthy.
    pub fn heal(&self) {
        self.links.heal();
    }

    /// What happened so far to what `from` sent to `to`.
    ///
    /// # Panics
    /// If there is no such node.
    #[must_use]
    pub fn counts(&self, from: End, to: End) -> Counts {
        self.links.lock().counts(Way { from, to })
    }

    /// Listens in a node's place. A namespace lives on while a socket in it does.
    ///
    /// # Errors
    /// What the kernel says.
    ///
    /// # Panics
    /// If there is no such node.
    pub fn listen(&self, node: usize, port: u16) -> io::Result<TcpListener> {
        let socket = self.socket(End::Node(node))?;
        socket.set_reuseaddr(true)?;
        socket.bind((self.address(node), port).into())?;
        socket.listen(BACKLOG)
    }

    /// Connects from a place to `port` of a node, as a process there would.
    ///
    /// # Errors
    /// What the kernel says. It takes minutes to say that nobody answers: set a bound.
    ///
    /// # Panics
    /// If there is no such node.
    pub async fn connect(&self, from: End, to: usize, port: u16) -> io::Result<TcpStream> {
        let asked = SocketAddrV4::new(self.address(to), port);
        let address = match from {
            End::Clients => asked,
            End::Node(node) => {
                let redirect = self.links_of(node).iter().find(|(address, _)| *address == asked);
                redirect.map_or(asked, |(_, proxy)| *proxy)
            }
        };
        let stream = self.socket(from)?.connect(address.into()).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    fn socket(&self, place: End) -> io::Result<TcpSocket> {
        match (&self.carrier, place) {
            (Carrier::Switch { spaces, .. }, End::Node(node)) => spaces[node].make(TcpSocket::new_v4),
            _ => TcpSocket::new_v4(),
        }
    }
}

fn checked(nodes: usize) -> usize {
    assert!((1..=NODES_MAX).contains(&nodes), "a network has 1 to {NODES_MAX} nodes, not {nodes}");
    nodes
}

/// The last byte of a node's address.
fn host(node: usize) -> u8 {
    u8::try_from(node + 1).expect("there are few nodes")
}
