//! What a node remembers of the others: where they were.
//!
//! A node that keeps no part of the catalog must ask others for it, and after a restart it must know whom. It is a hint:
//! the file may be old, damaged or missing, and then the node is slower to find its cluster, or needs `join` again.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use lentic_net::Address;
use lentic_types::NodeId;

use crate::config::HostPort;

const PEERS_NAME: &str = "peers";
const PEERS_NEW_NAME: &str = "peers.new";
/// More than the largest cluster has.
const PEERS_BYTES_MAX: u64 = 1 << 20;

/// What `directory` remembers; nothing, if there is nothing to be read. Lines that make no sense are passed over.
pub(crate) fn load(directory: &Path) -> BTreeMap<NodeId, Address> {
    let mut text = String::new();
    let read =
        File::open(directory.join(PEERS_NAME)).and_then(|file| file.take(PEERS_BYTES_MAX).read_to_string(&mut text));
    let lines = if read.is_ok() { text.lines() } else { "".lines() };
    let peer = |line: &str| {
        let (node, address) = line.split_once(' ')?;
        let node = node.parse().ok().filter(|node| *node > 0)?;
        Some((NodeId(node), Address::from(&*HostPort::parse(address)?.url())))
    };
    lines.filter_map(peer).collect()
}

/// Remembers `peers` in `directory`, durably.
pub(crate) fn save(directory: &Path, peers: &BTreeMap<NodeId, Address>) -> io::Result<()> {
    let mut text = String::new();
    for (node, address) in peers {
        writeln!(text, "{} {address}", node.0).expect("a string takes any line");
    }
    lentic_files::replace(&directory.join(PEERS_NAME), &directory.join(PEERS_NEW_NAME), text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_saved_is_loaded_and_nonsense_is_passed_over() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(load(directory.path()), BTreeMap::new());
        let peer = |node, address| (NodeId(node), Address::from(address));
        let peers = BTreeMap::from([peer(1, "http://a.example:7420"), peer(22, "http://[::1]:1")]);
        save(directory.path(), &peers).unwrap();
        assert_eq!(load(directory.path()), peers);
        let file = directory.path().join(PEERS_NAME);
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "1 http://a.example:7420\n22 http://[::1]:1\n");
        std::fs::write(&file, "x\n0 http://a:1\n3\n4 nowhere\n5 http://b:1\n-1 http://c:1").unwrap();
        assert_eq!(load(directory.path()), BTreeMap::from([peer(5, "http://b:1")]));
        std::fs::write(&file, [0xff; 100]).unwrap();
        assert_eq!(load(directory.path()), BTreeMap::new());
    }
}
