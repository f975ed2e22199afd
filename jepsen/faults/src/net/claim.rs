//! Addresses that nobody else has.

use std::fs;
use std::net::Ipv4Addr;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::process;

use super::random::Random;

/// How many networks are tried.
const TRIES: usize = 100;

/// A network of 256 addresses, ours for as long as this lives.
#[derive(Debug)]
pub(crate) struct Claim {
    network: [u8; 3],
    /// An abstract socket, named after the network: its name is free again when this process ends, in whatever way.
    _held: UnixListener,
}

impl Claim {
    /// A network below `first`, which is 10 or 127, that no other process claims and that fits.
    pub(crate) fn take(first: u8, fits: impl Fn(&Self) -> Result<bool, String>) -> Result<Self, String> {
        let mut random = Random::new(u64::from(process::id()));
        for _ in 0..TRIES {
            let [second, third, ..] = random.next().to_be_bytes();
            // Away from both ends, where other programs have theirs.
            let network = [first, 16 + second % 200, third];
            let name = format!("lentic-faults-{first}.{}.{third}", network[1]);
            let name = SocketAddr::from_abstract_name(name).map_err(|error| error.to_string())?;
            let Ok(held) = UnixListener::bind_addr(&name) else { continue };
            let claim = Self { network, _held: held };
            if fits(&claim)? {
                return Ok(claim);
            }
        }
        Err(format!("{TRIES} networks below {first}.0.0.0/8 were tried, and none is free"))
    }

    /// One of its addresses.
    pub(crate) const fn address(&self, host: u8) -> Ipv4Addr {
        let [first, second, third] = self.network;
        Ipv4Addr::new(first, second, third, host)
    }

    /// Whether this machine has a way to it, but for the one to everywhere.
    pub(crate) fn has_route(&self) -> Result<bool, String> {
        let routes = fs::read_to_string("/proc/net/route").map_err(|error| format!("/proc/net/route: {error}"))?;
        Ok(routes.lines().skip(1).filter_map(route).any(|(to, mask)| {
            let both = mask & u32::from_be_bytes([255, 255, 255, 0]);
            mask != 0 && to & both == u32::from(self.address(0)) & both
        }))
    }
}

/// Destination and mask of a line, whose numbers are hexadecimal and have the bytes in this machine's memory's order.
fn route(line: &str) -> Option<(u32, u32)> {
    let number = |text: &str| u32::from_str_radix(text, 16).ok().map(|number| u32::from_be_bytes(number.to_ne_bytes()));
    let mut columns = line.split_whitespace();
    Some((number(columns.nth(1)?)?, number(columns.nth(5)?)?))
}
