//! Which node has which ports and which directory.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};

use crate::failure::Failure;

/// One node of the cluster: its ports and its files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// From 1.
    pub(super) number: usize,
    pub(super) port: u16,
    pub(super) http_port: u16,
    pub(super) data: PathBuf,
    pub(super) log: PathBuf,
}

impl Place {
    /// Where the node is spoken to.
    pub(super) fn address(&self) -> String {
        format!("http://{}", self.listen())
    }

    /// Where its pages are.
    pub(super) fn http_address(&self) -> String {
        format!("http://{}", self.http_listen())
    }

    pub(super) fn listen(&self) -> String {
        format!("{}:{}", Ipv4Addr::LOCALHOST, self.port)
    }

    pub(super) fn http_listen(&self) -> String {
        format!("{}:{}", Ipv4Addr::LOCALHOST, self.http_port)
    }

    /// Whether it has no data yet.
    pub(super) fn is_new(&self) -> bool {
        !self.data.exists()
    }
}

/// The directory of all nodes' files. It goes away with this value, unless it is to be kept.
#[derive(Debug)]
pub(super) struct Home {
    pub(super) path: PathBuf,
    pub(super) is_kept: bool,
}

impl Home {
    /// The directory at `path`, which is kept; or else one of this process's own.
    pub(super) fn open(path: Option<&Path>, keep: bool) -> Result<Self, Failure> {
        let home = match path {
            Some(path) => {
                Self { path: std::path::absolute(path).map_err(|error| refused(path, &error))?, is_kept: true }
            }
            None => {
                let name = format!("lentic-dev-{}", std::process::id());
                Self { path: std::env::temp_dir().join(name), is_kept: keep }
            }
        };
        let made = if path.is_some() { fs::create_dir_all(&home.path) } else { fs::create_dir(&home.path) };
        match made {
            Ok(()) => Ok(home),
            Err(error) => {
                // What somebody else has put there is not ours to remove.
                let found = Self { path: home.path.clone(), is_kept: true };
                std::mem::forget(home);
                Err(refused(&found.path, &error))
            }
        }
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if !self.is_kept {
            drop(fs::remove_dir_all(&self.path));
        }
    }
}

fn refused(path: &Path, error: &io::Error) -> Failure {
    Failure::file(&path.display().to_string(), error)
}

/// Places for `nodes` nodes: ports from `base` on, two each, or any that are free if `base` is 0.
pub(super) fn places(home: &Path, nodes: usize, base: u16) -> Result<Vec<Place>, Failure> {
    let ports = if base == 0 { free_ports(2 * nodes)? } else { ports_from(base, 2 * nodes)? };
    let place = |(index, ports): (usize, &[u16])| {
        let number = index + 1;
        let name = format!("node-{number}");
        let log = home.join(format!("{name}.log"));
        Place { number, port: ports[0], http_port: ports[1], data: home.join(name), log }
    };
    Ok(ports.chunks_exact(2).enumerate().map(place).collect())
}

fn ports_from(base: u16, count: usize) -> Result<Vec<u16>, Failure> {
    let ports: Vec<u16> = (base..=u16::MAX).take(count).collect();
    if ports.len() < count {
        return Err(Failure::usage(format!("there are no {count} ports from {base} on; choose a smaller --port")));
    }
    for port in &ports {
        if let Err(error) = TcpListener::bind((Ipv4Addr::LOCALHOST, *port)) {
            let message = format!("port {port} of {} cannot be had: {error}", Ipv4Addr::LOCALHOST);
            return Err(
                Failure::usage(message).with_help("choose other ports with --port, or any free ones with --port 0")
            );
        }
    }
    Ok(ports)
}

/// Ports that are free now. They are let go again for the nodes to take: somebody may come first, and then a node says
/// so and ends.
fn free_ports(count: usize) -> Result<Vec<u16>, Failure> {
    let listen = |_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    let listeners: io::Result<Vec<TcpListener>> = (0..count).map(listen).collect();
    let ports =
        listeners.and_then(|all| all.iter().map(|one| one.local_addr().map(|address| address.port())).collect());
    ports.map_err(|error| Failure::usage(format!("there are no free ports: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_node_has_its_ports_and_files() {
        let home = Home::open(None, false).unwrap();
        let path = home.path.clone();
        let places = places(&path, 3, 0).unwrap();
        let mut ports: Vec<u16> = places.iter().flat_map(|place| [place.port, place.http_port]).collect();
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 6);
        assert_eq!((places[2].number, &places[2].data), (3, &path.join("node-3")));
        assert!(places[0].is_new() && path.exists());
        drop(home);
        assert!(!path.exists());
    }

    #[test]
    fn ports_that_are_taken_are_named() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        assert!(
            ports_from(port, 1).unwrap_err().message.starts_with(&format!("port {port} of 127.0.0.1 cannot be had"))
        );
        assert!(ports_from(u16::MAX, 2).unwrap_err().message.starts_with("there are no 2 ports from 65535 on"));
    }

    #[test]
    fn a_directory_that_was_named_is_kept() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("data");
        drop(Home::open(Some(&path), false).unwrap());
        assert!(path.exists());
        let file = parent.path().join("file");
        std::fs::write(&file, "mine").unwrap();
        assert!(Home::open(Some(&file), false).is_err());
        assert!(file.exists());
    }
}
