//! Clusters of three processes on this machine: Lentic's, and the peer's.

mod etcd;
mod lentic;
mod processes;

pub(crate) use etcd::{Etcd, Kv};
pub(crate) use lentic::Lentic;
