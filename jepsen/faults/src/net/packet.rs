//! What a switch reads of a packet: RFC 791, and of RFC 9293 the ports.

use std::net::Ipv4Addr;

const TCP: u8 = 6;

/// A packet of IPv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Packet {
    /// Where it is to go.
    pub(crate) to: Ipv4Addr,
    /// From and to which port, if it is the start of a packet of TCP.
    pub(crate) ports: Option<[u16; 2]>,
}

impl Packet {
    /// Reads the head of a packet. None if it is not of IPv4, or not whole.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let head = bytes.first_chunk::<20>()?;
        let (version, words) = (head[0] >> 4, head[0] & 15);
        if version != 4 || words < 5 {
            return None;
        }
        let to = Ipv4Addr::new(head[16], head[17], head[18], head[19]);
        let is_start = u16::from_be_bytes([head[6], head[7]]) & 0x1fff == 0;
        let body = bytes.get(usize::from(words) * 4..)?;
        let ports = body.first_chunk::<4>().filter(|_| head[9] == TCP && is_start);
        let ports = ports.map(|&[a, b, c, d]| [u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])]);
        Some(Self { to, ports })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A packet of TCP from port 258 to port 772, with `options` words of options.
    fn packet(options: u8) -> Vec<u8> {
        let mut bytes = vec![0; 20 + usize::from(options) * 4];
        bytes[0] = 0x45 + options;
        bytes[9] = TCP;
        bytes[16..20].copy_from_slice(&[10, 1, 2, 3]);
        bytes.extend([1, 2, 3, 4, 5]);
        bytes
    }

    #[test]
    fn a_head_says_where_to_and_which_ports() {
        let expected = Packet { to: Ipv4Addr::new(10, 1, 2, 3), ports: Some([258, 772]) };
        assert_eq!(Packet::read(&packet(0)), Some(expected));
        assert_eq!(Packet::read(&packet(2)), Some(expected));
    }

    #[test]
    fn only_the_start_of_a_packet_of_tcp_has_ports() {
        let mut later = packet(0);
        later[7] = 1;
        let mut udp = packet(0);
        udp[9] = 17;
        for bytes in [&later[..], &udp[..], &packet(0)[..23]] {
            assert_eq!(Packet::read(bytes).expect("it has a head").ports, None);
        }
    }

    #[test]
    fn what_is_not_ipv4_or_not_whole_is_no_packet() {
        let mut other_version = packet(0);
        other_version[0] = 0x65;
        let mut no_head = packet(0);
        no_head[0] = 0x44;
        for bytes in [&other_version[..], &no_head[..], &packet(0)[..19], &packet(2)[..27], &[]] {
            assert_eq!(Packet::read(bytes), None);
        }
    }
}
