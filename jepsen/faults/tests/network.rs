//! What a network does to its links, in both kinds.

use std::io;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use lentic_faults::net::{Counts, DELAY_MAX, End, Kind, Network, Ports, Rule, Unsupported};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::time::timeout;

const PORTS: Ports = Ports { data: 7420, control: 7421 };
/// For what must come.
const SOON: Duration = Duration::from_secs(20);
/// For what must not come.
const SILENCE: Duration = Duration::from_millis(300);
const A: End = End::Node(0);
const B: End = End::Node(1);

/// A network of namespaces, or none where they need more rights than these tests have.
fn namespaces(nodes: usize) -> Option<Network> {
    let is_root = rustix::process::geteuid().is_root();
    match Network::namespaces(nodes, PORTS, 7) {
        Ok(network) => Some(network),
        Err(why) => {
            assert!(!is_root || !Path::new("/dev/net/tun").exists(), "root has no namespaces: {why}");
            eprintln!("skipped: {why}");
            None
        }
    }
}

fn loopback(nodes: usize) -> Network {
    Network::loopback(nodes, PORTS, 7).expect("loopback is everywhere")
}

/// Every kind that this machine allows.
fn kinds(nodes: usize) -> impl Iterator<Item = Network> {
    namespaces(nodes).into_iter().chain([loopback(nodes)])
}

/// A connection from `from` to node `to`: its two ends.
async fn pair(network: &Network, from: End, to: usize) -> (TcpStream, TcpStream) {
    let listener = network.listen(to, PORTS.data).expect("the port is free");
    let caller = soon(network.connect(from, to, PORTS.data)).await.expect("it connects");
    let (called, _) = soon(listener.accept()).await.expect("it is accepted");
    called.set_nodelay(true).expect("it is open");
    (caller, called)
}

async fn soon<T>(what: impl Future<Output = T>) -> T {
    timeout(SOON, what).await.expect("it comes soon")
}

fn cut() -> Rule {
    Rule { cut: true, ..Rule::default() }
}

/// Sends a byte; it must arrive. Returns how long that took.
async fn pass(from: &mut TcpStream, to: &mut TcpStream) -> Duration {
    let start = Instant::now();
    from.write_all(&[7]).await.expect("it is open");
    soon(to.read_exact(&mut [0])).await.expect("it is open");
    start.elapsed()
}

/// Nothing arrives.
async fn silent(at: &mut TcpStream) {
    let read = timeout(SILENCE, at.read(&mut [0])).await;
    assert!(read.is_err(), "it is not silent: {read:?}");
}

/// Sends `total` bytes; they must arrive as they are.
async fn transfer(from: &mut TcpStream, to: &mut TcpStream, total: usize) {
    let sent: Vec<u8> = (0..=250).cycle().take(total).collect();
    let mut arrived = vec![0; total];
    let (write, read) = tokio::join!(
        async {
            // In pieces, so that there are many packets.
            for piece in sent.chunks(1 << 12) {
                from.write_all(piece).await?;
                tokio::task::yield_now().await;
            }
            io::Result::Ok(())
        },
        timeout(Duration::from_secs(60), to.read_exact(&mut arrived)),
    );
    write.expect("it is open");
    read.expect("all arrives").expect("it is open");
    assert!(sent == arrived, "the bytes are others");
}

#[tokio::test]
async fn a_healthy_network_connects_everybody() {
    for network in kinds(3) {
        for (from, to) in [(A, 1), (B, 0), (A, 2), (A, 0), (End::Clients, 0), (End::Clients, 2)] {
            let (mut caller, mut called) = pair(&network, from, to).await;
            pass(&mut caller, &mut called).await;
            pass(&mut called, &mut caller).await;
        }
        assert!(network.counts(A, B).passed > 0 && network.counts(B, A).passed > 0);
        assert_eq!(Counts { passed: 0, ..network.counts(A, B) }, Counts::default());
    }
}

#[tokio::test]
async fn the_probe_says_what_it_measured() {
    for network in kinds(3) {
        let lines = network.probe().await.expect("all has its effect");
        let pairs = if *network.kind() == Kind::Namespaces { 3 } else { 2 };
        let facts = if *network.kind() == Kind::Namespaces { 5 } else { 4 };
        assert_eq!(lines.len(), 1 + pairs * facts);
    }
}

#[tokio::test]
async fn a_cut_stops_both_ways_and_heals() {
    for network in kinds(3) {
        let (mut caller, mut called) = pair(&network, A, 1).await;
        pass(&mut caller, &mut called).await;
        network.cut(A, B).expect("links of nodes can be cut");
        caller.write_all(&[1]).await.expect("it is open");
        called.write_all(&[2]).await.expect("it is open");
        tokio::join!(silent(&mut caller), silent(&mut called));
        assert!(network.counts(A, B).cut > 0 && network.counts(B, A).cut > 0);
        // The others do not notice.
        let (mut other, mut third) = pair(&network, B, 2).await;
        pass(&mut other, &mut third).await;
        network.heal();
        let mut byte = [0];
        soon(called.read_exact(&mut byte)).await.expect("it goes on");
        assert_eq!(byte, [1]);
        soon(caller.read_exact(&mut byte)).await.expect("it goes on");
        assert_eq!(byte, [2]);
    }
}

#[tokio::test]
async fn a_cut_of_one_way_lets_the_other_pass() {
    for network in kinds(2) {
        let (mut caller, mut called) = pair(&network, A, 1).await;
        network.set(B, A, cut()).expect("links of nodes can be cut");
        pass(&mut caller, &mut called).await;
        called.write_all(&[2]).await.expect("it is open");
        silent(&mut caller).await;
        assert_eq!(network.counts(A, B).cut, 0);
        assert!(network.counts(B, A).cut > 0);
        network.heal();
        soon(caller.read_exact(&mut [0])).await.expect("it goes on");
    }
}

#[tokio::test]
async fn no_connection_is_opened_across_a_cut_of_either_way() {
    for (from, to) in [(A, B), (B, A)] {
        for network in kinds(2) {
            let listener = network.listen(1, PORTS.data).expect("the port is free");
            network.set(from, to, cut()).expect("links of nodes can be cut");
            let opening = async { network.connect(A, 1, PORTS.data).await?.read(&mut [0]).await };
            let (opened, accepted) = tokio::join!(timeout(SILENCE, opening), timeout(SILENCE, listener.accept()));
            assert!(opened.is_err() && accepted.is_err(), "{opened:?}, {accepted:?}");
            assert!(network.counts(from, to).cut > 0);
            // Where packets are seen, the request arrives and the answer does not.
            let arrived = network.counts(A, B).passed > 0;
            assert_eq!(arrived, to == A && *network.kind() == Kind::Namespaces);
        }
    }
}

#[tokio::test]
async fn a_cut_stops_what_is_under_way() {
    let rule = Rule { delay: SILENCE, ..Rule::default() };
    for network in kinds(2) {
        let (mut caller, mut called) = pair(&network, A, 1).await;
        network.set(A, B, rule).expect("links of nodes can be slow");
        caller.write_all(&[1]).await.expect("it is open");
        soon(async {
            while network.counts(A, B).delayed == 0 {
                tokio::task::yield_now().await;
            }
        })
        .await;
        network.set(A, B, Rule { cut: true, ..rule }).expect("links of nodes can be cut");
        assert!(timeout(SILENCE * 2, called.read(&mut [0])).await.is_err());
        network.heal();
        soon(called.read_exact(&mut [0])).await.expect("it goes on");
    }
}

#[tokio::test]
async fn the_end_of_one_side_is_not_seen_through_a_cut() {
    for network in kinds(2) {
        let (mut caller, mut called) = pair(&network, A, 1).await;
        pass(&mut caller, &mut called).await;
        network.cut(A, B).expect("links of nodes can be cut");
        drop(caller);
        silent(&mut called).await;
        network.heal();
        assert_eq!(soon(called.read(&mut [0])).await.expect("it is in order"), 0);
    }
}

#[tokio::test]
async fn a_delay_is_as_long_as_was_asked() {
    let (delay, jitter) = (Duration::from_millis(80), Duration::from_millis(40));
    for network in kinds(2) {
        let (mut caller, mut called) = pair(&network, A, 1).await;
        network.set(A, B, Rule { delay, jitter, ..Rule::default() }).expect("links of nodes can be slow");
        for _ in 0..5 {
            let took = pass(&mut caller, &mut called).await;
            assert!((delay..delay + jitter + Duration::from_millis(400)).contains(&took), "{took:?}");
            // The way back is not slow.
            assert!(pass(&mut called, &mut caller).await < delay);
        }
        assert!(network.counts(A, B).delayed >= 5);
        assert_eq!(network.counts(B, A).delayed, 0);
        transfer(&mut caller, &mut called, 1 << 20).await;
        network.heal();
        pass(&mut caller, &mut called).await;
        assert!(pass(&mut caller, &mut called).await < delay);
    }
}

#[tokio::test]
async fn tcp_gets_through_what_packets_suffer() {
    let rules = [
        Rule { loss_percent: 10, ..Rule::default() },
        Rule { reorder_percent: 20, ..Rule::default() },
        Rule { duplicate_percent: 30, ..Rule::default() },
    ];
    for rule in rules {
        let Some(network) = namespaces(2) else { return };
        let (mut caller, mut called) = pair(&network, A, 1).await;
        let asked = [rule.loss_percent, rule.reorder_percent, rule.duplicate_percent].map(|percent| percent > 0);
        let had = || {
            let counts = network.counts(A, B);
            [counts.lost > 0, counts.reordered > 0, counts.duplicated > 0]
        };
        network.set(A, B, rule).expect("packets are seen");
        // Which packets it meets is a matter of luck: more of them come until it has met one.
        let mut transfers = 0;
        while had() != asked {
            assert!(transfers < 20, "{rule:?}: {:?}", network.counts(A, B));
            transfer(&mut caller, &mut called, 1 << 20).await;
            transfers += 1;
        }
    }
}

#[tokio::test]
async fn what_waits_is_bounded() {
    let Some(network) = namespaces(2) else { return };
    network.set(End::Clients, B, Rule { delay: DELAY_MAX, ..Rule::default() }).expect("packets are seen");
    let flood = async {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await?;
        while network.counts(End::Clients, B).overflowed == 0 {
            socket.send_to(&[0; 50_000], (network.address(1), PORTS.data)).await?;
        }
        io::Result::Ok(())
    };
    soon(flood).await.expect("datagrams can be sent");
    let waited = network.counts(End::Clients, B).delayed;
    assert!((1300..=1335).contains(&waited), "{waited} packets of 50 kB make 64 MiB");
    // The other links go on, and so does this one when it is healed.
    for from in [A, End::Clients] {
        let (mut caller, mut called) = pair(&network, from, 1).await;
        pass(&mut caller, &mut called).await;
        network.heal();
    }
}

#[tokio::test]
async fn the_control_port_is_spared() {
    for network in kinds(2) {
        let listener = network.listen(1, PORTS.control).expect("the port is free");
        network.cut(A, B).expect("links of nodes can be cut");
        let mut froms = vec![A];
        if *network.kind() == Kind::Namespaces {
            network.cut(End::Clients, B).expect("they are seen");
            froms.push(End::Clients);
        }
        for from in froms {
            let mut caller = soon(network.connect(from, 1, PORTS.control)).await.expect("it connects");
            let (mut called, _) = soon(listener.accept()).await.expect("it is accepted");
            pass(&mut caller, &mut called).await;
            pass(&mut called, &mut caller).await;
            assert_eq!(network.counts(from, B), Counts::default());
        }
    }
}

#[tokio::test]
async fn clients_can_be_cut_off_in_namespaces() {
    let Some(network) = namespaces(2) else { return };
    let (mut caller, mut called) = pair(&network, End::Clients, 1).await;
    network.cut(End::Clients, B).expect("packets are seen");
    caller.write_all(&[1]).await.expect("it is open");
    silent(&mut called).await;
    network.heal();
    soon(called.read_exact(&mut [0])).await.expect("it goes on");
}

#[tokio::test]
async fn loopback_refuses_what_it_cannot_do() {
    let network = loopback(2);
    let mut caller_and_called = pair(&network, A, 1).await;
    for rule in [
        Rule { loss_percent: 1, ..Rule::default() },
        Rule { reorder_percent: 1, ..Rule::default() },
        Rule { duplicate_percent: 1, cut: true, ..Rule::default() },
    ] {
        assert_eq!(network.set(A, B, rule), Err(Unsupported::Packets));
    }
    assert_eq!(network.set(End::Clients, B, cut()), Err(Unsupported::Clients));
    assert_eq!(network.cut(A, End::Clients), Err(Unsupported::Clients));
    assert_eq!(network.set(End::Clients, B, Rule::default()), Ok(()));
    pass(&mut caller_and_called.0, &mut caller_and_called.1).await;
}

#[tokio::test]
async fn a_connection_to_nobody_ends() {
    for network in kinds(2) {
        let opening = async { network.connect(A, 1, PORTS.data).await?.read(&mut [0]).await };
        let error = soon(opening).await.expect_err("nobody listens");
        let expected = match network.kind() {
            Kind::Namespaces => io::ErrorKind::ConnectionRefused,
            Kind::Loopback { .. } => io::ErrorKind::ConnectionReset,
        };
        assert_eq!(error.kind(), expected);
    }
}

#[tokio::test]
async fn loopback_says_what_to_redirect() {
    let network = loopback(3);
    let asked: Vec<_> = network.links_of(1).iter().map(|(asked, _)| *asked.ip()).collect();
    assert_eq!(asked, [network.address(0), network.address(2)]);
    assert!(network.links_of(1).iter().all(|(asked, proxy)| asked.port() == PORTS.data && asked.ip() != proxy.ip()));
    assert_eq!(network.kind().to_string(), "loopback, a proxy per link: as was asked for");
}

#[test]
fn the_better_kind_is_taken_and_else_it_says_why() {
    let best = Network::namespaces(1, PORTS, 7).map(drop);
    let network = Network::new(1, PORTS, 7).expect("loopback is everywhere");
    let expected = best.map_or_else(|because| Kind::Loopback { because }, |()| Kind::Namespaces);
    assert_eq!(*network.kind(), expected);
}

#[test]
fn networks_have_addresses_of_their_own() {
    let networks: Vec<_> = kinds(1).chain(kinds(1)).collect();
    for (at, network) in networks.iter().enumerate() {
        assert!(networks[..at].iter().all(|other| other.address(0) != network.address(0)));
    }
}

#[tokio::test]
async fn a_command_starts_in_the_place_of_its_node() {
    for network in kinds(2) {
        let listener: TcpListener = network.listen(1, PORTS.data).expect("the port is free");
        let (address, port) = (network.address(1), PORTS.data);
        // It says its id, to show that this is the one that is known of it here, and waits.
        let script = format!("exec 3<>/dev/tcp/{address}/{port}; echo $$ >&3; read line");
        let mut command = network.command(0, Path::new("bash"));
        let mut child = Ended(command.args(["-c", &script]).stdin(Stdio::piped()).spawn().expect("there is a bash"));
        let (mut called, from) = soon(listener.accept()).await.expect("it connects");
        let mut line = String::new();
        let mut byte = [0];
        while byte != *b"\n" {
            soon(called.read_exact(&mut byte)).await.expect("it says its id");
            line.push(char::from(byte[0]));
        }
        assert_eq!(line.trim(), child.0.id().to_string());
        if *network.kind() == Kind::Namespaces {
            assert_eq!(from.ip(), network.address(0));
        }
        child.0.kill().expect("it runs");
        assert_eq!(soon(called.read(&mut byte)).await.expect("it ended in order"), 0);
    }
}

/// A process that ends with this value.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
