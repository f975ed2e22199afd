//! A network namespace, and its device.
//!
//! A namespace without a name lives as long as a process in it or a descriptor of it, and a device as long as its
//! descriptor. So nothing stays behind when the process that made them ends, in whatever way.

use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::process::Command;
use std::sync::Arc;
use std::thread;

use rustix::fs::OFlags;

use super::kernel::{
    DeviceRequest, SIOCSIFADDR, SIOCSIFFLAGS, SIOCSIFMTU, SIOCSIFNETMASK, TUNSETIFF, ask, enter_network, leave_network,
    start_in,
};

/// The largest packet, in bytes. Large, so that few packets carry much.
pub(super) const PACKET_BYTES_MAX: u16 = 60_000;
/// The kernel puts a number that is free in the namespace.
const NAME: &str = "lentic%d";
/// `linux/if_tun.h`: packets of IP, with nothing before them.
const IFF_TUN: i16 = 0x0001;
const IFF_NO_PI: i16 = 0x1000;
/// `linux/if.h`: the device is in use.
const IFF_UP: i16 = 0x0001;
const AF_INET: u16 = 2;

/// A network namespace.
#[derive(Debug)]
pub(crate) struct Space {
    descriptor: Arc<OwnedFd>,
}

impl Space {
    /// A namespace whose only ways are to itself and through a device with `address`, and that device.
    pub(crate) fn new(address: Ipv4Addr) -> Result<(Self, File), String> {
        on_a_thread(|| {
            leave_network().map_err(|error| format!("a network namespace cannot be made: {error}"))?;
            let device = device(address)?;
            socket()
                .and_then(|socket| up(&socket, name_of("lo")))
                .map_err(|error| format!("lo cannot be used: {error}"))?;
            let file = File::open("/proc/thread-self/ns/net").map_err(|error| format!("/proc: {error}"))?;
            Ok((Self { descriptor: Arc::new(OwnedFd::from(file)) }, device))
        })
    }

    /// Lets `command` start its process here.
    pub(crate) fn start(&self, command: &mut Command) {
        start_in(command, Arc::clone(&self.descriptor));
    }

    /// What `make` makes here. A socket belongs for ever to the namespace in which it was made.
    pub(crate) fn make<T: Send>(&self, make: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
        on_a_thread(|| enter_network(&self.descriptor).and_then(|()| make()))
    }
}

/// A device of the calling thread's namespace: what the kernel sends to `address`'s network is read from it, what is
/// written to it arrives. Reads do not wait.
pub(crate) fn device(address: Ipv4Addr) -> Result<File, String> {
    let mut options = fs::OpenOptions::new();
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).expect("a flag of open is an int");
    let file = options.read(true).write(true).custom_flags(flags).open("/dev/net/tun");
    let file = file.map_err(|error| format!("/dev/net/tun cannot be opened: {error}"))?;
    make_and_set(&file, address).map_err(|error| format!("a TUN device cannot be made: {error}"))?;
    Ok(file)
}

fn make_and_set(file: &File, address: Ipv4Addr) -> io::Result<()> {
    let mut made = request(name_of(NAME), &(IFF_TUN | IFF_NO_PI).to_ne_bytes());
    ask::<TUNSETIFF>(file, &mut made)?;
    let name = made.name;
    let socket = socket()?;
    ask::<SIOCSIFMTU>(&socket, &mut request(name, &i32::from(PACKET_BYTES_MAX).to_ne_bytes()))?;
    ask::<SIOCSIFADDR>(&socket, &mut request(name, &socket_address(address)))?;
    ask::<SIOCSIFNETMASK>(&socket, &mut request(name, &socket_address(Ipv4Addr::new(255, 255, 255, 0))))?;
    up(&socket, name)
}

fn up(socket: &UdpSocket, name: [u8; 16]) -> io::Result<()> {
    ask::<SIOCSIFFLAGS>(socket, &mut request(name, &IFF_UP.to_ne_bytes()))
}

/// A socket for requests about devices.
fn socket() -> io::Result<UdpSocket> {
    UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))
}

fn request(name: [u8; 16], value: &[u8]) -> DeviceRequest {
    let mut request = DeviceRequest { name, value: [0; 24] };
    request.value[..value.len()].copy_from_slice(value);
    request
}

fn name_of(text: &str) -> [u8; 16] {
    let mut name = [0; 16];
    name[..text.len()].copy_from_slice(text.as_bytes());
    name
}

/// `struct sockaddr_in`: family, port, address.
fn socket_address(address: Ipv4Addr) -> [u8; 8] {
    let mut bytes = [0; 8];
    bytes[..2].copy_from_slice(&AF_INET.to_ne_bytes());
    bytes[4..].copy_from_slice(&address.octets());
    bytes
}

/// Runs `work` on a thread that ends with it, for the namespace is a thread's own.
fn on_a_thread<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| scope.spawn(work).join()).unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
