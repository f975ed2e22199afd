//! Nothing stays behind of a network, however it ends. One test alone in its process, for it looks at all of it.

use std::env;
use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use lentic_faults::net::{End, Network, Ports, Rule};

const PORTS: Ports = Ports { data: 7420, control: 7421 };
/// Set in a process that makes a network and waits to be killed.
const VICTIM: &str = "LENTIC_FAULTS_VICTIM";
const WITHIN: Duration = Duration::from_secs(10);

#[test]
fn nothing_stays_behind() {
    if env::var_os(VICTIM).is_some() {
        let network = Network::namespaces(3, PORTS, 1).expect("the one who asks has made one");
        println!("address {}", network.address(0));
        io::stdout().flush().expect("somebody reads");
        // Until the process is killed, or the one who asked is gone.
        let _ = io::stdin().read_line(&mut String::new());
        return;
    }
    let network = match Network::namespaces(3, PORTS, 1) {
        Ok(network) => network,
        Err(why) => {
            eprintln!("skipped: {why}");
            return;
        }
    };
    network.set(End::Clients, End::Node(0), Rule { cut: true, ..Rule::default() }).expect("packets are seen");
    let index = index_of(network.address(0)).expect("there is a way to it");
    assert_eq!(namespaces_held(), 3);
    drop(network);
    assert!(!device_exists(&index), "the device is left");
    assert_eq!(namespaces_held(), 0);

    let loopback = Network::loopback(2, PORTS, 1).expect("loopback is everywhere");
    let proxy = loopback.links_of(0)[0].1;
    drop(loopback);
    TcpListener::bind(proxy).expect("the proxy's port is free again");

    let mut victim = victim();
    let lines = BufReader::new(victim.0.stdout.take().expect("it is piped")).lines();
    let address = lines.map_while(Result::ok).find_map(|line| line.split_once("address ").map(|(_, a)| a.to_owned()));
    let address: Ipv4Addr = address.expect("it says it").parse().expect("it is one");
    let index = index_of(address).expect("there is a way to it");
    victim.0.kill().expect("it runs");
    victim.0.wait().expect("it ended");
    let start = Instant::now();
    while device_exists(&index) {
        assert!(start.elapsed() < WITHIN, "the device of a killed process is left");
        std::thread::yield_now();
    }
}

/// This test, as a process to be killed.
fn victim() -> Ended {
    let mut command = Command::new(env::current_exe().expect("it runs"));
    command.args(["--exact", "nothing_stays_behind", "--nocapture"]).env(VICTIM, "1");
    Ended(command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it ran before"))
}

/// A process that ends with this value.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The index of the device through which `address` is reached; the kernel does not use one twice.
fn index_of(address: Ipv4Addr) -> Option<String> {
    let [a, b, c, _] = address.octets();
    let network = format!("{:08X}", u32::from_ne_bytes([a, b, c, 0]));
    let routes = fs::read_to_string("/proc/net/route").expect("there is /proc");
    let line = routes.lines().find(|line| line.split_whitespace().nth(1) == Some(&network))?;
    let device = line.split_whitespace().next()?;
    Some(fs::read_to_string(format!("/sys/class/net/{device}/ifindex")).expect("the device exists"))
}

fn device_exists(index: &str) -> bool {
    let devices = fs::read_dir("/sys/class/net").expect("there is /sys").map_while(Result::ok);
    // A device may go while it is looked at.
    devices.filter_map(|device| fs::read_to_string(device.path().join("ifindex")).ok()).any(|other| other == index)
}

/// How many network namespaces this process keeps.
fn namespaces_held() -> usize {
    let descriptors = fs::read_dir("/proc/self/fd").expect("there is /proc").map_while(Result::ok);
    let links = descriptors.filter_map(|descriptor| fs::read_link(descriptor.path()).ok());
    links.filter(|link| link.to_string_lossy().starts_with("net:[")).count()
}
