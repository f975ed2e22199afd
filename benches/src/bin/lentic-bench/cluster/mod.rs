//! Clusters of three processes on this machine: Lentic's, and the peer's.

mod etcd;
mod lentic;
mod processes;

pub(crate) use etcd::{Etcd, Kv};
pub(crate) use lentic::Lentic;

/// Threads for each of so many processes that share this machine's cores.
fn share_of_cores(processes: usize) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    (cores / processes).max(1)
}
