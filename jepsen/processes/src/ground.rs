//! What nodes stand on: a network, disks, and what is between them and the kernel.

use std::net::SocketAddrV4;
use std::sync::Arc;

use lentic_faults::disk::{self, Disk};
use lentic_faults::net::{Network, Ports};
use lentic_faults::process::Preload;

use crate::cluster::Settings;
use crate::nemesis::Needs;
use crate::node::Place;
use crate::place::{HTTP_PORT, PORT, Places};

/// Knobs that every node gets first: what consensus says to itself would hide what the node says, and versions run ahead
/// of the time when clocks jump, so that only a table that says so lets go of what others may read again.
const KNOBS: &[&str] = &[
    "logging.level=info,openraft=error",
    "history.retention_ms=3000000000000",
    "history.look_ms=200",
    "history.pin_grace_ms=500",
];

/// What nodes stand on: plain loopback and plain directories, but for what faults need.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ground {
    /// What faults need.
    pub needs: Needs,
    /// What chance follows from.
    pub seed: u64,
    /// Bytes of each disk, if disks are needed.
    pub disk_bytes: u64,
}

/// A network whose links can be hurt.
///
/// # Panics
/// If this machine has none, or it does not do what it says.
pub(crate) async fn network(nodes: usize, seed: u64, probed: &mut Vec<String>) -> Network {
    let network = Network::new(nodes, Ports { data: PORT, control: HTTP_PORT }, seed)
        .unwrap_or_else(|reason| panic!("no network: {reason}"));
    match network.probe().await {
        Ok(found) => probed.extend(found),
        Err(reason) => panic!("faults of the network have no effect: {reason}"),
    }
    network
}

/// The places of all nodes, each on what it needs.
///
/// # Panics
/// If something cannot be had, or does not do what it says.
pub(crate) async fn places(
    settings: &Settings,
    network: Option<&Arc<Network>>,
    probed: &mut Vec<String>,
) -> Vec<Place> {
    let Settings { program, home, nodes, knobs, ground } = settings;
    let loopback = network.is_none().then(|| Places::free(*nodes));
    let socket = |place: usize, port: u16| match (network, loopback) {
        (Some(network), _) => SocketAddrV4::new(network.address(place), port),
        (None, Some(places)) => places.socket(place, port),
        (None, None) => unreachable!("one of them was made"),
    };
    let mut places = Vec::new();
    for place in 0..*nodes {
        let name = format!("n{}", place + 1);
        let disk = ground.needs.disks.then(|| Disk::best(home, &name, ground.disk_bytes));
        let disk = disk.transpose().unwrap_or_else(|error| panic!("no disk for {name}: {error}"));
        let data = disk.as_ref().map_or_else(|| home.join(&name), |disk| disk.path().join("data"));
        let links = network.map(|network| network.links_of(place)).unwrap_or_default();
        let calls = (ground.needs.calls || !links.is_empty()).then(|| {
            let calls = Preload::new(home, &format!("{name}.calls"), &data);
            let calls = calls.unwrap_or_else(|error| panic!("system calls of {name} cannot be hurt: {error}"));
            calls.redirect(links).unwrap_or_else(|error| panic!("links of {name} cannot be redirected: {error}"));
            calls
        });
        let knobs = KNOBS.iter().copied().chain(knobs.iter().map(String::as_str));
        let knobs = knobs.flat_map(|knob| ["--set".to_owned(), knob.to_owned()]);
        let first = format!("http://{}", socket(0, PORT));
        let join = if place == 0 { Vec::new() } else { vec!["--join".to_owned(), first] };
        places.push(Place {
            program: program.clone(),
            network: network.map(|network| (Arc::clone(network), place)),
            listen: socket(place, PORT),
            http: socket(place, HTTP_PORT),
            log: home.join(format!("{name}.log")),
            data,
            disk,
            calls,
            arguments: knobs.chain(join).collect(),
            name,
        });
    }
    let first = places.first_mut().expect("a cluster has a node");
    if first.calls.is_some() {
        Preload::probe().unwrap_or_else(|reason| panic!("faults of system calls have no effect: {reason}"));
        probed.push("a library between the processes and the kernel; each of its faults was tried".to_owned());
    }
    if let Some(disk) = &mut first.disk {
        let kind = disk.kind();
        probed.push(kind.to_string());
        if matches!(kind, disk::Kind::Plain { .. }) {
            return places;
        }
        probed.extend(disk.probe().unwrap_or_else(|error| panic!("faults of disks have no effect: {error}")));
    }
    places
}
